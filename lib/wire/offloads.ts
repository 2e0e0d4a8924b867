import { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { Chains } from '../mbuf/chains.js';
import * as layout from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Segmenter } from './gso.js';

const { MBUF_OL_FLAGS, MBUF_TSO_SEGSZ, TX_IPV6, TX_OFFLOADS, TX_TCP_SEG, TX_VLAN } = layout;

export interface OffloadStats {
  /** Packets that were finished, and what became of them: one each where only checksums were wanted. */
  packets: number;
  pieces: number;
  /** Dropped: what was wanted cannot be done with it; the pool had not enough mbufs. */
  refused: number;
  dry: number;
}

/**
 * Does in software what a packet's TX_* flags want of a port that cannot: checksums (TX_IP_CKSUM, TX_TCP_CKSUM,
 * TX_UDP_CKSUM) and segments (TX_TCP_SEG). Tags (TX_VLAN) it does not insert. For the packets of a `vhost:` port opened
 * with pass_offloads, before they go out by a port whose capabilities lack it.
 *
 * Thread: the one that made it. It neither throws nor allocates memory.
 */
export class Offloads {
  readonly stats: OffloadStats = { packets: 0, pieces: 0, refused: 0, dry: 0 };
  readonly #pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #burst: BurstFunctions;
  readonly #segmenter: Segmenter;
  readonly #chains: Chains;
  readonly #one: Burst;

  constructor(pool: Mempool) {
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#burst = burstFunctions(pool.arena);
    this.#segmenter = new Segmenter(pool);
    this.#chains = new Chains(pool);
    this.#one = new Burst(pool.arena, 1);
  }

  /** Does the packet want something? */
  wants(handle: number): boolean {
    return (this.#mbufs.flags(handle) & TX_OFFLOADS) !== 0;
  }

  /**
   * Takes the packet over and fills `into`, from its first entry on, with what is to be sent instead: itself, a copy
   * where others hold it too, or its segments. Returns how many; 0 when it was dropped, and `stats` says why.
   */
  finish(handle: number, into: Burst): number {
    const flags = this.#mbufs.flags(handle);
    const size = this.#mbufs.u16[(this.#mbufs.header(handle) + MBUF_TSO_SEGSZ) >>> 1]!;
    if ((flags & TX_VLAN) !== 0) return this.#drop(handle, 'refused');
    const cut = (flags & TX_TCP_SEG) !== 0 ? this.#cut(handle, size, into) : NO_NEED;
    if (cut !== NO_NEED) return cut;
    const mine = this.#chains.isShared(handle) ? this.#copy(handle) : handle;
    if (mine === 0) return this.#drop(handle, 'dry');
    if (mine !== handle) this.#free(handle);
    this.#clear(mine);
    into.handles[0] = mine;
    this.#burst.checksumFill(this.#mbufs.table, into.offset, 1);
    return this.#count(1);
  }

  /** Gives its vectors' memory back. */
  close(): void {
    this.#segmenter.close();
    this.#chains.close();
    this.#one.close();
  }

  #cut(handle: number, size: number, into: Burst): number {
    const { stats } = this.#segmenter;
    const [noNeed, dry] = [stats.noNeed, stats.dry];
    const count = this.#segmenter.segment(handle, size, into);
    if (count === 0 && stats.noNeed !== noNeed) return NO_NEED;
    if (count === 0) return this.#drop(handle, stats.dry === dry ? 'refused' : 'dry');
    this.#free(handle);
    return this.#count(count);
  }

  /** Into new mbufs; 0 when there are none. */
  #copy(handle: number): number {
    if (this.#pool.alloc(this.#one, 1) === 0) return 0;
    const copy = this.#one.handles[0]!;
    for (let segment = handle; segment !== 0; segment = this.#chains.next(segment)) {
      if (this.#chains.append(copy, this.#mbufs.data(segment), this.#mbufs.dataLen(segment))) continue;
      this.#free(copy);
      return 0;
    }
    return copy;
  }

  #clear(handle: number): void {
    this.#mbufs.u32[(this.#mbufs.header(handle) + MBUF_OL_FLAGS) >>> 2]! &= ~(TX_OFFLOADS | TX_IPV6);
  }

  #drop(handle: number, why: 'refused' | 'dry'): 0 {
    this.stats[why]++;
    this.#free(handle);
    return 0;
  }

  #free(handle: number): void {
    this.#one.handles[0] = handle;
    this.#pool.free(this.#one, 0, 1);
  }

  #count(pieces: number): number {
    this.stats.packets++;
    this.stats.pieces += pieces;
    return pieces;
  }
}

const NO_NEED = -1;

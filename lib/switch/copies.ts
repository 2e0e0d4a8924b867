import { Burst } from '../burst/burst.js';
import { Chains } from '../mbuf/chains.js';
import * as layout from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import * as words from './layout.js';

const {
  HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_PKT_LEN, MBUF_TIMESTAMP,
  MBUF_TX_OFFLOAD, MBUF_USER, TX_L2_LEN_MASK,
} = layout;
const { TAG_BYTES, TAG_KEEP, TAG_POP, TAG_PUSH } = words;

/** A cut frame keeps its header, tag included. */
const SHORTEST_CUT = 18;
const FREED = 64;
const COPIED_WORDS = [MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_PKT_LEN, MBUF_HASH, MBUF_TIMESTAMP, MBUF_TIMESTAMP + 4, MBUF_TX_OFFLOAD, MBUF_USER, MBUF_USER + 4] as const;

/**
 * Packets for several ways out: the same mbuf held once more where the frame is the same, a copy where it has to change
 * and others hold it too. Of a chain only the first segment is ever copied, as only headers change.
 */
export class Copies {
  readonly #pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #chains: Chains;
  readonly #one: Burst;
  /** To be freed, all in one call. */
  readonly #freed: Burst;
  #freedCount = 0;

  constructor(pool: Mempool) {
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#chains = new Chains(pool);
    this.#one = new Burst(pool.arena, 1);
    this.#freed = new Burst(pool.arena, FREED);
  }

  /** One more holder. */
  hold(handle: number): void {
    this.#chains.clone(handle);
  }

  /** Gives up one hold, by the end of the burst at the latest (`flush`). */
  free(handle: number): void {
    if (this.#freedCount === FREED) this.flush();
    this.#freed.handles[this.#freedCount++] = handle;
  }

  flush(): void {
    if (this.#freedCount === 0) return;
    this.#pool.free(this.#freed, 0, this.#freedCount);
    this.#freedCount = 0;
  }

  /** A new mbuf, or 0. */
  alloc(): number {
    if (this.#pool.alloc(this.#one, 1) === 1) return this.#one.handles[0]!;
    this.flush();
    return this.#pool.alloc(this.#one, 1) === 1 ? this.#one.handles[0]! : 0;
  }

  /** A packet of its own with the same bytes, the usual headroom where that fits; 0 when the pool is dry. */
  copy(handle: number): number {
    const made = this.alloc();
    if (made === 0) return 0;
    const { u8, u16, u32 } = this.#mbufs;
    const [from, to] = [this.#mbufs.header(handle), this.#mbufs.header(made)];
    const length = this.#mbufs.dataLen(handle);
    const room = u32[(to + MBUF_BUF_LEN) >>> 2]!;
    if (HEADROOM + length > room && this.#mbufs.headroom(handle) + length > room) {
      this.free(made);
      return 0;
    }
    u16[(to + MBUF_DATA_OFF) >>> 1] = HEADROOM + length <= room ? HEADROOM : this.#mbufs.headroom(handle);
    u16[(to + MBUF_DATA_LEN) >>> 1] = length;
    u16[((to + MBUF_DATA_LEN) >>> 1) + 1] = u16[((from + MBUF_DATA_LEN) >>> 1) + 1]!; // vlan_tci
    u32[(to + MBUF_NB_SEGS) >>> 2] = u32[(from + MBUF_NB_SEGS) >>> 2]!; // and the port
    for (const field of COPIED_WORDS) u32[(to + field) >>> 2] = u32[(from + field) >>> 2]!;
    const start = this.#mbufs.data(handle);
    u8.copyWithin(this.#mbufs.data(made), start, start + length);
    const rest = this.#chains.next(handle);
    if (rest !== 0) this.#chains.clone(rest);
    u32[(to + MBUF_NEXT) >>> 2] = rest;
    return made;
  }

  /** The packet, if nobody else holds it, or a copy in its place; 0, and it is freed, when the pool is dry. */
  own(handle: number): number {
    if (!this.#chains.isShared(handle)) return handle;
    const made = this.copy(handle);
    this.free(handle);
    return made;
  }

  /** The first `bytes` of the packet's first segment at most, as a packet of its own; 0 when the pool is dry. */
  cut(handle: number, bytes: number): number {
    const made = this.alloc();
    if (made === 0) return 0;
    const length = Math.min(Math.max(bytes, SHORTEST_CUT), this.#mbufs.dataLen(handle), this.#pool.room);
    const start = this.#mbufs.data(handle);
    const to = this.#mbufs.append(made, length);
    this.#mbufs.u8.copyWithin(to, start, start + length);
    return made;
  }

  /** Changes the C-tag of a packet of one's own as FLOW_TAG says. False, and nothing changed, where there is no headroom. */
  retag(handle: number, tag: number): boolean {
    const { u8, view } = this.#mbufs;
    const what = tag & 0xffff;
    if (what === TAG_KEEP) return true;
    if (what === TAG_PUSH) {
      const start = this.#mbufs.prepend(handle, TAG_BYTES);
      if (start === 0) return false;
      u8.copyWithin(start, start + TAG_BYTES, start + TAG_BYTES + 12);
      view.setUint32(start + 12, 0x81000000 + (tag >>> 16));
      this.#linkLayer(handle, TAG_BYTES);
      return true;
    }
    const start = this.#mbufs.data(handle);
    if (what === TAG_POP) {
      u8.copyWithin(start + TAG_BYTES, start, start + 12);
      this.#mbufs.adjust(handle, TAG_BYTES);
      this.#linkLayer(handle, -TAG_BYTES);
    } else view.setUint16(start + 14, (view.getUint16(start + 14) & 0xf000) | (tag >>> 16));
    return true;
  }

  close(): void {
    this.flush();
    this.#freed.close();
    this.#chains.close();
    this.#one.close();
  }

  #linkLayer(handle: number, by: number): void {
    const { u32 } = this.#mbufs;
    const header = this.#mbufs.header(handle);
    u32[(header + MBUF_PACKET_TYPE) >>> 2] = 0;
    const lengths = u32[(header + MBUF_TX_OFFLOAD) >>> 2]!;
    if ((lengths & TX_L2_LEN_MASK) !== 0) u32[(header + MBUF_TX_OFFLOAD) >>> 2] = ((lengths & ~TX_L2_LEN_MASK) | ((lengths + by) & TX_L2_LEN_MASK)) >>> 0;
  }
}

import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { Chains } from '../mbuf/chains.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Ethernet } from './ether.js';
import { Ipv4 } from './ipv4.js';
import { Ipv6 } from './ipv6.js';
import * as protocol from './protocol_layout.js';
import { TCP_CWR, TCP_FIN, TCP_PSH, Tcp } from './tcp.js';
import { Udp } from './udp.js';

const { ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_BYTES, PROTOCOL_TCP, PROTOCOL_UDP } = protocol;

export interface SegmentStats {
  /** Packets that were cut, and what was made of them. */
  packets: number;
  segments: number;
  /** Not cut: neither TCP nor UDP, a fragment, or a part is missing; no longer than one segment; more than the burst takes, or headers than a buffer; the pool was dry. */
  notWhole: number;
  noNeed: number;
  tooMany: number;
  dry: number;
}

/**
 * Generic segmentation offload: cuts a TCP or UDP packet of any length, one mbuf or a chain, into packets of at most
 * `size` bytes of payload each, as the sender's own stack would have made them: sequence numbers and IPv4 identifications
 * go on, PSH and FIN are the last one's, CWR the first one's, checksums are computed. UDP's become datagrams of their own.
 * A segment that one buffer does not hold is a chain.
 *
 * The packet stays the caller's; segments are new mbufs. Thread: the one that made it.
 */
export class Segmenter {
  readonly stats: SegmentStats = { packets: 0, segments: 0, notWhole: 0, noNeed: 0, tooMany: 0, dry: 0 };
  readonly #pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #burst: BurstFunctions;
  readonly #chains: Chains;
  readonly #ether: Ethernet;
  readonly #four: Ipv4;
  readonly #six: Ipv6;
  readonly #tcp: Tcp;
  readonly #udp: Udp;

  constructor(pool: Mempool) {
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#burst = burstFunctions(pool.arena);
    this.#chains = new Chains(pool);
    this.#ether = new Ethernet(pool.mbufs);
    this.#four = new Ipv4(pool.mbufs);
    this.#six = new Ipv6(pool.mbufs);
    this.#tcp = new Tcp(pool.mbufs);
    this.#udp = new Udp(pool.mbufs);
  }

  /** Fills `into` with the segments, from its first entry on. Returns how many; 0 when the packet was not cut, and `stats` says why. */
  segment(handle: number, size: number, into: Burst): number {
    if (!this.#ether.at(handle)) return this.#refuse('notWhole');
    const isFour = this.#ether.type === ETHERTYPE_IPV4;
    const ip = isFour ? this.#four : this.#six;
    if (!isFour && this.#ether.type !== ETHERTYPE_IPV6) return this.#refuse('notWhole');
    if (!ip.at(handle, this.#ether.end) || ip.isFragment) return this.#refuse('notWhole');
    const transport = ip.protocol === PROTOCOL_TCP ? this.#tcp : this.#udp;
    if ((transport === this.#udp && ip.protocol !== PROTOCOL_UDP) || !transport.at(handle, ip.end)) return this.#refuse('notWhole');
    const header = transport.end;
    const end = this.#endOf(handle, isFour);
    const payload = end - header;
    if (end > this.#mbufs.pktLen(handle)) return this.#refuse('notWhole');
    if (!(size > 0) || payload <= size) return this.#refuse('noNeed');
    const count = Math.ceil(payload / size);
    if (count > into.capacity || header > this.#pool.room) return this.#refuse('tooMany');
    if (this.#pool.alloc(into, count) === 0) return this.#refuse('dry');
    for (let i = 0; i < count; i++) {
      if (this.#make(handle, into.handles[i]!, header, i * size, Math.min(size, payload - i * size), i, i === count - 1, isFour)) continue;
      this.#pool.free(into, 0, count);
      return this.#refuse('dry');
    }
    this.#burst.checksumFill(this.#pool.arena.table, into.offset, count);
    this.stats.packets++;
    this.stats.segments += count;
    return count;
  }

  /** Where the packet ends: what IP says, or the mbuf where IP leaves that to us. */
  #endOf(handle: number, isFour: boolean): number {
    const said = isFour ? this.#four.totalLength : this.#six.payloadField;
    if (said === 0) return this.#mbufs.pktLen(handle);
    return this.#ether.end + said + (isFour ? 0 : IPV6_BYTES);
  }

  /** False when the pool has not the mbufs of a long one. */
  #make(handle: number, piece: number, header: number, from: number, bytes: number, index: number, isLast: boolean, isFour: boolean): boolean {
    const inFirst = Math.min(header + bytes, this.#pool.room);
    const at = this.#mbufs.append(piece, inFirst);
    this.#chains.read(handle, 0, header, at);
    this.#chains.read(handle, header + from, inFirst - header, at + header);
    if (inFirst < header + bytes && !this.#lengthen(handle, piece, from + inFirst, header + bytes - inFirst)) return false;
    const network = this.#ether.end;
    const { view } = this.#mbufs;
    const length = header + bytes - network;
    // The length first, since a view looks at it.
    if (isFour) {
      view.setUint16(at + network + 2, length);
      view.setUint16(at + network + 4, view.getUint16(at + network + 4) + index);
    } else view.setUint16(at + network + 4, length - IPV6_BYTES);
    if (this.#isTcp(isFour)) this.#mendTcp(piece, isFour, from, index === 0, isLast);
    else view.setUint16(at + this.#udpStart(isFour) + 4, 8 + bytes);
    return true;
  }

  /** Adds `bytes` of the packet's, from `from` on. Room is made first, with whatever stands there, and written over. */
  #lengthen(handle: number, piece: number, from: number, bytes: number): boolean {
    if (!this.#chains.append(piece, this.#mbufs.data(piece), bytes)) return false;
    for (let segment = this.#chains.next(piece), done = 0; segment !== 0; segment = this.#chains.next(segment)) {
      done += this.#chains.read(handle, from + done, this.#mbufs.dataLen(segment), this.#mbufs.data(segment));
    }
    return true;
  }

  #isTcp(isFour: boolean): boolean {
    return (isFour ? this.#four.protocol : this.#six.protocol) === PROTOCOL_TCP;
  }

  #udpStart(isFour: boolean): number {
    return isFour ? this.#four.end : this.#six.end;
  }

  #mendTcp(piece: number, isFour: boolean, from: number, isFirst: boolean, isLast: boolean): void {
    const tcp = this.#tcp;
    tcp.at(piece, isFour ? this.#four.end : this.#six.end);
    tcp.sequence = (tcp.sequence + from) >>> 0;
    tcp.flags &= ~((isLast ? 0 : TCP_PSH | TCP_FIN) | (isFirst ? 0 : TCP_CWR));
  }

  #refuse(why: 'notWhole' | 'noNeed' | 'tooMany' | 'dry'): 0 {
    this.stats[why]++;
    return 0;
  }

  /** Gives its vector's memory back. */
  close(): void {
    this.#chains.close();
  }
}

import type { Burst } from '../burst/burst.js';
import { Chains } from '../mbuf/chains.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Ethernet } from './ether.js';
import { Ipv4 } from './ipv4.js';
import { Ipv6 } from './ipv6.js';
import * as protocol from './protocol_layout.js';

const { ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_MIN_BYTES, IPV6_BYTES, PROTOCOL_FRAGMENT, PROTOCOL_HOPOPTS, PROTOCOL_ROUTING } = protocol;

/** Bytes that a datagram can have, IPv6's without its own header: fragments say no offset beyond. A packet that is still to be cut into segments may have more. */
const LONGEST = 0xffff;

export interface FragmentStats {
  /** Packets that were cut, and the fragments made of them. */
  packets: number;
  fragments: number;
  /** Not cut: the packet forbids it; it is no IP, a part of it is missing, or it is more than a datagram can be; no MTU for it, or it is small enough; it would be more than the burst takes; the pool was dry. */
  dontFragment: number;
  notWhole: number;
  noNeed: number;
  tooMany: number;
  dry: number;
}

/**
 * Cuts IP packets into fragments (RFC 791 section 3.2, RFC 8200 section 4.5). The packet, one mbuf or a chain, stays the
 * caller's; fragments are new mbufs, one each, with the packet's link-layer header in front.
 *
 * Thread: the one that made it.
 */
export class Fragmenter {
  readonly stats: FragmentStats = { packets: 0, fragments: 0, dontFragment: 0, notWhole: 0, noNeed: 0, tooMany: 0, dry: 0 };
  readonly #pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #chains: Chains;
  readonly #ether: Ethernet;
  readonly #four: Ipv4;
  readonly #six: Ipv6;
  #identification: number;

  /** @param identification of the first IPv6 packet that is cut; the next one's is one more. Default: one that cannot be guessed. */
  constructor(pool: Mempool, identification = Math.floor(Math.random() * 2 ** 32)) {
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#chains = new Chains(pool);
    this.#ether = new Ethernet(pool.mbufs);
    this.#four = new Ipv4(pool.mbufs);
    this.#six = new Ipv6(pool.mbufs);
    this.#identification = identification;
  }

  /** Fills `into` with the fragments, from its first entry on. `mtu`: IP bytes, no Ethernet header. Returns how many; 0 when the packet was not cut, and `stats` says why. */
  fragment(handle: number, mtu: number, into: Burst): number {
    if (!this.#ether.at(handle)) return this.#refuse('notWhole');
    if (this.#ether.type === ETHERTYPE_IPV4 && this.#four.at(handle, this.#ether.end)) return this.#fragment4(handle, mtu, into);
    if (this.#ether.type === ETHERTYPE_IPV6 && this.#six.at(handle, this.#ether.end)) return this.#fragment6(handle, mtu, into);
    return this.#refuse('notWhole');
  }

  #fragment4(handle: number, mtu: number, into: Burst): number {
    const ip = this.#four;
    const [offset, header] = [ip.offset, ip.length];
    const total = ip.totalLength === 0 ? this.#mbufs.pktLen(handle) - offset : ip.totalLength;
    if (offset + total > this.#mbufs.pktLen(handle)) return this.#refuse('notWhole');
    if (total <= mtu) return this.#refuse('noNeed');
    if (ip.fragmentOffset + total > LONGEST) return this.#refuse('notWhole');
    if (ip.dontFragment) return this.#refuse('dontFragment');
    const step = (mtu - header) & ~7;
    const payload = total - header;
    const [base, more] = [ip.fragmentOffset, ip.moreFragments];
    const count = this.#alloc(payload, step, offset + header, into);
    for (let i = 0, done = 0; i < count; i++, done += step) {
      const part = Math.min(step, payload - done);
      const piece = into.handles[i]!;
      const size = this.#copyHead(handle, piece, offset + header);
      this.#four.at(piece, offset);
      const kept = i === 0 ? header : this.#keepCopied(piece, offset, size);
      this.#copyPayload(handle, piece, offset + header + done, part);
      this.#four.at(piece, offset);
      this.#four.totalLength = kept + part;
      this.#four.fragmentOffset = base + done;
      this.#four.moreFragments = more || done + part < payload;
      this.#four.updateChecksum();
    }
    return this.#count(count);
  }

  /** Of a later fragment's options, only those are there whose copied bit is set (RFC 791 section 3.1). Returns the header's new bytes. */
  #keepCopied(piece: number, offset: number, size: number): number {
    const ip = this.#four;
    const { view, u8 } = this.#mbufs;
    let to = ip.start + IPV4_MIN_BYTES;
    while (ip.nextOption()) {
      if ((ip.optionKind & 0x80) === 0) continue;
      u8.copyWithin(to, ip.optionStart, ip.optionStart + ip.optionLength);
      to += ip.optionLength;
    }
    while ((to - ip.start) % 4 !== 0) view.setUint8(to++, 0);
    const kept = to - ip.start;
    this.#mbufs.trim(piece, size - offset - kept);
    view.setUint8(ip.start, 0x40 | (kept >>> 2));
    view.setUint16(ip.start + 2, kept); // so that the view finds it
    return kept;
  }

  #fragment6(handle: number, mtu: number, into: Burst): number {
    const ip = this.#six;
    const offset = ip.offset;
    const total = IPV6_BYTES + (ip.payloadField === 0 ? this.#mbufs.pktLen(handle) - offset - IPV6_BYTES : ip.payloadField);
    if (!ip.complete || ip.fragmentStart > 0 || offset + total > this.#mbufs.pktLen(handle)) return this.#refuse('notWhole');
    if (total <= mtu) return this.#refuse('noNeed');
    if (total - IPV6_BYTES > LONGEST) return this.#refuse('notWhole');
    // What every fragment has: all up to the last header that stations on the way look at (RFC 8200 section 4.5).
    let header = IPV6_BYTES;
    let nextField = offset + 6;
    let place = nextField;
    while (ip.nextExtension()) {
      place = ip.extensionStart - ip.start + offset;
      if (ip.extensionType !== PROTOCOL_HOPOPTS && ip.extensionType !== PROTOCOL_ROUTING) continue;
      header = place - offset + ip.extensionLength;
      nextField = place;
    }
    const step = (mtu - header - 8) & ~7;
    const payload = total - header;
    const count = this.#alloc(payload, step, offset + header + 8, into);
    const identification = this.#identification;
    if (count > 0) this.#identification = (identification + 1) >>> 0;
    for (let i = 0, done = 0; i < count; i++, done += step) {
      const part = Math.min(step, payload - done);
      const piece = into.handles[i]!;
      this.#copyHead(handle, piece, offset + header);
      const at = this.#mbufs.append(piece, 8);
      const { view } = this.#mbufs;
      const start = this.#mbufs.data(piece);
      view.setUint8(at, view.getUint8(start + nextField));
      view.setUint8(at + 1, 0);
      view.setUint16(at + 2, done | (done + part < payload ? 1 : 0));
      view.setUint32(at + 4, identification);
      view.setUint8(start + nextField, PROTOCOL_FRAGMENT);
      view.setUint16(start + offset + 4, header - IPV6_BYTES + 8 + part);
      this.#copyPayload(handle, piece, offset + header + done, part);
    }
    return this.#count(count);
  }

  /** Mbufs for all fragments, or none. */
  #alloc(payload: number, step: number, header: number, into: Burst): number {
    if (step < 8) return this.#refuse('noNeed');
    const count = Math.ceil(payload / step);
    if (count > into.capacity || header + Math.min(step, payload) > this.#pool.room) return this.#refuse('tooMany');
    return this.#pool.alloc(into, count) === 0 ? this.#refuse('dry') : count;
  }

  #copyHead(handle: number, piece: number, bytes: number): number {
    this.#copyPayload(handle, piece, 0, bytes);
    return bytes;
  }

  #copyPayload(handle: number, piece: number, from: number, bytes: number): void {
    this.#chains.read(handle, from, bytes, this.#mbufs.append(piece, bytes));
  }

  #count(fragments: number): number {
    if (fragments > 0) this.stats.packets++;
    this.stats.fragments += fragments;
    return fragments;
  }

  #refuse(why: 'dontFragment' | 'notWhole' | 'noNeed' | 'tooMany' | 'dry'): 0 {
    this.stats[why]++;
    return 0;
  }

  /** Gives its vector's memory back. */
  close(): void {
    this.#chains.close();
  }
}

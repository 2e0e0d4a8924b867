import { Header, NOWHERE } from './header.js';
import { ICMPV6_NEIGHBOR_ADVERTISEMENT, ICMPV6_NEIGHBOR_SOLICITATION } from './icmp.js';
import type { Ipv6 } from './ipv6.js';

/** ICMPv6's eight bytes and the target's address (RFC 4861 sections 4.3 and 4.4). */
export const NEIGHBOR_BYTES = 24;
/** The option that has a link-layer address, of Ethernet's six bytes: 1 is a solicitation's source, 2 an advertisement's target (section 4.6.1). */
const OPTION_BYTES = 8;

// Bits of an advertisement's `flags`.
export const NEIGHBOR_ROUTER = 0x80;
export const NEIGHBOR_SOLICITED = 0x40;
export const NEIGHBOR_OVERRIDE = 0x20;

/**
 * A neighbour solicitation or advertisement: IPv6's ARP (RFC 4861). `at` finds those only that are whole, of code 0, about
 * one host, and whose options can be followed; `isValid` asks what more the RFC wants of their IPv6 header. The checksum is
 * not looked at: `Checksums` does.
 */
export class NeighborMessage extends Header {
  /** Of the link-layer address in its option, in the arena; NOWHERE without one. */
  macAt = NOWHERE;

  override at(handle: number, offset = 54, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = this.macAt = NOWHERE;
    if (!(offset >= 0 && offset + NEIGHBOR_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    const kind = view.getUint16(start);
    if ((kind !== ICMPV6_NEIGHBOR_SOLICITATION << 8 && kind !== ICMPV6_NEIGHBOR_ADVERTISEMENT << 8) || view.getUint8(start + 8) === 0xff) return false;
    const mac = this.#findMac(start + NEIGHBOR_BYTES, start + last - offset, kind === ICMPV6_NEIGHBOR_SOLICITATION << 8 ? 1 : 2);
    if (mac === BROKEN) return false;
    this.macAt = mac;
    this.start = start;
    this.offset = offset;
    this.end = offset + NEIGHBOR_BYTES;
    this.limit = last;
    return true;
  }

  /** Options are a kind, a length in units of 8 bytes, and what it says; a length of 0 breaks the message (section 4.6). */
  #findMac(from: number, end: number, wanted: number): number {
    const { view } = this;
    let found = NOWHERE;
    for (let at = from; at < end;) {
      const length = at + 2 <= end ? view.getUint8(at + 1) * 8 : 0;
      if (length === 0 || at + length > end) return BROKEN;
      if (found === NOWHERE && view.getUint8(at) === wanted && length === OPTION_BYTES) found = at + 2;
      at += length;
    }
    return found;
  }

  /** What sections 7.1.1 and 7.1.2 want of the packet around it: nobody farther than the link has sent it, and who has no address yet asks as one that has none. */
  isValid(ip: Ipv6): boolean {
    if (ip.hopLimit !== 255) return false;
    if (!this.isSolicitation) return !(ip.destinationIsMulticast && this.isSolicited);
    return !ip.sourceIsUnspecified || (this.macAt === NOWHERE && ip.destinationWord(0) === 0xff020000 && ip.destinationWord(1) === 0 && ip.destinationWord(2) === 1 && ip.destinationWord(3) >>> 24 === 0xff);
  }

  /** Writes a message where the segment has room for it and its option, and points the view at it. Target and checksum are the caller's. */
  make(handle: number, offset: number, type: number, flags: number, mac: Uint8Array): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + NEIGHBOR_BYTES + OPTION_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint32(start, type << 24 >>> 0);
    view.setUint32(start + 4, flags << 24 >>> 0);
    for (let word = 8; word < NEIGHBOR_BYTES; word += 4) view.setUint32(start + word, 0);
    view.setUint16(start + NEIGHBOR_BYTES, (type === ICMPV6_NEIGHBOR_SOLICITATION ? 0x100 : 0x200) | 1);
    for (let i = 0; i < 6; i++) view.setUint8(start + NEIGHBOR_BYTES + 2 + i, mac[i]!);
    return this.at(handle, offset, offset + NEIGHBOR_BYTES + OPTION_BYTES);
  }

  get isSolicitation(): boolean {
    return this.view.getUint8(this.start) === ICMPV6_NEIGHBOR_SOLICITATION;
  }

  /** Is it an answer to a solicitation? */
  get isSolicited(): boolean {
    return (this.view.getUint8(this.start + 4) & NEIGHBOR_SOLICITED) !== 0;
  }

  /** Where the target's 16 bytes stand in the arena. */
  get targetAt(): number {
    return this.start + 8;
  }
}

const BROKEN = NOWHERE + 1;

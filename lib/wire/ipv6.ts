import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

const {
  EXTENSIONS_MAX, IPV6_BYTES, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_FRAGMENT, PROTOCOL_HIP, PROTOCOL_HOPOPTS, PROTOCOL_MOBILITY,
  PROTOCOL_NONE, PROTOCOL_ROUTING, PROTOCOL_SHIM6,
} = protocol;

/** IANA's "IPv6 Extension Header Types", without ESP (behind which all is secret) and the two for experiments. */
export function isExtension(type: number): boolean {
  switch (type) {
    case PROTOCOL_HOPOPTS: case PROTOCOL_ROUTING: case PROTOCOL_FRAGMENT: case PROTOCOL_AH: case PROTOCOL_DSTOPTS:
    case PROTOCOL_MOBILITY: case PROTOCOL_HIP: case PROTOCOL_SHIM6: return true;
    default: return false;
  }
}

/**
 * IPv6 (RFC 8200) with its extension headers: `at` walks over them, so that `end` is where the payload starts and
 * `protocol` says what it is.
 *
 * Where an extension header runs past the packet, or there are more than 32, the walk stops: `complete` is false then,
 * `protocol` PROTOCOL_NONE, and `end` is where the header that was not followed starts.
 */
export class Ipv6 extends Header {
  /** What is behind the extension headers: PROTOCOL_*. In a fragment but the first, what the whole datagram has. */
  protocol = PROTOCOL_NONE;
  complete = false;
  /** Of the fragment header in the arena; NOWHERE without one. */
  fragmentStart = NOWHERE;
  /** Kind and place in the arena of the extension header that `nextExtension` came to, and its bytes. */
  extensionType = PROTOCOL_NONE;
  extensionStart = NOWHERE;
  extensionLength = 0;

  override at(handle: number, offset = 14, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + IPV6_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    if (view.getUint8(start) >>> 4 !== 6) return false;
    const payload = view.getUint16(start + 4);
    this.start = start;
    this.offset = offset;
    // 0: a packet that is still to be cut into segments, or of more than 65535 bytes (RFC 2675).
    this.limit = payload === 0 ? last : Math.min(last, offset + IPV6_BYTES + payload);
    this.end = this.limit; // nextExtension looks at it
    this.#walk();
    return true;
  }

  #walk(): void {
    this.fragmentStart = NOWHERE;
    this.extensionStart = NOWHERE;
    let headers = 0;
    let later = false;
    while (headers < EXTENSIONS_MAX && !later && this.nextExtension()) {
      headers++;
      if (this.extensionType !== PROTOCOL_FRAGMENT) continue;
      this.fragmentStart = this.extensionStart;
      later = this.fragmentOffset > 0;
    }
    const from = this.extensionStart === NOWHERE ? this.start + IPV6_BYTES : this.extensionStart + this.extensionLength;
    const next = this.view.getUint8(this.extensionStart === NOWHERE ? this.start + 6 : this.extensionStart);
    this.complete = later || !isExtension(next);
    this.protocol = this.complete ? next : PROTOCOL_NONE;
    this.end = this.offset + from - this.start;
    this.extensionStart = NOWHERE;
  }

  /** Goes to the next extension header, to the first after `at`. False where none follows, or none that is whole. */
  nextExtension(): boolean {
    const { view, start } = this;
    const first = this.extensionStart === NOWHERE;
    const type = view.getUint8(first ? start + 6 : this.extensionStart);
    const from = first ? start + IPV6_BYTES : this.extensionStart + this.extensionLength;
    const end = start - this.offset + Math.min(this.end, this.limit);
    if (!isExtension(type) || from + 8 > end) return false;
    const length = extensionBytes(type, view.getUint8(from + 1));
    if (from + length > end) return false;
    this.extensionType = type;
    this.extensionStart = from;
    this.extensionLength = length;
    return true;
  }

  /** Writes a header where the segment has room for it, and points the view at it: hop limit 64, payload length all that the segment has behind it. Addresses are 0. */
  make(handle: number, offset: number, nextHeader: number): boolean {
    const { mbufs, view } = this;
    const last = mbufs.dataLen(handle);
    if (!(offset >= 0 && offset + IPV6_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint32(start, 0x60000000);
    view.setUint32(start + 4, ((last - offset - IPV6_BYTES) << 16) | ((nextHeader & 0xff) << 8) | 64);
    for (let word = 8; word < IPV6_BYTES; word += 4) view.setUint32(start + word, 0);
    return this.at(handle, offset);
  }

  get trafficClass(): number {
    return (this.view.getUint16(this.start) >>> 4) & 0xff;
  }

  set trafficClass(value: number) {
    this.view.setUint16(this.start, (this.view.getUint16(this.start) & 0xf00f) | ((value & 0xff) << 4));
  }

  /** 20 bits (RFC 6437). */
  get flowLabel(): number {
    return this.view.getUint32(this.start) & 0xfffff;
  }

  set flowLabel(value: number) {
    this.view.setUint32(this.start, (this.view.getUint32(this.start) & 0xfff00000) | (value & 0xfffff));
  }

  /** The header's own field: bytes behind the first 40, extension headers included. */
  get payloadField(): number {
    return this.view.getUint16(this.start + 4);
  }

  set payloadField(value: number) {
    this.view.setUint16(this.start + 4, value);
  }

  /** The header's own field: the first extension header's kind, or the payload's. */
  get nextHeader(): number {
    return this.view.getUint8(this.start + 6);
  }

  set nextHeader(value: number) {
    this.view.setUint8(this.start + 6, value);
  }

  get hopLimit(): number {
    return this.view.getUint8(this.start + 7);
  }

  set hopLimit(value: number) {
    this.view.setUint8(this.start + 7, value);
  }

  /** One of the four words of an address, 0 the first. */
  sourceWord(word: number): number {
    return this.view.getUint32(this.start + 8 + word * 4);
  }

  setSourceWord(word: number, value: number): void {
    this.view.setUint32(this.start + 8 + word * 4, value);
  }

  destinationWord(word: number): number {
    return this.view.getUint32(this.start + 24 + word * 4);
  }

  setDestinationWord(word: number, value: number): void {
    this.view.setUint32(this.start + 24 + word * 4, value);
  }

  /** Where an address's 16 bytes stand in the arena. */
  get sourceAt(): number {
    return this.start + 8;
  }

  get destinationAt(): number {
    return this.start + 24;
  }

  /** "::": of a host that has no address yet. */
  get sourceIsUnspecified(): boolean {
    return (this.sourceWord(0) | this.sourceWord(1) | this.sourceWord(2) | this.sourceWord(3)) === 0;
  }

  get sourceIsMulticast(): boolean {
    return this.view.getUint8(this.start + 8) === 0xff;
  }

  get destinationIsMulticast(): boolean {
    return this.view.getUint8(this.start + 24) === 0xff;
  }

  /** fe80::/10: such a packet stays on its link. */
  get sourceIsLinkLocal(): boolean {
    return this.view.getUint16(this.start + 8) >>> 6 === 0x3fa;
  }

  get destinationIsLinkLocal(): boolean {
    return this.view.getUint16(this.start + 24) >>> 6 === 0x3fa;
  }

  /** Exchanges source and destination: checksums hold as before. */
  swapAddresses(): void {
    const { view, start } = this;
    for (let at = start + 8; at < start + 24; at += 4) {
      const word = view.getUint32(at);
      view.setUint32(at, view.getUint32(at + 16));
      view.setUint32(at + 16, word);
    }
  }

  /** One hop. Returns what is left; at 0 the packet is dead and nothing was changed. */
  decrementHopLimit(): number {
    const { view, start } = this;
    const left = view.getUint8(start + 7);
    if (left < 2) return 0;
    view.setUint8(start + 7, left - 1);
    return left - 1;
  }

  /** Is it a part of a datagram? A fragment header with offset 0 and nothing to follow is a whole one (RFC 6946): no part. */
  get isFragment(): boolean {
    return this.fragmentStart !== NOWHERE && (this.view.getUint16(this.fragmentStart + 2) & 0xfff9) !== 0;
  }

  /** In bytes; 0 without a fragment header. */
  get fragmentOffset(): number {
    return this.fragmentStart === NOWHERE ? 0 : this.view.getUint16(this.fragmentStart + 2) & 0xfff8;
  }

  get moreFragments(): boolean {
    return this.fragmentStart !== NOWHERE && (this.view.getUint16(this.fragmentStart + 2) & 1) !== 0;
  }

  /** 32 bits; 0 without a fragment header. */
  get identification(): number {
    return this.fragmentStart === NOWHERE ? 0 : this.view.getUint32(this.fragmentStart + 4);
  }
}

/** From its length field: in units of 8 bytes less the first, or, for AH, of 4 less two (RFC 4302 section 2.2). A fragment header's is reserved. */
function extensionBytes(type: number, field: number): number {
  if (type === PROTOCOL_FRAGMENT) return 8;
  return type === PROTOCOL_AH ? Math.max(8, (field + 2) << 2) : (field + 1) << 3;
}

import { adjustChecksum, sumBytes } from './checksum.js';
import { Header, NOWHERE } from './header.js';
import { optionBytes } from './options.js';
import * as protocol from './protocol_layout.js';

const { IPV4_MIN_BYTES } = protocol;

/** IPv4 (RFC 791), its options included. A header whose total length is smaller than itself is none. */
export class Ipv4 extends Header {
  /** Kind, bytes and place in the arena of the option that `nextOption` came to. */
  optionKind = 0;
  optionLength = 0;
  optionStart = NOWHERE;

  override at(handle: number, offset = 14, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + IPV4_MIN_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    const first = view.getUint8(start);
    const length = (first & 15) << 2;
    const total = view.getUint16(start + 2);
    if (first >>> 4 !== 4 || length < IPV4_MIN_BYTES || offset + length > last || (total < length && total !== 0)) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + length;
    // 0: a packet that is still to be cut into segments, as the kernel gives it to a capture.
    this.limit = total === 0 ? last : Math.min(last, offset + total);
    this.optionStart = NOWHERE;
    return true;
  }

  /**
   * Writes a header without options where the segment has room for it, and points the view at it: TTL 64, no fragment,
   * total length all that the segment has from `offset` on. Addresses are 0; call `updateChecksum` last.
   */
  make(handle: number, offset: number, protocol: number): boolean {
    const { mbufs, view } = this;
    const last = mbufs.dataLen(handle);
    if (!(offset >= 0 && offset + IPV4_MIN_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint32(start, 0x45000000 | (last - offset));
    view.setUint32(start + 4, 0);
    view.setUint32(start + 8, 0x40000000 | ((protocol & 0xff) << 16));
    view.setUint32(start + 12, 0);
    view.setUint32(start + 16, 0);
    return this.at(handle, offset);
  }

  /** Differentiated services code point, 6 bits (RFC 2474). */
  get dscp(): number {
    return this.view.getUint8(this.start + 1) >>> 2;
  }

  set dscp(value: number) {
    this.view.setUint8(this.start + 1, (value << 2) | this.ecn);
  }

  /** Explicit congestion notification, 2 bits (RFC 3168): 3 is "congestion experienced". */
  get ecn(): number {
    return this.view.getUint8(this.start + 1) & 3;
  }

  set ecn(value: number) {
    this.view.setUint8(this.start + 1, (this.view.getUint8(this.start + 1) & 0xfc) | (value & 3));
  }

  /** Bytes of header and payload, as the header says. */
  get totalLength(): number {
    return this.view.getUint16(this.start + 2);
  }

  set totalLength(value: number) {
    this.view.setUint16(this.start + 2, value);
  }

  get identification(): number {
    return this.view.getUint16(this.start + 4);
  }

  set identification(value: number) {
    this.view.setUint16(this.start + 4, value);
  }

  get dontFragment(): boolean {
    return (this.view.getUint8(this.start + 6) & 0x40) !== 0;
  }

  set dontFragment(value: boolean) {
    const flags = this.view.getUint8(this.start + 6);
    this.view.setUint8(this.start + 6, value ? flags | 0x40 : flags & ~0x40);
  }

  get moreFragments(): boolean {
    return (this.view.getUint8(this.start + 6) & 0x20) !== 0;
  }

  set moreFragments(value: boolean) {
    const flags = this.view.getUint8(this.start + 6);
    this.view.setUint8(this.start + 6, value ? flags | 0x20 : flags & ~0x20);
  }

  /** In bytes, not in the header's units of 8. */
  get fragmentOffset(): number {
    return (this.view.getUint16(this.start + 6) & 0x1fff) << 3;
  }

  set fragmentOffset(bytes: number) {
    const flags = this.view.getUint16(this.start + 6) & 0xe000;
    this.view.setUint16(this.start + 6, flags | ((bytes >>> 3) & 0x1fff));
  }

  /** Is it a part of a datagram, the first or a later one? Only the first has the ports. */
  get isFragment(): boolean {
    return (this.view.getUint16(this.start + 6) & 0x3fff) !== 0;
  }

  get ttl(): number {
    return this.view.getUint8(this.start + 8);
  }

  set ttl(value: number) {
    this.view.setUint8(this.start + 8, value);
  }

  /** PROTOCOL_*. */
  get protocol(): number {
    return this.view.getUint8(this.start + 9);
  }

  set protocol(value: number) {
    this.view.setUint8(this.start + 9, value);
  }

  get checksum(): number {
    return this.view.getUint16(this.start + 10);
  }

  set checksum(value: number) {
    this.view.setUint16(this.start + 10, value);
  }

  get source(): number {
    return this.view.getUint32(this.start + 12);
  }

  set source(value: number) {
    this.view.setUint32(this.start + 12, value);
  }

  get destination(): number {
    return this.view.getUint32(this.start + 16);
  }

  set destination(value: number) {
    this.view.setUint32(this.start + 16, value);
  }

  /** Does the header's checksum hold? */
  get checksumValid(): boolean {
    return sumBytes(this.view, this.start, this.length) === 0xffff;
  }

  updateChecksum(): void {
    this.checksum = 0;
    this.checksum = ~sumBytes(this.view, this.start, this.length);
  }

  /** One hop: TTL less one, the checksum after it (RFC 1624). Returns what is left; at 0 the packet is dead and nothing was changed. */
  decrementTtl(): number {
    const { view, start } = this;
    const word = view.getUint16(start + 8);
    if (word < 0x0200) return 0;
    view.setUint16(start + 8, word - 0x0100);
    view.setUint16(start + 10, adjustChecksum(view.getUint16(start + 10), word, word - 0x0100));
    return (word >>> 8) - 1;
  }

  /** Goes to the next option, to the first after `at`. False at the end, and at one that runs past the header. */
  nextOption(): boolean {
    const { view, start } = this;
    const end = start + this.length;
    const from = this.optionStart === NOWHERE ? start + IPV4_MIN_BYTES : this.optionStart + this.optionLength;
    const length = optionBytes(view, from, end);
    if (length === 0) return false;
    this.optionStart = from;
    this.optionLength = length;
    this.optionKind = view.getUint8(from);
    return true;
  }
}

import { Header, NOWHERE } from './header.js';
import { optionBytes } from './options.js';
import * as protocol from './protocol_layout.js';

const { TCP_MIN_BYTES } = protocol;

// Bits of `flags` (RFC 9293 section 3.1; ECE and CWR: RFC 3168; AE: RFC 9768).
export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;
export const TCP_ECE = 0x40;
export const TCP_CWR = 0x80;
export const TCP_AE = 0x100;

export const TCP_OPTION_MSS = 2;
export const TCP_OPTION_WINDOW_SCALE = 3;
export const TCP_OPTION_SACK_PERMITTED = 4;
export const TCP_OPTION_SACK = 5;
export const TCP_OPTION_TIMESTAMPS = 8;

/** TCP (RFC 9293), its options included. */
export class Tcp extends Header {
  /** Kind, bytes and place in the arena of the option that `nextOption` came to. */
  optionKind = 0;
  optionLength = 0;
  optionStart = NOWHERE;

  override at(handle: number, offset = 34, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + TCP_MIN_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    const length = (view.getUint8(start + 12) >>> 4) << 2;
    if (length < TCP_MIN_BYTES || offset + length > last) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + length;
    this.limit = last;
    this.optionStart = NOWHERE;
    return true;
  }

  /** Writes a header without options where the segment has room for it, all zero but for ports and length, and points the view at it. */
  make(handle: number, offset: number, sourcePort: number, destinationPort: number): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + TCP_MIN_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    for (let word = 0; word < TCP_MIN_BYTES; word += 4) view.setUint32(start + word, 0);
    view.setUint16(start, sourcePort);
    view.setUint16(start + 2, destinationPort);
    view.setUint8(start + 12, (TCP_MIN_BYTES >>> 2) << 4);
    return this.at(handle, offset);
  }

  get sourcePort(): number {
    return this.view.getUint16(this.start);
  }

  set sourcePort(value: number) {
    this.view.setUint16(this.start, value);
  }

  get destinationPort(): number {
    return this.view.getUint16(this.start + 2);
  }

  set destinationPort(value: number) {
    this.view.setUint16(this.start + 2, value);
  }

  get sequence(): number {
    return this.view.getUint32(this.start + 4);
  }

  set sequence(value: number) {
    this.view.setUint32(this.start + 4, value);
  }

  get acknowledgment(): number {
    return this.view.getUint32(this.start + 8);
  }

  set acknowledgment(value: number) {
    this.view.setUint32(this.start + 8, value);
  }

  /** TCP_*, added up; nine bits. */
  get flags(): number {
    return this.view.getUint16(this.start + 12) & 0x1ff;
  }

  set flags(value: number) {
    this.view.setUint16(this.start + 12, (this.view.getUint16(this.start + 12) & 0xfe00) | (value & 0x1ff));
  }

  /** As it stands, unscaled. */
  get window(): number {
    return this.view.getUint16(this.start + 14);
  }

  set window(value: number) {
    this.view.setUint16(this.start + 14, value);
  }

  get checksum(): number {
    return this.view.getUint16(this.start + 16);
  }

  set checksum(value: number) {
    this.view.setUint16(this.start + 16, value);
  }

  get urgentPointer(): number {
    return this.view.getUint16(this.start + 18);
  }

  set urgentPointer(value: number) {
    this.view.setUint16(this.start + 18, value);
  }

  /** Goes to the next option, to the first after `at`. False at the end, and at one that runs past the header. */
  nextOption(): boolean {
    const { view, start } = this;
    const from = this.optionStart === NOWHERE ? start + TCP_MIN_BYTES : this.optionStart + this.optionLength;
    const length = optionBytes(view, from, start + this.length);
    if (length === 0) return false;
    this.optionStart = from;
    this.optionLength = length;
    this.optionKind = view.getUint8(from);
    return true;
  }

  /** A 16-bit or 32-bit number `at` bytes into the option, 2 for the first behind kind and length; 0 when the option is shorter. */
  optionValue16(at: number): number {
    return at >= 0 && at + 2 <= this.optionLength ? this.view.getUint16(this.optionStart + at) : 0;
  }

  optionValue32(at: number): number {
    return at >= 0 && at + 4 <= this.optionLength ? this.view.getUint32(this.optionStart + at) : 0;
  }
}

import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

const { GRE_MIN_BYTES, MPLS_BYTES, VXLAN_BYTES } = protocol;

/** VXLAN (RFC 7348 section 5): eight bytes behind UDP, a whole Ethernet frame from `end` on. One without the I flag has no valid identifier, and is none. */
export class Vxlan extends Header {
  override at(handle: number, offset = 42, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + VXLAN_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    if ((view.getUint8(start) & 8) === 0) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + VXLAN_BYTES;
    this.limit = last;
    return true;
  }

  /** Writes the eight bytes where the segment has room for them, and points the view at them. */
  make(handle: number, offset: number, vni: number): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + VXLAN_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint32(start, 0x08000000);
    view.setUint32(start + 4, (vni << 8) >>> 0);
    return this.at(handle, offset);
  }

  /** VXLAN network identifier, 24 bits. */
  get vni(): number {
    return this.view.getUint32(this.start + 4) >>> 8;
  }

  set vni(value: number) {
    this.view.setUint32(this.start + 4, ((value << 8) | this.view.getUint8(this.start + 7)) >>> 0);
  }
}

/**
 * GRE (RFC 2784), with key and sequence number (RFC 2890). Version 0; the source routes of RFC 1701, which nobody sends,
 * are not followed, and a packet that has them is none.
 */
export class Gre extends Header {
  override at(handle: number, offset = 34, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + GRE_MIN_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    const flags = view.getUint16(start);
    const length = greBytes(flags);
    if ((flags & 0x4007) !== 0 || offset + length > last) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + length;
    this.limit = last;
    return true;
  }

  /** Writes a header where the segment has room for it, and points the view at it; with a key when one is given. */
  make(handle: number, offset: number, type: number, key?: number): boolean {
    const { mbufs, view } = this;
    const length = key === undefined ? GRE_MIN_BYTES : GRE_MIN_BYTES + 4;
    if (!(offset >= 0 && offset + length <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint16(start, key === undefined ? 0 : 0x2000);
    view.setUint16(start + 2, type);
    if (key !== undefined) view.setUint32(start + 4, key);
    return this.at(handle, offset);
  }

  /** EtherType of what is inside. */
  get type(): number {
    return this.view.getUint16(this.start + 2);
  }

  set type(value: number) {
    this.view.setUint16(this.start + 2, value);
  }

  get hasChecksum(): boolean {
    return (this.view.getUint8(this.start) & 0x80) !== 0;
  }

  get hasKey(): boolean {
    return (this.view.getUint8(this.start) & 0x20) !== 0;
  }

  get hasSequence(): boolean {
    return (this.view.getUint8(this.start) & 0x10) !== 0;
  }

  /** 0 where there is none. */
  get key(): number {
    return this.hasKey ? this.view.getUint32(this.start + (this.hasChecksum ? 8 : 4)) : 0;
  }

  set key(value: number) {
    if (this.hasKey) this.view.setUint32(this.start + (this.hasChecksum ? 8 : 4), value);
  }

  /** 0 where there is none. */
  get sequence(): number {
    return this.hasSequence ? this.view.getUint32(this.start + this.length - 4) : 0;
  }

  set sequence(value: number) {
    if (this.hasSequence) this.view.setUint32(this.start + this.length - 4, value);
  }
}

/** Bytes of a GRE header with these flags: checksum, key and sequence number take four each. */
export function greBytes(flags: number): number {
  return GRE_MIN_BYTES + ((flags & 0x8000) >>> 13) + ((flags & 0x2000) >>> 11) + ((flags & 0x1000) >>> 10);
}

/** One entry of an MPLS label stack (RFC 3032). Below the bottom one there is nothing that says what follows: the first four bits do, by custom (4, 6). */
export class Mpls extends Header {
  override at(handle: number, offset = 14, limit = 0xffff): boolean {
    const { mbufs } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + MPLS_BYTES <= last)) return false;
    this.start = mbufs.data(handle) + offset;
    this.offset = offset;
    this.end = offset + MPLS_BYTES;
    this.limit = last;
    return true;
  }

  /** Writes an entry where the segment has room for it, and points the view at it. */
  make(handle: number, offset: number, label: number, isBottom: boolean, ttl = 64): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + MPLS_BYTES <= mbufs.dataLen(handle))) return false;
    view.setUint32(mbufs.data(handle) + offset, ((label << 12) | (isBottom ? 0x100 : 0) | (ttl & 0xff)) >>> 0);
    return this.at(handle, offset);
  }

  /** 20 bits. */
  get label(): number {
    return this.view.getUint32(this.start) >>> 12;
  }

  set label(value: number) {
    this.view.setUint32(this.start, ((value << 12) | (this.view.getUint32(this.start) & 0xfff)) >>> 0);
  }

  /** Traffic class, 3 bits (RFC 5462). */
  get trafficClass(): number {
    return (this.view.getUint8(this.start + 2) >>> 1) & 7;
  }

  set trafficClass(value: number) {
    this.view.setUint8(this.start + 2, (this.view.getUint8(this.start + 2) & 0xf1) | ((value & 7) << 1));
  }

  get isBottom(): boolean {
    return (this.view.getUint8(this.start + 2) & 1) !== 0;
  }

  set isBottom(value: boolean) {
    const byte = this.view.getUint8(this.start + 2);
    this.view.setUint8(this.start + 2, value ? byte | 1 : byte & 0xfe);
  }

  get ttl(): number {
    return this.view.getUint8(this.start + 3);
  }

  set ttl(value: number) {
    this.view.setUint8(this.start + 3, value);
  }
}

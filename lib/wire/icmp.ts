import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

const { ICMP_BYTES } = protocol;

// ICMP (RFC 792)
export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;

// ICMPv6 (RFC 4443; neighbour discovery: RFC 4861)
export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
export const ICMPV6_ROUTER_SOLICITATION = 133;
export const ICMPV6_ROUTER_ADVERTISEMENT = 134;
export const ICMPV6_NEIGHBOR_SOLICITATION = 135;
export const ICMPV6_NEIGHBOR_ADVERTISEMENT = 136;
export const ICMPV6_REDIRECT = 137;

/**
 * ICMP and ICMPv6: the eight bytes that all messages of both have. `end` is where the message's body starts: echo data;
 * the packet that an error is about; a neighbour solicitation's target address.
 */
export class Icmp extends Header {
  override at(handle: number, offset = 34, limit = 0xffff): boolean {
    const { mbufs } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + ICMP_BYTES <= last)) return false;
    this.start = mbufs.data(handle) + offset;
    this.offset = offset;
    this.end = offset + ICMP_BYTES;
    this.limit = last;
    return true;
  }

  /** Writes the eight bytes where the segment has room for them, and points the view at them. The checksum is the caller's last step. */
  make(handle: number, offset: number, type: number, code = 0): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + ICMP_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint32(start, ((type << 24) | (code << 16)) >>> 0);
    view.setUint32(start + 4, 0);
    return this.at(handle, offset);
  }

  get type(): number {
    return this.view.getUint8(this.start);
  }

  set type(value: number) {
    this.view.setUint8(this.start, value);
  }

  get code(): number {
    return this.view.getUint8(this.start + 1);
  }

  set code(value: number) {
    this.view.setUint8(this.start + 1, value);
  }

  get checksum(): number {
    return this.view.getUint16(this.start + 2);
  }

  set checksum(value: number) {
    this.view.setUint16(this.start + 2, value);
  }

  /** Bytes 4 to 8 as one word: an MTU (ICMPv6 packet too big; ICMP has it in the low half), a gateway, a pointer. */
  get rest(): number {
    return this.view.getUint32(this.start + 4);
  }

  set rest(value: number) {
    this.view.setUint32(this.start + 4, value);
  }

  /** Of an echo. */
  get identifier(): number {
    return this.view.getUint16(this.start + 4);
  }

  set identifier(value: number) {
    this.view.setUint16(this.start + 4, value);
  }

  get sequence(): number {
    return this.view.getUint16(this.start + 6);
  }

  set sequence(value: number) {
    this.view.setUint16(this.start + 6, value);
  }
}

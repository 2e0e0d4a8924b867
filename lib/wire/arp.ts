import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

const { ARP_BYTES, ETHERTYPE_IPV4 } = protocol;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** ARP for IPv4 over Ethernet (RFC 826); `at` finds no other kind. */
export class Arp extends Header {
  override at(handle: number, offset = 14, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + ARP_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    if (view.getUint32(start) !== (0x10000 | ETHERTYPE_IPV4) || view.getUint16(start + 4) !== 0x0604) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + ARP_BYTES;
    this.limit = last;
    return true;
  }

  /** Writes one of all zero addresses where the segment has room for it, and points the view at it. */
  make(handle: number, offset: number, operation: number): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + ARP_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint32(start, 0x10000 | ETHERTYPE_IPV4);
    view.setUint32(start + 4, 0x06040000 | operation);
    for (let word = 8; word < ARP_BYTES; word += 4) view.setUint32(start + word, 0);
    return this.at(handle, offset);
  }

  /** ARP_REQUEST or ARP_REPLY. */
  get operation(): number {
    return this.view.getUint16(this.start + 6);
  }

  set operation(value: number) {
    this.view.setUint16(this.start + 6, value);
  }

  /** The sender's and the target's IPv4 addresses. */
  get senderAddress(): number {
    return this.view.getUint32(this.start + 14);
  }

  set senderAddress(value: number) {
    this.view.setUint32(this.start + 14, value);
  }

  get targetAddress(): number {
    return this.view.getUint32(this.start + 24);
  }

  set targetAddress(value: number) {
    this.view.setUint32(this.start + 24, value);
  }

  /** Where the MAC addresses stand in the arena. */
  get senderMacAt(): number {
    return this.start + 8;
  }

  get targetMacAt(): number {
    return this.start + 18;
  }

  /** Turns a request into the answer to it, in place: "`address` of the request is at `mac`". */
  reply(mac: Uint8Array): void {
    const { view, start } = this;
    const asker = view.getUint32(start + 14);
    const asked = view.getUint32(start + 24);
    for (let i = 0; i < 6; i++) {
      view.setUint8(start + 18 + i, view.getUint8(start + 8 + i));
      view.setUint8(start + 8 + i, mac[i]!);
    }
    view.setUint32(start + 14, asked);
    view.setUint32(start + 24, asker);
    this.operation = ARP_REPLY;
  }
}

import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

// V8 loads an imported constant at each use, and knows a module's own.
const { ETHERTYPE_MIN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD, ETHERTYPE_VLAN, ETHER_HEADER_BYTES, VLAN_TAGS_MAX, VLAN_TAG_BYTES } = protocol;

export function isVlanType(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ || type === ETHERTYPE_QINQ_OLD;
}

/**
 * An Ethernet header (IEEE 802.3 clause 3) and the VLAN tags behind it (802.1Q), at most four: `end` is where the
 * payload starts, `type` what it is. 802.3 frames that have a length instead of a type: `type` is that length, below
 * ETHERTYPE_MIN, and `limit` goes by it.
 */
export class Ethernet extends Header {
  /** EtherType of the payload, behind all tags. */
  type = 0;
  /** VLAN tags. */
  tags = 0;

  override at(handle: number, offset = 0, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + ETHER_HEADER_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    let end = ETHER_HEADER_BYTES;
    let type = view.getUint16(start + 12);
    while (isVlanType(type) && offset + end + VLAN_TAG_BYTES <= last && end < ETHER_HEADER_BYTES + VLAN_TAGS_MAX * VLAN_TAG_BYTES) {
      type = view.getUint16(start + end + 2);
      end += VLAN_TAG_BYTES;
    }
    this.start = start;
    this.offset = offset;
    this.end = offset + end;
    this.tags = (end - ETHER_HEADER_BYTES) >>> 2;
    this.type = type;
    this.limit = type < ETHERTYPE_MIN ? Math.min(last, offset + end + type) : last;
    return true;
  }

  /** Writes an untagged header where the segment has room for one, all zero but for its type, and points the view at it. */
  make(handle: number, offset: number, type: number): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + ETHER_HEADER_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    for (let word = 0; word < 12; word += 4) view.setUint32(start + word, 0);
    view.setUint16(start + 12, type);
    return this.at(handle, offset);
  }

  /** Is it sent to a group? Broadcast is one. */
  get isMulticast(): boolean {
    return (this.view.getUint8(this.start) & 1) !== 0;
  }

  get isBroadcast(): boolean {
    return this.view.getUint16(this.start) === 0xffff && this.view.getUint32(this.start + 2) === 0xffffffff;
  }

  /** Six bytes, wherever they stand: `copyDestination(mbufs.u8, other.start + 6)`. */
  setDestination(mac: Uint8Array, at = 0): void {
    for (let i = 0; i < 6; i++) this.view.setUint8(this.start + i, mac[at + i]!);
  }

  setSource(mac: Uint8Array, at = 0): void {
    for (let i = 0; i < 6; i++) this.view.setUint8(this.start + 6 + i, mac[at + i]!);
  }

  destinationIs(mac: Uint8Array, at = 0): boolean {
    for (let i = 0; i < 6; i++) if (this.view.getUint8(this.start + i) !== mac[at + i]) return false;
    return true;
  }

  sourceIs(mac: Uint8Array, at = 0): boolean {
    for (let i = 0; i < 6; i++) if (this.view.getUint8(this.start + 6 + i) !== mac[at + i]) return false;
    return true;
  }

  /** Exchanges destination and source. */
  swap(): void {
    const { view, start } = this;
    const high = view.getUint16(start);
    const low = view.getUint32(start + 2);
    view.setUint16(start, view.getUint16(start + 6));
    view.setUint32(start + 2, view.getUint32(start + 8));
    view.setUint16(start + 6, high);
    view.setUint32(start + 8, low);
  }

  /** VLAN identifier of the outermost tag, 0 for none. */
  get vlan(): number {
    return this.tags === 0 ? 0 : this.view.getUint16(this.start + ETHER_HEADER_BYTES) & 0xfff;
  }
}

/**
 * One VLAN tag: `vlan.at(handle, 12)` is the outermost, 16 the next, as a tag starts with the type that says so
 * (0x8100; 0x88a8 for the outer one of QinQ). `type` is of what follows.
 */
export class Vlan extends Header {
  override at(handle: number, offset = 12, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + VLAN_TAG_BYTES + 2 <= last)) return false;
    const start = mbufs.data(handle) + offset;
    if (!isVlanType(view.getUint16(start))) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + VLAN_TAG_BYTES + 2;
    this.limit = last;
    return true;
  }

  /** Puts a tag in front of the frame's type, into the headroom. Returns false when there is no room for it or no frame. */
  push(handle: number, tci: number, tpid: number = ETHERTYPE_VLAN): boolean {
    const { mbufs, view } = this;
    if (mbufs.dataLen(handle) < ETHER_HEADER_BYTES) return false;
    const start = mbufs.prepend(handle, VLAN_TAG_BYTES);
    if (start === 0) return false;
    for (let word = 0; word < 12; word += 4) view.setUint32(start + word, view.getUint32(start + word + VLAN_TAG_BYTES));
    view.setUint16(start + 12, tpid);
    view.setUint16(start + 14, tci);
    return this.at(handle, 12);
  }

  /** Takes the outermost tag out. Returns its TCI, -1 when the frame has none. */
  pop(handle: number): number {
    if (!this.at(handle, 12)) return -1;
    const { mbufs, view } = this;
    const tci = this.tci;
    const start = this.start - 12;
    for (let word = 8; word >= 0; word -= 4) view.setUint32(start + word + VLAN_TAG_BYTES, view.getUint32(start + word));
    mbufs.adjust(handle, VLAN_TAG_BYTES);
    this.start = NOWHERE;
    return tci;
  }

  get tpid(): number {
    return this.view.getUint16(this.start);
  }

  set tpid(value: number) {
    this.view.setUint16(this.start, value);
  }

  /** Tag control information: priority, drop eligible, identifier. */
  get tci(): number {
    return this.view.getUint16(this.start + 2);
  }

  set tci(value: number) {
    this.view.setUint16(this.start + 2, value);
  }

  /** VLAN identifier, 12 bits. */
  get id(): number {
    return this.tci & 0xfff;
  }

  set id(value: number) {
    this.tci = (this.tci & 0xf000) | (value & 0xfff);
  }

  /** Priority code point, 0 to 7. */
  get priority(): number {
    return this.tci >>> 13;
  }

  set priority(value: number) {
    this.tci = (this.tci & 0x1fff) | ((value & 7) << 13);
  }

  get dropEligible(): boolean {
    return (this.tci & 0x1000) !== 0;
  }

  get type(): number {
    return this.view.getUint16(this.start + 4);
  }

  set type(value: number) {
    this.view.setUint16(this.start + 4, value);
  }
}

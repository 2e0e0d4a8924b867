import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

const { UDP_BYTES } = protocol;

/** UDP (RFC 768). A length field that is smaller than the header is a mistake, and no UDP; 0 means all that is there (RFC 2675, and packets still to be cut). */
export class Udp extends Header {
  override at(handle: number, offset = 34, limit = 0xffff): boolean {
    const { mbufs, view } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + UDP_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    const total = view.getUint16(start + 4);
    if (total < UDP_BYTES && total !== 0) return false;
    this.start = start;
    this.offset = offset;
    this.end = offset + UDP_BYTES;
    this.limit = total === 0 ? last : Math.min(last, offset + total);
    return true;
  }

  /** Writes a header where the segment has room for it, and points the view at it; its length is all that the segment has from `offset` on. */
  make(handle: number, offset: number, sourcePort: number, destinationPort: number): boolean {
    const { mbufs, view } = this;
    const last = mbufs.dataLen(handle);
    if (!(offset >= 0 && offset + UDP_BYTES <= last)) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint16(start, sourcePort);
    view.setUint16(start + 2, destinationPort);
    view.setUint16(start + 4, last - offset);
    view.setUint16(start + 6, 0);
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

  /** The header's own field: bytes of header and data. */
  get lengthField(): number {
    return this.view.getUint16(this.start + 4);
  }

  set lengthField(value: number) {
    this.view.setUint16(this.start + 4, value);
  }

  /** 0: there is none (IPv4 only). */
  get checksum(): number {
    return this.view.getUint16(this.start + 6);
  }

  set checksum(value: number) {
    this.view.setUint16(this.start + 6, value);
  }
}

import { Header, NOWHERE } from './header.js';
import * as protocol from './protocol_layout.js';

const { SCTP_BYTES } = protocol;

/** SCTP's common header (RFC 9260 section 3.1), and its chunks one after the other. */
export class Sctp extends Header {
  /** Kind, flags, bytes (without padding) and place in the arena of the chunk that `nextChunk` came to. */
  chunkType = 0;
  chunkFlags = 0;
  chunkLength = 0;
  chunkStart = NOWHERE;

  override at(handle: number, offset = 34, limit = 0xffff): boolean {
    const { mbufs } = this;
    const last = Math.min(limit, mbufs.dataLen(handle));
    this.start = NOWHERE;
    if (!(offset >= 0 && offset + SCTP_BYTES <= last)) return false;
    this.start = mbufs.data(handle) + offset;
    this.offset = offset;
    this.end = offset + SCTP_BYTES;
    this.limit = last;
    this.chunkStart = NOWHERE;
    return true;
  }

  /** Writes a common header where the segment has room for it, and points the view at it. The checksum (CRC32c) is left 0. */
  make(handle: number, offset: number, sourcePort: number, destinationPort: number): boolean {
    const { mbufs, view } = this;
    if (!(offset >= 0 && offset + SCTP_BYTES <= mbufs.dataLen(handle))) return false;
    const start = mbufs.data(handle) + offset;
    view.setUint16(start, sourcePort);
    view.setUint16(start + 2, destinationPort);
    view.setUint32(start + 4, 0);
    view.setUint32(start + 8, 0);
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

  get verificationTag(): number {
    return this.view.getUint32(this.start + 4);
  }

  set verificationTag(value: number) {
    this.view.setUint32(this.start + 4, value);
  }

  /** CRC32c (RFC 9260 appendix A), as a number whose first byte on the wire is the high one. */
  get checksum(): number {
    return this.view.getUint32(this.start + 8);
  }

  set checksum(value: number) {
    this.view.setUint32(this.start + 8, value);
  }

  /** Goes to the next chunk, to the first after `at`. False at the end, and at one that is shorter than itself or runs past the packet. */
  nextChunk(): boolean {
    const { view, start } = this;
    const end = start + this.limit - this.offset;
    const from = this.chunkStart === NOWHERE ? start + SCTP_BYTES : this.chunkStart + ((this.chunkLength + 3) & ~3);
    if (from + 4 > end) return false;
    const length = view.getUint16(from + 2);
    if (length < 4 || from + length > end) return false;
    this.chunkStart = from;
    this.chunkType = view.getUint8(from);
    this.chunkFlags = view.getUint8(from + 1);
    this.chunkLength = length;
    return true;
  }
}

import type { Mbufs } from '../mbuf/mbufs.js';

/**
 * Where a view stands that found no header: every access is then outside the arena and throws a RangeError, so that a
 * program that did not ask whether there is one reads and writes nothing of another packet.
 */
export const NOWHERE = -0x40000000;

/**
 * A header in a packet, read and written in place through named accessors. A program makes one view of each kind for
 * each lcore and points it at packet after packet; nothing is allocated then.
 *
 *   if (ether.at(handle) && ether.type === ETHERTYPE_IPV4 && ip.at(handle, ether.end)) ip.ttl -= 1;
 *
 * `at` checks all lengths, once: what the header says of its own length, and that this stands in the packet. When it
 * returns false no accessor may be used. Only the mbuf's first segment is looked at: a header that is not whole in
 * there is not found.
 *
 * Numbers are as a person reads them: network byte order is turned, lengths are in bytes, addresses of IPv4 are one u32.
 * Each view has its own copy of the few lines of `at`, because a method that sees all kinds of views is slow in V8.
 */
export abstract class Header {
  /** Of the header's first byte, from the frame's first byte; in bytes. */
  offset = 0;
  /** The same, in the arena: `mbufs.u8[view.start]`. */
  start = NOWHERE;
  /** Behind the header, options and extension headers included: where the next header is, from the frame's first byte. */
  end = 0;
  /** Where the data that belongs to this header ends, from the frame's first byte: what the header says, and at most what the segment has. */
  limit = 0;
  readonly mbufs: Mbufs;
  protected readonly view: DataView;

  constructor(mbufs: Mbufs) {
    this.mbufs = mbufs;
    this.view = mbufs.view;
  }

  /**
   * Points the view at the header that starts `offset` bytes into the frame. `limit` is where the packet around it ends
   * (the outer view's `limit`); default the segment's end. Returns whether there is such a header, whole.
   */
  abstract at(handle: number, offset?: number, limit?: number): boolean;

  /** Bytes of the header, options and extension headers included. */
  get length(): number {
    return this.end - this.offset;
  }

  /** Bytes behind the header that belong to it. */
  get payloadLength(): number {
    return this.limit - this.end;
  }
}

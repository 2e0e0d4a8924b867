import { Burst } from '../burst/burst.js';
import * as layout from './layout.js';
import type { Mbufs } from './mbufs.js';
import type { Mempool } from './mempool.js';

const { MBUF_DATA_LEN, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } = layout;

/** New segments of one call: 64 KiB in the smallest buffers, and some more. */
const NEW_SEGMENTS = 64;

/**
 * Packets of several mbufs (DPDK's chained mbufs): the first one's header has the whole packet's length and the number
 * of segments, each has its own `data_len`, and `next` leads on. `pool.free` of the first frees them all.
 *
 * Sharing is by count: `clone` makes one more holder of each segment, `chain` puts a head of one's own in front of
 * segments that others hold too. What is shared may be read by all and changed by none: what would change a shared
 * segment refuses. (DPDK's indirect mbufs, a header of one's own onto a part of another's buffer, are not there: an
 * mbuf's contents stand at its handle, which is what makes a handle all that a port has to know.)
 *
 * Thread: the one that made it. Nothing here throws or allocates memory; new segments come from the pool.
 */
export class Chains {
  readonly pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #fresh: Burst;

  constructor(pool: Mempool) {
    this.pool = pool;
    this.#mbufs = pool.mbufs;
    this.#fresh = new Burst(pool.arena, NEW_SEGMENTS);
  }

  /** The segment after this one, 0 behind the last. */
  next(handle: number): number {
    return this.#mbufs.u32[(this.#mbufs.header(handle) + MBUF_NEXT) >>> 2]!;
  }

  last(handle: number): number {
    let last = handle;
    for (let i = 0, next = this.next(handle); next !== 0 && i < 65535; i++, next = this.next(last)) last = next;
    return last;
  }

  /**
   * Puts the packet `tail` behind the packet `head`: one packet then, `head`'s. False, and nothing changed, when that
   * would have more than 65535 segments, or when a segment that has to change (the first and last of `head`) is shared.
   */
  chain(head: number, tail: number): boolean {
    const last = this.last(head);
    const segments = this.#mbufs.segments(head) + this.#mbufs.segments(tail);
    if (head === tail || segments > 65535 || this.isShared(head) || this.isShared(last)) return false;
    this.#set32(last, MBUF_NEXT, tail);
    this.#set16(head, MBUF_NB_SEGS, segments);
    this.#set32(head, MBUF_PKT_LEN, this.#mbufs.pktLen(head) + this.#mbufs.pktLen(tail));
    return true;
  }

  /** One more holder of every segment. Each holder frees the packet once. */
  clone(handle: number): void {
    for (let i = 0, segment = handle; segment !== 0 && i < 65535; i++) {
      const next = this.next(segment);
      this.#mbufs.hold(segment);
      segment = next;
    }
  }

  isShared(handle: number): boolean {
    return this.#mbufs.refcnt(handle) !== 1;
  }

  /**
   * Grows the packet behind its end by `length` bytes that stand at `at` in the arena, into the last segment's room and
   * as many new ones as it takes. False when the pool has not so many, or a segment that has to change is shared:
   * nothing is changed then.
   */
  append(handle: number, at: number, length: number): boolean {
    const last = this.last(handle);
    if (this.isShared(handle) || this.isShared(last)) return false;
    const first = Math.min(length, this.#mbufs.tailroom(last));
    const more = Math.ceil((length - first) / this.pool.room);
    if (more > 0 && (more > NEW_SEGMENTS || this.pool.alloc(this.#fresh, more) === 0)) return false;
    this.#fill(last, at, first);
    let done = first;
    for (let i = 0, before = last; i < more; i++, before = this.next(before)) {
      const segment = this.#fresh.handles[i]!;
      const part = Math.min(length - done, this.pool.room);
      this.#fill(segment, at + done, part);
      this.#set32(segment, MBUF_PKT_LEN, part);
      this.#set32(before, MBUF_NEXT, segment);
      done += part;
    }
    this.#set16(handle, MBUF_NB_SEGS, this.#mbufs.segments(handle) + more);
    this.#set32(handle, MBUF_PKT_LEN, this.#mbufs.pktLen(handle) + length);
    return true;
  }

  /** Copies `length` bytes of the packet, from `offset` on, to `to` in the arena. Returns how many it had. */
  read(handle: number, offset: number, length: number, to: number): number {
    const { u8 } = this.#mbufs;
    let [skip, done] = [offset, 0];
    for (let i = 0, segment = handle; segment !== 0 && done < length && i < 65535; i++, segment = this.next(segment)) {
      const bytes = this.#mbufs.dataLen(segment);
      const from = Math.min(skip, bytes);
      const part = Math.min(bytes - from, length - done);
      const start = this.#mbufs.data(segment) + from;
      u8.copyWithin(to + done, start, start + part);
      skip -= from;
      done += part;
    }
    return done;
  }

  /**
   * Moves all into the first segment, so that views can see it. False, and nothing changed, when the buffer is too small
   * or the first segment is shared.
   */
  linearise(handle: number): boolean {
    const rest = this.next(handle);
    if (rest === 0) return true;
    const length = this.#mbufs.pktLen(handle) - this.#mbufs.dataLen(handle);
    if (this.isShared(handle) || length > this.#mbufs.tailroom(handle)) return false;
    const end = this.#mbufs.data(handle) + this.#mbufs.dataLen(handle);
    const got = this.read(rest, 0, length, end);
    this.#set16(handle, MBUF_DATA_LEN, this.#mbufs.dataLen(handle) + got);
    this.#cut(handle);
    this.#free(rest);
    return true;
  }

  /**
   * Cuts the packet in two: `handle` keeps the first `at` bytes, the rest is a packet of its own, whose handle is
   * returned. 0, and nothing changed, when there are no bytes on one side, a segment that has to change is shared, or the
   * pool is dry. Within a segment the rest of that segment is copied.
   */
  split(handle: number, at: number): number {
    const whole = this.#mbufs.pktLen(handle);
    if (!(at > 0 && at < whole) || this.isShared(handle)) return 0;
    let [segment, before, segments] = [handle, 0, 1];
    while (before + this.#mbufs.dataLen(segment) < at && this.next(segment) !== 0) {
      before += this.#mbufs.dataLen(segment);
      segment = this.next(segment);
      segments++;
    }
    const kept = at - before;
    const moved = this.#mbufs.dataLen(segment) - kept;
    const following = this.next(segment);
    if (this.isShared(segment) || (moved <= 0 && this.isShared(following)) || moved > this.pool.room) return 0;
    if (moved > 0 && this.pool.alloc(this.#fresh, 1) === 0) return 0;
    const second = moved > 0 ? this.#fresh.handles[0]! : following;
    const total = this.#mbufs.segments(handle);
    if (moved > 0) {
      this.#fill(second, this.#mbufs.data(segment) + kept, moved);
      this.#set32(second, MBUF_NEXT, following);
      this.#set16(segment, MBUF_DATA_LEN, kept);
    }
    this.#set32(segment, MBUF_NEXT, 0);
    this.#set16(second, MBUF_NB_SEGS, total - segments + (moved > 0 ? 1 : 0));
    this.#set32(second, MBUF_PKT_LEN, whole - at);
    this.#set16(handle, MBUF_NB_SEGS, segments);
    this.#set32(handle, MBUF_PKT_LEN, at);
    return second;
  }

  /** Grows the packet by bytes from outside the arena; a whole jumbo frame into a new mbuf. As `append`. */
  copyIn(handle: number, bytes: Uint8Array): boolean {
    const last = this.last(handle);
    const more = Math.ceil(Math.max(0, bytes.length - this.#mbufs.tailroom(last)) / this.pool.room);
    if (more > NEW_SEGMENTS) return false;
    // Room is made first, with whatever stands there, and written over.
    const start = this.#mbufs.pktLen(handle);
    if (!this.append(handle, this.#mbufs.data(handle), bytes.length)) return false;
    this.#overwrite(handle, start, bytes);
    return true;
  }

  /** A copy of the packet's bytes, all segments; for looking. */
  copyOut(handle: number): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let i = 0, segment = handle; segment !== 0 && i < 65535; i++, segment = this.next(segment)) parts.push(this.#mbufs.copyOut(segment));
    return Uint8Array.from(Buffer.concat(parts));
  }

  /** Gives its vector's memory back; packets are not touched. */
  close(): void {
    this.#fresh.close();
  }

  #overwrite(handle: number, start: number, bytes: Uint8Array): void {
    let [skip, done] = [start, 0];
    for (let segment = handle; segment !== 0 && done < bytes.length; segment = this.next(segment)) {
      const length = this.#mbufs.dataLen(segment);
      const from = Math.min(skip, length);
      const part = Math.min(length - from, bytes.length - done);
      this.#mbufs.u8.set(bytes.subarray(done, done + part), this.#mbufs.data(segment) + from);
      skip -= from;
      done += part;
    }
  }

  /** Copies bytes behind a segment's end. */
  #fill(segment: number, at: number, length: number): void {
    const end = this.#mbufs.data(segment) + this.#mbufs.dataLen(segment);
    this.#mbufs.u8.copyWithin(end, at, at + length);
    this.#set16(segment, MBUF_DATA_LEN, this.#mbufs.dataLen(segment) + length);
  }

  /** A packet of one segment from now on. */
  #cut(handle: number): void {
    this.#set32(handle, MBUF_NEXT, 0);
    this.#set16(handle, MBUF_NB_SEGS, 1);
  }

  #free(handle: number): void {
    this.#fresh.handles[0] = handle;
    this.pool.free(this.#fresh, 0, 1);
  }

  #set16(handle: number, field: number, value: number): void {
    this.#mbufs.u16[(this.#mbufs.header(handle) + field) >>> 1] = value;
  }

  #set32(handle: number, field: number, value: number): void {
    this.#mbufs.u32[(this.#mbufs.header(handle) + field) >>> 2] = value;
  }
}

/** A memif client that shares its pool, in plain TypeScript: what its two directions know of a ring, which is explained in memif/layout.ts. The fast double is assembly/memif_zc.ts; neither calls the other. */
import {
  MEMIF_DESC_OFFSET, MEMIF_DESC_SHIFT, MEMIF_NEXT, MEMIF_OURS, MEMIF_POSTED, MEMIF_RING, MEMIF_SIDE, MEMIF_THEIRS, POOL_REGION, RING_DESCS,
} from '../port/drivers/memif/layout.js';
import { DEVICE_BAD_INDEX, VQ_POOL, VQ_SIZE } from '../virtqueue/layout.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';

export interface MemifZcRing {
  /** Descriptors that the server is done with and that were not looked at; none, and counted, when its index jumps. */
  doneCount(queue: number): number;
  /** Descriptors that are out. */
  outCount(queue: number): number;
  /** Offset of a descriptor. */
  slotAt(queue: number, index: number): number;
  /** Offset of the client's own note of the mbuf that a descriptor is. */
  sideAt(queue: number, index: number): number;
  /** Writes a descriptor and the note. `place`: the bytes' offset in the arena. */
  post(queue: number, index: number, place: number, length: number, flags: number, handle: number): void;
  /** All before this index are the server's. */
  publish(queue: number, posted: number): void;
}

export function memifZcRing(views: ArenaViews): MemifZcRing {
  const { u16, u32 } = views;
  const { field, setField } = queueMbufs(views);
  return { doneCount, outCount, slotAt, sideAt, post, publish };

  function doneCount(queue: number): number {
    // Pairs with the server's release of its index: its buffers, and in what it fills the descriptors, before it.
    const done = (Atomics.load(u16, field(queue, MEMIF_THEIRS) >>> 1) - field(queue, MEMIF_NEXT)) & 0xffff;
    if (done <= outCount(queue)) return done;
    count64(u32, queue + DEVICE_BAD_INDEX, 1);
    return 0;
  }

  function outCount(queue: number): number {
    return (field(queue, MEMIF_POSTED) - field(queue, MEMIF_NEXT)) & 0xffff;
  }

  function slotAt(queue: number, index: number): number {
    return field(queue, MEMIF_RING) + RING_DESCS + ((index & (field(queue, VQ_SIZE) - 1)) << MEMIF_DESC_SHIFT);
  }

  function sideAt(queue: number, index: number): number {
    return field(queue, MEMIF_SIDE) + ((index & (field(queue, VQ_SIZE) - 1)) << 2);
  }

  function post(queue: number, index: number, place: number, length: number, flags: number, handle: number): void {
    const at = slotAt(queue, index) >>> 2;
    u32[at] = flags | (POOL_REGION << 16);
    u32[at + 1] = length;
    u32[at + (MEMIF_DESC_OFFSET >> 2)] = place - field(queue, VQ_POOL);
    setField(sideAt(queue, index), 0, handle);
  }

  function publish(queue: number, posted: number): void {
    setField(queue, MEMIF_POSTED, posted & 0xffff);
    Atomics.store(u16, field(queue, MEMIF_OURS) >>> 1, posted);
  }
}

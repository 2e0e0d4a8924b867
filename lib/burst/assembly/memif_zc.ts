/** A memif client that shares its pool: what its two directions know of a ring, which is explained in memif/layout.ts. The twin is burst/memif_zc.ts. */
import { MEMIF_NEXT, MEMIF_POSTED, MEMIF_SIDE, MEMIF_THEIRS } from '../../port/drivers/memif/layout';
import { DEVICE_BAD_INDEX, VQ_SIZE } from '../../virtqueue/layout';
import { count64 } from './memory_ports';

/** Descriptors that the server is done with and that were not looked at; none, and counted, when its index jumps. */
// @ts-ignore: decorator
@inline
export function doneCount(queue: usize): u32 {
  const next = load<u32>(queue, MEMIF_NEXT);
  // Pairs with the server's release of its index: its buffers, and in what it fills the descriptors, before it.
  const done = ((atomic.load<u16>(load<u32>(queue, MEMIF_THEIRS)) as u32) - next) & 0xffff;
  if (done <= ((load<u32>(queue, MEMIF_POSTED) - next) & 0xffff)) return done;
  count64(queue + DEVICE_BAD_INDEX, 1);
  return 0;
}

// @ts-ignore: decorator
@inline
export function sideAt(queue: usize, index: u32): usize {
  return (load<u32>(queue, MEMIF_SIDE) as usize) + (((index & (load<u32>(queue, VQ_SIZE) - 1)) as usize) << 2);
}

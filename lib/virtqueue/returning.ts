/** What was out in a driver's virtqueue comes back, once the device has no reach into it any more. */
import { burstFunctions } from '../burst/module.js';
import { HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../mbuf/layout.js';
import type { Mempool } from '../mbuf/mempool.js';
import { outstanding } from './driver.js';
import { VECTOR, VQ_PART_HEAD, VQ_SCRATCH, VQ_SIZE } from './layout.js';
import type { QueueFields } from './state.js';

/** Every mbuf of a stopped queue goes back to the pool, and the queue has no ring any more. Returns how many packets or buffers that were. */
export function takeBack(queue: QueueFields, pool: Mempool): number {
  if (queue.get(VQ_SIZE) === 0) return 0;
  const handles = outstanding(queue);
  giveBack(queue, pool.offset, handles);
  queue.set(VQ_PART_HEAD, 0);
  queue.set(VQ_SIZE, 0);
  return handles.length;
}

/** Packets of a stopped queue go back to the pool at that offset; `VQ_SCRATCH` must be there. */
export function giveBack(queue: QueueFields, pool: number, handles: readonly number[]): void {
  const { arena } = queue;
  const vector = queue.get(VQ_SCRATCH) + VECTOR;
  for (const handle of handles) {
    own(queue, handle);
    arena.u32[vector >>> 2] = handle;
    burstFunctions(arena).mbufFree(pool, arena.lcore, vector, 1);
  }
}

/** All segments of a packet are the program's again. */
function own({ arena: { u16, u32, table, lcore } }: QueueFields, first: number): void {
  let handle = first;
  for (let left = u16[(table + (first << HEADER_SHIFT) + MBUF_NB_SEGS) >>> 1]!; left > 0 && handle !== 0; left--) {
    const header = (table + (handle << HEADER_SHIFT)) >>> 0;
    u32[(header + MBUF_OWNER) >>> 2] = (OWNER_APP << OWNER_SHIFT) | lcore;
    handle = u32[(header + MBUF_NEXT) >>> 2]!;
  }
}

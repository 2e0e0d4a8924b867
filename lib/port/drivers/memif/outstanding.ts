/** The mbufs that a client has lent to its server, when the server has no more reach into them, or their lcore has died. */
import type { Mempool } from '../../../mbuf/mempool.js';
import { HEADER_SHIFT, MBUF_OWNER } from '../../../mbuf/layout.js';
import { giveBack } from '../../../virtqueue/returning.js';
import { VQ_SIZE } from '../../../virtqueue/layout.js';
import { QUEUE_POOL } from '../../layout.js';
import type { QueueView } from '../../queue_view.js';
import { repairVirtqueue } from '../../virtqueue_attach.js';
import { MEMIF_NEXT, MEMIF_POSTED, MEMIF_SIDE, MEMIF_THEIRS } from './layout.js';

/** Of a stopped queue that shares its pool: all that is out goes back. Returns how many packets the server had not taken. */
export function takeBack(queue: QueueView, pool: Mempool): number {
  const size = queue.get(VQ_SIZE);
  if (size === 0) return 0;
  const { u16, u32 } = queue.arena;
  const [next, side] = [queue.get(MEMIF_NEXT), queue.get(MEMIF_SIDE) >>> 2];
  const out = (queue.get(MEMIF_POSTED) - next) & 0xffff;
  const taken = (Atomics.load(u16, queue.get(MEMIF_THEIRS) >>> 1) - next) & 0xffff;
  const lent = Array.from({ length: out }, (_, i) => u32[side + ((next + i) & (size - 1))]!);
  giveBack(queue, pool.offset, lent.filter(handle => handle !== 0));
  u32.fill(0, side, side + size);
  queue.set(VQ_SIZE, 0);
  // An index that jumps says nothing.
  return lent.filter((handle, i) => handle !== 0 && (i >= taken || taken > out)).length;
}

/**
 * After the death of the lcore that polled the queue, perhaps in the middle of a burst: nobody is in it any more, and what
 * was noted but not handed over goes back, where it is the queue's already; the rest is the dead lcore's.
 */
export function repairMemif(queue: QueueView): void {
  const [size, side] = [queue.get(VQ_SIZE), queue.get(MEMIF_SIDE) >>> 2];
  if (side !== 0 && size !== 0) {
    const { arena: { u32, table } } = queue;
    const next = queue.get(MEMIF_NEXT);
    const out = (queue.get(MEMIF_POSTED) - next) & 0xffff;
    const places = Array.from({ length: size - out }, (_, i) => side + ((next + out + i) & (size - 1)));
    const isOurs = (handle: number): boolean => handle !== 0 && u32[(table + (handle << HEADER_SHIFT) + MBUF_OWNER) >>> 2] === queue.owner;
    giveBack(queue, queue.get(QUEUE_POOL), places.map(place => u32[place]!).filter(isOurs));
    for (const place of places) u32[place] = 0;
  }
  repairVirtqueue(queue);
}

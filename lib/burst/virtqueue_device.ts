/** The device's side of the rings, in plain TypeScript: both kinds, and what is done around them for a driver whose memory is not in the arena. */
import { VQ_FLAGS, VQ_IN_ORDER, VQ_OUTSIDE, VQ_SCRATCH } from '../virtqueue/layout.js';
import type { OutsideFunctions } from './outside.js';
import { queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import { gatherFunctions } from './virtqueue_gather.js';
import { putFunctions } from './virtqueue_put.js';

export interface DeviceRingFunctions {
  /** Up to `want` chains that were made available, flattened into the scratch memory. They stay available until `put`. Returns how many. */
  gather(queue: number, want: number, writable: number): number;
  /**
   * Gives the first `count` gathered chains back, each with the bytes that were written into it; `together` says that
   * there are none, so that one entry can stand for all where buffers are used in order.
   */
  put(queue: number, count: number, together: boolean): void;
}

export function deviceRingFunctions(views: ArenaViews, queues: VirtqueueFunctions, outsides: OutsideFunctions): DeviceRingFunctions {
  const { field } = queueMbufs(views);
  const { gatherSplit, gatherPacked } = gatherFunctions(views, queues, outsides);
  const { putSplit, putPacked } = putFunctions(views, queues);
  return {
    gather: (queue, want, writable) => {
      const outside = field(queue, VQ_OUTSIDE);
      if (outside !== 0) outsides.begin(outside);
      const chains = queues.isPacked(queue) ? gatherPacked(queue, want, writable) : gatherSplit(queue, want, writable);
      if (outside !== 0 && writable === 0) outsides.fetch(outside);
      return chains;
    },
    put: (queue, count, together) => {
      const outside = field(queue, VQ_OUTSIDE);
      if (outside !== 0 && !together) outsides.store(outside, field(queue, VQ_SCRATCH), count);
      const single = together && (field(queue, VQ_FLAGS) & VQ_IN_ORDER) !== 0;
      if (queues.isPacked(queue)) putPacked(queue, count, single);
      else putSplit(queue, count, single);
    },
  };
}

/** A virtqueue's queue in the hands of another thread than the one that opened its port. */
import { PollmodeError } from '../errors.js';
import { VQ_LOCK } from '../virtqueue/layout.js';
import { QUEUE_LCORE } from './layout.js';
import type { QueueView } from './queue_view.js';

/** The other side's memory and its eventfds are the opening process's; its threads share them. Throws EUNSUPPORTED. */
export function ofThisProcess(state: QueueView): QueueView {
  const zone = state.arena.zones().find(({ offset }) => offset === state.offset);
  if (zone?.pid === process.pid) return state;
  Atomics.store(state.arena.u32, (state.offset + QUEUE_LCORE) >>> 2, 0);
  throw new PollmodeError('EUNSUPPORTED', 'A queue whose other end shares its memory by a socket is polled in the process that opened it: hand its packets to another through a ring.');
}

/**
 * After the death of the lcore that polled the queue, perhaps in the middle of a burst: nobody is in it any more. What it
 * had begun was not published, and is begun again; ids that a driver had taken for it stay taken until close.
 */
export function repairVirtqueue(state: QueueView): void {
  Atomics.store(state.arena.u32, (state.offset + VQ_LOCK) >>> 2, 0);
}

/** What set-up does to either side of a virtqueue: taking it away from bursts, and its wishes to be told. */
import type { Arena } from '../arena/arena.js';
import { PollmodeError } from '../errors.js';
import type { RingFormat } from './features.js';
import {
  EVENT_AT, EVENT_DISABLE, EVENT_ENABLE, NO_EVENTS, VQ_EVENT_IDX, VQ_FLAGS, VQ_HEADER, VQ_IN_ORDER, VQ_INDIRECT, VQ_LOCK, VQ_MERGEABLE,
  VQ_NOTIFY, VQ_PACKED, VQ_READY, VQ_SIZE,
} from './layout.js';

/** A queue's state in the arena: a port's QueueView is one. */
export interface QueueFields {
  readonly arena: Arena;
  readonly offset: number;
  get(field: number): number;
  set(field: number, value: number): void;
}

/** A burst takes microseconds, but its thread may not be running. */
const WAIT_MS = 2000;

/**
 * Runs `work` while no burst is in the queue. Throws EBUSYQUEUE when one does not end: its thread hangs. A dead lcore's
 * is taken away.
 */
export function withQueue<T>(queue: QueueFields, work: () => T): T {
  const { i32, lcore } = queue.arena;
  const lock = (queue.offset + VQ_LOCK) >>> 2;
  const deadline = performance.now() + WAIT_MS;
  for (let held: number; (held = Atomics.compareExchange(i32, lock, 0, lcore + 1)) !== 0;) {
    if (held === lcore + 1 || isDead(queue, held - 1)) {
      Atomics.compareExchange(i32, lock, held, 0);
    } else if (performance.now() > deadline) {
      throw new PollmodeError('EBUSYQUEUE', `Lcore ${held - 1} has been in a burst of a virtqueue for ${WAIT_MS / 1000} seconds: end that thread, and recover it (recoverDead).`);
    } else {
      Atomics.wait(i32, lock, held, 1);
    }
  }
  try {
    return work();
  } finally {
    Atomics.store(i32, lock, 0);
  }
}

function isDead({ arena }: QueueFields, lcore: number): boolean {
  return arena.lcores().find(each => each.lcore === lcore)?.life === 'dead';
}

/** No burst does anything from here on, and none is in the queue. */
export function stopQueue(queue: QueueFields): void {
  withQueue(queue, () => {
    queue.set(VQ_READY, 0);
    queue.set(VQ_NOTIFY, 0);
  });
}

/** Bursts work from here on. */
export function openQueue(queue: QueueFields): void {
  withQueue(queue, () => { queue.set(VQ_READY, 1); });
}

export function formatFlags({ packed, eventIdx, mergeable, indirect, inOrder }: RingFormat): number {
  return (packed ? VQ_PACKED : 0) | (eventIdx ? VQ_EVENT_IDX : 0) | (mergeable ? VQ_MERGEABLE : 0) | (indirect ? VQ_INDIRECT : 0)
    | (inOrder ? VQ_IN_ORDER : 0);
}

export function describeFormat(queue: QueueFields, format: RingFormat, size: number): void {
  queue.set(VQ_FLAGS, formatFlags(format));
  queue.set(VQ_HEADER, format.header);
  queue.set(VQ_SIZE, size);
}

/**
 * Says whether the other side is to tell when it goes on. `own` is where this side says so (its ring's flags, or its event
 * suppression), `event` where its event index stands in a split ring, and `next` the place that is looked at next.
 * The full barrier pairs with the other side's, between its index and its look at this wish: whoever asks for it looks
 * once more whether something came before.
 */
export function wishEvents(queue: QueueFields, wanted: boolean, own: number, event: number, next: number): void {
  const { u16, u32, i32 } = queue.arena;
  const flags = queue.get(VQ_FLAGS);
  const indexed = (flags & VQ_EVENT_IDX) !== 0;
  if ((flags & VQ_PACKED) !== 0) {
    const kind = wanted ? indexed ? EVENT_AT : EVENT_ENABLE : EVENT_DISABLE;
    u32[own >>> 2] = (next & 0xffff) | (kind << 16);
  } else {
    // With event indices the flags mean nothing (2.7.7), and an index that was just passed is not passed again for 2^16.
    u16[own >>> 1] = wanted || indexed ? 0 : NO_EVENTS;
    if (indexed) u16[event >>> 1] = wanted ? next : next - 1;
  }
  Atomics.add(i32, (queue.offset + VQ_LOCK) >>> 2, 0);
}


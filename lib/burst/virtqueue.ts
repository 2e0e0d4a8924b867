/** What both sides of a virtqueue do, in plain TypeScript: its lock, and whether the other side is to be told. The fast double is assembly/virtqueue.ts; neither calls the other. */
import {
  EVENT_AT, EVENT_DISABLE, NO_EVENTS, RING_ENTRIES, VQ_EVENT_IDX, VQ_FLAGS, VQ_LOCK, VQ_NOTIFY, VQ_PACKED, VQ_READY, VQ_SIZE, VQ_TELL,
} from '../virtqueue/layout.js';
import type { ArenaViews } from './views.js';

export interface VirtqueueFunctions {
  /** Takes the queue for a burst; false while set-up has it. */
  enter(queue: number, lcore: number): boolean;
  leave(queue: number): void;
  isPacked(queue: number): boolean;
  tellSplit(queue: number, flags: number, event: number, index: number, old: number): void;
  tellPacked(queue: number, suppression: number, next: number, count: number): void;
  tellUnlessDisabled(queue: number, suppression: number): void;
}

export function virtqueueFunctions({ u16, u32 }: ArenaViews): VirtqueueFunctions {
  return { enter, leave, isPacked, tellSplit, tellPacked, tellUnlessDisabled };

  function enter(queue: number, lcore: number): boolean {
    if (field(queue, VQ_READY) === 0) return false;
    if (Atomics.compareExchange(u32, (queue + VQ_LOCK) >>> 2, 0, lcore + 1) !== 0) return false;
    if (field(queue, VQ_READY) !== 0) return true;
    leave(queue);
    return false;
  }

  function leave(queue: number): void {
    Atomics.store(u32, (queue + VQ_LOCK) >>> 2, 0);
  }

  function isPacked(queue: number): boolean {
    return (field(queue, VQ_FLAGS) & VQ_PACKED) !== 0;
  }

  /** Does the other side want to be told that the index went from `old` on? Its wishes are `flags`, and the event index `event`. */
  function tellSplit(queue: number, flags: number, event: number, index: number, old: number): void {
    if (field(queue, VQ_TELL) === 0xffffffff) return;
    // A full barrier: the index is seen before the wish is read. Pairs with the other side's, which says its wish and then looks at the index.
    const before = Atomics.exchange(u32, (queue + VQ_NOTIFY) >>> 2, 0);
    const wanted = (field(queue, VQ_FLAGS) & VQ_EVENT_IDX) !== 0
      ? ((index - u16[event >>> 1] - 1) & 0xffff) < ((index - old) & 0xffff)
      : (u16[flags >>> 1] & NO_EVENTS) === 0;
    if (wanted || before !== 0) u32[(queue + VQ_NOTIFY) >>> 2] = 1;
  }

  /** The same in a packed queue that went on by `count` descriptors to `next`. */
  function tellPacked(queue: number, suppression: number, next: number, count: number): void {
    if (field(queue, VQ_TELL) === 0xffffffff) return;
    const before = Atomics.exchange(u32, (queue + VQ_NOTIFY) >>> 2, 0);
    if (wantsPacked(queue, u32[suppression >>> 2], next, count) || before !== 0) u32[(queue + VQ_NOTIFY) >>> 2] = 1;
  }

  /** To the device of a packed queue, which may sleep far behind the place that it named last: see the double. */
  function tellUnlessDisabled(queue: number, suppression: number): void {
    if (field(queue, VQ_TELL) === 0xffffffff) return;
    const before = Atomics.exchange(u32, (queue + VQ_NOTIFY) >>> 2, 0);
    if (((u32[suppression >>> 2] >>> 16) & 3) !== EVENT_DISABLE || before !== 0) u32[(queue + VQ_NOTIFY) >>> 2] = 1;
  }

  function wantsPacked(queue: number, wish: number, next: number, count: number): boolean {
    const kind = (wish >>> 16) & 3;
    if (kind !== EVENT_AT || (field(queue, VQ_FLAGS) & VQ_EVENT_IDX) === 0) return kind !== EVENT_DISABLE;
    // A place in the turn before this one is that much further back.
    const event = (wish & 0x7fff) - (((wish ^ next) & 0x8000) !== 0 ? field(queue, VQ_SIZE) : 0);
    return (((next & 0x7fff) - event - 1) & 0xffff) < (count & 0xffff);
  }

  function field(queue: number, name: number): number {
    return u32[(queue + name) >>> 2];
  }
}

/** Where the used ring's event index stands: behind the available ring's entries; and the other way round. */
export function usedEvent(avail: number, size: number): number {
  return avail + RING_ENTRIES + size * 2;
}

export function availEvent(used: number, size: number): number {
  return used + RING_ENTRIES + size * 8;
}

/** `count` places on in a packed ring; the wrap counter changes at its end. */
export function advance(next: number, count: number, size: number): number {
  const index = (next & 0x7fff) + count;
  return index >= size ? (~next & 0x8000) | (index - size) : (next & 0x8000) | index;
}

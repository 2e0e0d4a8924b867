/** What both sides of a virtqueue do: its lock, and whether the other side is to be told. The twin is burst/virtqueue.ts; the words are explained in virtqueue/layout.ts. */
import {
  EVENT_AT, EVENT_DISABLE, NO_EVENTS, RING_ENTRIES, VQ_EVENT_IDX, VQ_FLAGS, VQ_LOCK, VQ_NOTIFY, VQ_PACKED, VQ_READY, VQ_SIZE, VQ_TELL,
} from '../../virtqueue/layout';
import { publish } from './publish';

/** Takes the queue for a burst. Set-up holds it while it moves the rings; then there is no burst. */
// @ts-ignore: decorator
@inline
export function enter(queue: usize, lcore: u32): bool {
  if (!load<u32>(queue, VQ_READY)) return false;
  if (atomic.cmpxchg<u32>(queue, 0, lcore + 1, VQ_LOCK) != 0) return false;
  // Set-up may have been in between.
  if (load<u32>(queue, VQ_READY)) return true;
  leave(queue);
  return false;
}

// @ts-ignore: decorator
@inline
export function leave(queue: usize): void {
  publish(queue + VQ_LOCK, 0);
}

// @ts-ignore: decorator
@inline
export function isPacked(queue: usize): bool {
  return (load<u32>(queue, VQ_FLAGS) & VQ_PACKED) != 0;
}

/** In a split queue that went from `old` to `index` (mod 2^16), does the other side want to be told? Its wishes are `flags`, and the event index `event`. */
// @ts-ignore: decorator
@inline
export function tellSplit(queue: usize, flags: usize, event: usize, index: u32, old: u32): void {
  if (load<u32>(queue, VQ_TELL) == 0xffffffff) return;
  // A full barrier: the index is seen before the wish is read. Pairs with the other side's, which says its wish and then looks at the index.
  const before = atomic.xchg<u32>(queue, 0, VQ_NOTIFY);
  const wanted = load<u32>(queue, VQ_FLAGS) & VQ_EVENT_IDX
    ? ((index - (load<u16>(event) as u32) - 1) & 0xffff) < ((index - old) & 0xffff)
    : (load<u16>(flags) & NO_EVENTS) == 0;
  if (wanted || before) store<u32>(queue, 1, VQ_NOTIFY);
}

/** In a packed queue that went on by `count` descriptors to `next`, an index with its wrap counter. */
// @ts-ignore: decorator
@inline
export function tellPacked(queue: usize, suppression: usize, next: u32, count: u32): void {
  if (load<u32>(queue, VQ_TELL) == 0xffffffff) return;
  const before = atomic.xchg<u32>(queue, 0, VQ_NOTIFY);
  const wish = load<u32>(suppression);
  const kind = (wish >> 16) & 3;
  let wanted = kind != EVENT_DISABLE;
  if (kind == EVENT_AT && (load<u32>(queue, VQ_FLAGS) & VQ_EVENT_IDX)) {
    let event = wish & 0x7fff;
    if (((wish ^ next) & 0x8000) != 0) event -= load<u32>(queue, VQ_SIZE);
    wanted = (((next & 0x7fff) - event - 1) & 0xffff) < (count & 0xffff);
  }
  if (wanted || before) store<u32>(queue, 1, VQ_NOTIFY);
}

/**
 * To the device of a packed queue: it is told whenever it has not said that it is at work, wherever it wanted to be told
 * last. QEMU's goes on past that place by itself, as far as its burst goes, names no other, and sleeps; in a small ring
 * that is several turns, which a place and a wrap counter cannot tell from a place that is still to come. None alike in a
 * split queue: there it names a place whenever it takes a chain.
 */
// @ts-ignore: decorator
@inline
export function tellUnlessDisabled(queue: usize, suppression: usize): void {
  if (load<u32>(queue, VQ_TELL) == 0xffffffff) return;
  const before = atomic.xchg<u32>(queue, 0, VQ_NOTIFY);
  if (((load<u32>(suppression) >> 16) & 3) != EVENT_DISABLE || before) store<u32>(queue, 1, VQ_NOTIFY);
}

/** Where the used ring's event index stands: behind the available ring's entries; and the other way round. */
// @ts-ignore: decorator
@inline
export function usedEvent(avail: usize, size: u32): usize {
  return avail + RING_ENTRIES + ((size as usize) << 1);
}

// @ts-ignore: decorator
@inline
export function availEvent(used: usize, size: u32): usize {
  return used + RING_ENTRIES + ((size as usize) << 3);
}

/** `count` places on in a packed ring; the wrap counter changes at its end. */
// @ts-ignore: decorator
@inline
export function advance(next: u32, count: u32, size: u32): u32 {
  const index = (next & 0x7fff) + count;
  return index >= size ? ((next ^ 0x8000) & 0x8000) | (index - size) : (next & 0x8000) | index;
}

/** The driver's side of the rings: takes what was used. The twin is burst/virtqueue_driver.ts. */
import {
  DESC_AVAIL, DESC_SHIFT, DESC_USED, DRIVER_BAD_USED, NO_ID, RING_ENTRIES, RING_INDEX, SEGMENTS, SIDE_DESCS, SIDE_HANDLE, SIDE_NEXT, SIDE_SHIFT,
  VQ_BATCH, VQ_DESC, VQ_FLAGS, VQ_FREE, VQ_FREE_TAIL, VQ_IN_ORDER, VQ_NEXT_USED, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_USED,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { loadInOrder64 } from './order';
import { advance } from './virtqueue';
import { sideAt } from './virtqueue_driver';
import { popBatchFours, popPackedFours, popSplitFours } from './virtqueue_fours';

/**
 * Takes up to `want` buffers that the device has used: pairs of handle and length, in the scratch memory from SEGMENTS on.
 * Their descriptors are free again. What the device made up is counted, and is none. Returns how many.
 */
// @ts-ignore: decorator
@inline
export function popUsed(queue: usize, want: u32, packed: bool): u32 {
  if (load<u32>(queue, VQ_FLAGS) & VQ_IN_ORDER) return popInOrder(queue, want, packed);
  return packed ? popPacked(queue, want) : popSplit(queue, want);
}

/**
 * Buffers come back in the order they went out, and so their ids stand in the ring of free ones, from its tail on. An
 * entry ends a batch, of which some may be left for the next call.
 */
function popInOrder(queue: usize, want: u32, packed: bool): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const side: usize = load<u32>(queue, VQ_SIDE);
  const free: usize = load<u32>(queue, VQ_FREE);
  let room = load<u32>(queue, VQ_ROOM);
  let tail = load<u32>(queue, VQ_FREE_TAIL);
  let batch = load<u32>(queue, VQ_BATCH);
  let next = load<u32>(queue, VQ_NEXT_USED);
  // What was taken since `next` was looked at.
  let gone: u32 = 0;
  let pair = scratch + SEGMENTS;
  for (let i: u32 = 0; i < want; i++) {
    if (batch == 0) {
      next = packed ? advance(next, gone, size) : (next + gone) & 0xffff;
      gone = 0;
      const id = packed ? usedPacked(queue, next) : usedSplit(queue, next, size);
      if (id == NO_ID) break;
      if (id >= size || load<u32>(side + ((id as usize) << SIDE_SHIFT)) == 0) {
        count64(queue + DRIVER_BAD_USED, 1);
        gone = 1;
        continue;
      }
      batch = id | BATCH_OPEN;
    }
    if (want - i >= 4) {
      const fours = popBatchFours(queue, want - i, tail, batch & 0xffff, pair);
      if (fours > 0) {
        const last: u32 = load<u16>(free + ((tail + fours - 1) as usize << 1));
        if ((last | BATCH_OPEN) == batch) batch = 0;
        tail += fours;
        if (tail == size) tail = 0;
        room += fours;
        gone += fours;
        pair += (fours as usize) << 3;
        i += fours - 1;
        continue;
      }
    }
    const id: u32 = load<u16>(free + ((tail as usize) << 1));
    const out = load<u64>(side + ((id as usize) << SIDE_SHIFT));
    if (((out >> 32) as u16) == 1) {
      store<u32>(side + ((id as usize) << SIDE_SHIFT), 0);
      store<u64>(pair, out & 0xffffffff);
      room++;
      gone++;
      tail++; // the id stands there already
      if (tail == size) tail = 0;
    } else {
      store<u32>(queue, room, VQ_ROOM);
      store<u32>(queue, tail, VQ_FREE_TAIL);
      store<u64>(pair, release(queue, id, size, packed) as u64);
      room = load<u32>(queue, VQ_ROOM);
      tail = load<u32>(queue, VQ_FREE_TAIL);
      gone += packed ? (out >> 32) as u32 & 0xffff : 1;
    }
    pair += 8;
    if ((id | BATCH_OPEN) == batch) batch = 0;
  }
  store<u32>(queue, room, VQ_ROOM);
  store<u32>(queue, tail, VQ_FREE_TAIL);
  store<u32>(queue, batch, VQ_BATCH);
  store<u32>(queue, packed ? advance(next, gone, size) : (next + gone) & 0xffff, VQ_NEXT_USED);
  return ((pair - scratch - SEGMENTS) as u32) >> 3;
}

const BATCH_OPEN: u32 = 1 << 16;

/** The id of the used entry at `next`, NO_ID while there is none. */
// @ts-ignore: decorator
@inline
function usedSplit(queue: usize, next: u32, size: u32): u32 {
  const used: usize = load<u32>(queue, VQ_USED);
  const ready = ((atomic.load<u16>(used, RING_INDEX) as u32) - next) & 0xffff;
  if (ready == 0) return NO_ID;
  if (ready > size) {
    count64(queue + DRIVER_BAD_USED, 1);
    return NO_ID;
  }
  return min(load<u32>(used + RING_ENTRIES + (((next & (size - 1)) as usize) << 3)), NO_ID - 1);
}

// @ts-ignore: decorator
@inline
function usedPacked(queue: usize, next: u32): u32 {
  const word = atomic.load<u64>((load<u32>(queue, VQ_DESC) as usize) + (((next & 0x7fff) as usize) << DESC_SHIFT), 8);
  const turn: u32 = next & 0x8000 ? DESC_AVAIL | DESC_USED : 0;
  return ((word >> 48) as u32 & (DESC_AVAIL | DESC_USED)) == turn ? (word >> 32) as u32 & 0xffff : NO_ID;
}

function popSplit(queue: usize, want: u32): u32 {
  const used: usize = load<u32>(queue, VQ_USED);
  // Pairs with the device's release of the index: entries and buffers before it.
  const ready = ((atomic.load<u16>(used, RING_INDEX) as u32) - load<u32>(queue, VQ_NEXT_USED)) & 0xffff;
  if (ready > load<u32>(queue, VQ_SIZE)) {
    count64(queue + DRIVER_BAD_USED, 1);
    return 0;
  }
  const start = (load<u32>(queue, VQ_SCRATCH) as usize) + SEGMENTS;
  let pair = start;
  let left = min(ready, want);
  while (left > 0) {
    const fours = left >= 4 ? popSplitFours(queue, left, pair) : 0;
    pair += (fours as usize) << 3;
    left -= fours;
    // Where those stopped at a ring's end, there are more behind it.
    const ones = fours ? min(left, 4) : left;
    if (ones > 0) pair = popSplitOnes(queue, ones, pair);
    left -= ones;
  }
  return ((pair - start) as u32) >> 3;
}

/** Entries that are there. Returns where the next pair will stand. */
function popSplitOnes(queue: usize, take: u32, pair: usize): usize {
  const used: usize = load<u32>(queue, VQ_USED);
  const size = load<u32>(queue, VQ_SIZE);
  const next = load<u32>(queue, VQ_NEXT_USED);
  for (let i: u32 = 0; i < take; i++) {
    const entry = load<u64>(used + RING_ENTRIES + ((((next + i) & (size - 1)) as usize) << 3));
    const handle = release(queue, entry as u32, size, false);
    if (handle == 0) continue;
    store<u64>(pair, (handle as u64) | (entry & 0xffffffff00000000));
    pair += 8;
  }
  store<u32>(queue, (next + take) & 0xffff, VQ_NEXT_USED);
  return pair;
}

function popPacked(queue: usize, want: u32): u32 {
  const start = (load<u32>(queue, VQ_SCRATCH) as usize) + SEGMENTS;
  let pair = start;
  while (want > 0) {
    const fours = want >= 4 ? popPackedFours(queue, want, pair) : 0;
    pair += (fours as usize) << 3;
    want -= fours;
    const ones = fours ? min(want, 4) : want;
    const popped = popPackedOnes(queue, ones, pair);
    pair += ((popped as u32) as usize) << 3;
    if (((popped >> 32) as u32) < ones) break;
    want -= ones;
  }
  return ((pair - start) as u32) >> 3;
}

/** Returns how many pairs it wrote, and in the upper half, how many used descriptors it looked at. */
function popPackedOnes(queue: usize, want: u32, pair: usize): u64 {
  const table: usize = load<u32>(queue, VQ_DESC);
  const size = load<u32>(queue, VQ_SIZE);
  const tableEnd = table + ((size as usize) << DESC_SHIFT);
  const side: usize = load<u32>(queue, VQ_SIDE);
  const free: usize = load<u32>(queue, VQ_FREE);
  const next = load<u32>(queue, VQ_NEXT_USED);
  let at = table + (((next & 0x7fff) as usize) << DESC_SHIFT);
  let counter = next & 0x8000;
  let room = load<u32>(queue, VQ_ROOM);
  let tail = load<u32>(queue, VQ_FREE_TAIL);
  let left = want;
  const start = pair;
  for (; left > 0; left--) {
    // Pairs with the device's release of the flags. Length, id and flags in one.
    const word = loadInOrder64(at + 8);
    const turn: u32 = counter ? DESC_AVAIL | DESC_USED : 0;
    if (((word >> 48) as u32 & (DESC_AVAIL | DESC_USED)) != turn) break;
    const id = (word >> 32) as u32 & 0xffff;
    const entry = side + ((id as usize) << SIDE_SHIFT);
    const out: u64 = id < size ? load<u64>(entry) : 0;
    if ((out as u32) != 0) {
      const places = (out >> 32) as u32 & 0xffff;
      store<u32>(entry, 0, SIDE_HANDLE);
      store<u64>(pair, (out & 0xffffffff) | (word << 32));
      store<u16>(free + ((tail as usize) << 1), id as u16);
      pair += 8;
      room += places;
      tail++;
      if (tail == size) tail = 0;
      // Nearly always one; so said, the next place is known before this one's is.
      if (places == 1) at += 1 << DESC_SHIFT;
      else at += (places as usize) << DESC_SHIFT;
    } else {
      // One that is made up has its place all the same, or it would be looked at for ever.
      count64(queue + DRIVER_BAD_USED, 1);
      at += 1 << DESC_SHIFT;
    }
    if (at >= tableEnd) {
      at -= (size as usize) << DESC_SHIFT;
      counter ^= 0x8000;
    }
  }
  store<u32>(queue, room, VQ_ROOM);
  store<u32>(queue, tail, VQ_FREE_TAIL);
  store<u32>(queue, (((at - table) as u32) >> DESC_SHIFT) | counter, VQ_NEXT_USED);
  return (((want - left) as u64) << 32) | ((pair - start) as u64 >> 3);
}

// @ts-ignore: decorator
@inline
function freeId(queue: usize, id: u32): void {
  const at = load<u32>(queue, VQ_FREE_TAIL);
  store<u16>((load<u32>(queue, VQ_FREE) as usize) + ((at as usize) << 1), id as u16);
  store<u32>(queue, at + 1 == load<u32>(queue, VQ_SIZE) ? 0 : at + 1, VQ_FREE_TAIL);
}

/** What is out under an id comes back, and its descriptors are free. 0 for an id under which nothing is. */
// @ts-ignore: decorator
@inline
function release(queue: usize, id: u32, size: u32, packed: bool): u32 {
  const side = sideAt(queue, id);
  if (id >= size || load<u32>(side, SIDE_HANDLE) == 0) {
    count64(queue + DRIVER_BAD_USED, 1);
    return 0;
  }
  const handle = load<u32>(side, SIDE_HANDLE);
  const descs: u32 = load<u16>(side, SIDE_DESCS);
  store<u32>(side, 0, SIDE_HANDLE);
  store<u32>(queue, load<u32>(queue, VQ_ROOM) + descs, VQ_ROOM);
  freeId(queue, id);
  for (let i: u32 = 1; !packed && i < descs; i++) {
    id = load<u16>(sideAt(queue, id), SIDE_NEXT);
    freeId(queue, id);
  }
  return handle;
}

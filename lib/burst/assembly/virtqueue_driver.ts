/** The driver's side of the rings: makes descriptors available, and takes what was used. The twin is burst/virtqueue_driver.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER } from '../../mbuf/layout';
import { QUEUE_OWNER, QUEUE_ROOM, QUEUE_TABLE } from '../../port/layout';
import {
  DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_SHIFT, DESC_USED, DESC_WRITE, DRIVER_BAD_USED, EXTRA_DESCS, EXTRA_SHIFT, EXTRA_TABLE, NO_ID, RING_ENTRIES, RING_INDEX,
  SEGMENTS, SIDE_DESCS, SIDE_HANDLE, SIDE_NEXT, SIDE_SHIFT, VQ_AVAIL, VQ_BATCH, VQ_DESC, VQ_EXTRA, VQ_FLAGS, VQ_FREE, VQ_FREE_HEAD, VQ_FREE_TAIL, VQ_HEADER, VQ_IN_ORDER, VQ_IOVA,
  VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_USED,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { loadInOrder64 } from './order';
import { publish16, publish64 } from './publish';
import { advance, availEvent, tellSplit, tellUnlessDisabled } from './virtqueue';
import { popBatchFours, popPackedFours, popSplitFours, pushFours } from './virtqueue_fours';

// @ts-ignore: decorator
@inline
function sideAt(queue: usize, id: u32): usize {
  return (load<u32>(queue, VQ_SIDE) as usize) + ((id as usize) << SIDE_SHIFT);
}

// @ts-ignore: decorator
@inline
export function extraAt(queue: usize, id: u32): usize {
  return (load<u32>(queue, VQ_EXTRA) as usize) + ((id as usize) << EXTRA_SHIFT);
}

/** The id that the next descriptor will have; there is one, where VQ_ROOM says so. */
// @ts-ignore: decorator
@inline
export function nextId(queue: usize, ahead: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  let at = load<u32>(queue, VQ_FREE_HEAD) + ahead;
  if (at >= size) at -= size;
  return load<u16>((load<u32>(queue, VQ_FREE) as usize) + ((at as usize) << 1));
}

// @ts-ignore: decorator
@inline
function takeIds(queue: usize, count: u32): void {
  const size = load<u32>(queue, VQ_SIZE);
  const at = load<u32>(queue, VQ_FREE_HEAD) + count;
  store<u32>(queue, at >= size ? at - size : at, VQ_FREE_HEAD);
}

// @ts-ignore: decorator
@inline
function freeId(queue: usize, id: u32): void {
  const at = load<u32>(queue, VQ_FREE_TAIL);
  store<u16>((load<u32>(queue, VQ_FREE) as usize) + ((at as usize) << 1), id as u16);
  store<u32>(queue, at + 1 == load<u32>(queue, VQ_SIZE) ? 0 : at + 1, VQ_FREE_TAIL);
}

/**
 * Writes one buffer of one descriptor, the `nth` since the last `publishAvail`. `kind` 0 or DESC_WRITE, or DESC_INDIRECT
 * for a table. Its mbuf is out under the id from now on.
 */
// @ts-ignore: decorator
@inline
function pushOne(queue: usize, nth: u32, offset: u32, length: u32, kind: u32, handle: u32, packed: bool): void {
  const id = nextId(queue, 0);
  takeIds(queue, 1);
  const side = sideAt(queue, id);
  store<u64>(side, (handle as u64) | (1 << 32));
  store<u32>(queue, load<u32>(queue, VQ_ROOM) - 1, VQ_ROOM);
  const address = load<u64>(queue, VQ_IOVA) + (offset as u64);
  if (packed) {
    writePacked(queue, nth, address, length, kind, id);
  } else {
    writeSplit(queue, id, address, length, kind, 0);
    makeAvailable(queue, nth, id);
  }
}

/** In a split ring: chains that are made available, and their places in it, are as many. */
// @ts-ignore: decorator
@inline
export function makeAvailable(queue: usize, nth: u32, id: u32): void {
  list((load<u32>(queue, VQ_AVAIL) as usize) + RING_ENTRIES, load<u32>(queue, VQ_NEXT_AVAIL) + nth, load<u32>(queue, VQ_SIZE), id);
}

// @ts-ignore: decorator
@inline
function list(entries: usize, index: u32, size: u32, id: u32): void {
  const at = entries + (((index & (size - 1)) as usize) << 1);
  // Ids come back in the order they went out, mostly: then the entry is right, and its line stays with who reads it.
  if (load<u16>(at) != (id as u16)) store<u16>(at, id as u16);
}

// @ts-ignore: decorator
@inline
export function writeSplit(queue: usize, id: u32, address: u64, length: u32, flags: u32, next: u32): void {
  const at = (load<u32>(queue, VQ_DESC) as usize) + ((id as usize) << DESC_SHIFT);
  store<u64>(at, address);
  store<u64>(at, (length as u64) | ((flags as u64) << 32) | ((next as u64) << 48), 8);
}

/** The first place since the last publishing keeps its old flags until then; its new ones wait in the scratch memory. */
// @ts-ignore: decorator
@inline
export function writePacked(queue: usize, nth: u32, address: u64, length: u32, flags: u32, id: u32): void {
  const next = advance(load<u32>(queue, VQ_NEXT_AVAIL), nth, load<u32>(queue, VQ_SIZE));
  const at = (load<u32>(queue, VQ_DESC) as usize) + (((next & 0x7fff) as usize) << DESC_SHIFT);
  const turn: u32 = next & 0x8000 ? DESC_AVAIL : DESC_USED;
  const word = (length as u64) | ((id as u64) << 32) | (((flags | turn) as u64) << 48);
  store<u64>(at, address);
  if (nth == 0) store<u64>(load<u32>(queue, VQ_SCRATCH), word);
  else store<u64>(at, word, 8);
}

/** The same for several mbufs of one descriptor each, the first of them the `nth`: what is in them goes out, with the header before it. There are so many descriptors. */
export function pushFrames(queue: usize, nth: u32, vector: usize, count: u32, packed: bool): void {
  pushRun(queue, nth, vector, count, 0, packed);
}

/** And empty ones, for the device to fill, with a header; it owns them from now on. */
export function pushEmpty(queue: usize, nth: u32, vector: usize, count: u32, packed: bool): void {
  pushRun(queue, nth, vector, count, DESC_WRITE, packed);
}

// @ts-ignore: decorator
@inline
function pushRun(queue: usize, nth: u32, vector: usize, count: u32, kind: u32, packed: bool): void {
  // From the last to the first: a device without work looks at the first again and again, and each look takes its line away from here.
  let left = count;
  while (left > 0) {
    const fours = left >= 4 ? pushFours(queue, nth, vector, left, kind, packed) : 0;
    left -= fours;
    // Where those stopped at a ring's end, there are more behind it.
    const ones = fours ? min(left, 4) : left;
    if (ones > 0) pushOnes(queue, nth, vector, left, ones, kind, packed);
    left -= ones;
  }
  const size = load<u32>(queue, VQ_SIZE);
  const idAt = load<u32>(queue, VQ_FREE_HEAD) + count;
  store<u32>(queue, idAt >= size ? idAt - size : idAt, VQ_FREE_HEAD);
  store<u32>(queue, load<u32>(queue, VQ_ROOM) - count, VQ_ROOM);
}

/** Of the first `left` mbufs of a run, the last `count`. */
// @ts-ignore: decorator
@inline
function pushOnes(queue: usize, nth: u32, vector: usize, left: u32, count: u32, kind: u32, packed: bool): void {
  const size = load<u32>(queue, VQ_SIZE);
  const head = load<u32>(queue, VQ_HEADER);
  const side: usize = load<u32>(queue, VQ_SIDE);
  const free: usize = load<u32>(queue, VQ_FREE);
  const headers: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const iova = load<u64>(queue, VQ_IOVA);
  const table: usize = load<u32>(queue, VQ_DESC);
  const tableEnd = table + ((size as usize) << DESC_SHIFT);
  const entries = (load<u32>(queue, VQ_AVAIL) as usize) + RING_ENTRIES;
  const whole = load<u32>(queue, QUEUE_ROOM) + head;
  const last = nth + left - 1;
  let next = load<u32>(queue, VQ_NEXT_AVAIL);
  next = packed ? advance(next, last, size) : next + last;
  let idAt = load<u32>(queue, VQ_FREE_HEAD) + left;
  if (idAt >= size) idAt -= size;
  let at = table + (((next & 0x7fff) as usize) << DESC_SHIFT);
  let turn: u32 = next & 0x8000 ? DESC_AVAIL : DESC_USED;
  // See writePacked.
  const held: usize = nth == 0 ? load<u32>(queue, VQ_SCRATCH) as usize : 0;
  const stop = vector + (((left - count) as usize) << 2);
  for (let slot = vector + (((left - 1) as usize) << 2); slot >= stop; slot -= 4) {
    const handle = load<u32>(slot);
    const header = headers + ((handle as usize) << HEADER_SHIFT);
    const offset: u32 = kind == DESC_WRITE ? HEADROOM : load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = kind == DESC_WRITE ? whole : (load<u16>(header, MBUF_DATA_LEN) as u32) + head;
    const address = iova + (((handle << HANDLE_SHIFT) + offset - head) as u64);
    if (kind == DESC_WRITE) store<u32>(header, mine, MBUF_OWNER);
    if (idAt == 0) idAt = size;
    idAt--;
    const id: u32 = load<u16>(free + ((idAt as usize) << 1));
    store<u64>(side + ((id as usize) << SIDE_SHIFT), (handle as u64) | (1 << 32));
    if (packed) {
      store<u64>(at, address);
      store<u64>(slot == vector && held ? held : at + 8, (length as u64) | ((id as u64) << 32) | (((kind | turn) as u64) << 48));
      if (at == table) {
        at = tableEnd;
        turn ^= DESC_AVAIL | DESC_USED;
      }
      at -= 1 << DESC_SHIFT;
    } else {
      const desc = table + ((id as usize) << DESC_SHIFT);
      store<u64>(desc, address);
      store<u64>(desc, (length as u64) | ((kind as u64) << 32), 8);
      list(entries, next, size, id);
      next--;
    }
  }
}

/** Writes `count` segments (SEGMENT_* in the scratch memory) as one chain, in a table of its own where `indirect`. Returns the places that it took in the ring. */
export function pushChain(queue: usize, nth: u32, count: u32, indirect: bool, handle: u32, packed: bool): u32 {
  const segment = (load<u32>(queue, VQ_SCRATCH) as usize) + SEGMENTS;
  const iova = load<u64>(queue, VQ_IOVA);
  const id = nextId(queue, 0);
  if (indirect) {
    const table = extraAt(queue, id) + EXTRA_TABLE;
    for (let i: u32 = 0; i < count; i++) {
      const last = i + 1 == count;
      const at = table + ((i as usize) << DESC_SHIFT);
      store<u64>(at, iova + (load<u32>(segment + ((i as usize) << 3)) as u64));
      const length: u64 = load<u32>(segment + ((i as usize) << 3), 4);
      store<u64>(at, packed || last ? length : length | ((DESC_NEXT as u64) << 32) | (((i + 1) as u64) << 48), 8);
    }
    pushOne(queue, nth, table as u32, count << DESC_SHIFT, DESC_INDIRECT, handle, packed);
    return 1;
  }
  for (let i: u32 = 0; i < count; i++) {
    const address = iova + (load<u32>(segment + ((i as usize) << 3)) as u64);
    const length = load<u32>(segment + ((i as usize) << 3), 4);
    const flags: u32 = i + 1 < count ? DESC_NEXT : 0;
    if (packed) writePacked(queue, nth + i, address, length, flags, id);
    else {
      const mine = nextId(queue, i);
      const following = i + 1 < count ? nextId(queue, i + 1) : 0;
      writeSplit(queue, mine, address, length, flags, following);
      store<u16>(sideAt(queue, mine), following as u16, SIDE_NEXT);
    }
  }
  const side = sideAt(queue, id);
  store<u32>(side, handle, SIDE_HANDLE);
  store<u16>(side, count as u16, SIDE_DESCS);
  store<u32>(queue, load<u32>(queue, VQ_ROOM) - count, VQ_ROOM);
  if (packed) takeIds(queue, 1);
  else {
    makeAvailable(queue, nth, id);
    takeIds(queue, count);
  }
  return packed ? count : 1;
}

/** The device sees what was pushed since the last time: `count` chains in a split ring, `count` descriptors in a packed one. */
// @ts-ignore: decorator
@inline
export function publishAvail(queue: usize, count: u32, packed: bool): void {
  if (count == 0) return;
  const size = load<u32>(queue, VQ_SIZE);
  const old = load<u32>(queue, VQ_NEXT_AVAIL);
  const used: usize = load<u32>(queue, VQ_USED);
  if (packed) {
    const at = (load<u32>(queue, VQ_DESC) as usize) + (((old & 0x7fff) as usize) << DESC_SHIFT);
    publish64(at + 8, load<u64>(load<u32>(queue, VQ_SCRATCH)));
    const next = advance(old, count, size);
    store<u32>(queue, next, VQ_NEXT_AVAIL);
    tellUnlessDisabled(queue, used);
  } else {
    const index = (old + count) & 0xffff;
    store<u32>(queue, index, VQ_NEXT_AVAIL);
    // Pairs with the device's acquire of the index: entries and descriptors before it.
    publish16((load<u32>(queue, VQ_AVAIL) as usize) + RING_INDEX, index);
    tellSplit(queue, used, availEvent(used, size), index, old);
  }
}

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

/** Does a chain of so many segments fit in the table that each id has? */
// @ts-ignore: decorator
@inline
export function fitsExtra(count: u32): bool {
  return count <= (EXTRA_DESCS as u32);
}

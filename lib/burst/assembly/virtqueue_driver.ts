/** The driver's side of the rings: makes descriptors available. The twin is burst/virtqueue_driver.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER } from '../../mbuf/layout';
import { QUEUE_OWNER, QUEUE_ROOM, QUEUE_TABLE } from '../../port/layout';
import {
  DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_SHIFT, DESC_USED, DESC_WRITE, EXTRA_DESCS, EXTRA_SHIFT, EXTRA_TABLE, RING_ENTRIES, RING_INDEX, SEGMENTS,
  SIDE_DESCS, SIDE_HANDLE, SIDE_NEXT, SIDE_SHIFT, VQ_AVAIL, VQ_DESC, VQ_EXTRA, VQ_FREE, VQ_FREE_HEAD, VQ_HEADER, VQ_IOVA, VQ_NEXT_AVAIL, VQ_ROOM,
  VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_USED,
} from '../../virtqueue/layout';
import { publish16, publish64 } from './publish';
import { advance, availEvent, tellSplit, tellUnlessDisabled } from './virtqueue';
import { pushFours } from './virtqueue_fours';

// @ts-ignore: decorator
@inline
export function sideAt(queue: usize, id: u32): usize {
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

/** Does a chain of so many segments fit in the table that each id has? */
// @ts-ignore: decorator
@inline
export function fitsExtra(count: u32): bool {
  return count <= (EXTRA_DESCS as u32);
}

/**
 * Four of the driver's descriptors at once. A device that works in order gives ids back as they went out, and so they
 * stay side by side, as do their descriptors and what is out under them: each step is then one for all four. A run ends
 * before a ring does, and before what is not so; that is virtqueue_used.ts's and virtqueue_driver.ts's. The twin is burst/virtqueue_driver.ts.
 */
import { HANDLE_SHIFT, HEADROOM, MBUF_OWNER } from '../../mbuf/layout';
import { QUEUE_OWNER, QUEUE_ROOM, QUEUE_TABLE } from '../../port/layout';
import {
  DESC_AVAIL, DESC_SHIFT, DESC_USED, DESC_WRITE, RING_ENTRIES, SIDE_SHIFT, VQ_AVAIL, VQ_DESC, VQ_FREE, VQ_FREE_HEAD, VQ_FREE_TAIL, VQ_HEADER, VQ_IOVA,
  VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_USED,
} from '../../virtqueue/layout';
import { loadInOrder64 } from './order';
import { headerOf } from './owner';
import { advance } from './virtqueue';

/** Ids side by side, from `first` on. */
// @ts-ignore: decorator
@inline
function idsFrom(first: u32): v128 {
  return i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
}

/**
 * The first of `most` used entries of a split ring, of buffers in one descriptor each; they are there. Writes pairs of
 * handle and length from `pair` on, as popUsed does. Returns how many, a multiple of four.
 */
export function popSplitFours(queue: usize, most: u32, pair: usize): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const next = load<u32>(queue, VQ_NEXT_USED);
  const place = next & (size - 1);
  const tail = load<u32>(queue, VQ_FREE_TAIL);
  let at = (load<u32>(queue, VQ_USED) as usize) + RING_ENTRIES + ((place as usize) << 3);
  const id = load<u32>(at);
  if (id >= size) return 0;
  const end = at + (((min(min(most, size - place), size - max(id, tail)) & ~3) as usize) << 3);
  let side = (load<u32>(queue, VQ_SIDE) as usize) + ((id as usize) << SIDE_SHIFT);
  let free = (load<u32>(queue, VQ_FREE) as usize) + ((tail as usize) << 1);
  const start = at;
  let ids = idsFrom(id);
  for (; at < end; at += 32) {
    // Copied once, then checked, then used.
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(side);
    const d = v128.load(side, 16);
    if (!areOut(v128.shuffle<u32>(a, b, 0, 2, 4, 6), ids, c, d)) break;
    v128.store(pair, v128.shuffle<u32>(c, a, 0, 5, 2, 7));
    v128.store(pair, v128.shuffle<u32>(d, b, 0, 5, 2, 7), 16);
    giveBack(side, free, ids, c, d);
    ids = i32x4.add(ids, i32x4.splat(4));
    side += 4 << SIDE_SHIFT;
    free += 8;
    pair += 32;
  }
  const count = ((at - start) as u32) >> 3;
  store<u32>(queue, (next + count) & 0xffff, VQ_NEXT_USED);
  countFree(queue, tail, count, size);
  return count;
}

/** The same of a packed ring, as far as its descriptors are used. */
export function popPackedFours(queue: usize, most: u32, pair: usize): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const next = load<u32>(queue, VQ_NEXT_USED);
  const place = next & 0x7fff;
  const tail = load<u32>(queue, VQ_FREE_TAIL);
  let at = (load<u32>(queue, VQ_DESC) as usize) + ((place as usize) << DESC_SHIFT);
  const turn: u32 = next & 0x8000 ? (DESC_AVAIL | DESC_USED) << 16 : 0;
  const first = load<u32>(at, 12);
  const id = first & 0xffff;
  if (((first ^ turn) & ((DESC_AVAIL | DESC_USED) << 16)) != 0 || id >= size) return 0;
  const end = at + (((min(min(most, size - place), size - max(id, tail)) & ~3) as usize) << DESC_SHIFT);
  let side = (load<u32>(queue, VQ_SIDE) as usize) + ((id as usize) << SIDE_SHIFT);
  let free = (load<u32>(queue, VQ_FREE) as usize) + ((tail as usize) << 1);
  const start = at;
  // Id and flags stand in one word, of which these bits are looked at.
  const looked = i32x4.splat(0xffff | ((DESC_AVAIL | DESC_USED) << 16));
  let ids = idsFrom(id);
  for (; at < end; at += 4 << DESC_SHIFT) {
    if (!X86_STORE_ORDER && !areUsed(at, turn)) break;
    // Copied once, then checked, then used.
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const front = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
    const behind = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
    const words = v128.and(v128.shuffle<u64>(front, behind, 1, 3), looked);
    const e = v128.load(side);
    const f = v128.load(side, 16);
    if (!areOut(words, v128.or(ids, i32x4.splat(turn)), e, f)) break;
    const lengths = v128.shuffle<u64>(front, behind, 0, 2);
    const handles = v128.shuffle<u32>(e, f, 0, 2, 4, 6);
    v128.store(pair, v128.shuffle<u32>(handles, lengths, 0, 4, 1, 5));
    v128.store(pair, v128.shuffle<u32>(handles, lengths, 2, 6, 3, 7), 16);
    giveBack(side, free, ids, e, f);
    ids = i32x4.add(ids, i32x4.splat(4));
    side += 4 << SIDE_SHIFT;
    free += 8;
    pair += 32;
  }
  const count = ((at - start) as u32) >> DESC_SHIFT;
  store<u32>(queue, advance(next, count, size), VQ_NEXT_USED);
  countFree(queue, tail, count, size);
  return count;
}

/**
 * The same in order: of a batch that ends with the id `last`, from place `tail` of the ring of free ids on, where they stand
 * already. Lengths are 0; what is free is the caller's to count.
 */
export function popBatchFours(queue: usize, most: u32, tail: u32, last: u32, pair: usize): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  let free = (load<u32>(queue, VQ_FREE) as usize) + ((tail as usize) << 1);
  const id: u32 = load<u16>(free);
  // An id that is behind the last one belongs to the part of the batch before the ids begin anew.
  const run = min(min(most, size - tail), last >= id ? last + 1 - id : u32.MAX_VALUE) & ~3;
  const end = pair + ((run as usize) << 3);
  const zero = i32x4.splat(0);
  const start = pair;
  let side = (load<u32>(queue, VQ_SIDE) as usize) + ((id as usize) << SIDE_SHIFT);
  let ids = idsFrom(id);
  for (; pair < end; pair += 32) {
    const words = i32x4.extend_low_i16x8_u(v128.load_zero<u64>(free));
    // No id is looked up before it is known to be one.
    if (!i32x4.all_true(i32x4.eq(words, ids))) break;
    const front = v128.load(side);
    const behind = v128.load(side, 16);
    if (!areOut(words, ids, front, behind)) break;
    const handles = v128.shuffle<u32>(front, behind, 0, 2, 4, 6);
    v128.store(pair, v128.shuffle<u32>(handles, zero, 0, 4, 1, 5));
    v128.store(pair, v128.shuffle<u32>(handles, zero, 2, 6, 3, 7), 16);
    empty(side, front, behind);
    ids = i32x4.add(ids, i32x4.splat(4));
    side += 4 << SIDE_SHIFT;
    free += 8;
  }
  return ((pair - start) as u32) >> 3;
}

/** Pairs with the device's release of the flags. x86 keeps loads in their order, so that there the copy alone says it. */
function areUsed(at: usize, turn: u32): bool {
  const wanted = (turn as u64) << 32;
  const flags: u64 = ((DESC_AVAIL | DESC_USED) as u64) << 48;
  const unlike = (loadInOrder64(at + 8) ^ wanted) | (loadInOrder64(at + 24) ^ wanted) | (loadInOrder64(at + 40) ^ wanted) | (loadInOrder64(at + 56) ^ wanted);
  return (unlike & flags) == 0;
}

/** Are the words as they should be, and is there a buffer of one descriptor in each of the four entries of the side table? */
// @ts-ignore: decorator
@inline
function areOut(words: v128, wanted: v128, front: v128, behind: v128): bool {
  const single = i32x4.eq(v128.shuffle<u32>(front, behind, 1, 3, 5, 7), i32x4.splat(1));
  return i32x4.all_true(v128.and(i32x4.eq(words, wanted), single)) && i32x4.all_true(v128.shuffle<u32>(front, behind, 0, 2, 4, 6));
}

/** Nothing is out under the ids, which are free. */
// @ts-ignore: decorator
@inline
function giveBack(side: usize, free: usize, ids: v128, front: v128, behind: v128): void {
  empty(side, front, behind);
  v128.store_lane<u64>(free, i16x8.narrow_i32x4_u(ids, ids), 0);
}

// @ts-ignore: decorator
@inline
function empty(side: usize, front: v128, behind: v128): void {
  const rest = i64x2.splat(-1 << 32);
  v128.store(side, v128.and(front, rest));
  v128.store(side, v128.and(behind, rest), 16);
}

// @ts-ignore: decorator
@inline
function countFree(queue: usize, tail: u32, count: u32, size: u32): void {
  tail += count;
  store<u32>(queue, tail == size ? 0 : tail, VQ_FREE_TAIL);
  store<u32>(queue, load<u32>(queue, VQ_ROOM) + count, VQ_ROOM);
}

/**
 * Of `left` mbufs of a run that begins with the `nth` since the last publishing, the last ones: `kind` as in pushRun, which
 * counts them. From the last to the first, as there. Returns how many, a multiple of four.
 */
// @ts-ignore: decorator
@inline
export function pushFours(queue: usize, nth: u32, vector: usize, left: u32, kind: u32, packed: bool): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const last = nth + left - 1;
  const next = packed ? advance(load<u32>(queue, VQ_NEXT_AVAIL), last, size) : load<u32>(queue, VQ_NEXT_AVAIL) + last;
  const place = packed ? next & 0x7fff : next & (size - 1);
  let idAt = load<u32>(queue, VQ_FREE_HEAD) + left - 1;
  if (idAt >= size) idAt -= size;
  let free = (load<u32>(queue, VQ_FREE) as usize) + ((idAt as usize) << 1);
  const id: u32 = load<u16>(free);
  // Side by side both: the places, and the ids in the ring of free ones. That the ids themselves are is looked at.
  const run = min(left, min(place, idAt) + 1) & ~3;
  if (run == 0) return 0;
  const head = load<u32>(queue, VQ_HEADER);
  const iova = i64x2.splat(load<u64>(queue, VQ_IOVA));
  const headers: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const entries = (load<u32>(queue, VQ_AVAIL) as usize) + RING_ENTRIES;
  const turn: u32 = next & 0x8000 ? DESC_AVAIL : DESC_USED;
  // Behind the length: id and flags of a packed ring's, of a split one's flags and no next.
  const step = i32x4.splat(packed ? 4 : 0);
  let third = packed ? v128.or(idsFrom(id - 3), i32x4.splat((kind | turn) << 16)) : i32x4.splat(kind);
  // See writePacked.
  const held: usize = packed && nth == 0 ? load<u32>(queue, VQ_SCRATCH) as usize : 0;
  const stop = vector + (((left - run) as usize) << 2);
  let ids = idsFrom(id - 3);
  let at = (load<u32>(queue, VQ_DESC) as usize) + (((packed ? place - 3 : id - 3) as usize) << DESC_SHIFT);
  let listed = entries + (((place - 3) as usize) << 1);
  let side = (load<u32>(queue, VQ_SIDE) as usize) + (((id - 3) as usize) << SIDE_SHIFT);
  let slot = vector + (((left - 4) as usize) << 2);
  free -= 6;
  for (; slot >= stop; slot -= 16) {
    const short = v128.load_zero<u64>(free);
    if (!i32x4.all_true(i32x4.eq(i32x4.extend_low_i16x8_u(short), ids))) break;
    const handles = v128.load(slot);
    const a = headerOf(headers, load<u32>(slot));
    const b = headerOf(headers, load<u32>(slot, 4));
    const c = headerOf(headers, load<u32>(slot, 8));
    const d = headerOf(headers, load<u32>(slot, 12));
    let offsets = i32x4.splat(HEADROOM - head);
    let lengths = i32x4.splat(load<u32>(queue, QUEUE_ROOM) + head);
    if (kind == DESC_WRITE) {
      store<u32>(a, mine, MBUF_OWNER);
      store<u32>(b, mine, MBUF_OWNER);
      store<u32>(c, mine, MBUF_OWNER);
      store<u32>(d, mine, MBUF_OWNER);
    } else {
      const low = i32x4.splat(0xffff);
      const heads = i32x4.splat(head);
      offsets = i32x4.sub(v128.and(firstWords(v128.load(a), v128.load(b), v128.load(c), v128.load(d)), low), heads);
      lengths = i32x4.add(v128.and(secondWords(v128.load(a, 16), v128.load(b, 16), v128.load(c, 16), v128.load(d, 16)), low), heads);
    }
    const lows = i32x4.add(i32x4.shl(handles, HANDLE_SHIFT), offsets);
    const addresses = i64x2.add(i64x2.extend_low_i32x4_u(lows), iova);
    const further = i64x2.add(i64x2.extend_high_i32x4_u(lows), iova);
    const words = v128.shuffle<u32>(lengths, third, 0, 4, 1, 5);
    const furtherWords = v128.shuffle<u32>(lengths, third, 2, 6, 3, 7);
    v128.store(at, v128.shuffle<u64>(further, furtherWords, 1, 3), 48);
    v128.store(at, v128.shuffle<u64>(further, furtherWords, 0, 2), 32);
    v128.store(at, v128.shuffle<u64>(addresses, words, 1, 3), 16);
    v128.store_lane<u64>(at, addresses, 0);
    v128.store_lane<u64>(slot == vector && held ? held : at + 8, words, 0);
    const single = i32x4.splat(1);
    v128.store(side, v128.shuffle<u32>(handles, single, 0, 4, 1, 5));
    v128.store(side, v128.shuffle<u32>(handles, single, 2, 6, 3, 7), 16);
    if (!packed) {
      // See list.
      if (load<u64>(listed) != load<u64>(free)) v128.store_lane<u64>(listed, short, 0);
      listed -= 8;
    }
    at -= 4 << DESC_SHIFT;
    third = i32x4.sub(third, step);
    ids = i32x4.sub(ids, i32x4.splat(4));
    side -= 4 << SIDE_SHIFT;
    free -= 8;
  }
  return left - ((((slot + 16) - vector) as u32) >> 2);
}

/** The first u32 of each of four. */
// @ts-ignore: decorator
@inline
function firstWords(a: v128, b: v128, c: v128, d: v128): v128 {
  return v128.shuffle<u64>(v128.shuffle<u32>(a, b, 0, 4, 1, 5), v128.shuffle<u32>(c, d, 0, 4, 1, 5), 0, 2);
}

/** The second. */
// @ts-ignore: decorator
@inline
function secondWords(a: v128, b: v128, c: v128, d: v128): v128 {
  return v128.shuffle<u64>(v128.shuffle<u32>(a, b, 0, 4, 1, 5), v128.shuffle<u32>(c, d, 0, 4, 1, 5), 1, 3);
}

/** Mempools: a shared ring of free handles behind a cache for each lcore. The twin is burst/mempool.ts. */
import {
  POOL_RING, POOL_CACHE, POOL_TABLE, POOL_DRY, POOL_FOREIGN, POOL_STRAY, POOL_CACHES, CACHE_CAPACITY, CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE,
  POOL_FIRST, POOL_FRONT, POOL_SPAN, POOL_SPREAD, POOL_SPREAD_SHIFT, POOL_STEP_MASK,
} from '../../mbuf/pool_layout';
import {
  HEADER_SHIFT, MBUF_DATA_OFF, MBUF_REFCNT, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PLAIN, MBUF_TX_OFFLOAD, OWNER_APP, OWNER_POOL,
  OWNER_SHARED, OWNER_SHIFT,
} from '../../mbuf/layout';
import { MISUSE_DOUBLE_FREE, MISUSE_FOREIGN, MISUSE_NOT_OWNED } from '../codes';
import { copyHandles, copyReversed } from './copy';
import { misuse } from './check';
import { headerOf } from './owner';
import { ringDequeueMc, ringEnqueueMp } from './ring';

// @ts-ignore: decorator
@inline
function cacheOf(pool: usize, lcore: u32): usize {
  return pool + POOL_CACHES + (lcore as usize) * CACHE_STRIDE;
}

/** Takes `count` handles or none. Their headers are as they were left. Owner words are the caller's to write. */
// @ts-ignore: decorator
@inline
export function takeFree(pool: usize, lcore: u32, to: usize, count: u32): u32 {
  const cache = cacheOf(pool, lcore);
  const length = load<u32>(cache, CACHE_LENGTH);
  if (length >= count) {
    const left = length - count;
    copyReversed(to, cache + CACHE_SLOTS + ((left as usize) << 2), count);
    store<u32>(cache, left, CACHE_LENGTH);
    return count;
  }
  return takeThroughRing(pool, lcore, to, count);
}

function takeThroughRing(pool: usize, lcore: u32, to: usize, count: u32): u32 {
  const cache = cacheOf(pool, lcore);
  const ring: usize = load<u32>(pool, POOL_RING);
  const aim = load<u32>(pool, POOL_CACHE);
  let length = load<u32>(cache, CACHE_LENGTH);
  if (count <= aim) {
    // Fill the cache beyond what is asked for, or at least up to it.
    const top = cache + CACHE_SLOTS + ((length as usize) << 2);
    let got = ringDequeueMc(ring, top, aim + count - length, true, lcore);
    if (got == 0) got = ringDequeueMc(ring, top, count - length, true, lcore);
    if (got == 0) return dry(pool);
    length += got - count;
    copyReversed(to, cache + CACHE_SLOTS + ((length as usize) << 2), count);
    store<u32>(cache, length, CACHE_LENGTH);
    return count;
  }
  // More than a cache holds: the cache's own first, the rest from the ring.
  if (ringDequeueMc(ring, to, count - length, true, lcore) == 0) return dry(pool);
  copyHandles(to + (((count - length) as usize) << 2), cache + CACHE_SLOTS, length);
  store<u32>(cache, 0, CACHE_LENGTH);
  return count;
}

function dry(pool: usize): u32 {
  atomic.add<u64>(pool, 1, POOL_DRY); // any lcore counts here, and seldom
  return 0;
}

/** Puts back handles whose headers are in order (refcnt 1, nb_segs 1, next 0, owner pool). */
// @ts-ignore: decorator
@inline
export function putFree(pool: usize, lcore: u32, from: usize, count: u32): void {
  const cache = cacheOf(pool, lcore);
  const length = load<u32>(cache, CACHE_LENGTH);
  const aim = load<u32>(pool, POOL_CACHE);
  if (length + count <= aim + (aim >> 1)) {
    copyHandles(cache + CACHE_SLOTS + ((length as usize) << 2), from, count);
    store<u32>(cache, length + count, CACHE_LENGTH);
    return;
  }
  putThroughRing(pool, lcore, from, count);
}

function putThroughRing(pool: usize, lcore: u32, from: usize, count: u32): void {
  const cache = cacheOf(pool, lcore);
  const ring: usize = load<u32>(pool, POOL_RING);
  const length = load<u32>(cache, CACHE_LENGTH);
  // The ring has a slot for each mbuf of the pool, so it cannot be full; it refuses only while a dead party's claim
  // stands on it. What it does not take stays in the cache, which has room to spare; past that, buffers stray: their
  // owner word says pool, nobody lists them, and the pool's reclaim finds them by that.
  // The cache is emptied before and not after: who dies in between leaves handles that are listed nowhere, none twice.
  store<u32>(cache, 0, CACHE_LENGTH);
  let kept = length;
  if (length > 0 && ringEnqueueMp(ring, cache + CACHE_SLOTS, length, true, lcore) == length) kept = 0;
  const aim = load<u32>(pool, POOL_CACHE);
  if (kept == 0 && count > aim && ringEnqueueMp(ring, from, count, true, lcore) == count) return;
  if (kept + count > (CACHE_CAPACITY as u32)) {
    store<u32>(cache, kept, CACHE_LENGTH); // they may be in the ring by now
    atomic.add<u64>(pool, count as u64, POOL_STRAY);
    return;
  }
  copyHandles(cache + CACHE_SLOTS + ((kept as usize) << 2), from, count);
  store<u32>(cache, kept + count, CACHE_LENGTH);
}

/** Is it a buffer of this pool? Handles come from outside the module, so a wrong one must harm nothing. */
// @ts-ignore: decorator
@inline
export function belongs(pool: usize, handle: u32): bool {
  const distance = handle - load<u32>(pool, POOL_FIRST);
  return distance < load<u32>(pool, POOL_SPAN) && (distance & load<u32>(pool, POOL_STEP_MASK)) == 0;
}

/** A new mbuf's header, all 64 bytes but for pool and buf_len, which stay. */
// @ts-ignore: decorator
@inline
function resetHeader(table: usize, handle: u32, front: u32, spread: u32, owner: u32): void {
  const header = headerOf(table, handle);
  store<u64>(header, FRESH_REARM + ((front + (handle << POOL_SPREAD_SHIFT & spread)) as u64));
  store<u64>(header, 0, 8);
  v128.store(header, i64x2.splat(0), 16);
  store<u64>(header, 0, 32);
  store<u32>(header, owner, MBUF_OWNER);
  store<u32>(header, 0, MBUF_TX_OFFLOAD);
}

/** refcnt 1, nb_segs 1, port 0xffff (none); data_off is the pool's to say. */
const FRESH_REARM: u64 = ((MBUF_PLAIN as u64) << 16) | ((0xffff as u64) << 48);

export function mbufAlloc(pool: usize, lcore: u32, to: usize, count: u32): u32 {
  if (takeFree(pool, lcore, to, count) == 0) return 0;
  const table: usize = load<u32>(pool, POOL_TABLE);
  const front = load<u32>(pool, POOL_FRONT);
  const spread = load<u32>(pool, POOL_SPREAD);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const end = to + ((count as usize) << 2);
  let slot = to;
  for (; slot + 16 <= end; slot += 16) {
    resetHeader(table, load<u32>(slot), front, spread, owner);
    resetHeader(table, load<u32>(slot, 4), front, spread, owner);
    resetHeader(table, load<u32>(slot, 8), front, spread, owner);
    resetHeader(table, load<u32>(slot, 12), front, spread, owner);
  }
  for (; slot < end; slot += 4) resetHeader(table, load<u32>(slot), front, spread, owner);
  return count;
}

/** Where the pool spreads its frames: the places of frames that were received at HEADROOM so far. */
// @ts-ignore: decorator
@inline
export function spreadFrames(pool: usize, table: usize, burst: usize, count: u32): void {
  const spread = load<u32>(pool, POOL_SPREAD);
  if (spread == 0) return;
  const front = load<u32>(pool, POOL_FRONT);
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const handle = load<u32>(burst);
    store<u16>(headerOf(table, handle), (front + (handle << POOL_SPREAD_SHIFT & spread)) as u16, MBUF_DATA_OFF);
  }
}

/**
 * Gives up one hold on each. A plain one (one holder, one segment, this pool's) goes straight back; the vector is used
 * as it stands where all are plain, which is nearly always.
 */
export function mbufFree(pool: usize, lcore: u32, from: usize, count: u32): void {
  freeCounting(pool, lcore, from, count);
}

/** The same, and returns the bytes of the packets, which are looked at anyway. */
// @ts-ignore: decorator
@inline
export function freeCounting(pool: usize, lcore: u32, from: usize, count: u32): u32 {
  const end = from + ((count as usize) << 2);
  const freed = freeLeading(pool, lcore, from, end);
  const slot = (freed >> 32) as usize;
  return slot < end ? (freed as u32) + freeRest(pool, lcore, slot, end) : freed as u32;
}

/** Frees the first mbufs as long as they are plain, whoever owned them; in the checking build only the program's. Returns how many. */
export function freePlain(pool: usize, lcore: u32, from: usize, count: u32): u32 {
  const slot = (freeLeading(pool, lcore, from, from + ((count as usize) << 2)) >> 32) as usize;
  return ((slot - from) as u32) >> 2;
}

/** Returns their bytes and, in the upper half, where the first stands that is not plain. */
// @ts-ignore: decorator
@inline
function freeLeading(pool: usize, lcore: u32, from: usize, end: usize): u64 {
  const table: usize = load<u32>(pool, POOL_TABLE);
  const first = i32x4.splat(load<u32>(pool, POOL_FIRST));
  const span = i32x4.splat(load<u32>(pool, POOL_SPAN));
  const stepMask = i32x4.splat(load<u32>(pool, POOL_STEP_MASK));
  let bytes: u32 = 0;
  let slot = from;
  // Four at once; not in the checking build, which must see when one is in the vector twice.
  for (; ASC_NO_ASSERT && slot + 16 <= end; slot += 16) {
    // `belongs`: afterwards their headers may be looked at.
    const distance = i32x4.sub(v128.load(slot), first);
    if (v128.any_true(v128.or(i32x4.ge_u(distance, span), v128.and(distance, stepMask)))) break;
    const a = headerOf(table, load<u32>(slot));
    const b = headerOf(table, load<u32>(slot, 4));
    const c = headerOf(table, load<u32>(slot, 8));
    const d = headerOf(table, load<u32>(slot, 12));
    if (!(isPlain(a) & isPlain(b) & isPlain(c) & isPlain(d))) break;
    store<u32>(a, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
    store<u32>(b, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
    store<u32>(c, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
    store<u32>(d, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
    bytes += load<u32>(a, MBUF_PKT_LEN) + load<u32>(b, MBUF_PKT_LEN) + load<u32>(c, MBUF_PKT_LEN) + load<u32>(d, MBUF_PKT_LEN);
  }
  for (; slot < end; slot += 4) {
    if (!belongs(pool, load<u32>(slot))) break;
    const header = headerOf(table, load<u32>(slot));
    if (!isPlain(header)) break;
    store<u32>(header, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
    bytes += load<u32>(header, MBUF_PKT_LEN);
  }
  if (slot > from) putFree(pool, lcore, from, ((slot - from) as u32) >> 2);
  return (bytes as u64) | ((slot as u64) << 32);
}

/** Checking build: and held by the program; freeOne reports it otherwise. */
// @ts-ignore: decorator
@inline
function isPlain(header: usize): i32 {
  const plain = load<u32>(header, MBUF_REFCNT) == MBUF_PLAIN;
  return ASC_NO_ASSERT ? plain : plain & (load<u32>(header, MBUF_OWNER) >> OWNER_SHIFT == OWNER_APP);
}

/** Singly, from the first that is not plain. Returns their bytes; what is not this pool's has none. */
function freeRest(pool: usize, lcore: u32, slot: usize, end: usize): u32 {
  const table: usize = load<u32>(pool, POOL_TABLE);
  let bytes: u32 = 0;
  for (; slot < end; slot += 4) {
    if (belongs(pool, load<u32>(slot))) bytes += load<u32>(headerOf(table, load<u32>(slot)), MBUF_PKT_LEN);
    freeOne(pool, lcore, slot);
  }
  return bytes;
}

/** The slow way, for chains, shared mbufs and mistakes. */
function freeOne(pool: usize, lcore: u32, slot: usize): void {
  const table: usize = load<u32>(pool, POOL_TABLE);
  let handle = load<u32>(slot);
  // A chain has at most 65535 segments, so a loop in it ends, and where it comes back to what is free already.
  for (let segments: u32 = 0; handle != 0 && segments < 65536; segments++) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (!belongs(pool, handle)) {
      atomic.add<u64>(pool, 1, POOL_FOREIGN);
      misuse(MISUSE_FOREIGN, handle, 0);
      return;
    }
    if (!ASC_NO_ASSERT && !mayFree(handle, load<u32>(header, MBUF_OWNER), lcore)) return;
    if (segments > 0 && load<u32>(header, MBUF_OWNER) >> OWNER_SHIFT == OWNER_POOL) {
      atomic.add<u64>(pool, 1, POOL_FOREIGN);
      return;
    }
    const next = load<u32>(header, MBUF_NEXT);
    disown(header, lcore);
    if (atomic.sub<u16>(header, 1, MBUF_REFCNT) == 1) {
      store<u32>(header, MBUF_PLAIN, MBUF_REFCNT);
      store<u32>(header, 0, MBUF_NEXT);
      store<u32>(header, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
      store<u32>(slot, handle);
      putFree(pool, lcore, slot, 1);
    }
    handle = next;
  }
}

/** An owner word that names an lcore says that it has a hold: so who lets go of a shared mbuf takes its name off first. */
function disown(header: usize, lcore: u32): void {
  if (atomic.load<u16>(header, MBUF_REFCNT) > 1) {
    atomic.cmpxchg<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, OWNER_SHARED, MBUF_OWNER);
  }
}

/** Checking build: only the program that holds it may free it. */
function mayFree(handle: u32, owner: u32, lcore: u32): bool {
  const kind = owner >> OWNER_SHIFT;
  if (kind == OWNER_APP) return true;
  misuse(kind == OWNER_POOL ? MISUSE_DOUBLE_FREE : MISUSE_NOT_OWNED, handle, owner);
  return false;
}

/** Mempools: a shared ring of free handles behind a cache for each lcore. The twin is burst/mempool.ts. */
import {
  POOL_RING, POOL_CACHE, POOL_TABLE, POOL_DRY, POOL_FOREIGN, POOL_STRAY, POOL_CACHES, CACHE_CAPACITY, CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE,
  POOL_FIRST, POOL_SPAN, POOL_STEP_MASK,
} from '../../mbuf/pool_layout';
import {
  HEADER_SHIFT, HEADROOM, MBUF_REFCNT, MBUF_NEXT, MBUF_OWNER, MBUF_PLAIN, MBUF_TX_OFFLOAD, OWNER_APP, OWNER_POOL,
  OWNER_SHARED, OWNER_SHIFT,
} from '../../mbuf/layout';
import { MISUSE_DOUBLE_FREE, MISUSE_FOREIGN, MISUSE_NOT_OWNED } from '../codes';
import { copyHandles } from './copy';
import { misuse } from './check';
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
    copyHandles(to, cache + CACHE_SLOTS + ((left as usize) << 2), count);
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
    copyHandles(to, cache + CACHE_SLOTS + ((length as usize) << 2), count);
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
function resetHeader(header: usize, owner: u32): void {
  store<u64>(header, FRESH_REARM);
  store<u64>(header, 0, 8);
  v128.store(header, i64x2.splat(0), 16);
  store<u64>(header, 0, 32);
  store<u32>(header, owner, MBUF_OWNER);
  store<u32>(header, 0, MBUF_TX_OFFLOAD);
}

/** data_off HEADROOM, refcnt 1, nb_segs 1, port 0xffff (none). */
const FRESH_REARM: u64 = (HEADROOM as u64) | ((MBUF_PLAIN as u64) << 16) | ((0xffff as u64) << 48);

export function mbufAlloc(pool: usize, lcore: u32, to: usize, count: u32): u32 {
  if (takeFree(pool, lcore, to, count) == 0) return 0;
  const table: usize = load<u32>(pool, POOL_TABLE);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  for (let i: u32 = 0; i < count; i++) {
    resetHeader(table + ((load<u32>(to + ((i as usize) << 2)) as usize) << HEADER_SHIFT), owner);
  }
  return count;
}

/** Writes the owner word of each. */
export function mbufOwn(table: usize, from: usize, count: u32, owner: u32): void {
  for (const end = from + ((count as usize) << 2); from < end; from += 4) {
    store<u32>(table + ((load<u32>(from) as usize) << HEADER_SHIFT), owner, MBUF_OWNER);
  }
}

/**
 * Gives up one hold on each. A plain one (one holder, one segment, this pool's) goes straight back; the vector is used
 * as it stands where all are plain, which is nearly always.
 */
export function mbufFree(pool: usize, lcore: u32, from: usize, count: u32): void {
  const table: usize = load<u32>(pool, POOL_TABLE);
  let i: u32 = 0;
  for (; i < count; i++) {
    const handle = load<u32>(from + ((i as usize) << 2));
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (!belongs(pool, handle)) break;
    if (load<u32>(header, MBUF_REFCNT) != MBUF_PLAIN) break;
    if (!ASC_NO_ASSERT && load<u32>(header, MBUF_OWNER) >> OWNER_SHIFT != OWNER_APP) break; // freeOne reports it
    store<u32>(header, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
  }
  if (i > 0) putFree(pool, lcore, from, i);
  for (; i < count; i++) freeOne(pool, lcore, from + ((i as usize) << 2));
}

/** The slow way, for chains, shared mbufs and mistakes. */
function freeOne(pool: usize, lcore: u32, slot: usize): void {
  const table: usize = load<u32>(pool, POOL_TABLE);
  let handle = load<u32>(slot);
  // A chain has at most 65535 segments, so a loop in it ends.
  for (let segments: u32 = 0; handle != 0 && segments < 65536; segments++) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (!belongs(pool, handle)) {
      atomic.add<u64>(pool, 1, POOL_FOREIGN);
      misuse(MISUSE_FOREIGN, handle, 0);
      return;
    }
    if (!ASC_NO_ASSERT && !mayFree(handle, load<u32>(header, MBUF_OWNER), lcore)) return;
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

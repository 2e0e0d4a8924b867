/**
 * Mempools, in plain TypeScript: a shared ring of free handles behind a small cache for each lcore, so that most bursts
 * touch no line that another thread writes. The fast double is assembly/mempool.ts; neither calls the other.
 *
 * A cache is a stack: what was freed last, and is still in the CPU's cache, is handed out first, mbuf by mbuf. Buffers
 * that are 2048 bytes apart share a few places of the CPU's cache: bursts that come in the same order each time would
 * drive each other out, and those that come the other way round find the last of them there.
 */
import {
  HEADER_SHIFT, MBUF_DATA_OFF, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PLAIN, MBUF_PORT, MBUF_REFCNT, MBUF_TX_OFFLOAD,
  OWNER_APP, OWNER_POOL, OWNER_SHARED, OWNER_SHIFT,
} from '../mbuf/layout.js';
import {
  CACHE_CAPACITY, CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE, POOL_CACHE, POOL_CACHES, POOL_DRY, POOL_FIRST, POOL_FOREIGN, POOL_FRONT, POOL_RING,
  POOL_SPAN, POOL_SPREAD, POOL_SPREAD_SHIFT, POOL_STEP_MASK, POOL_STRAY, POOL_TABLE,
} from '../mbuf/pool_layout.js';
import { MISUSE_DOUBLE_FREE, MISUSE_FOREIGN, MISUSE_NOT_OWNED } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { RingFunctions } from './ring.js';
import { countShared, type ArenaViews } from './views.js';

export interface MempoolFunctions extends Pick<BurstFunctions, 'mbufAlloc' | 'mbufFree' | 'mbufOwn'> {
  /** `count` handles or none (0, and POOL_DRY is counted). Headers are as they were left; owner words are the caller's to write. */
  takeFree(pool: number, lcore: number, to: number, count: number): number;
  /** Puts back handles whose headers are in order: refcnt 1, nb_segs 1, next 0, owner pool. */
  putFree(pool: number, lcore: number, from: number, count: number): void;
  /** Is it a buffer of this pool? */
  belongs(pool: number, handle: number): boolean;
  /** Where a new frame begins in this buffer: MBUF_DATA_OFF. */
  placeOf(pool: number, handle: number): number;
  /** Of the pool's mbufs in a vector: the sum of their packets' lengths. */
  bytesOf(pool: number, from: number, count: number): number;
}

/** Misuse is looked for when there is a hook to tell it to, as in the checking build; else not, as in the fast one. */
export function mempoolFunctions({ u16, u32, u64 }: ArenaViews, hooks: BurstHooks, { ringEnqueueMp, ringDequeueMc }: RingFunctions): MempoolFunctions {
  return { mbufAlloc, mbufFree, mbufOwn, takeFree, putFree, belongs, placeOf, bytesOf };

  function mbufAlloc(pool: number, lcore: number, to: number, count: number): number {
    if (takeFree(pool, lcore, to, count) === 0) return 0;
    const table = u32[(pool + POOL_TABLE) >>> 2];
    for (let i = 0; i < count; i++) {
      const header = headerOf(table, handleAt(to, i));
      resetHeader(header, (OWNER_APP << OWNER_SHIFT) | lcore);
      u16[(header + MBUF_DATA_OFF) >>> 1] = placeOf(pool, handleAt(to, i));
    }
    return count;
  }

  /** A run of plain mbufs (one holder, one segment, this pool's) goes back as it stands in the vector; the rest singly. */
  function mbufFree(pool: number, lcore: number, from: number, count: number): void {
    const table = u32[(pool + POOL_TABLE) >>> 2];
    let plain = 0;
    for (; plain < count && isPlain(pool, handleAt(from, plain)); plain++) {
      u32[(headerOf(table, handleAt(from, plain)) + MBUF_OWNER) >>> 2] = OWNER_POOL << OWNER_SHIFT;
    }
    if (plain > 0) putFree(pool, lcore, from, plain);
    for (let i = plain; i < count; i++) freeOne(pool, lcore, from + i * 4);
  }

  /** Modulo 2^32, as packets of more would be the program's mistake. */
  function bytesOf(pool: number, from: number, count: number): number {
    const table = u32[(pool + POOL_TABLE) >>> 2];
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      if (belongs(pool, handleAt(from, i))) bytes += u32[(headerOf(table, handleAt(from, i)) + MBUF_PKT_LEN) >>> 2];
    }
    return bytes >>> 0;
  }

  function mbufOwn(table: number, from: number, count: number, owner: number): void {
    for (let i = 0; i < count; i++) u32[(headerOf(table, handleAt(from, i)) + MBUF_OWNER) >>> 2] = owner;
  }

  function takeFree(pool: number, lcore: number, to: number, count: number): number {
    const cache = cacheOf(pool, lcore);
    const length = u32[(cache + CACHE_LENGTH) >>> 2];
    if (length < count) return takeThroughRing(pool, lcore, to, count);
    return popCache(cache, length, to, count);
  }

  function takeThroughRing(pool: number, lcore: number, to: number, count: number): number {
    const cache = cacheOf(pool, lcore);
    const length = u32[(cache + CACHE_LENGTH) >>> 2];
    const ring = u32[(pool + POOL_RING) >>> 2];
    const aim = u32[(pool + POOL_CACHE) >>> 2];
    if (count > aim) {
      // More than a cache is for: the most from the ring, the rest is all that the cache has.
      if (ringDequeueMc(ring, to, count - length, 1, lcore) === 0) return dry(pool);
      copy(to + (count - length) * 4, cache + CACHE_SLOTS, length);
      u32[(cache + CACHE_LENGTH) >>> 2] = 0;
      return count;
    }
    // Refill, so that `aim` are left afterwards; where the ring has not so many, at least what is asked for.
    const top = cache + CACHE_SLOTS + length * 4;
    const got = ringDequeueMc(ring, top, aim + count - length, 1, lcore) || ringDequeueMc(ring, top, count - length, 1, lcore);
    return got === 0 ? dry(pool) : popCache(cache, length + got, to, count);
  }

  function popCache(cache: number, length: number, to: number, count: number): number {
    for (let i = 0; i < count; i++) u32[(to >>> 2) + i] = u32[((cache + CACHE_SLOTS) >>> 2) + length - 1 - i];
    u32[(cache + CACHE_LENGTH) >>> 2] = length - count;
    return count;
  }

  function dry(pool: number): number {
    countShared(u64, pool + POOL_DRY, 1);
    return 0;
  }

  /** Puts back handles whose headers are in order: refcnt 1, nb_segs 1, next 0, owner pool. */
  function putFree(pool: number, lcore: number, from: number, count: number): void {
    const cache = cacheOf(pool, lcore);
    const length = u32[(cache + CACHE_LENGTH) >>> 2];
    const aim = u32[(pool + POOL_CACHE) >>> 2];
    if (length + count <= aim + (aim >>> 1)) pushCache(cache, length, from, count);
    else putThroughRing(pool, lcore, from, count);
  }

  /**
   * The ring has a slot for each mbuf of the pool, so it is never full; it refuses only while a dead party's claim stands.
   * What it refuses stays in the cache, which has room to spare. Past that buffers stray: owned by the pool, listed
   * nowhere, found by the reclaim.
   */
  function putThroughRing(pool: number, lcore: number, from: number, count: number): void {
    const cache = cacheOf(pool, lcore);
    const ring = u32[(pool + POOL_RING) >>> 2];
    const length = u32[(cache + CACHE_LENGTH) >>> 2];
    // Emptied before and not after: who dies in between leaves handles that are listed nowhere, and none that are listed twice.
    u32[(cache + CACHE_LENGTH) >>> 2] = 0;
    const emptied = length === 0 || ringEnqueueMp(ring, cache + CACHE_SLOTS, length, 1, lcore) === length;
    const kept = emptied ? 0 : length;
    const large = count > u32[(pool + POOL_CACHE) >>> 2];
    if (emptied && large && ringEnqueueMp(ring, from, count, 1, lcore) === count) return;
    if (kept + count <= CACHE_CAPACITY) {
      pushCache(cache, kept, from, count);
    } else {
      u32[(cache + CACHE_LENGTH) >>> 2] = kept;
      countShared(u64, pool + POOL_STRAY, count);
    }
  }

  function pushCache(cache: number, length: number, from: number, count: number): void {
    copy(cache + CACHE_SLOTS + length * 4, from, count);
    u32[(cache + CACHE_LENGTH) >>> 2] = length + count;
  }

  /** The slow way, for chains, shared mbufs and mistakes. The slot is used as a vector of one. */
  function freeOne(pool: number, lcore: number, slot: number): void {
    const table = u32[(pool + POOL_TABLE) >>> 2];
    let handle = u32[slot >>> 2];
    // A chain has at most 65535 segments, so one that runs in a circle ends too, and where it comes back to what is free already.
    for (let segments = 0; handle !== 0 && segments < 65536; segments++) {
      if (!belongs(pool, handle)) {
        countShared(u64, pool + POOL_FOREIGN, 1);
        hooks.misuse?.(MISUSE_FOREIGN, handle, 0);
        return;
      }
      const header = headerOf(table, handle);
      if (isMisuse(header)) return report(handle, u32[(header + MBUF_OWNER) >>> 2]);
      if (segments > 0 && u32[(header + MBUF_OWNER) >>> 2] >>> OWNER_SHIFT === OWNER_POOL) {
        countShared(u64, pool + POOL_FOREIGN, 1);
        return;
      }
      const next = u32[(header + MBUF_NEXT) >>> 2]; // read before the hold is given up: afterwards it may be another's
      disown(header, lcore);
      // Atomic, since other holders of a shared mbuf let go of it in their own threads.
      if (Atomics.sub(u16, (header + MBUF_REFCNT) >>> 1, 1) === 1) {
        setRefcntAndSegments(header);
        u32[(header + MBUF_NEXT) >>> 2] = 0;
        u32[(header + MBUF_OWNER) >>> 2] = OWNER_POOL << OWNER_SHIFT;
        u32[slot >>> 2] = handle;
        putFree(pool, lcore, slot, 1);
      }
      handle = next;
    }
  }

  /** An owner word that names an lcore says that it has a hold: so who lets go of a shared mbuf takes its name off first. */
  function disown(header: number, lcore: number): void {
    if (Atomics.load(u16, (header + MBUF_REFCNT) >>> 1) > 1) {
      Atomics.compareExchange(u32, (header + MBUF_OWNER) >>> 2, (OWNER_APP << OWNER_SHIFT) | lcore, OWNER_SHARED);
    }
  }

  function isPlain(pool: number, handle: number): boolean {
    if (!belongs(pool, handle)) return false;
    const header = headerOf(u32[(pool + POOL_TABLE) >>> 2], handle);
    return u16[(header + MBUF_REFCNT) >>> 1] === (MBUF_PLAIN & 0xffff) && u16[(header + MBUF_REFCNT + 2) >>> 1] === MBUF_PLAIN >>> 16 && !isMisuse(header);
  }

  /** Handles come from the program, so a wrong one must harm nothing. */
  function belongs(pool: number, handle: number): boolean {
    const distance = (handle - u32[(pool + POOL_FIRST) >>> 2]) >>> 0;
    return distance < u32[(pool + POOL_SPAN) >>> 2] && (distance & u32[(pool + POOL_STEP_MASK) >>> 2]) === 0;
  }

  /** Only a program that holds an mbuf may free it. */
  function isMisuse(header: number): boolean {
    return hooks.misuse !== undefined && u32[(header + MBUF_OWNER) >>> 2] >>> OWNER_SHIFT !== OWNER_APP;
  }

  function report(handle: number, owner: number): void {
    hooks.misuse?.(owner >>> OWNER_SHIFT === OWNER_POOL ? MISUSE_DOUBLE_FREE : MISUSE_NOT_OWNED, handle, owner);
  }

  function placeOf(pool: number, handle: number): number {
    return u32[(pool + POOL_FRONT) >>> 2] + ((handle << POOL_SPREAD_SHIFT) & u32[(pool + POOL_SPREAD) >>> 2]);
  }

  /** A new mbuf's header, but for its place. `pool`, `buf_len` and the application's own words stay. */
  function resetHeader(header: number, owner: number): void {
    u32.fill(0, header >>> 2, (header + MBUF_OWNER) >>> 2);
    setRefcntAndSegments(header);
    u16[(header + MBUF_PORT) >>> 1] = 0xffff; // none
    u32[(header + MBUF_OWNER) >>> 2] = owner;
    u32[(header + MBUF_TX_OFFLOAD) >>> 2] = 0;
  }

  /** MBUF_PLAIN stands at an odd multiple of 2 bytes, so it is two stores here. */
  function setRefcntAndSegments(header: number): void {
    u16[(header + MBUF_REFCNT) >>> 1] = MBUF_PLAIN & 0xffff;
    u16[(header + MBUF_REFCNT + 2) >>> 1] = MBUF_PLAIN >>> 16;
  }

  function copy(to: number, from: number, count: number): void {
    for (let i = 0; i < count; i++) u32[(to >>> 2) + i] = u32[(from >>> 2) + i];
  }

  function handleAt(vector: number, i: number): number {
    return u32[(vector >>> 2) + i];
  }
}

function headerOf(table: number, handle: number): number {
  return (table + (handle << HEADER_SHIFT)) >>> 0;
}

function cacheOf(pool: number, lcore: number): number {
  return pool + POOL_CACHES + lcore * CACHE_STRIDE;
}

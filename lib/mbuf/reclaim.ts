/**
 * The scans that bring back what a dead lcore held. A buffer of its program says so in its owner word. So does one that
 * it had put into a ring, until somebody takes it out (ring/layout.ts); but that one is in the ring.
 *
 * `reclaimHeld` is safe beside traffic, also of threads and processes that cannot be asked to rest: it looks into the
 * rings first, and at the owner words afterwards. Whoever takes a buffer out of a ring writes its own name into the word
 * before it publishes that it took it. So where the word still names the dead one, the buffer had not left its ring, if
 * it was in one, and the look into the rings, which was earlier, has found it there: nobody else puts it in or takes it
 * out meanwhile under that name. What was not found in a ring is the dead one's and nobody else's to change.
 *
 * A buffer that died on its way (out of a cache and not yet stamped; in the checking build, stamped and not yet in a
 * ring) can be told from a living one only while nothing moves: `reclaimStray`.
 *
 * One scan at a time: callers hold the arena's reclaim (`arena.reclaiming`).
 */
import type { Arena } from '../arena/arena.js';
import { Burst } from '../burst/burst.js';
import { burstFunctions } from '../burst/module.js';
import { handles, inRings, listFree } from './audit.js';
import {
  HEADER_SHIFT, MBUF_NEXT, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_POOL, OWNER_RING, OWNER_SHARED, OWNER_SHIFT,
} from './layout.js';
import { CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE, POOL_CACHES, POOL_RING } from './pool_layout.js';

/**
 * Voids the dead lcore's claims on the pool's ring, empties its cache, and gives up its program's holds. Other threads
 * may go on meanwhile. A buffer that others hold too is theirs then. Returns how many it held alone, the cache's not counted.
 */
export function reclaimHeld(arena: Arena, pool: number, lcore: number): number {
  burstFunctions(arena).ringRecover(arena.u32[(pool + POOL_RING) >>> 2]!, lcore);
  // Neither is in the other: a cache's mbufs are the pool's by their owner words.
  giveBack(arena, pool, emptyCache(arena, pool, lcore));
  const held = takeHeld(arena, pool, lcore);
  giveBack(arena, pool, held);
  return held.length;
}

/**
 * Takes what nobody has: owned by the pool and listed nowhere, or owned by a ring and not in it. Only while no thread
 * moves this pool's buffers. Returns how many came back.
 */
export function reclaimStray(arena: Arena, pool: number): number {
  const { seen } = listFree(arena, pool);
  const between = inRings(arena);
  const lost = [...handles(arena, pool)].filter(handle => {
    const owner = arena.u32[(headerOf(arena, handle) + MBUF_OWNER) >>> 2]!;
    if (owner >>> OWNER_SHIFT === OWNER_POOL) return !seen.has(handle);
    return owner >>> OWNER_SHIFT === OWNER_RING && between.get(handle)?.index !== (owner & 0xffffff);
  });
  giveBack(arena, pool, lost);
  return lost.length;
}

/** The dead lcore's cache lists nothing that is listed elsewhere (see putThroughRing in burst/mempool.ts). */
function emptyCache(arena: Arena, pool: number, lcore: number): number[] {
  const cache = pool + POOL_CACHES + lcore * CACHE_STRIDE;
  const slots = (cache + CACHE_SLOTS) >>> 2;
  const cached = Array.from(arena.u32.subarray(slots, slots + arena.u32[(cache + CACHE_LENGTH) >>> 2]!));
  arena.u32[(cache + CACHE_LENGTH) >>> 2] = 0;
  return cached;
}

/** An owner word that names an lcore says that it has one hold, or had it when the mbuf went into a ring. Returns the mbufs that nobody else holds. */
function takeHeld(arena: Arena, pool: number, lcore: number): number[] {
  const between = inRings(arena); // before the words
  const dead = (OWNER_APP << OWNER_SHIFT) | lcore;
  return [...handles(arena, pool)].filter(handle => {
    const header = headerOf(arena, handle);
    if (Atomics.load(arena.u32, (header + MBUF_OWNER) >>> 2) !== dead || between.has(handle)) return false;
    arena.u32[(header + MBUF_OWNER) >>> 2] = OWNER_SHARED;
    return Atomics.sub(arena.u16, (header + MBUF_REFCNT) >>> 1, 1) === 1;
  });
}

/** Fresh headers, and back into the pool's ring, past any cache. What it refuses (another's claim stands) is a stray until the next scan. */
function giveBack(arena: Arena, pool: number, lost: readonly number[]): void {
  if (lost.length === 0) return;
  const ring = arena.u32[(pool + POOL_RING) >>> 2]!;
  for (const handle of lost) markFree(arena, handle);
  const vector = new Burst(arena, 256);
  for (let done = 0, put = 1; done < lost.length && put > 0; done += put) {
    const batch = lost.slice(done, done + vector.capacity);
    vector.handles.set(batch);
    put = burstFunctions(arena).ringEnqueueMp(ring, vector.offset, batch.length, 1, arena.lcore);
  }
  vector.close();
}

function markFree(arena: Arena, handle: number): void {
  const header = headerOf(arena, handle);
  arena.u16[(header + MBUF_REFCNT) >>> 1] = MBUF_PLAIN & 0xffff;
  arena.u16[((header + MBUF_REFCNT) >>> 1) + 1] = MBUF_PLAIN >>> 16;
  arena.u32[(header + MBUF_NEXT) >>> 2] = 0;
  arena.u32[(header + MBUF_OWNER) >>> 2] = OWNER_POOL << OWNER_SHIFT;
}

function headerOf(arena: Arena, handle: number): number {
  return (arena.table + (handle << HEADER_SHIFT)) >>> 0;
}

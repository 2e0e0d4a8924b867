/**
 * The scans that bring back what a dead lcore held. A buffer of its program says so in its owner word, and nobody else
 * changes that, so `reclaimHeld` is safe beside traffic. A buffer that died on its way (out of a cache and not yet
 * stamped, stamped and not yet in a ring) can be told from a living one only while nothing moves: `reclaimStray`.
 */
import type { Arena } from '../arena/arena.js';
import { ZONE_RING } from '../arena/layout.js';
import { Burst } from '../burst/burst.js';
import { burstFunctions } from '../burst/module.js';
import { handles, listFree, ringHandles } from './audit.js';
import { HEADER_SHIFT, MBUF_NEXT, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_POOL, OWNER_RING, OWNER_SHIFT } from './layout.js';
import { CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE, POOL_CACHES, POOL_RING } from './pool_layout.js';

/** Both scans. No other thread may move this pool's buffers meanwhile. Returns how many came back. */
export function reclaimLcore(arena: Arena, pool: number, lcore: number): number {
  return reclaimHeld(arena, pool, lcore) + reclaimStray(arena, pool);
}

/**
 * Voids the dead lcore's claims on the pool's ring, empties its cache, and takes what its program held. Other threads
 * may go on meanwhile. A buffer that others hold too (refcnt above 1) is left to them. Returns how many came back.
 */
export function reclaimHeld(arena: Arena, pool: number, lcore: number): number {
  burstFunctions(arena).ringRecover(arena.u32[(pool + POOL_RING) >>> 2]!, lcore);
  const cache = pool + POOL_CACHES + lcore * CACHE_STRIDE;
  const cached = [...arena.u32.subarray((cache + CACHE_SLOTS) >>> 2, ((cache + CACHE_SLOTS) >>> 2) + arena.u32[(cache + CACHE_LENGTH) >>> 2]!)];
  arena.u32[(cache + CACHE_LENGTH) >>> 2] = 0;
  const dead = ((OWNER_APP << OWNER_SHIFT) | lcore) >>> 0;
  const inCache = new Set(cached);
  const held: number[] = [];
  for (const handle of handles(arena, pool)) {
    const header = headerOf(arena, handle);
    const alone = arena.u16[(header + MBUF_REFCNT) >>> 1]! <= 1;
    if (arena.u32[(header + MBUF_OWNER) >>> 2] === dead && alone && !inCache.has(handle)) held.push(handle);
  }
  giveBack(arena, pool, cached);
  giveBack(arena, pool, held);
  return held.length;
}

/**
 * Takes what nobody has: owned by the pool and listed nowhere, or owned by a ring and not in it. Only while no thread
 * moves this pool's buffers. Returns how many came back.
 */
export function reclaimStray(arena: Arena, pool: number): number {
  const { seen } = listFree(arena, pool);
  const queued = new Set<number>();
  const rings = arena.zones().filter(zone => zone.type === ZONE_RING);
  for (const ring of rings) for (const handle of ringHandles(arena, ring.offset)) queued.add(handle);
  const lost: number[] = [];
  for (const handle of handles(arena, pool)) {
    const kind = arena.u32[(headerOf(arena, handle) + MBUF_OWNER) >>> 2]! >>> OWNER_SHIFT;
    if (kind === OWNER_POOL ? !seen.has(handle) : kind === OWNER_RING && !queued.has(handle)) lost.push(handle);
  }
  giveBack(arena, pool, lost);
  return lost.length;
}

/** Fresh headers, and back into the pool's ring, past any cache. */
function giveBack(arena: Arena, pool: number, lost: readonly number[]): void {
  const ring = arena.u32[(pool + POOL_RING) >>> 2]!;
  const vector = new Burst(arena, 256);
  for (let done = 0; done < lost.length;) {
    const batch = lost.slice(done, done + vector.capacity);
    batch.forEach((handle, i) => {
      markFree(arena, handle);
      vector.handles[i] = handle;
    });
    const put = burstFunctions(arena).ringEnqueueMp(ring, vector.offset, batch.length, 1, arena.lcore);
    if (put === 0) break; // another's claim stands on the ring: they are strays until it is gone
    done += put;
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

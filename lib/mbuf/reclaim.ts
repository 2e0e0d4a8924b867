import type { Arena } from '../arena/arena.js';
import { ZONE_POOL, ZONE_RING } from '../arena/layout.js';
import { Burst } from '../burst/burst.js';
import { burstFunctions } from '../burst/module.js';
import { RING_KIND, RING_MAGIC } from '../ring/layout.js';
import { handles, listFree, ringHandles } from './audit.js';
import {
  HEADER_SHIFT, MBUF_NEXT, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_POOL, OWNER_RING, OWNER_SHARED, OWNER_SHIFT,
} from './layout.js';
import { CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE, POOL_CACHES, POOL_KIND, POOL_MAGIC, POOL_RING } from './pool_layout.js';

export interface ReclaimOptions {
  /**
   * Says that no other thread moves mbufs of these pools meanwhile. Then those come back too that no owner word tells
   * of: what the dead one, or one before it, was just moving between two places. Default false: traffic may go on, and
   * such mbufs (a burst or two for each death) stay counted as stray, or as in a ring, until a quiet reclaim.
   */
  readonly quiet?: boolean;
}

/** What came back from one dead lcore. */
export interface Reclaimed {
  readonly lcore: number;
  /** Claims on rings that were voided. */
  readonly claims: number;
  readonly mbufs: number;
}

/**
 * Brings back what every dead lcore of the arena held, and frees their ids: voids its claims on rings, and gives its
 * mbufs to their pools. Any thread of any attached process may call it; several at a time take turns.
 * Throws EBUSYQUEUE when another's reclaim takes longer than a second.
 */
export function reclaimDead(arena: Arena, options: ReclaimOptions = {}): Reclaimed[] {
  return arena.reclaiming(() => {
    const dead = arena.deadLcores();
    // All claims first: mbufs go back through rings that another dead one may have claimed.
    const claims = dead.map(lcore => recoverRings(arena, lcore));
    return dead.map((lcore, i) => {
      const mbufs = pools(arena).reduce((sum, pool) => sum + reclaimFrom(arena, pool, lcore, options), 0);
      arena.freeLcore(lcore);
      return { lcore, claims: claims[i]!, mbufs };
    });
  });
}

/** From one pool what one dead lcore held; its id stays taken. The caller holds the arena's reclaim. */
export function reclaimFrom(arena: Arena, pool: number, lcore: number, { quiet = false }: ReclaimOptions): number {
  const burst = burstFunctions(arena);
  const ring = arena.u32[(pool + POOL_RING) >>> 2]!;
  burst.ringRecover(ring, lcore);
  const lost = [...emptyCache(arena, pool, lcore), ...takeHeld(arena, pool, lcore)];
  for (const handle of lost) markFree(arena, handle);
  const done = putBack(arena, ring, lost);
  if (!quiet) return done;
  const unlisted = lostHandles(arena, pool);
  for (const handle of unlisted) markFree(arena, handle);
  return done + putBack(arena, ring, unlisted);
}

function recoverRings(arena: Arena, lcore: number): number {
  const rings = arena.zones().filter(({ type, offset }) => type === ZONE_RING && arena.u32[(offset + RING_KIND) >>> 2] === RING_MAGIC);
  return rings.reduce((sum, { offset }) => sum + burstFunctions(arena).ringRecover(offset, lcore), 0);
}

function pools(arena: Arena): number[] {
  const zones = arena.zones().filter(({ type, offset }) => type === ZONE_POOL && arena.u32[(offset + POOL_KIND) >>> 2] === POOL_MAGIC);
  return zones.map(({ offset }) => offset);
}

/** The dead lcore's cache lists nothing that is listed elsewhere (see putThroughRing in burst/mempool.ts). */
function emptyCache(arena: Arena, pool: number, lcore: number): number[] {
  const cache = pool + POOL_CACHES + lcore * CACHE_STRIDE;
  const length = arena.u32[(cache + CACHE_LENGTH) >>> 2]!;
  const slots = (cache + CACHE_SLOTS) >>> 2;
  const cached = Array.from(arena.u32.subarray(slots, slots + length));
  arena.u32[(cache + CACHE_LENGTH) >>> 2] = 0;
  return cached;
}

/** Gives up the dead program's hold on each mbuf that has its name. Returns those that nobody else holds. */
function takeHeld(arena: Arena, pool: number, lcore: number): number[] {
  const dead = (OWNER_APP << OWNER_SHIFT) | lcore;
  return [...handles(arena, pool)].filter(handle => {
    const header = headerOf(arena, handle);
    if (arena.u32[(header + MBUF_OWNER) >>> 2] !== dead) return false;
    arena.u32[(header + MBUF_OWNER) >>> 2] = OWNER_SHARED;
    return Atomics.sub(arena.u16, (header + MBUF_REFCNT) >>> 1, 1) === 1;
  });
}

/** What belongs to the pool and is listed nowhere, or to a ring and is not in it. */
function lostHandles(arena: Arena, pool: number): number[] {
  const { seen } = listFree(arena, pool);
  const rings = arena.zones().filter(({ type }) => type === ZONE_RING);
  const inRing = new Map(rings.map(({ index, offset }) => [index, new Set(ringHandles(arena, offset))]));
  return [...handles(arena, pool)].filter(handle => {
    const owner = arena.u32[(headerOf(arena, handle) + MBUF_OWNER) >>> 2]!;
    const kind = owner >>> OWNER_SHIFT;
    if (kind === OWNER_POOL) return !seen.has(handle);
    return kind === OWNER_RING && inRing.get(owner & 0xffffff)?.has(handle) !== true;
  });
}

/** Whole batches through the ring; what it refuses (a claim that stands) is a stray for the next quiet reclaim. Returns how many went in. */
function putBack(arena: Arena, ring: number, lost: readonly number[]): number {
  if (lost.length === 0) return 0;
  const vector = new Burst(arena, 256);
  let done = 0;
  for (let put = 1; done < lost.length && put > 0; done += put) {
    const batch = lost.slice(done, done + vector.capacity);
    vector.handles.set(batch);
    put = burstFunctions(arena).ringEnqueueMp(ring, vector.offset, batch.length, 1, arena.lcore);
  }
  vector.close();
  return done;
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

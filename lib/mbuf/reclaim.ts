import type { Arena } from '../arena/arena.js';
import { Burst } from '../burst/burst.js';
import { burstFunctions } from '../burst/module.js';
import { handles, listFree } from './audit.js';
import { HEADER_SHIFT, MBUF_NEXT, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_POOL, OWNER_SHIFT } from './layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES, POOL_RING } from './pool_layout.js';

/**
 * The scan for a dead lcore's buffers. First its claims on the pool's ring are voided, then its cache is emptied; what
 * is now owned by the pool and listed nowhere, or owned by that lcore's program, goes back to the ring.
 *
 * A buffer that others hold too (refcnt above 1) is left to them. No other thread may move this pool's buffers
 * meanwhile: one that is between an owner word and a ring would look lost.
 */
export function reclaimLcore(arena: Arena, pool: number, lcore: number): number {
  const burst = burstFunctions(arena);
  const ring = arena.u32[(pool + POOL_RING) >>> 2]!;
  burst.ringRecover(ring, lcore);
  arena.u32[(pool + POOL_CACHES + lcore * CACHE_STRIDE + CACHE_LENGTH) >>> 2] = 0;
  const lost = lostHandles(arena, pool, lcore);
  const vector = new Burst(arena, 256);
  for (let done = 0; done < lost.length;) {
    const batch = lost.slice(done, done + vector.capacity);
    batch.forEach((handle, i) => {
      markFree(arena, handle);
      vector.handles[i] = handle;
    });
    const put = burst.ringEnqueueMp(ring, vector.offset, batch.length, 1, arena.lcore);
    if (put === 0) break;
    done += put;
  }
  vector.close();
  return lost.length;
}

function lostHandles(arena: Arena, pool: number, lcore: number): number[] {
  const { seen } = listFree(arena, pool);
  const dead = ((OWNER_APP << OWNER_SHIFT) | lcore) >>> 0;
  const lost: number[] = [];
  for (const handle of handles(arena, pool)) {
    const header = (arena.table + (handle << HEADER_SHIFT)) >>> 0;
    const owner = arena.u32[(header + MBUF_OWNER) >>> 2]!;
    const shared = arena.u16[(header + MBUF_REFCNT) >>> 1]! > 1;
    if (owner === dead ? !shared : owner >>> OWNER_SHIFT === OWNER_POOL && !seen.has(handle)) lost.push(handle);
  }
  return lost;
}

function markFree(arena: Arena, handle: number): void {
  const header = (arena.table + (handle << HEADER_SHIFT)) >>> 0;
  arena.u16[(header + MBUF_REFCNT) >>> 1] = MBUF_PLAIN & 0xffff;
  arena.u16[((header + MBUF_REFCNT) >>> 1) + 1] = MBUF_PLAIN >>> 16;
  arena.u32[(header + MBUF_NEXT) >>> 2] = 0;
  arena.u32[(header + MBUF_OWNER) >>> 2] = OWNER_POOL << OWNER_SHIFT;
}

/**
 * The search for mbufs that died on their way: they can be told from living ones only while all others rest. Where
 * somebody does not, the search is owed (a word in the arena says so), and made later: by the next recovery of any
 * thread, or by a timer of this one.
 */
import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ARENA_HEADER, HEADER_SEARCH, ZONE_POOL } from '../arena/layout.js';
import { PollmodeError } from '../errors.js';
import { Mempool } from '../mbuf/mempool.js';
import { POOL_KIND, POOL_MAGIC } from '../mbuf/pool_layout.js';
import { pauseOthers } from './rest.js';

export interface StraySearch {
  readonly stray: number;
  /** The lcore for which it could not be made; -1 when it was. */
  readonly waitsFor: number;
}

const OWED = (ARENA_HEADER + HEADER_SEARCH) >> 2;
/** Between two tries, doubled each time: others stand still for up to a quarter of a second at each, so seldom in the long run. */
const GAP_MS = { least: 100, most: 30_000 };
/** Arenas that have a timer in this thread. */
const waiting = new WeakSet<Arena>();

/** All pools that are whole: one that another thread is just making or closing has nothing of the dead. */
export function poolsOf(arena: Arena): Mempool[] {
  const ready = ({ type, offset }: Memzone): boolean => type === ZONE_POOL && Atomics.load(arena.u32, (offset + POOL_KIND) >>> 2) === POOL_MAGIC;
  return arena.zones().filter(ready).map(zone => Mempool.find(arena, zone.name));
}

/** Made now, or else later by itself. For callers that hold the arena's reclaim. @param dead lcores that are gone for certain */
export function searchStrays(arena: Arena, dead: readonly number[]): StraySearch {
  const pools = poolsOf(arena);
  Atomics.store(arena.i32, OWED, 1);
  const pause = pauseOthers(arena, [...dead, ...arena.deadLcores()]);
  if (!('resume' in pause)) {
    searchLater(arena);
    return { stray: 0, waitsFor: pause.waitsFor };
  }
  try {
    const stray = pools.reduce((sum, pool) => sum + pool.reclaimStray(), 0);
    Atomics.store(arena.i32, OWED, 0);
    return { stray, waitsFor: -1 };
  } finally {
    pause.resume();
  }
}

/** Tries again until the search is made, by whomever, or the arena is closed here. Keeps neither the process nor the arena. */
function searchLater(arena: Arena): void {
  if (waiting.has(arena)) return;
  waiting.add(arena);
  later(new WeakRef(arena), GAP_MS.least);
}

function later(ref: WeakRef<Arena>, gap: number): void {
  setTimeout(() => {
    const arena = ref.deref();
    if (arena === undefined || arena.closed) return;
    if (isOver(arena)) waiting.delete(arena);
    else later(ref, Math.min(2 * gap, GAP_MS.most));
  }, gap).unref();
}

/** Set-up of another thread may hold what the search needs: that is no reason to give it up. */
function isOver(arena: Arena): boolean {
  try {
    return arena.reclaiming(() => Atomics.load(arena.i32, OWED) === 0 || searchStrays(arena, []).waitsFor < 0);
  } catch (cause) {
    if (!(cause instanceof PollmodeError) || cause.code !== 'EBUSYQUEUE') throw cause;
    return false;
  }
}

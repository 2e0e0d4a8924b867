import type { Arena } from '../arena/arena.js';
import { ZONE_RING } from '../arena/layout.js';
import { lcoreHolder } from '../arena/lcores.js';
import { burstFunctions } from '../burst/module.js';
import { freeQueues } from '../port/attach.js';
import { freeReta } from '../rss/reta.js';
import { freeSteering } from '../rss/steering_sides.js';
import { freeLeavings } from './leavings.js';
import { poolsOf, searchStrays } from './strays.js';

/** What came back from an lcore that ended. */
export interface Recovery {
  readonly lcore: number;
  /** mbufs that its program held, with what waited in its flow tables' queues; and mbufs that were on their way. */
  readonly held: number;
  readonly stray: number;
  /** Claims on rings that it had not published. */
  readonly claims: number;
  /** Queues that are free for another now: "port/0/rx/0", "rps/worker/3", "rps/distributor", "reta/mover". */
  readonly queues: readonly string[];
  /**
   * False when the other lcores could not be brought to rest, so that the search for strays is still owed. It is made
   * later by itself, here (see strays.ts) or by whoever's recovery is complete next; the pool's `reclaimed` counts them then.
   */
  readonly complete: boolean;
  /** The lcore that would not rest, or polls in a way that cannot be known; else -1. */
  readonly waitsFor: number;
}

/** Of an lcore that never attached, or whose things another has taken back. */
export const NO_RECOVERY: Recovery = { lcore: -1, held: 0, stray: 0, claims: 0, queues: [], complete: true, waitsFor: -1 };

/**
 * Takes back everything that an lcore held which is gone for certain, and frees its id. Other lcores may go on; those
 * that poll through `poll` rest for the moment that the search for strays takes. `tid` says whose end was seen: when
 * another has taken everything back already, the id is free or a living thread's, and nothing is done.
 */
export function recoverLcore(arena: Arena, lcore: number, tid: number): Recovery {
  return arena.reclaiming(() => {
    const dead = lcoreHolder(arena.i32, lcore)?.tid === tid ? [lcore] : [];
    return recover(arena, dead)[0] ?? { ...NO_RECOVERY, lcore };
  });
}

/**
 * The same for every lcore whose thread or process is found dead, in any process that shares the arena: for those that
 * nobody here started. Throws EBUSYQUEUE when another's recovery does not come to an end.
 */
export function recoverDead(arena: Arena): Recovery[] {
  return arena.reclaiming(() => recover(arena, arena.deadLcores()));
}

function recover(arena: Arena, dead: readonly number[]): Recovery[] {
  if (dead.length === 0) return [];
  const pools = poolsOf(arena);
  const rings = arena.zones().filter(zone => zone.type === ZONE_RING);
  // All claims first: mbufs go back through rings that another dead one may have claimed.
  const claims = dead.map(lcore => rings.reduce((sum, { offset }) => sum + burstFunctions(arena).ringRecover(offset, lcore), 0));
  const parts = dead.map((lcore, i) => {
    const queues = [...freeQueues(arena, lcore), ...freeSteering(arena, lcore), ...freeReta(arena, lcore)];
    const waited = freeLeavings(arena, lcore, pools);
    return { lcore, queues, claims: claims[i]!, held: pools.reduce((sum, pool) => sum + pool.reclaimHeld(lcore), waited) };
  });
  const search = searchStrays(arena, dead);
  for (const lcore of dead) arena.freeLcore(lcore, true);
  // Nobody can say whose the strays were: they are told with the first.
  return parts.map((part, i) => ({ ...part, stray: i === 0 ? search.stray : 0, complete: search.waitsFor < 0, waitsFor: search.waitsFor }));
}

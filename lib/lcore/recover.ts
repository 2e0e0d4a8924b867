import type { Arena } from '../arena/arena.js';
import { ZONE_POOL, ZONE_RING } from '../arena/layout.js';
import { lcoreHolder } from '../arena/lcores.js';
import { burstFunctions } from '../burst/module.js';
import { Mempool } from '../mbuf/mempool.js';
import { freeQueues } from '../port/attach.js';
import { freeSteering } from '../rss/steering_sides.js';
import { pauseOthers } from './rest.js';

/** What came back from an lcore that ended. */
export interface Recovery {
  readonly lcore: number;
  /** mbufs that its program held, and mbufs that were on their way. */
  readonly held: number;
  readonly stray: number;
  /** Claims on rings that it had not published. */
  readonly claims: number;
  /** Queues that are free for another now: "port/0/rx/0", "rps/worker/3", "rps/distributor". */
  readonly queues: readonly string[];
  /** False when the other lcores could not be brought to rest: strays stay counted in the audit until a later recovery or `reclaimStray`. */
  readonly complete: boolean;
}

/** Of an lcore that never attached, or whose things another has taken back. */
export const NO_RECOVERY: Recovery = { lcore: -1, held: 0, stray: 0, claims: 0, queues: [], complete: true };

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
  const zones = arena.zones();
  const pools = zones.filter(zone => zone.type === ZONE_POOL).map(zone => Mempool.find(arena, zone.name));
  const rings = zones.filter(zone => zone.type === ZONE_RING);
  // All claims first: mbufs go back through rings that another dead one may have claimed.
  const claims = dead.map(lcore => rings.reduce((sum, { offset }) => sum + burstFunctions(arena).ringRecover(offset, lcore), 0));
  const parts = dead.map((lcore, i) => {
    const queues = [...freeQueues(arena, lcore), ...freeSteering(arena, lcore)];
    return { lcore, queues, claims: claims[i]!, held: pools.reduce((sum, pool) => sum + pool.reclaimHeld(lcore), 0) };
  });
  const resume = pauseOthers(arena, [...dead, ...arena.deadLcores()]);
  const stray = resume === undefined ? 0 : pools.reduce((sum, pool) => sum + pool.reclaimStray(), 0);
  resume?.();
  for (const lcore of dead) arena.freeLcore(lcore, true);
  // Nobody can say whose the strays were: they are told with the first.
  return parts.map((part, i) => ({ ...part, stray: i === 0 ? stray : 0, complete: resume !== undefined }));
}

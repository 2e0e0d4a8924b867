import type { Arena } from '../arena/arena.js';
import { LCORE_STATE, ZONE_BURST, ZONE_POOL, ZONE_RING } from '../arena/layout.js';
import { lcoreField, releaseLcore } from '../arena/lcores.js';
import { burstFunctions } from '../burst/module.js';
import { Mempool } from '../mbuf/mempool.js';
import { freeQueues } from '../port/attach.js';
import { freeSteering } from '../rss/steering_sides.js';
import { pauseOthers } from './rest.js';

/** What came back from an lcore that ended. */
export interface Recovery {
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

/** Of an lcore that never attached. */
export const NO_RECOVERY: Recovery = { held: 0, stray: 0, claims: 0, queues: [], complete: true };

/**
 * Takes back everything that an lcore held which is gone for certain, and frees its id. Other lcores may go on; those
 * that poll through `poll` rest for the moment that the search for strays takes. Once for each lcore's end.
 */
export function recoverLcore(arena: Arena, lcore: number): Recovery {
  const zones = arena.zones();
  const claims = zones.filter(zone => zone.type === ZONE_RING).reduce((sum, zone) => sum + burstFunctions(arena).ringRecover(zone.offset, lcore), 0);
  const queues = [...freeQueues(arena, lcore), ...freeSteering(arena, lcore)];
  const pools = zones.filter(zone => zone.type === ZONE_POOL).map(zone => Mempool.find(arena, zone.name));
  const held = pools.reduce((sum, pool) => sum + pool.reclaimHeld(lcore), 0);
  const resume = pauseOthers(arena, [lcore]);
  const stray = resume === undefined ? 0 : pools.reduce((sum, pool) => sum + pool.reclaimStray(), 0);
  resume?.();
  for (const zone of zones) if (zone.type === ZONE_BURST && zone.name.startsWith(`burst/${lcore}/`)) arena.release(zone);
  if (Atomics.load(arena.i32, lcoreField(lcore, LCORE_STATE)) !== 0) releaseLcore(arena.i32, lcore);
  return { held, stray, claims, queues, complete: resume !== undefined };
}

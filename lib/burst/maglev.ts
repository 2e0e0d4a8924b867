/** Maglev tables in plain TypeScript. The fast double is assembly/maglev.ts. */
import { MAGLEV_ACTIVE, MAGLEV_BUILDS, MAGLEV_NONE, MAGLEV_RETRIES, MAGLEV_SIZE } from '../lookup/maglev_layout.js';
import type { BurstFunctions } from './functions.js';
import type { ArenaViews } from './views.js';

export function maglevFunctions({ u32 }: ArenaViews): Pick<BurstFunctions, 'maglevLookup'> {
  return { maglevLookup };

  function maglevLookup(maglev: number, hashes: number, to: number, count: number): void {
    const size = u32[(maglev + MAGLEV_SIZE) >>> 2];
    for (let tries = 0; tries < MAGLEV_RETRIES; tries++) {
      const builds = Atomics.load(u32, (maglev + MAGLEV_BUILDS) >>> 2);
      const table = Atomics.load(u32, (maglev + MAGLEV_ACTIVE) >>> 2);
      for (let i = 0; i < count; i++) {
        const place = Math.floor(u32[(hashes >>> 2) + i] * size / 2 ** 32); // exact: the size is below 2^21
        u32[(to >>> 2) + i] = table === 0 ? MAGLEV_NONE : Atomics.load(u32, (table >>> 2) + place);
      }
      if (Atomics.load(u32, (maglev + MAGLEV_BUILDS) >>> 2) === builds) return;
    }
  }
}

/** Maglev tables (lookup/maglev_layout.ts). The twin is burst/maglev.ts. */
import { MAGLEV_ACTIVE, MAGLEV_BUILDS, MAGLEV_NONE, MAGLEV_RETRIES, MAGLEV_SIZE } from '../../lookup/maglev_layout';
import { loadInOrder } from './order';

/** Backends of `count` hashes, to the vector at `to`. A hash's place is its share of 2^32, which takes a multiplication where a remainder takes a division. */
export function maglevLookup(maglev: usize, hashes: usize, to: usize, count: u32): void {
  const size: u64 = load<u32>(maglev, MAGLEV_SIZE);
  const bytes = (count as usize) << 2;
  for (let tries = MAGLEV_RETRIES; tries > 0; tries--) {
    const builds = atomic.load<u32>(maglev, MAGLEV_BUILDS);
    const table: usize = atomic.load<u32>(maglev, MAGLEV_ACTIVE);
    // In order, so that `builds` is read after it.
    for (let i: usize = 0; i < bytes; i += 4) {
      store<u32>(to + i, table == 0 ? MAGLEV_NONE : loadInOrder(table + ((((load<u32>(hashes + i) as u64) * size) >> 32 << 2) as usize)));
    }
    if (atomic.load<u32>(maglev, MAGLEV_BUILDS) == builds) return;
  }
}

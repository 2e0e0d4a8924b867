/** mbufs with given bytes in them, for the tests of views and of what works on packets. */
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import type { Burst } from '../../lib/burst/burst.js';
import { Chains } from '../../lib/mbuf/chains.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import type { Mbufs } from '../../lib/mbuf/mbufs.js';

export interface Packets {
  readonly arena: Arena;
  readonly pool: Mempool;
  readonly mbufs: Mbufs;
  readonly burst: Burst;
  /** A new mbuf with these bytes; the one before is freed. */
  put(bytes: Uint8Array): number;
}

/** `above`: the pool is beyond so many bytes of the arena. */
export function packets({ above = 0, count = 64, bufferSize = 2048 } = {}): Packets {
  const arena = Arena.create({ size: above === 0 ? MIN_ARENA * 4 : Math.ceil(above * 1.05 / 65536) * 65536 + MIN_ARENA * 4 });
  if (above > 0) arena.reserve('below', above);
  const pool = Mempool.create(arena, 'pool', { count, bufferSize, hugePages: 'never' });
  const burst = pool.burst(Math.min(32, count));
  let held = 0;
  return {
    arena, pool, mbufs: pool.mbufs, burst,
    put(bytes) {
      if (held === 0) held = pool.alloc(burst, 1);
      const handle = burst.handles[0]!;
      pool.mbufs.trim(handle, pool.mbufs.dataLen(handle));
      if (!pool.mbufs.copyIn(handle, bytes)) throw new RangeError('longer than a buffer');
      return handle;
    },
  };
}

/** A pool of packets that are put in and freed one at a time, whole or in chains. */
export function singles(pool: Mempool): { fresh(bytes: Uint8Array): number; free(handle: number): void } {
  const chains = new Chains(pool);
  const single = pool.burst(1);
  return {
    fresh(bytes) {
      if (pool.alloc(single, 1) === 0) throw new Error('the pool is dry');
      const handle = single.handles[0]!;
      if (!chains.copyIn(handle, bytes)) throw new Error('no room');
      return handle;
    },
    free(handle) {
      single.handles[0] = handle;
      pool.free(single, 0, 1);
    },
  };
}

/** A queue and its mbufs: what ports of several kinds do in the same way. */
import { QUEUE_NOMBUF, QUEUE_POOL } from '../../port/layout';
import { count64 } from './memory_ports';
import { takeFree } from './mempool';

/** `want` mbufs, or as many as the pool has when it runs dry: halves of it are tried. What is not had stays in the ring. */
// @ts-ignore: decorator
@inline
export function takeSome(queue: usize, lcore: u32, vector: usize, want: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  for (; want > 0; want >>= 1) {
    if (takeFree(pool, lcore, vector, want) > 0) return want;
  }
  count64(queue + QUEUE_NOMBUF, 1);
  return 0;
}

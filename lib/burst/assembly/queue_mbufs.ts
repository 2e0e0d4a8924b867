/** A queue and its mbufs: what ports of several kinds do in the same way. */
import { QUEUE_NOMBUF, QUEUE_POOL } from '../../port/layout';
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER } from '../../mbuf/layout';
import { VQ_BUFFER_MASK, VQ_POOL, VQ_POOL_BYTES } from '../../virtqueue/layout';
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

/** Is it an mbuf in the memory that the other side knows? */
// @ts-ignore: decorator
@inline
export function isShared(queue: usize, handle: u32): bool {
  const start = (handle << HANDLE_SHIFT) - load<u32>(queue, VQ_POOL);
  return start < load<u32>(queue, VQ_POOL_BYTES) && (start & load<u32>(queue, VQ_BUFFER_MASK)) == 0;
}

/** All segments change hands. */
export function ownChain(table: usize, handle: u32, owner: u32): void {
  for (let left: u32 = load<u16>(table + ((handle as usize) << HEADER_SHIFT), MBUF_NB_SEGS); left > 0 && handle != 0; left--) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    store<u32>(header, owner, MBUF_OWNER);
    handle = load<u32>(header, MBUF_NEXT);
  }
}

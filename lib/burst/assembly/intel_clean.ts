/** What Intel's NICs have sent, back into the pool. The twin is burst/intel_clean.ts; rings and descriptors are explained in vfio/intel/layout.ts. */
import { HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import {
  INTEL_HEAD, INTEL_LASTS, INTEL_MASK, INTEL_NEXT, INTEL_RING, INTEL_SCRATCH, INTEL_SCRATCH_COUNT, INTEL_SIDE, TXD_DD, TXD_STATUS,
} from '../../port/drivers/vfio/intel/layout';
import { QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { descriptorAt, isMapped, sideAt } from './intel_ring';
import { mbufFree } from './mempool';

/** Frees what the device says it has sent, burst by burst: the last descriptor of each tells of all. Returns how many. */
export function intelClean(queue: usize, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, INTEL_RING);
  const lasts: usize = load<u32>(queue, INTEL_LASTS);
  const mask = load<u32>(queue, INTEL_MASK);
  const next = load<u32>(queue, INTEL_NEXT);
  const start = load<u32>(queue, INTEL_HEAD);
  let head = start;
  while (head != next) {
    const last = load<u32>(sideAt(lasts, head, mask));
    // Pairs with the device's order: it has read the frame before it writes DD.
    if (!(atomic.load<u32>(descriptorAt(ring, last, mask), TXD_STATUS) & TXD_DD)) break;
    freeSent(queue, head, last + 1 - head, mask, lcore);
    head = last + 1;
  }
  store<u32>(queue, head, INTEL_HEAD);
  return head - start;
}

// @ts-ignore: decorator
@inline
function freeSent(queue: usize, index: u32, count: u32, mask: u32, lcore: u32): void {
  const side: usize = load<u32>(queue, INTEL_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  while (count > 0) {
    const batch = min(count, INTEL_SCRATCH_COUNT as u32);
    let found: u32 = 0;
    for (let i: u32 = 0; i < batch; i++) {
      const handle = load<u32>(sideAt(side, index + i, mask));
      if (handle == 0) continue;
      const header = table + ((handle as usize) << HEADER_SHIFT);
      store<u32>(header, owner, MBUF_OWNER);
      if (load<u16>(header, MBUF_NB_SEGS) != 1) ownChain(queue, header, owner);
      store<u32>(queue + INTEL_SCRATCH + ((found as usize) << 2), handle);
      found++;
    }
    mbufFree(pool, lcore, queue + INTEL_SCRATCH, found);
    index += batch;
    count -= batch;
  }
}

/** The segments behind the first. */
function ownChain(queue: usize, head: usize, owner: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  let handle = load<u32>(head, MBUF_NEXT);
  for (let left: u32 = load<u16>(head, MBUF_NB_SEGS); left > 1 && isMapped(queue, handle); left--) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    store<u32>(header, owner, MBUF_OWNER);
    handle = load<u32>(header, MBUF_NEXT);
  }
}

/** What Intel's NICs have sent, back into the pool, in plain TypeScript. The fast double is assembly/intel_clean.ts; neither calls the other. */
import { MBUF_NB_SEGS, MBUF_NEXT } from '../mbuf/layout.js';
import {
  INTEL_HEAD, INTEL_LASTS, INTEL_MASK, INTEL_NEXT, INTEL_SCRATCH, INTEL_SCRATCH_COUNT, TXD_DD, TXD_STATUS,
} from '../port/drivers/vfio/intel/layout.js';
import { QUEUE_POOL } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import { intelRings } from './intel_ring.js';
import type { MempoolFunctions } from './mempool.js';
import { program, queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';

export function intelCleanFunctions(views: ArenaViews, pools: MempoolFunctions): Pick<BurstFunctions, 'intelClean'> {
  const { u16, u32 } = views;
  const { field, setField, headerOf, own } = queueMbufs(views);
  const { descriptorAt, sideAt, isMapped } = intelRings(views);
  return { intelClean };

  /** Burst by burst, or what of one reports together: the last descriptor of each says that all of it was sent. */
  function intelClean(queue: number, lcore: number): number {
    const mask = field(queue, INTEL_MASK);
    const next = field(queue, INTEL_NEXT);
    const start = field(queue, INTEL_HEAD);
    let head = start;
    while (head !== next) {
      const last = u32[(field(queue, INTEL_LASTS) >>> 2) + (head & mask)];
      // Pairs with the device's order: it has read the frame before it writes DD.
      if ((Atomics.load(u32, (descriptorAt(queue, last) + TXD_STATUS) >>> 2) & TXD_DD) === 0) break;
      freeSent(queue, head, (last + 1 - head) >>> 0, lcore);
      head = (last + 1) >>> 0;
    }
    setField(queue, INTEL_HEAD, head);
    return (head - start) >>> 0;
  }

  function freeSent(queue: number, index: number, count: number, lcore: number): void {
    for (let done = 0; done < count; done += INTEL_SCRATCH_COUNT) {
      const batch = Math.min(count - done, INTEL_SCRATCH_COUNT);
      let found = 0;
      for (let i = 0; i < batch; i++) {
        const handle = u32[sideAt(queue, index + done + i)];
        if (handle === 0) continue;
        ownChain(queue, handle, program(lcore));
        u32[((queue + INTEL_SCRATCH) >>> 2) + found++] = handle;
      }
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + INTEL_SCRATCH, found);
    }
  }

  /** All segments of a frame. */
  function ownChain(queue: number, first: number, owner: number): void {
    let handle = first;
    own(queue, handle, owner);
    for (let left = u16[(headerOf(queue, first) + MBUF_NB_SEGS) >>> 1]; left > 1; left--) {
      handle = field(headerOf(queue, handle), MBUF_NEXT);
      if (!isMapped(queue, handle)) return;
      own(queue, handle, owner);
    }
  }
}

/** Empty buffers for Intel's NICs, in plain TypeScript. The fast double is assembly/intel_fill.ts; neither calls the other. */
import { HANDLE_SHIFT, HEADROOM } from '../mbuf/layout.js';
import { INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_MASK, INTEL_NEXT, INTEL_SCRATCH, INTEL_SCRATCH_COUNT } from '../port/drivers/vfio/intel/layout.js';
import { QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_POOL } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import { intelRings } from './intel_ring.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';

export function intelFillFunctions(views: ArenaViews, pools: MempoolFunctions): Pick<BurstFunctions, 'intelFill'> {
  const { u32 } = views;
  const { field, own } = queueMbufs(views);
  const { descriptorAt, sideAt, publish } = intelRings(views);
  return { intelFill };

  /** Up to one less than the ring has: with a tail at its head the device has none. */
  function intelFill(queue: number, lcore: number): number {
    const aim = field(queue, INTEL_MASK);
    const head = field(queue, INTEL_HEAD);
    let next = field(queue, INTEL_NEXT);
    let chunk = INTEL_SCRATCH_COUNT;
    while (((next - head) >>> 0) < aim && chunk > 0) {
      const want = Math.min(aim - ((next - head) >>> 0), chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, queue + INTEL_SCRATCH, want) === 0) {
        chunk = want >>> 1;
      } else {
        for (let i = 0; i < want; i++) giveBuffer(queue, next + i, u32[((queue + INTEL_SCRATCH) >>> 2) + i]);
        next = (next + want) >>> 0;
      }
    }
    const held = (next - head) >>> 0;
    if (held < aim) count64(u32, queue + QUEUE_NOMBUF, 1);
    publish(queue, next);
    return held;
  }

  function giveBuffer(queue: number, index: number, handle: number): void {
    own(queue, handle, field(queue, QUEUE_OWNER));
    u32[sideAt(queue, index)] = handle;
    const at = descriptorAt(queue, index) >>> 2;
    u32[at] = (handle << HANDLE_SHIFT) + HEADROOM;
    u32[at + 1] = field(queue, INTEL_IOVA_HIGH);
    u32[at + 2] = 0;
    u32[at + 3] = 0;
  }
}

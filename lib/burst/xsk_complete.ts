/** What the kernel has sent, back into the pool, in plain TypeScript. The fast double is assembly/xsk_complete.ts; neither calls the other. */
import {
  XSK_BAD_COMPLETION, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_HELD, XSK_MASK, XSK_PRODUCER, XSK_RING_B, XSK_SCRATCH, XSK_SCRATCH_COUNT,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_POOL } from '../port/layout.js';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import { xskRings } from './xsk_ring.js';

export function xskCompleteFunctions(views: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions): Pick<BurstFunctions, 'xskComplete'> {
  const { u32 } = views;
  const { field, setField, own } = queueMbufs(views);
  const { isHeld, handleAt, believable } = xskRings(views, hooks);
  return { xskComplete };

  function xskComplete(queue: number, lcore: number): number {
    const ring = queue + XSK_RING_B;
    const consumer = field(ring, XSK_CONSUMER) >>> 2;
    const index = u32[consumer]; // ours
    // Pairs with the kernel's smp_store_release of the producer.
    const ready = believable(Atomics.load(u32, field(ring, XSK_PRODUCER) >>> 2) - index, ring);
    if (ready === 0) return 0;
    let freed = 0;
    for (let done = 0; done < ready; done += XSK_SCRATCH_COUNT) {
      const good = readCompletions(queue, index + done, Math.min(ready - done, XSK_SCRATCH_COUNT), lcore);
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, good);
      freed += good;
    }
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    Atomics.store(u32, consumer, index + ready);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    setField(queue, XSK_HELD, field(queue, XSK_HELD) - freed);
    return freed;
  }

  function readCompletions(queue: number, index: number, count: number, lcore: number): number {
    let good = 0;
    for (let i = 0; i < count; i++) {
      const at = (field(queue, XSK_RING_B + XSK_DESCRIPTORS) + ((index + i) & field(queue, XSK_RING_B + XSK_MASK)) * 8) >>> 2;
      const address = u32[at];
      if (!isHeld(queue, address, u32[at + 1], 0)) {
        count64(u32, queue + XSK_BAD_COMPLETION, 1);
        continue;
      }
      const handle = handleAt(queue, address);
      own(queue, handle, program(lcore));
      u32[((queue + XSK_SCRATCH) >>> 2) + good++] = handle;
      hooks.fault?.(DEATH_MID_BURST);
    }
    return good;
  }
}

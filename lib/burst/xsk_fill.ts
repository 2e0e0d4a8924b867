/** Empty buffers for AF_XDP, in plain TypeScript. The fast double is assembly/xsk_fill.ts; neither calls the other. */
import { HANDLE_SHIFT } from '../mbuf/layout.js';
import {
  XSK_AIM, XSK_DESCRIPTORS, XSK_GIVING, XSK_HELD, XSK_MASK, XSK_PRODUCER, XSK_RING_B, XSK_SCRATCH, XSK_SCRATCH_COUNT, XSK_UMEM,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_POOL } from '../port/layout.js';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import { xskRings } from './xsk_ring.js';

export function xskFillFunctions(views: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions): Pick<BurstFunctions, 'xskFill'> {
  const { u32 } = views;
  const { field, setField, own } = queueMbufs(views);
  const { giving } = xskRings(views, hooks);
  return { xskFill };

  /** In steps of the scratch vector; when the pool runs dry, in smaller and smaller ones, so that its last few are used. */
  function xskFill(queue: number, lcore: number): number {
    const aim = field(queue, XSK_AIM);
    let held = field(queue, XSK_HELD);
    let chunk = XSK_SCRATCH_COUNT;
    while (held < aim && chunk > 0) {
      const want = Math.min(aim - held, chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, want) === 0) {
        chunk = want >>> 1;
      } else {
        pushFill(queue, want);
        held += want;
      }
    }
    if (held < aim) count64(u32, queue + QUEUE_NOMBUF, 1);
    setField(queue, XSK_HELD, held);
    return held;
  }

  function pushFill(queue: number, count: number): void {
    const ring = queue + XSK_RING_B;
    const producer = field(ring, XSK_PRODUCER) >>> 2;
    const index = u32[producer]; // ours
    giving(queue, count, index, queue + XSK_SCRATCH);
    for (let i = 0; i < count; i++) {
      const handle = u32[((queue + XSK_SCRATCH) >>> 2) + i];
      own(queue, handle, field(queue, QUEUE_OWNER));
      const at = (field(ring, XSK_DESCRIPTORS) + ((index + i) & field(ring, XSK_MASK)) * 8) >>> 2;
      u32[at] = (handle << HANDLE_SHIFT) - field(queue, XSK_UMEM);
      u32[at + 1] = 0;
      hooks.fault?.(DEATH_MID_BURST);
    }
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    // Pairs with the kernel's smp_load_acquire of the producer.
    Atomics.store(u32, producer, index + count);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    setField(queue, XSK_GIVING, 0);
  }
}

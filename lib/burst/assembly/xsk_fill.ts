/** Empty buffers for AF_XDP. The twin is burst/xsk_fill.ts; the rings are explained in af_xdp/layout.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_OWNER } from '../../mbuf/layout';
import {
  XSK_AIM, XSK_DESCRIPTORS, XSK_GIVING, XSK_HELD, XSK_MASK, XSK_PRODUCER, XSK_RING_B, XSK_SCRATCH, XSK_SCRATCH_COUNT, XSK_UMEM,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { count64 } from './memory_ports';
import { takeFree } from './mempool';
import { publish } from './publish';
import { giving } from './xsk_ring';

/** Gives the kernel empty buffers up to what it should have. Returns how many it has. */
export function xskFill(queue: usize, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  let chunk: u32 = XSK_SCRATCH_COUNT;
  let held = load<u32>(queue, XSK_HELD);
  const aim = load<u32>(queue, XSK_AIM);
  while (held < aim && chunk > 0) {
    const want = min(aim - held, chunk);
    if (takeFree(pool, lcore, queue + XSK_SCRATCH, want) == 0) {
      // The pool's last few: smaller and smaller.
      chunk = want >> 1;
      continue;
    }
    pushFill(queue, want);
    held += want;
  }
  if (held < aim) count64(queue + QUEUE_NOMBUF, 1);
  store<u32>(queue, held, XSK_HELD);
  return held;
}

// @ts-ignore: decorator
@inline
function pushFill(queue: usize, count: u32): void {
  const producer: usize = load<u32>(queue, XSK_RING_B + XSK_PRODUCER);
  const addresses: usize = load<u32>(queue, XSK_RING_B + XSK_DESCRIPTORS);
  const mask = load<u32>(queue, XSK_RING_B + XSK_MASK);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const umem = load<u32>(queue, XSK_UMEM);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const index = load<u32>(producer); // ours
  giving(queue, count, index, queue + XSK_SCRATCH);
  for (let i: u32 = 0; i < count; i++) {
    const handle = load<u32>(queue + XSK_SCRATCH + ((i as usize) << 2));
    store<u32>(table + ((handle as usize) << HEADER_SHIFT), mine, MBUF_OWNER);
    store<u64>(addresses + (((index + i) & mask) as usize << 3), ((handle << HANDLE_SHIFT) - umem) as u64);
    deathPoint(DEATH_MID_BURST);
  }
  deathPoint(DEATH_BEFORE_PUBLISH);
  // Pairs with the kernel's smp_load_acquire of the producer.
  publish(producer, index + count);
  deathPoint(DEATH_AFTER_PUBLISH);
  store<u32>(queue, 0, XSK_GIVING);
}

/** What the kernel has sent, back into the pool. The twin is burst/xsk_complete.ts; the rings are explained in af_xdp/layout.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import {
  XSK_BAD_COMPLETION, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_HELD, XSK_MASK, XSK_PRODUCER, XSK_RING_B, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_OWNER, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { count64 } from './memory_ports';
import { mbufFree } from './mempool';
import { publish } from './publish';

/** Frees what the kernel says it has sent. Returns how many. */
export function xskComplete(queue: usize, lcore: u32): u32 {
  const producer: usize = load<u32>(queue, XSK_RING_B + XSK_PRODUCER);
  const consumer: usize = load<u32>(queue, XSK_RING_B + XSK_CONSUMER);
  const mask = load<u32>(queue, XSK_RING_B + XSK_MASK);
  let index = load<u32>(consumer); // ours
  // Pairs with the kernel's smp_store_release of the producer.
  const ready = min(atomic.load<u32>(producer) - index, mask + 1);
  if (ready == 0) return 0;
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  let freed: u32 = 0;
  for (let left = ready; left > 0;) {
    const batch = min(left, XSK_SCRATCH_COUNT as u32);
    const good = readCompletions(queue, index, batch, mask, lcore);
    mbufFree(pool, lcore, queue + XSK_SCRATCH, good);
    freed += good;
    index += batch;
    left -= batch;
  }
  deathPoint(DEATH_BEFORE_PUBLISH);
  publish(consumer, index);
  deathPoint(DEATH_AFTER_PUBLISH);
  store<u32>(queue, load<u32>(queue, XSK_HELD) - freed, XSK_HELD);
  return freed;
}

// @ts-ignore: decorator
@inline
function readCompletions(queue: usize, index: u32, batch: u32, mask: u32, lcore: u32): u32 {
  const addresses: usize = load<u32>(queue, XSK_RING_B + XSK_DESCRIPTORS);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const umem = load<u32>(queue, XSK_UMEM);
  const umemBytes: u64 = load<u32>(queue, XSK_UMEM_BYTES);
  const bufferMask = load<u32>(queue, XSK_BUFFER_MASK);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  let slot = queue + XSK_SCRATCH;
  for (let i: u32 = 0; i < batch; i++) {
    const address = load<u64>(addresses + (((index + i) & mask) as usize << 3));
    const handle = (umem + ((address as u32) & ~bufferMask)) >>> HANDLE_SHIFT;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (address >= umemBytes || load<u32>(header, MBUF_OWNER) != mine) {
      count64(queue + XSK_BAD_COMPLETION, 1);
      continue;
    }
    store<u32>(header, owner, MBUF_OWNER);
    store<u32>(slot, handle);
    slot += 4;
    deathPoint(DEATH_MID_BURST);
  }
  return ((slot - queue - XSK_SCRATCH) as u32) >> 2;
}

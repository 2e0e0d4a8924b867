/** AF_XDP's bursts over the kernel's rings. The twin is burst/xsk.ts; the rings are explained in af_xdp/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT,
} from '../../mbuf/layout';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BUFFER_MASK, XSK_CONSUMER,
  XSK_DESCRIPTORS, XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_MULTI_BUFFER, XSK_NOT_IN_UMEM, XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_RING_FULL, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_SEEN, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';
import { publish } from './publish';

/** Receives, then gives the kernel as many empty buffers as it lacks. */
export function xskRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const producer: usize = load<u32>(queue, XSK_RING_A + XSK_PRODUCER);
  const consumer: usize = load<u32>(queue, XSK_RING_A + XSK_CONSUMER);
  const index = load<u32>(consumer); // ours
  let seen = load<u32>(queue, XSK_RING_A + XSK_SEEN);
  if (seen - index < max) {
    // Pairs with the kernel's smp_store_release of the producer: the descriptors before the index.
    seen = atomic.load<u32>(producer);
    store<u32>(queue, seen, XSK_RING_A + XSK_SEEN);
  }
  const mask = load<u32>(queue, XSK_RING_A + XSK_MASK);
  // A producer that is further ahead than the ring is long is not to be believed.
  const ready = min(seen - index, mask + 1);
  const take = min(ready, max);
  let got: u32 = 0;
  if (take > 0) {
    got = readDescriptors(queue, index, take, mask, burst, lcore);
    deathPoint(DEATH_BEFORE_PUBLISH);
    // Pairs with the kernel's load of the consumer: our reads of the descriptors are over.
    publish(consumer, index + take);
    deathPoint(DEATH_AFTER_PUBLISH);
    store<u32>(queue, load<u32>(queue, XSK_HELD) - got, XSK_HELD);
    count64(queue + QUEUE_PACKETS, got);
  }
  const aim = load<u32>(queue, XSK_AIM);
  const lack = aim - load<u32>(queue, XSK_HELD);
  // Worth a fill: a vector's worth, or in a short ring the half of it.
  if (lack >= (XSK_SCRATCH_COUNT as u32) || lack >= aim >> 1) xskFill(queue, lcore);
  return got;
}

// @ts-ignore: decorator
@inline
function readDescriptors(queue: usize, index: u32, take: u32, mask: u32, burst: usize, lcore: u32): u32 {
  const descriptors: usize = load<u32>(queue, XSK_RING_A + XSK_DESCRIPTORS);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const umem = load<u32>(queue, XSK_UMEM);
  const umemBytes: u64 = load<u32>(queue, XSK_UMEM_BYTES);
  const bufferMask = load<u32>(queue, XSK_BUFFER_MASK);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const second = v128.load(queue + QUEUE_TEMPLATE, 16);
  let bytes: u32 = 0;
  let slot = burst;
  for (let i: u32 = 0; i < take; i++) {
    const at = descriptors + (((index + i) & mask) as usize << 4);
    // Copied once, then checked, then used.
    const address = load<u64>(at);
    const length = load<u32>(at, 8);
    const options = load<u32>(at, 12);
    const offset = (address as u32) & bufferMask;
    const handle = (umem + ((address as u32) & ~bufferMask)) >>> HANDLE_SHIFT;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (address >= umemBytes || length > bufferMask + 1 - offset || load<u32>(header, MBUF_OWNER) != mine) {
      count64(queue + XSK_BAD_DESCRIPTOR, 1);
      continue;
    }
    if (options & XDP_PKT_CONTD) {
      // The buffer is ours again, though its frame is of no use.
      count64(queue + XSK_MULTI_BUFFER, 1);
      giveBack(queue, handle, lcore);
      continue;
    }
    v128.store(header, first);
    v128.store(header, second, 16);
    store<u16>(header, offset as u16, MBUF_DATA_OFF);
    store<u32>(header, length, MBUF_PKT_LEN);
    store<u16>(header, length as u16, MBUF_DATA_LEN);
    store<u32>(header, owner, MBUF_OWNER);
    store<u32>(slot, handle);
    slot += 4;
    bytes += length;
    deathPoint(DEATH_MID_BURST);
  }
  count64(queue + QUEUE_BYTES, bytes);
  return (slot - burst) as u32 >> 2;
}

function giveBack(queue: usize, handle: u32, lcore: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  store<u32>(table + ((handle as usize) << HEADER_SHIFT), (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
  store<u32>(queue, handle, XSK_SCRATCH);
  store<u32>(queue, load<u32>(queue, XSK_HELD) - 1, XSK_HELD);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, 1);
}

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

/** What is about to be given to the kernel, for whoever finds the queue without its lcore. */
// @ts-ignore: decorator
@inline
function giving(queue: usize, count: u32, from: u32, vector: usize): void {
  store<u32>(queue, from, XSK_GIVING_FROM);
  store<u32>(queue, vector as u32, XSK_GIVING_VECTOR);
  store<u32>(queue, count, XSK_GIVING);
}

/** Takes back what was sent, then gives the kernel what fits. `count` 0 only takes back. */
export function xskTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  xskComplete(queue, lcore);
  if (count == 0) return 0;
  const producer: usize = load<u32>(queue, XSK_RING_A + XSK_PRODUCER);
  const mask = load<u32>(queue, XSK_RING_A + XSK_MASK);
  const index = load<u32>(producer); // ours
  // No more in flight than the completion ring, which is as long, can tell of: so the consumer index need not be read.
  const held = load<u32>(queue, XSK_HELD);
  const room = mask + 1 - held;
  let taken: u32 = 0;
  let sent: u32 = 0;
  giving(queue, count, index, burst);
  while (true) {
    const most = min(count - taken, room - sent);
    const written = writeDescriptors(queue, index + sent, most, mask, burst + ((taken as usize) << 2));
    sent += written;
    taken += written;
    if (written == most || !dropBad(queue, burst + ((taken as usize) << 2), lcore)) break;
    taken++;
  }
  if (taken < count) {
    if (sent == room) count64(queue + XSK_RING_FULL, 1);
    count64(queue + QUEUE_NOMBUF, count - taken);
  }
  if (sent > 0) {
    deathPoint(DEATH_BEFORE_PUBLISH);
    // Pairs with the kernel's smp_load_acquire of the producer.
    publish(producer, index + sent);
    deathPoint(DEATH_AFTER_PUBLISH);
    store<u32>(queue, held + sent, XSK_HELD);
    count64(queue + QUEUE_PACKETS, sent);
  }
  store<u32>(queue, 0, XSK_GIVING);
  return taken;
}

/** The mbuf in the slot cannot be sent. One of this UMEM is freed, and the port goes on; another's is the program's mistake. */
function dropBad(queue: usize, slot: usize, lcore: u32): bool {
  const start = (load<u32>(slot) << HANDLE_SHIFT) - load<u32>(queue, XSK_UMEM);
  if (start >= load<u32>(queue, XSK_UMEM_BYTES) || (start & load<u32>(queue, XSK_BUFFER_MASK))) {
    count64(queue + XSK_NOT_IN_UMEM, 1);
    return false;
  }
  count64(queue + XSK_BAD_FRAME, 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  return true;
}

/** Stops at the first mbuf that cannot be sent. Returns how many were written. */
// @ts-ignore: decorator
@inline
function writeDescriptors(queue: usize, index: u32, most: u32, mask: u32, burst: usize): u32 {
  const descriptors: usize = load<u32>(queue, XSK_RING_A + XSK_DESCRIPTORS);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const umem = load<u32>(queue, XSK_UMEM);
  const umemBytes = load<u32>(queue, XSK_UMEM_BYTES);
  const bufferMask = load<u32>(queue, XSK_BUFFER_MASK);
  const longest = load<u32>(queue, XSK_LONGEST);
  const mine = load<u32>(queue, QUEUE_OWNER);
  let bytes: u32 = 0;
  let i: u32 = 0;
  for (; i < most; i++) {
    const handle = load<u32>(burst + ((i as usize) << 2));
    const start = (handle << HANDLE_SHIFT) - umem;
    if (start >= umemBytes || (start & bufferMask)) break;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (load<u16>(header, MBUF_NB_SEGS) != 1 || length < 14 || length > longest || offset + length > bufferMask + 1) break;
    const at = descriptors + (((index + i) & mask) as usize << 4);
    store<u64>(at, (start + offset) as u64);
    store<u64>(at, length as u64, 8); // length and no options
    store<u32>(header, mine, MBUF_OWNER);
    bytes += length;
    deathPoint(DEATH_MID_BURST);
  }
  count64(queue + QUEUE_BYTES, bytes);
  return i;
}

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

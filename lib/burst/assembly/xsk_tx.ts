/** Sending by AF_XDP. The twin is burst/xsk_tx.ts; the rings are explained in af_xdp/layout.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT } from '../../mbuf/layout';
import {
  XSK_BUFFER_MASK, XSK_DESCRIPTORS, XSK_GIVING, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_PRODUCER, XSK_RING_A, XSK_RING_FULL, XSK_UMEM,
  XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_TABLE } from '../../port/layout';
import { DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { count64 } from './memory_ports';
import { xskComplete } from './xsk_complete';
import { give, giving } from './xsk_ring';
import { NO_ROOM, sendOther } from './xsk_tx_chain';

/** Takes back what was sent, then gives the kernel what fits. `count` 0 only takes back. */
export function xskTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  xskComplete(queue, lcore);
  if (count == 0) return 0;
  const mask = load<u32>(queue, XSK_RING_A + XSK_MASK);
  const index = load<u32>(load<u32>(queue, XSK_RING_A + XSK_PRODUCER)); // ours
  // No more in flight than the completion ring, which is as long, can tell of: so the consumer index need not be read.
  const end = index + (mask + 1 - load<u32>(queue, XSK_HELD));
  let next = index;
  let told = index;
  let taken: u32 = 0;
  let dropped: u32 = 0;
  giving(queue, count, index, burst);
  while (true) {
    const written = writeDescriptors(queue, next, min(count - taken, end - next), mask, burst + ((taken as usize) << 2));
    next += written;
    taken += written;
    if (taken == count) break;
    const slot = burst + ((taken as usize) << 2);
    if (next != end) told = give(queue, told, next);
    const used = next == end ? NO_ROOM : sendOther(queue, next, end - next, mask, slot, lcore);
    if (used == NO_ROOM) count64(queue + XSK_RING_FULL, 1);
    if (used < 0) break;
    if (used == 0) dropped++;
    next += used;
    told = next;
    taken++;
    giving(queue, count - taken, next, slot + 4);
  }
  if (taken < count) count64(queue + QUEUE_NOMBUF, count - taken);
  give(queue, told, next);
  if (taken > dropped) count64(queue + QUEUE_PACKETS, taken - dropped);
  store<u32>(queue, 0, XSK_GIVING);
  return taken;
}

/** Packets in one mbuf that nobody else holds; stops at the first other one, or one that cannot be sent. Returns how many were written. */
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
    if (load<u32>(header, MBUF_REFCNT) != MBUF_PLAIN || length < 14 || length > longest || offset + length > bufferMask + 1) break;
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

/** Receiving by AF_XDP. The twin is burst/xsk_rx.ts; the rings are explained in af_xdp/layout.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_DESCRIPTOR, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_HELD, XSK_MASK, XSK_PRODUCER, XSK_RING_A,
  XSK_SCRATCH_COUNT, XSK_SEEN, XSK_SKIPPING, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_BYTES, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { count64 } from './memory_ports';
import { publish } from './publish';
import { xskFill } from './xsk_fill';
import { descriptorAt } from './xsk_ring';
import { readChain, skip } from './xsk_rx_chain';

/** Receives, then gives the kernel as many empty buffers as it lacks. */
export function xskRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const producer: usize = load<u32>(queue, XSK_RING_A + XSK_PRODUCER);
  const index = load<u32>(load<u32>(queue, XSK_RING_A + XSK_CONSUMER)); // ours
  let seen = load<u32>(queue, XSK_RING_A + XSK_SEEN);
  if (seen - index < max) {
    // Pairs with the kernel's smp_store_release of the producer: the descriptors before the index.
    seen = atomic.load<u32>(producer);
    store<u32>(queue, seen, XSK_RING_A + XSK_SEEN);
  }
  const mask = load<u32>(queue, XSK_RING_A + XSK_MASK);
  // A producer that is further ahead than the ring is long is not to be believed.
  const ready = min(seen - index, mask + 1);
  let got: u32 = 0;
  if (ready > 0 && max > 0) {
    got = readFrames(queue, index, ready, mask, burst, max, lcore);
    count64(queue + QUEUE_PACKETS, got);
  }
  const aim = load<u32>(queue, XSK_AIM);
  const lack = aim - load<u32>(queue, XSK_HELD);
  // Worth a fill: a vector's worth, or in a short ring the half of it.
  if (lack >= (XSK_SCRATCH_COUNT as u32) || lack >= aim >> 1) xskFill(queue, lcore);
  return got;
}

/** Frames in one buffer, and between them the others. Tells the kernel how far it came; returns how many there were. */
// @ts-ignore: decorator
@inline
function readFrames(queue: usize, index: u32, ready: u32, mask: u32, burst: usize, max: u32, lcore: u32): u32 {
  const consumer: usize = load<u32>(queue, XSK_RING_A + XSK_CONSUMER);
  let read: u32 = 0;
  let got: u32 = 0;
  if (load<u32>(queue, XSK_SKIPPING)) read = skip(queue, index, ready, mask, lcore);
  while (read < ready && got < max) {
    const plain = readPlain(queue, index + read, min(ready - read, max - got), mask, burst + ((got as usize) << 2), lcore);
    read += (plain >> 32) as u32;
    got += plain as u32;
    if (read == ready || got == max) break;
    if (!(load<u32>(descriptorAt(queue, index + read, mask), 12) & XDP_PKT_CONTD)) continue; // some were bad
    const chain = readChain(queue, index + read, ready - read, mask, burst + ((got as usize) << 2), lcore);
    if (chain == 0) {
      // Its end may have come since: the next burst shall look.
      store<u32>(queue, index + read, XSK_RING_A + XSK_SEEN);
      break;
    }
    read += abs(chain) as u32;
    if (chain > 0) got++;
    if (load<u32>(queue, XSK_SKIPPING)) read += skip(queue, index + read, ready - read, mask, lcore);
  }
  deathPoint(DEATH_BEFORE_PUBLISH);
  // Pairs with the kernel's load of the consumer: our reads of the descriptors are over.
  publish(consumer, index + read);
  deathPoint(DEATH_AFTER_PUBLISH);
  return got;
}

/** Stops before a frame in several buffers. Returns how many descriptors it read, in the upper half, and how many frames they were. */
// @ts-ignore: decorator
@inline
function readPlain(queue: usize, index: u32, take: u32, mask: u32, burst: usize, lcore: u32): u64 {
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
  let i: u32 = 0;
  for (; i < take; i++) {
    const at = descriptors + (((index + i) & mask) as usize << 4);
    // Copied once, then checked, then used.
    const address = load<u64>(at);
    const length = load<u32>(at, 8);
    const options = load<u32>(at, 12);
    const offset = (address as u32) & bufferMask;
    const handle = (umem + ((address as u32) & ~bufferMask)) >>> HANDLE_SHIFT;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (options & XDP_PKT_CONTD) break;
    if (address >= umemBytes || length > bufferMask + 1 - offset || load<u32>(header, MBUF_OWNER) != mine) {
      count64(queue + XSK_BAD_DESCRIPTOR, 1);
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
  const frames = (slot - burst) as u32 >> 2;
  count64(queue + QUEUE_BYTES, bytes);
  store<u32>(queue, load<u32>(queue, XSK_HELD) - frames, XSK_HELD);
  return (i as u64) << 32 | (frames as u64);
}

/** Receiving by Intel's NICs. The twin is burst/intel.ts; rings and descriptors are explained in vfio/intel/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_VLAN_TCI, OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH,
} from '../../mbuf/layout';
import {
  INTEL_BAD_LENGTH, INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_LENGTH, INTEL_CHAIN_SEGMENTS, INTEL_ERRORED, INTEL_ERRORS,
  INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_MASK, INTEL_MOST, INTEL_NEXT, INTEL_RING, INTEL_SCRATCH,
  INTEL_SCRATCH_COUNT, INTEL_SEGMENT, INTEL_SIDE, INTEL_SPLIT, INTEL_SPLIT_FRAMES, RXD_DD, RXD_EOP, RXD_HASH, RXD_IXSM, RXD_LENGTH,
  RXD_MRQ, RXD_RSS_TYPE, RXD_STATUS, RXD_VP,
} from '../../port/drivers/vfio/intel/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { count64 } from './memory_ports';
import { descriptorAt, publish, sideAt } from './intel_ring';
import { mbufFree, takeFree } from './mempool';

/** Receives, then gives the device as many empty buffers as it lacks. */
export function intelRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const mask = load<u32>(queue, INTEL_MASK);
  const head = load<u32>(queue, INTEL_HEAD);
  const ready = countDone(queue, head, mask, max);
  let got: u32 = 0;
  if (ready > 0) {
    got = takeFrames(queue, head, ready, mask, burst, lcore);
    store<u32>(queue, head + ready, INTEL_HEAD);
    count64(queue + QUEUE_PACKETS, got);
  }
  const lack = mask - (load<u32>(queue, INTEL_NEXT) - load<u32>(queue, INTEL_HEAD));
  // Worth a fill: half a vector's worth, or in a short ring the half of it.
  if (lack >= (INTEL_SCRATCH_COUNT as u32) >> 1 || lack >= mask >> 1) intelFill(queue, lcore);
  return got;
}

// @ts-ignore: decorator
@inline
function countDone(queue: usize, head: u32, mask: u32, max: u32): u32 {
  const ring: usize = load<u32>(queue, INTEL_RING);
  // Never more than it was given.
  const most = min(max, load<u32>(queue, INTEL_NEXT) - head);
  let ready: u32 = 0;
  // Pairs with the device's order: a frame's bytes and its descriptor's other fields are written before DD.
  while (ready < most && (atomic.load<u32>(descriptorAt(ring, head + ready, mask), RXD_STATUS) & RXD_DD)) ready++;
  return ready;
}

// @ts-ignore: decorator
@inline
function takeFrames(queue: usize, head: u32, ready: u32, mask: u32, burst: usize, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, INTEL_RING);
  const side: usize = load<u32>(queue, INTEL_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const segment = load<u32>(queue, INTEL_SEGMENT);
  const wanted = load<u32>(queue, INTEL_ERRORS) | RXD_EOP;
  const ipShift = load<u32>(queue, INTEL_IP_BAD_SHIFT);
  const l4Shift = load<u32>(queue, INTEL_L4_BAD_SHIFT);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const second = v128.load(queue + QUEUE_TEMPLATE, 16);
  let bytes: u32 = 0;
  let slot = burst;
  let inParts = load<u32>(queue, INTEL_SPLIT) | load<u32>(queue, INTEL_CHAIN_FIRST);
  for (let i: u32 = 0; i < ready; i++) {
    const at = descriptorAt(ring, head + i, mask);
    // Copied once, then checked, then used.
    const mrq = load<u32>(at, RXD_MRQ);
    const hash = load<u32>(at, RXD_HASH);
    const status = load<u32>(at, RXD_STATUS);
    const sizes = load<u32>(at, RXD_LENGTH);
    const length = sizes & 0xffff;
    const handle = load<u32>(sideAt(side, head + i, mask));
    if ((status & wanted) != RXD_EOP || length - 14 > segment - 14 || inParts) {
      const packet = takePiece(queue, handle, mrq, hash, status, sizes, lcore);
      inParts = load<u32>(queue, INTEL_SPLIT) | load<u32>(queue, INTEL_CHAIN_FIRST);
      if (packet == 0) continue;
      store<u32>(slot, packet);
      slot += 4;
      bytes += load<u32>(table + ((packet as usize) << HEADER_SHIFT), MBUF_PKT_LEN);
      continue;
    }
    const header = table + ((handle as usize) << HEADER_SHIFT);
    v128.store(header, first);
    v128.store(header, second, 16);
    store<u32>(header, flagsOf(status, mrq, ipShift, l4Shift), MBUF_OL_FLAGS);
    store<u32>(header, mrq & RXD_RSS_TYPE ? hash : 0, MBUF_HASH);
    store<u32>(header, length, MBUF_PKT_LEN);
    store<u32>(header, lengthAndTag(status, sizes), MBUF_DATA_LEN);
    store<u32>(header, owner, MBUF_OWNER);
    store<u32>(slot, handle);
    slot += 4;
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return (slot - burst) as u32 >> 2;
}

/** Each bit from its place in the descriptor to its place in ol_flags; what is bad is not good. */
// @ts-ignore: decorator
@inline
function flagsOf(status: u32, mrq: u32, ipShift: u32, l4Shift: u32): u32 {
  const bad = (status >> ipShift & RX_IP_CKSUM_BAD) | (status >> l4Shift & RX_L4_CKSUM_BAD);
  const good = ((status >> 1 & RX_IP_CKSUM_GOOD) | (status << 1 & RX_L4_CKSUM_GOOD)) & ~(bad << 3);
  return (status & RXD_IXSM ? 0 : bad | good) | (status >> 3 & 1) | (mrq & RXD_RSS_TYPE ? RX_RSS_HASH : 0);
}

/** data_len and vlan_tci stand side by side, as length and tag do in the descriptor. */
// @ts-ignore: decorator
@inline
function lengthAndTag(status: u32, sizes: u32): u32 {
  return status & RXD_VP ? sizes : sizes & 0xffff;
}

/** One descriptor of a frame that is in several, or that is bad. Returns the frame's first mbuf when it is whole now, 0 otherwise. */
function takePiece(queue: usize, handle: u32, mrq: u32, hash: u32, status: u32, sizes: u32, lcore: u32): u32 {
  const ends = (status & RXD_EOP) != 0;
  const split = load<u32>(queue, INTEL_SPLIT);
  const most = load<u32>(queue, INTEL_MOST);
  const segment = load<u32>(queue, INTEL_SEGMENT);
  if (split || (!ends && segment >= most)) {
    // Dropped to its end, and counted once, there.
    if (ends && split == 1) count64(queue + INTEL_SPLIT_FRAMES, 1);
    store<u32>(queue, ends ? 0 : split ? split : 1, INTEL_SPLIT);
    giveBack(queue, handle, lcore);
    return 0;
  }
  const length = sizes & 0xffff;
  const total = load<u32>(queue, INTEL_CHAIN_LENGTH) + length;
  const errored = ends && (status & load<u32>(queue, INTEL_ERRORS)) != 0;
  if (errored || length == 0 || length > segment || total > most || (ends && total < 14)) {
    count64(queue + (errored ? INTEL_ERRORED : INTEL_BAD_LENGTH), 1);
    store<u32>(queue, ends ? 0 : 2, INTEL_SPLIT);
    dropChain(queue, lcore);
    giveBack(queue, handle, lcore);
    return 0;
  }
  link(queue, handle, length, total);
  return ends ? finishChain(queue, mrq, hash, status, sizes, lcore) : 0;
}

/** Until the frame is whole its mbufs stay the queue's, each alone but for its `next`. */
function link(queue: usize, handle: u32, length: u32, total: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const header = table + ((handle as usize) << HEADER_SHIFT);
  v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
  v128.store(header, v128.load(queue + QUEUE_TEMPLATE, 16), 16);
  store<u16>(header, length as u16, MBUF_DATA_LEN);
  store<u32>(header, length, MBUF_PKT_LEN);
  if (load<u32>(queue, INTEL_CHAIN_FIRST)) store<u32>(table + ((load<u32>(queue, INTEL_CHAIN_LAST) as usize) << HEADER_SHIFT), handle, MBUF_NEXT);
  else store<u32>(queue, handle, INTEL_CHAIN_FIRST);
  store<u32>(queue, handle, INTEL_CHAIN_LAST);
  store<u32>(queue, load<u32>(queue, INTEL_CHAIN_SEGMENTS) + 1, INTEL_CHAIN_SEGMENTS);
  store<u32>(queue, total, INTEL_CHAIN_LENGTH);
}

/** The program's from here on. What is said of the whole frame stands in its last descriptor, and goes to its first mbuf. */
function finishChain(queue: usize, mrq: u32, hash: u32, status: u32, sizes: u32, lcore: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const first = load<u32>(queue, INTEL_CHAIN_FIRST);
  const segments = load<u32>(queue, INTEL_CHAIN_SEGMENTS);
  const head = table + ((first as usize) << HEADER_SHIFT);
  store<u16>(head, segments as u16, MBUF_NB_SEGS);
  store<u32>(head, load<u32>(queue, INTEL_CHAIN_LENGTH), MBUF_PKT_LEN);
  store<u32>(head, flagsOf(status, mrq, load<u32>(queue, INTEL_IP_BAD_SHIFT), load<u32>(queue, INTEL_L4_BAD_SHIFT)), MBUF_OL_FLAGS);
  store<u32>(head, mrq & RXD_RSS_TYPE ? hash : 0, MBUF_HASH);
  store<u16>(head, (lengthAndTag(status, sizes) >> 16) as u16, MBUF_VLAN_TCI);
  let handle = first;
  for (let i: u32 = 0; i < segments; i++) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    store<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
    handle = load<u32>(header, MBUF_NEXT);
  }
  forgetChain(queue);
  return first;
}

function forgetChain(queue: usize): void {
  store<u64>(queue, 0, INTEL_CHAIN_FIRST); // and the last
  store<u64>(queue, 0, INTEL_CHAIN_SEGMENTS); // and the length
}

function dropChain(queue: usize, lcore: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  let handle = load<u32>(queue, INTEL_CHAIN_FIRST);
  for (let left = load<u32>(queue, INTEL_CHAIN_SEGMENTS); left > 0; left--) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const next = load<u32>(header, MBUF_NEXT);
    store<u32>(header, 0, MBUF_NEXT);
    giveBack(queue, handle, lcore);
    handle = next;
  }
  forgetChain(queue);
}

function giveBack(queue: usize, handle: u32, lcore: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  store<u32>(table + ((handle as usize) << HEADER_SHIFT), (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
  store<u32>(queue, handle, INTEL_SCRATCH);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, queue + INTEL_SCRATCH, 1);
}

/** Gives the device empty buffers, up to one less than the ring has: with a tail at its head it has none. Returns how many it has. */
export function intelFill(queue: usize, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const aim = load<u32>(queue, INTEL_MASK);
  const head = load<u32>(queue, INTEL_HEAD);
  let next = load<u32>(queue, INTEL_NEXT);
  let chunk: u32 = INTEL_SCRATCH_COUNT;
  while (next - head < aim && chunk > 0) {
    const want = min(aim - (next - head), chunk);
    if (takeFree(pool, lcore, queue + INTEL_SCRATCH, want) == 0) {
      // The pool's last few: smaller and smaller.
      chunk = want >> 1;
      continue;
    }
    giveBuffers(queue, next, want, aim);
    next += want;
  }
  if (next - head < aim) count64(queue + QUEUE_NOMBUF, 1);
  publish(queue, next, aim);
  return next - head;
}

// @ts-ignore: decorator
@inline
function giveBuffers(queue: usize, next: u32, count: u32, mask: u32): void {
  const ring: usize = load<u32>(queue, INTEL_RING);
  const side: usize = load<u32>(queue, INTEL_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const high = (load<u32>(queue, INTEL_IOVA_HIGH) as u64) << 32;
  for (let i: u32 = 0; i < count; i++) {
    const handle = load<u32>(queue + INTEL_SCRATCH + ((i as usize) << 2));
    store<u32>(table + ((handle as usize) << HEADER_SHIFT), mine, MBUF_OWNER);
    store<u32>(sideAt(side, next + i, mask), handle);
    const at = descriptorAt(ring, next + i, mask);
    store<u64>(at, high | (((handle << HANDLE_SHIFT) + HEADROOM) as u64));
    store<u64>(at, 0, 8); // DD too
  }
}

/** Receiving by Intel's NICs. The twin is burst/intel_rx.ts; rings and descriptors are explained in vfio/intel/layout.ts. */
import {
  HEADER_SHIFT, MBUF_DATA_LEN, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_VLAN_TCI, OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH,
} from '../../mbuf/layout';
import {
  INTEL_BAD_LENGTH, INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_LENGTH, INTEL_CHAIN_SEGMENTS, INTEL_DESCRIPTOR_SHIFT, INTEL_ERRORED,
  INTEL_ERRORS, INTEL_HEAD, INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_MASK, INTEL_MOST, INTEL_NEXT, INTEL_RING, INTEL_SCRATCH,
  INTEL_SCRATCH_COUNT, INTEL_SEGMENT, INTEL_SIDE, INTEL_SPLIT, INTEL_SPLIT_FRAMES, RXD_DD, RXD_EOP, RXD_HASH, RXD_IXSM, RXD_LENGTH,
  RXD_MRQ, RXD_RSS_TYPE, RXD_STATUS, RXD_VP,
} from '../../port/drivers/vfio/intel/layout';
import { QUEUE_BYTES, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { intelFill } from './intel_fill';
import { descriptorAt, sideAt } from './intel_ring';
import { count64 } from './memory_ports';
import { mbufFree } from './mempool';
import { headerOf, writeHeader } from './owner';
import { loadInOrder } from './order';

/** An Ethernet header. */
const SHORTEST: u32 = 14;

/** Receives, then gives the device as many empty buffers as it lacks. */
export function intelRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const mask = load<u32>(queue, INTEL_MASK);
  const head = load<u32>(queue, INTEL_HEAD);
  // Never more than it was given.
  const most = min(max, load<u32>(queue, INTEL_NEXT) - head);
  let read = (load<u32>(queue, INTEL_SPLIT) | load<u32>(queue, INTEL_CHAIN_FIRST)) == 0 ? takeFours(queue, head, most, mask, burst, lcore) : 0;
  let got = read;
  if (read < most) {
    const taken = takeFrames(queue, head, read, most, mask, burst + ((read as usize) << 2), lcore);
    read = (taken >> 32) as u32;
    got += taken as u32;
  }
  store<u32>(queue, head + read, INTEL_HEAD);
  count64(queue + QUEUE_PACKETS, got);
  const lack = mask - (load<u32>(queue, INTEL_NEXT) - load<u32>(queue, INTEL_HEAD));
  // Worth a fill: a vector's worth, or in a short ring the half of it.
  if (lack >= (INTEL_SCRATCH_COUNT as u32) || lack >= mask >> 1) intelFill(queue, lcore);
  return got;
}

/**
 * Good frames in one buffer each, as long as there are four side by side: their descriptors' words are put side by side
 * too, and each step is done for four at once. Stops before all else. Returns how many.
 */
// @ts-ignore: decorator
@inline
function takeFours(queue: usize, head: u32, most: u32, mask: u32, burst: usize, lcore: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const first = head & mask;
  let at = descriptorAt(load<u32>(queue, INTEL_RING), first, mask);
  let side = sideAt(load<u32>(queue, INTEL_SIDE), first, mask);
  const end = at + (((min(most, mask + 1 - first) & ~3) as usize) << INTEL_DESCRIPTOR_SHIFT);
  const longest = i32x4.splat(load<u32>(queue, INTEL_SEGMENT) - SHORTEST);
  const wanted = i32x4.splat(load<u32>(queue, INTEL_ERRORS) | RXD_EOP | RXD_DD);
  const ipShift = load<u32>(queue, INTEL_IP_BAD_SHIFT);
  const l4Shift = load<u32>(queue, INTEL_L4_BAD_SHIFT);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const template = v128.load(queue + QUEUE_TEMPLATE);
  const zero = i32x4.splat(0);
  let bytes = zero;
  let slot = burst;
  for (; at < end; at += 4 << INTEL_DESCRIPTOR_SHIFT) {
    // Pairs with the device's order: a frame's bytes and its descriptor's other fields are written before DD.
    if (!(loadInOrder(at + RXD_STATUS) & loadInOrder(at + (16 + RXD_STATUS)) & loadInOrder(at + (32 + RXD_STATUS)) & loadInOrder(at + (48 + RXD_STATUS)) & RXD_DD)) break;
    // Copied once, then checked, then used.
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const front = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
    const behind = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
    const frontHigh = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
    const behindHigh = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
    const status = v128.shuffle<u64>(frontHigh, behindHigh, 0, 2);
    const sizes = v128.shuffle<u64>(frontHigh, behindHigh, 1, 3);
    const lengths = v128.and(sizes, i32x4.splat(0xffff));
    const fits = i32x4.le_u(i32x4.sub(lengths, i32x4.splat(SHORTEST)), longest);
    if (!i32x4.all_true(v128.and(fits, i32x4.eq(v128.and(status, wanted), i32x4.splat(RXD_EOP | RXD_DD))))) break;
    const unhashed = i32x4.eq(v128.and(v128.shuffle<u64>(front, behind, 0, 2), i32x4.splat(RXD_RSS_TYPE)), zero);
    const untagged = i32x4.eq(v128.and(status, i32x4.splat(RXD_VP)), zero);
    const hashes = v128.andnot(v128.shuffle<u64>(front, behind, 1, 3), unhashed);
    const lengthsAndTags = v128.andnot(sizes, v128.and(untagged, i32x4.splat(0xffff0000)));
    const flags = v128.or(flagsOfFour(status, ipShift, l4Shift), v128.andnot(i32x4.splat(RX_RSS_HASH), unhashed));
    bytes = i32x4.add(bytes, lengths);
    v128.store(slot, v128.load(side));
    // And back: what one frame's header has of them, side by side.
    const flags01 = v128.shuffle<u32>(flags, template, 0, 7, 1, 7); // and the packet type
    const flags23 = v128.shuffle<u32>(flags, template, 2, 7, 3, 7);
    const lengths01 = v128.shuffle<u32>(lengths, lengthsAndTags, 0, 4, 1, 5);
    const lengths23 = v128.shuffle<u32>(lengths, lengthsAndTags, 2, 6, 3, 7);
    const hashes01 = v128.shuffle<u32>(hashes, zero, 0, 4, 1, 5); // and no next segment
    const hashes23 = v128.shuffle<u32>(hashes, zero, 2, 6, 3, 7);
    writeHeader(headerOf(table, load<u32>(side)), v128.shuffle<u64>(template, flags01, 0, 2), v128.shuffle<u64>(lengths01, hashes01, 0, 2), owner);
    writeHeader(headerOf(table, load<u32>(side, 4)), v128.shuffle<u64>(template, flags01, 0, 3), v128.shuffle<u64>(lengths01, hashes01, 1, 3), owner);
    writeHeader(headerOf(table, load<u32>(side, 8)), v128.shuffle<u64>(template, flags23, 0, 2), v128.shuffle<u64>(lengths23, hashes23, 0, 2), owner);
    writeHeader(headerOf(table, load<u32>(side, 12)), v128.shuffle<u64>(template, flags23, 0, 3), v128.shuffle<u64>(lengths23, hashes23, 1, 3), owner);
    side += 16;
    slot += 16;
  }
  count64(queue + QUEUE_BYTES, i32x4.extract_lane(bytes, 0) + i32x4.extract_lane(bytes, 1) + i32x4.extract_lane(bytes, 2) + i32x4.extract_lane(bytes, 3));
  return (slot - burst) as u32 >> 2;
}

/** As flagsOf, but for the hash. */
// @ts-ignore: decorator
@inline
function flagsOfFour(status: v128, ipShift: u32, l4Shift: u32): v128 {
  const bad = v128.or(v128.and(i32x4.shr_u(status, ipShift), i32x4.splat(RX_IP_CKSUM_BAD)), v128.and(i32x4.shr_u(status, l4Shift), i32x4.splat(RX_L4_CKSUM_BAD)));
  const looked = v128.or(v128.and(i32x4.shr_u(status, 1), i32x4.splat(RX_IP_CKSUM_GOOD)), v128.and(i32x4.shl(status, 1), i32x4.splat(RX_L4_CKSUM_GOOD)));
  const unlooked = i32x4.ne(v128.and(status, i32x4.splat(RXD_IXSM)), i32x4.splat(0));
  const checks = v128.andnot(v128.or(bad, v128.andnot(looked, i32x4.shl(bad, 3))), unlooked);
  return v128.or(checks, v128.and(i32x4.shr_u(status, 3), i32x4.splat(1)));
}

/** All kinds of descriptors, one after another, from `read` on. Returns how far it came, in the upper half, and how many frames they were. */
function takeFrames(queue: usize, head: u32, read: u32, most: u32, mask: u32, burst: usize, lcore: u32): u64 {
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
  for (; read < most; read++) {
    const at = descriptorAt(ring, head + read, mask);
    // As in takeFours. Copied once, then checked, then used.
    const status = loadInOrder(at + RXD_STATUS);
    if (!(status & RXD_DD)) break;
    const mrq = load<u32>(at, RXD_MRQ);
    const hash = load<u32>(at, RXD_HASH);
    const sizes = load<u32>(at, RXD_LENGTH);
    const length = sizes & 0xffff;
    const handle = load<u32>(sideAt(side, head + read, mask));
    if ((status & wanted) != RXD_EOP || length - SHORTEST > segment - SHORTEST || inParts) {
      const packet = takePiece(queue, handle, mrq, hash, status, sizes, lcore);
      inParts = load<u32>(queue, INTEL_SPLIT) | load<u32>(queue, INTEL_CHAIN_FIRST);
      if (packet == 0) continue;
      store<u32>(slot, packet);
      slot += 4;
      bytes += load<u32>(headerOf(table, packet), MBUF_PKT_LEN);
      continue;
    }
    const header = headerOf(table, handle);
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
  return ((read as u64) << 32) | ((slot - burst) as u64 >> 2);
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

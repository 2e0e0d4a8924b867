/** The 82574L's bursts over its descriptor rings. The twin is burst/e1000e.ts; rings and descriptors are explained in vfio/e1000e/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_L4_CKSUM_BAD, RX_RSS_HASH,
} from '../../mbuf/layout';
import {
  E1000E_BAD_FRAME, E1000E_BAD_LENGTH, E1000E_BUFFER_MASK, E1000E_DESCRIPTOR_SHIFT, E1000E_ERRORED, E1000E_HEAD, E1000E_IOVA_HIGH,
  E1000E_LASTS, E1000E_MASK, E1000E_MOST, E1000E_NEXT, E1000E_NOT_MAPPED, E1000E_POOL, E1000E_POOL_BYTES, E1000E_RING, E1000E_RING_FULL,
  E1000E_SCRATCH, E1000E_SCRATCH_COUNT, E1000E_SIDE, E1000E_SPLIT, E1000E_SPLIT_FRAMES, E1000E_TAIL, RXD_DD, RXD_EOP, RXD_ERRORS,
  RXD_HASH, RXD_IP_BAD, RXD_L4_BAD, RXD_LENGTH, RXD_MRQ, RXD_RSS_TYPE, RXD_STATUS, SHORTEST, TXD_DD, TXD_EOP_IFCS, TXD_RS, TXD_STATUS,
} from '../../port/drivers/vfio/e1000e/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';

/** Receives, then gives the device as many empty buffers as it lacks. */
export function e1000eRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const mask = load<u32>(queue, E1000E_MASK);
  const head = load<u32>(queue, E1000E_HEAD);
  const ready = countDone(queue, head, mask, max);
  let got: u32 = 0;
  if (ready > 0) {
    got = takeFrames(queue, head, ready, mask, burst, lcore);
    store<u32>(queue, head + ready, E1000E_HEAD);
    count64(queue + QUEUE_PACKETS, got);
  }
  const lack = mask - (load<u32>(queue, E1000E_NEXT) - load<u32>(queue, E1000E_HEAD));
  // Worth a fill: half a vector's worth, or in a short ring the half of it.
  if (lack >= (E1000E_SCRATCH_COUNT as u32) >> 1 || lack >= mask >> 1) e1000eFill(queue, lcore);
  return got;
}

// @ts-ignore: decorator
@inline
function countDone(queue: usize, head: u32, mask: u32, max: u32): u32 {
  const ring: usize = load<u32>(queue, E1000E_RING);
  // Never more than it was given.
  const most = min(max, load<u32>(queue, E1000E_NEXT) - head);
  let ready: u32 = 0;
  // Pairs with the device's order: a frame's bytes and its descriptor's other fields are written before DD.
  while (ready < most && (atomic.load<u32>(descriptorAt(ring, head + ready, mask), RXD_STATUS) & RXD_DD)) ready++;
  return ready;
}

// @ts-ignore: decorator
@inline
function descriptorAt(ring: usize, index: u32, mask: u32): usize {
  return ring + (((index & mask) as usize) << E1000E_DESCRIPTOR_SHIFT);
}

// @ts-ignore: decorator
@inline
function sideAt(side: usize, index: u32, mask: u32): usize {
  return side + (((index & mask) as usize) << 2);
}

// @ts-ignore: decorator
@inline
function takeFrames(queue: usize, head: u32, ready: u32, mask: u32, burst: usize, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, E1000E_RING);
  const side: usize = load<u32>(queue, E1000E_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const most = load<u32>(queue, E1000E_MOST);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const second = v128.load(queue + QUEUE_TEMPLATE, 16);
  let bytes: u32 = 0;
  let slot = burst;
  for (let i: u32 = 0; i < ready; i++) {
    const at = descriptorAt(ring, head + i, mask);
    // Copied once, then checked, then used.
    const status = load<u32>(at, RXD_STATUS);
    const length: u32 = load<u16>(at, RXD_LENGTH);
    const handle = load<u32>(sideAt(side, head + i, mask));
    const good = (status & (RXD_ERRORS | RXD_EOP)) == RXD_EOP && length >= 14 && length <= most;
    if (!good || load<u32>(queue, E1000E_SPLIT)) {
      drop(queue, handle, status, lcore);
      continue;
    }
    const header = table + ((handle as usize) << HEADER_SHIFT);
    v128.store(header, first);
    v128.store(header, second, 16);
    const hashed = load<u32>(at, RXD_MRQ) & RXD_RSS_TYPE;
    store<u32>(header, (hashed ? RX_RSS_HASH : 0) | (status & RXD_IP_BAD ? RX_IP_CKSUM_BAD : 0) | (status & RXD_L4_BAD ? RX_L4_CKSUM_BAD : 0), MBUF_OL_FLAGS);
    store<u32>(header, hashed ? load<u32>(at, RXD_HASH) : 0, MBUF_HASH);
    store<u32>(header, length, MBUF_PKT_LEN);
    store<u16>(header, length as u16, MBUF_DATA_LEN);
    store<u32>(header, owner, MBUF_OWNER);
    store<u32>(slot, handle);
    slot += 4;
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return (slot - burst) as u32 >> 2;
}

/** Counts why, and frees the mbuf. A frame in several descriptors is counted once, at its last piece. */
function drop(queue: usize, handle: u32, status: u32, lcore: u32): void {
  const ends = (status & RXD_EOP) != 0;
  const split = load<u32>(queue, E1000E_SPLIT) != 0 || !ends;
  if (!split) count64(queue + (status & RXD_ERRORS ? E1000E_ERRORED : E1000E_BAD_LENGTH), 1);
  else if (ends) count64(queue + E1000E_SPLIT_FRAMES, 1);
  store<u32>(queue, split && !ends ? 1 : 0, E1000E_SPLIT);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  store<u32>(table + ((handle as usize) << HEADER_SHIFT), (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
  store<u32>(queue, handle, E1000E_SCRATCH);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, queue + E1000E_SCRATCH, 1);
}

/** Gives the device empty buffers, up to one less than the ring has: with a tail at its head it has none. Returns how many it has. */
export function e1000eFill(queue: usize, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const aim = load<u32>(queue, E1000E_MASK);
  const head = load<u32>(queue, E1000E_HEAD);
  let next = load<u32>(queue, E1000E_NEXT);
  let chunk: u32 = E1000E_SCRATCH_COUNT;
  while (next - head < aim && chunk > 0) {
    const want = min(aim - (next - head), chunk);
    if (takeFree(pool, lcore, queue + E1000E_SCRATCH, want) == 0) {
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
  const ring: usize = load<u32>(queue, E1000E_RING);
  const side: usize = load<u32>(queue, E1000E_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const high = (load<u32>(queue, E1000E_IOVA_HIGH) as u64) << 32;
  for (let i: u32 = 0; i < count; i++) {
    const handle = load<u32>(queue + E1000E_SCRATCH + ((i as usize) << 2));
    store<u32>(table + ((handle as usize) << HEADER_SHIFT), mine, MBUF_OWNER);
    store<u32>(sideAt(side, next + i, mask), handle);
    const at = descriptorAt(ring, next + i, mask);
    store<u64>(at, high | (((handle << HANDLE_SHIFT) + HEADROOM) as u64));
    store<u64>(at, 0, 8); // DD too
  }
}

/** The doorbell: a plain store, since an atomic one would read the register too. */
// @ts-ignore: decorator
@inline
function publish(queue: usize, next: u32, mask: u32): void {
  if (next == load<u32>(queue, E1000E_NEXT)) return;
  // Pairs with the device's fetch after the tail has moved: the descriptors are in memory before. An exchange is a full
  // barrier on x86 and arm64 (asc 0.28 makes an atomic.fence that its own validator refuses).
  atomic.xchg<u32>(queue, next, E1000E_NEXT);
  store<u32>(load<u32>(queue, E1000E_TAIL) as usize, next & mask);
}

/** Takes back what was sent, then gives the device what fits. `count` 0 only takes back. */
export function e1000eTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  e1000eClean(queue, lcore);
  if (count == 0) return 0;
  const mask = load<u32>(queue, E1000E_MASK);
  const next = load<u32>(queue, E1000E_NEXT);
  const room = mask - (next - load<u32>(queue, E1000E_HEAD));
  let taken: u32 = 0;
  let sent: u32 = 0;
  while (true) {
    const most = min(count - taken, room - sent);
    const written = writeDescriptors(queue, next + sent, most, mask, burst + ((taken as usize) << 2));
    sent += written;
    taken += written;
    if (written == most || !dropBad(queue, burst + ((taken as usize) << 2), lcore)) break;
    taken++;
  }
  if (taken < count) {
    if (sent == room) count64(queue + E1000E_RING_FULL, 1);
    count64(queue + QUEUE_NOMBUF, count - taken);
  }
  if (sent > 0) {
    // One report for the burst: the device writes back one descriptor instead of each.
    const last = next + sent - 1;
    const reporting = descriptorAt(load<u32>(queue, E1000E_RING), last, mask);
    store<u32>(reporting, load<u32>(reporting, 8) | TXD_RS, 8);
    store<u32>(sideAt(load<u32>(queue, E1000E_LASTS), next, mask), last);
    publish(queue, next + sent, mask);
    count64(queue + QUEUE_PACKETS, sent);
  }
  return taken;
}

/** The mbuf in the slot cannot be sent. One of this pool is freed, and the port goes on; another's is the program's mistake. */
function dropBad(queue: usize, slot: usize, lcore: u32): bool {
  const start = (load<u32>(slot) << HANDLE_SHIFT) - load<u32>(queue, E1000E_POOL);
  if (start >= load<u32>(queue, E1000E_POOL_BYTES) || (start & load<u32>(queue, E1000E_BUFFER_MASK))) {
    count64(queue + E1000E_NOT_MAPPED, 1);
    return false;
  }
  count64(queue + E1000E_BAD_FRAME, 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  return true;
}

/** Stops at the first mbuf that cannot be sent. Returns how many were written. */
// @ts-ignore: decorator
@inline
function writeDescriptors(queue: usize, next: u32, most: u32, mask: u32, burst: usize): u32 {
  const ring: usize = load<u32>(queue, E1000E_RING);
  const side: usize = load<u32>(queue, E1000E_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const pool = load<u32>(queue, E1000E_POOL);
  const poolBytes = load<u32>(queue, E1000E_POOL_BYTES);
  const bufferMask = load<u32>(queue, E1000E_BUFFER_MASK);
  const longest = load<u32>(queue, E1000E_MOST);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const high = (load<u32>(queue, E1000E_IOVA_HIGH) as u64) << 32;
  let bytes: u32 = 0;
  let i: u32 = 0;
  for (; i < most; i++) {
    const handle = load<u32>(burst + ((i as usize) << 2));
    const buffer = handle << HANDLE_SHIFT;
    if (buffer - pool >= poolBytes || ((buffer - pool) & bufferMask)) break;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (load<u16>(header, MBUF_NB_SEGS) != 1 || length < (SHORTEST as u32) || length > longest || offset + length > bufferMask + 1) break;
    const at = descriptorAt(ring, next + i, mask);
    store<u64>(at, high | ((buffer + offset) as u64));
    store<u64>(at, (length | TXD_EOP_IFCS) as u64, 8); // no status and no tag
    store<u32>(sideAt(side, next + i, mask), handle);
    store<u32>(header, mine, MBUF_OWNER);
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return i;
}

/** Frees what the device says it has sent, burst by burst: the last descriptor of each tells of all. Returns how many. */
export function e1000eClean(queue: usize, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, E1000E_RING);
  const lasts: usize = load<u32>(queue, E1000E_LASTS);
  const mask = load<u32>(queue, E1000E_MASK);
  const next = load<u32>(queue, E1000E_NEXT);
  const start = load<u32>(queue, E1000E_HEAD);
  let head = start;
  while (head != next) {
    const last = load<u32>(sideAt(lasts, head, mask));
    // Pairs with the device's order: it has read the frame before it writes DD.
    if (!(atomic.load<u32>(descriptorAt(ring, last, mask), TXD_STATUS) & TXD_DD)) break;
    freeSent(queue, head, last + 1 - head, mask, lcore);
    head = last + 1;
  }
  store<u32>(queue, head, E1000E_HEAD);
  return head - start;
}

// @ts-ignore: decorator
@inline
function freeSent(queue: usize, index: u32, count: u32, mask: u32, lcore: u32): void {
  const side: usize = load<u32>(queue, E1000E_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  while (count > 0) {
    const batch = min(count, E1000E_SCRATCH_COUNT as u32);
    for (let i: u32 = 0; i < batch; i++) {
      const handle = load<u32>(sideAt(side, index + i, mask));
      store<u32>(table + ((handle as usize) << HEADER_SHIFT), owner, MBUF_OWNER);
      store<u32>(queue + E1000E_SCRATCH + ((i as usize) << 2), handle);
    }
    mbufFree(pool, lcore, queue + E1000E_SCRATCH, batch);
    index += batch;
    count -= batch;
  }
}

/** AF_XDP's bursts over the kernel's rings. The twin is burst/xsk.ts; the rings are explained in af_xdp/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PLAIN,
  MBUF_REFCNT, OWNER_APP, OWNER_SHIFT,
} from '../../mbuf/layout';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BROKEN_CHAIN, XSK_BUFFER_MASK, XSK_CONSUMER,
  XSK_COPIED, XSK_COPY_NOMBUF, XSK_DESCRIPTORS, XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_LONGEST, XSK_MASK,
  XSK_MOST_SEGMENTS, XSK_NOT_IN_UMEM, XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_RING_FULL, XSK_RX_TOO_MANY_SEGMENTS, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_SEEN, XSK_SKIPPING, XSK_TX_TOO_MANY_SEGMENTS, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';
import { headerOf, mbufOwn } from './owner';
import { publish } from './publish';

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

// @ts-ignore: decorator
@inline
function descriptorAt(queue: usize, index: u32, mask: u32): usize {
  return (load<u32>(queue, XSK_RING_A + XSK_DESCRIPTORS) as usize) + ((index & mask) as usize << 4);
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

/**
 * A frame in several buffers. Returns how many descriptors it read, negative when the frame was dropped; 0, and nothing
 * is changed, while its end is not there.
 */
function readChain(queue: usize, index: u32, ready: u32, mask: u32, slot: usize, lcore: u32): i32 {
  const most = max(load<u32>(queue, XSK_MOST_SEGMENTS), 1);
  let looked: u32 = 0;
  let good: u32 = 0;
  let length: u32 = 0;
  let ends = false;
  while (!ends && looked < most && looked < ready) {
    const at = descriptorAt(queue, index + looked, mask);
    // Copied once, then checked, then used.
    const address = load<u64>(at);
    const bytes = load<u32>(at, 8);
    ends = !(load<u32>(at, 12) & XDP_PKT_CONTD);
    looked++;
    const handle = heldHandle(queue, address, bytes);
    if (handle == 0) continue;
    const header = headerOf(load<u32>(queue, QUEUE_TABLE), handle);
    v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
    v128.store(header, v128.load(queue + QUEUE_TEMPLATE, 16), 16);
    store<u16>(header, ((address as u32) & load<u32>(queue, XSK_BUFFER_MASK)) as u16, MBUF_DATA_OFF);
    store<u32>(header, bytes, MBUF_PKT_LEN);
    store<u16>(header, bytes as u16, MBUF_DATA_LEN);
    store<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
    store<u32>(queue + XSK_SCRATCH + ((good as usize) << 2), handle);
    good++;
    length += bytes;
    deathPoint(DEATH_MID_BURST);
  }
  if (!ends && looked < most) {
    mbufOwn(load<u32>(queue, QUEUE_TABLE), queue + XSK_SCRATCH, good, load<u32>(queue, QUEUE_OWNER));
    return 0;
  }
  store<u32>(queue, load<u32>(queue, XSK_HELD) - good, XSK_HELD);
  if (ends && good == looked) {
    store<u32>(slot, link(queue, good, length));
    count64(queue + QUEUE_BYTES, length);
    return looked as i32;
  }
  count64(queue + XSK_BAD_DESCRIPTOR, looked - good);
  count64(queue + (good < looked ? XSK_BROKEN_CHAIN : XSK_RX_TOO_MANY_SEGMENTS), 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, good);
  if (!ends) store<u32>(queue, 1, XSK_SKIPPING);
  return -(looked as i32);
}

/** Makes the mbufs of the scratch vector one packet. Returns its first. */
function link(queue: usize, count: u32, length: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const first = load<u32>(queue, XSK_SCRATCH);
  store<u16>(headerOf(table, first), count as u16, MBUF_NB_SEGS);
  store<u32>(headerOf(table, first), length, MBUF_PKT_LEN);
  for (let i: u32 = 1; i < count; i++) {
    const at = queue + XSK_SCRATCH + ((i as usize) << 2);
    store<u32>(headerOf(table, load<u32>(at - 4)), load<u32>(at), MBUF_NEXT);
  }
  return first;
}

/** Gives back the buffers of a frame up to its last, or as many as there are. Returns how many descriptors it read. */
function skip(queue: usize, index: u32, ready: u32, mask: u32, lcore: u32): u32 {
  let looked: u32 = 0;
  while (looked < ready && load<u32>(queue, XSK_SKIPPING)) {
    const at = descriptorAt(queue, index + looked, mask);
    const handle = heldHandle(queue, load<u64>(at), load<u32>(at, 8));
    if (!(load<u32>(at, 12) & XDP_PKT_CONTD)) store<u32>(queue, 0, XSK_SKIPPING);
    looked++;
    if (handle) giveBack(queue, handle, lcore);
    else count64(queue + XSK_BAD_DESCRIPTOR, 1);
  }
  return looked;
}

/** The mbuf whose buffer so many bytes from an address on are in; 0 when they are in none that the kernel has by this queue. */
function heldHandle(queue: usize, address: u64, length: u32): u32 {
  const bufferMask = load<u32>(queue, XSK_BUFFER_MASK);
  if (address >= (load<u32>(queue, XSK_UMEM_BYTES) as u64) || length > bufferMask + 1 - ((address as u32) & bufferMask)) return 0;
  const handle = (load<u32>(queue, XSK_UMEM) + ((address as u32) & ~bufferMask)) >>> HANDLE_SHIFT;
  return load<u32>(headerOf(load<u32>(queue, QUEUE_TABLE), handle), MBUF_OWNER) == load<u32>(queue, QUEUE_OWNER) ? handle : 0;
}

function giveBack(queue: usize, handle: u32, lcore: u32): void {
  store<u32>(headerOf(load<u32>(queue, QUEUE_TABLE), handle), (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
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

/** What `sendOther` says when a packet stays the program's. */
const NO_ROOM: i32 = -1;
const STOP: i32 = -2;

/** Tells the kernel of the descriptors up to `next`, which is returned. */
// @ts-ignore: decorator
@inline
function give(queue: usize, told: u32, next: u32): u32 {
  if (told == next) return next;
  deathPoint(DEATH_BEFORE_PUBLISH);
  // Pairs with the kernel's smp_load_acquire of the producer.
  publish(load<u32>(queue, XSK_RING_A + XSK_PRODUCER), next);
  deathPoint(DEATH_AFTER_PUBLISH);
  store<u32>(queue, load<u32>(queue, XSK_HELD) + (next - told), XSK_HELD);
  return next;
}

/**
 * The packet in the slot is a chain, is held by others too, or cannot be sent. A shared one is copied: its owner word has
 * room for one queue, and others may send it at the same time. One of this UMEM that cannot be sent is freed, and the port
 * goes on; another's is the program's mistake. Returns how many descriptors it took, 0 when it was dropped, or NO_ROOM or STOP.
 */
function sendOther(queue: usize, index: u32, room: u32, mask: u32, slot: usize, lcore: u32): i32 {
  const handle = load<u32>(slot);
  if (!inUmem(queue, handle)) {
    count64(queue + XSK_NOT_IN_UMEM, 1);
    return STOP;
  }
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const most = max(load<u32>(queue, XSK_MOST_SEGMENTS), 1);
  const segments: u32 = load<u16>(headerOf(table, handle), MBUF_NB_SEGS);
  if (segments > (XSK_SCRATCH_COUNT as u32)) return drop(queue, XSK_TX_TOO_MANY_SEGMENTS, slot, lcore);
  const total = lengthOf(queue, handle, segments);
  if (total == 0) return drop(queue, XSK_BAD_FRAME, slot, lcore);
  const copies = segments > most || isShared(table, handle, segments);
  const each = load<u32>(queue, XSK_BUFFER_MASK) + 1 - HEADROOM;
  const used = copies ? (total + each - 1) / each : segments;
  if (used > most) return drop(queue, XSK_TX_TOO_MANY_SEGMENTS, slot, lcore);
  if (used > room) return NO_ROOM;
  if (copies && takeFree(load<u32>(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, used) == 0) {
    count64(queue + XSK_COPY_NOMBUF, 1);
    return STOP;
  }
  if (!copies) listSegments(queue, handle, segments);
  giving(queue, used, index, queue + XSK_SCRATCH);
  if (copies) writeCopy(queue, index, mask, handle, total, each);
  else writeChain(queue, index, mask, segments);
  give(queue, index, index + used);
  count64(queue + QUEUE_BYTES, total);
  if (copies) {
    count64(queue + XSK_COPIED, 1);
    mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  }
  return used as i32;
}

function drop(queue: usize, counter: usize, slot: usize, lcore: u32): i32 {
  count64(queue + counter, 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  return 0;
}

function inUmem(queue: usize, handle: u32): bool {
  const start = (handle << HANDLE_SHIFT) - load<u32>(queue, XSK_UMEM);
  return start < load<u32>(queue, XSK_UMEM_BYTES) && !(start & load<u32>(queue, XSK_BUFFER_MASK));
}

/** Bytes of the packet; 0 when it cannot be sent. */
function lengthOf(queue: usize, handle: u32, segments: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const bufferBytes = load<u32>(queue, XSK_BUFFER_MASK) + 1;
  let total: u32 = 0;
  for (let left = segments; left > 0; left--) {
    if (!inUmem(queue, handle)) return 0;
    const header = headerOf(table, handle);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (length == 0 || load<u16>(header, MBUF_DATA_OFF) + length > bufferBytes) return 0;
    total += length;
    handle = load<u32>(header, MBUF_NEXT);
  }
  // What goes on behind its last segment may lead anywhere, back into itself too.
  return handle || total < 14 || total > load<u32>(queue, XSK_LONGEST) ? 0 : total;
}

function isShared(table: usize, handle: u32, segments: u32): bool {
  for (let left = segments; left > 0; left--) {
    if (load<u16>(headerOf(table, handle), MBUF_REFCNT) != 1) return true;
    handle = load<u32>(headerOf(table, handle), MBUF_NEXT);
  }
  return false;
}

function listSegments(queue: usize, handle: u32, segments: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  for (let i: u32 = 0; i < segments; i++) {
    store<u32>(queue + XSK_SCRATCH + ((i as usize) << 2), handle);
    handle = load<u32>(headerOf(table, handle), MBUF_NEXT);
  }
}

/** Each segment is an mbuf of its own from here on: its completion frees it. */
function writeChain(queue: usize, index: u32, mask: u32, segments: u32): void {
  for (let i: u32 = 0; i < segments; i++) {
    const handle = load<u32>(queue + XSK_SCRATCH + ((i as usize) << 2));
    const header = headerOf(load<u32>(queue, QUEUE_TABLE), handle);
    store<u32>(header, MBUF_PLAIN, MBUF_REFCNT);
    store<u32>(header, 0, MBUF_NEXT);
    describe(queue, index + i, mask, handle, load<u16>(header, MBUF_DATA_OFF), load<u16>(header, MBUF_DATA_LEN), i + 1 < segments);
  }
}

/** Into the mbufs of the scratch vector, `each` bytes behind the headroom of each. */
function writeCopy(queue: usize, index: u32, mask: u32, handle: u32, total: u32, each: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  for (let done: u32 = 0; done < total;) {
    const header = headerOf(table, handle);
    const from = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    for (let at: u32 = 0; at < length;) {
      const part = min(length - at, each - done % each);
      const to = ((load<u32>(queue + XSK_SCRATCH + ((done / each) as usize << 2)) as usize) << HANDLE_SHIFT) + HEADROOM + ((done % each) as usize);
      copyFrame(to, from + (at as usize), part);
      at += part;
      done += part;
    }
    handle = load<u32>(header, MBUF_NEXT);
  }
  for (let i: u32 = 0; i * each < total; i++) {
    const left = total - i * each;
    describe(queue, index + i, mask, load<u32>(queue + XSK_SCRATCH + ((i as usize) << 2)), HEADROOM, min(left, each), left > each);
  }
}

/** Writes one descriptor of a chain, and that its mbuf is the port's. */
function describe(queue: usize, index: u32, mask: u32, handle: u32, offset: u32, length: u32, goesOn: bool): void {
  const at = descriptorAt(queue, index, mask);
  store<u64>(at, ((handle << HANDLE_SHIFT) - load<u32>(queue, XSK_UMEM) + offset) as u64);
  store<u32>(at, length, 8);
  store<u32>(at, goesOn ? XDP_PKT_CONTD : 0, 12);
  store<u32>(headerOf(load<u32>(queue, QUEUE_TABLE), handle), load<u32>(queue, QUEUE_OWNER), MBUF_OWNER);
  deathPoint(DEATH_MID_BURST);
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

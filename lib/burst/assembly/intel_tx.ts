/** Sending by Intel's NICs. The twin is burst/intel_tx.ts; rings and descriptors are explained in vfio/intel/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, TX_OFFLOADS, TX_VLAN,
} from '../../mbuf/layout';
import {
  INTEL_82576, INTEL_BAD_FRAME, INTEL_BUFFER_MASK, INTEL_COMMAND, INTEL_CONTEXT_KIND, INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_LASTS, INTEL_MASK,
  INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_NEXT, INTEL_NOT_MAPPED, INTEL_OFFERS, INTEL_PAYLOAD, INTEL_POOL, INTEL_POOL_BYTES, INTEL_REPORTS,
  INTEL_RING, INTEL_RING_FULL, INTEL_SIDE, SHORTEST, TXD_DATA_82574, TXD_DEXT, TXD_EOP, TXD_RS, TXD_VLE,
} from '../../port/drivers/vfio/intel/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { intelClean } from './intel_clean';
import { canDescribe, hasContext, optionsOf, wantsContext, writeContext } from './intel_context';
import { descriptorAt, isMapped, publish, sideAt } from './intel_ring';
import { count64 } from './memory_ports';
import { mbufFree } from './mempool';

/** Takes back what was sent, then gives the device what fits. `count` 0 only takes back. */
export function intelTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  intelClean(queue, lcore);
  if (count == 0) return 0;
  const mask = load<u32>(queue, INTEL_MASK);
  const start = load<u32>(queue, INTEL_NEXT);
  const end = load<u32>(queue, INTEL_HEAD) + mask;
  let reports = load<u32>(queue, INTEL_REPORTS);
  if (!reports) reports = u32.MAX_VALUE;
  let next = start;
  let first = start;
  let taken: u32 = 0;
  let dropped: u32 = 0;
  while (taken < count) {
    const written = writePlain(queue, next, min(count - taken, min(end - next, first + reports - next)), mask, burst + ((taken as usize) << 2));
    next += written;
    taken += written;
    if (taken == count) break;
    const slot = burst + ((taken as usize) << 2);
    const used = next == end ? 0 : writeFrame(queue, next, end - next, mask, load<u32>(slot));
    if (used == 0) count64(queue + INTEL_RING_FULL, 1);
    if (used == 0 || (used < 0 && !dropBad(queue, slot, lcore))) break;
    if (used > 0) {
      if (next + used - first > reports) {
        report(queue, first, next, mask);
        first = next;
      }
      next += used;
    } else {
      dropped++;
    }
    taken++;
  }
  if (taken < count) count64(queue + QUEUE_NOMBUF, count - taken);
  if (next != start) {
    report(queue, first, next, mask);
    publish(queue, next, mask);
    count64(queue + QUEUE_PACKETS, taken - dropped);
  }
  return taken;
}

/** Of the descriptors from `first` on, the last before `end` reports: the device writes back one instead of each. */
function report(queue: usize, first: u32, end: u32, mask: u32): void {
  const reporting = descriptorAt(load<u32>(queue, INTEL_RING), end - 1, mask);
  store<u32>(reporting, load<u32>(reporting, 8) | TXD_RS, 8);
  store<u32>(sideAt(load<u32>(queue, INTEL_LASTS), first, mask), end - 1);
}

/** The mbuf in the slot cannot be sent. One of this pool is freed, and the port goes on; another's is the program's mistake. */
function dropBad(queue: usize, slot: usize, lcore: u32): bool {
  if (!isMapped(queue, load<u32>(slot))) {
    count64(queue + INTEL_NOT_MAPPED, 1);
    return false;
  }
  count64(queue + INTEL_BAD_FRAME, 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  return true;
}

/** Frames in one mbuf that want nothing done; stops at the first other one. Returns how many were written. */
// @ts-ignore: decorator
@inline
function writePlain(queue: usize, next: u32, most: u32, mask: u32, burst: usize): u32 {
  const ring: usize = load<u32>(queue, INTEL_RING);
  const side: usize = load<u32>(queue, INTEL_SIDE);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const pool = load<u32>(queue, INTEL_POOL);
  const poolBytes = load<u32>(queue, INTEL_POOL_BYTES);
  const bufferMask = load<u32>(queue, INTEL_BUFFER_MASK);
  const longest = load<u32>(queue, INTEL_MOST);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const command = load<u32>(queue, INTEL_COMMAND) | TXD_EOP;
  const payload = load<u32>(queue, INTEL_PAYLOAD);
  const high = (load<u32>(queue, INTEL_IOVA_HIGH) as u64) << 32;
  let bytes: u32 = 0;
  let i: u32 = 0;
  for (; i < most; i++) {
    const handle = load<u32>(burst + ((i as usize) << 2));
    const buffer = handle << HANDLE_SHIFT;
    if (buffer - pool >= poolBytes || ((buffer - pool) & bufferMask)) break;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (load<u16>(header, MBUF_NB_SEGS) != 1 || load<u32>(header, MBUF_OL_FLAGS) & TX_OFFLOADS) break;
    if (length < (SHORTEST as u32) || length > longest || offset + length > bufferMask + 1) break;
    const at = descriptorAt(ring, next + i, mask);
    store<u64>(at, high | ((buffer + offset) as u64));
    store<u64>(at, ((length * payload) as u64) << 32 | ((length | command) as u64), 8); // DD too
    store<u32>(sideAt(side, next + i, mask), handle);
    store<u32>(header, mine, MBUF_OWNER);
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return i;
}

/** Any frame: several segments, offloads. Returns how many descriptors it took; 0: it has to wait for room; -1: it cannot be sent. */
function writeFrame(queue: usize, next: u32, room: u32, mask: u32, handle: u32): i32 {
  const total = lengthOf(queue, handle);
  if (total == 0) return -1;
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const header = table + ((handle as usize) << HEADER_SHIFT);
  const segments: u32 = load<u16>(header, MBUF_NB_SEGS);
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  if (flags & TX_OFFLOADS & ~load<u32>(queue, INTEL_OFFERS)) return -1;
  const wants = wantsContext(queue, header);
  if (wants && !canDescribe(queue, header, total)) return -1;
  const context: u32 = wants && !hasContext(queue, header) ? 1 : 0;
  if (segments + context > room) return 0;
  if (context) writeContext(queue, next, mask, header);
  let third = load<u32>(queue, INTEL_COMMAND);
  const fourth = optionsOf(queue, header) | (total * load<u32>(queue, INTEL_PAYLOAD));
  if (flags & TX_OFFLOADS && load<u32>(queue, INTEL_CONTEXT_KIND) != INTEL_82576) third |= TXD_DEXT | TXD_DATA_82574;
  if (flags & TX_VLAN) third |= TXD_VLE;
  let at = next + context;
  let current = handle;
  for (let left = segments; left > 0; left--) {
    current = writeSegment(queue, at, mask, current, third | (left == 1 ? TXD_EOP : 0), fourth);
    store<u32>(sideAt(load<u32>(queue, INTEL_SIDE), at, mask), left == segments ? handle : 0);
    at++;
  }
  count64(queue + QUEUE_BYTES, total);
  return (segments + context) as i32;
}

/** Returns the segment behind it. */
function writeSegment(queue: usize, index: u32, mask: u32, handle: u32, third: u32, fourth: u32): u32 {
  const header = (load<u32>(queue, QUEUE_TABLE) as usize) + ((handle as usize) << HEADER_SHIFT);
  const at = descriptorAt(load<u32>(queue, INTEL_RING), index, mask);
  store<u32>(at, (handle << HANDLE_SHIFT) + load<u16>(header, MBUF_DATA_OFF));
  store<u32>(at, load<u32>(queue, INTEL_IOVA_HIGH), 4);
  store<u32>(at, load<u16>(header, MBUF_DATA_LEN) | third, 8);
  store<u32>(at, fourth, 12);
  store<u32>(header, load<u32>(queue, QUEUE_OWNER), MBUF_OWNER);
  return load<u32>(header, MBUF_NEXT);
}

/** Bytes of the frame; 0 when it cannot be sent. */
function lengthOf(queue: usize, handle: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const bufferBytes = load<u32>(queue, INTEL_BUFFER_MASK) + 1;
  if (!isMapped(queue, handle)) return 0;
  const segments: u32 = load<u16>(table + ((handle as usize) << HEADER_SHIFT), MBUF_NB_SEGS);
  if (segments > load<u32>(queue, INTEL_MOST_SEGMENTS)) return 0;
  let total: u32 = 0;
  let current = handle;
  for (let left = segments; left > 0; left--) {
    if (!isMapped(queue, current)) return 0;
    const header = table + ((current as usize) << HEADER_SHIFT);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (length == 0 || load<u16>(header, MBUF_DATA_OFF) + length > bufferBytes) return 0;
    total += length;
    current = load<u32>(header, MBUF_NEXT);
  }
  return total < (SHORTEST as u32) || total > load<u32>(queue, INTEL_MOST) ? 0 : total;
}

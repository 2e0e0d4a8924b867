/** The device's side of the rings: flattens chains of descriptors. They are given back in virtqueue_put.ts. The twin is burst/virtqueue_gather.ts. */
import {
  CHAIN_DESCS, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_SHIFT, DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_SHIFT, DESC_USED, DESC_WRITE, DEVICE_BAD_ADDRESS,
  DEVICE_BAD_CHAIN, DEVICE_BAD_INDEX, MEMORY_COUNT, MOST_REGIONS, MOST_SEGMENTS, NO_ID, OUTSIDE_USED, REGIONS, REGION_BYTES, REGION_OFFSET,
  REGION_SHIFT, REGION_START, RING_ENTRIES, RING_INDEX, SEGMENTS, SEGMENTS_END, SEGMENT_SHIFT, VQ_AVAIL, VQ_DESC, VQ_FLAGS, VQ_INDIRECT, VQ_MEMORY,
  VQ_NEXT_AVAIL, VQ_OUTSIDE, VQ_SCRATCH, VQ_SIZE,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { loadInOrder64 } from './order';
import { beginOutside, fetchOutside, forgetChain, holdsOutside, placeOutside, startChain, tableOutside } from './outside';

const MOST: u32 = MOST_SEGMENTS;

/** The arena's offset of `length` bytes at an address of the other side's; 0 when it has not shared all of them. */
// @ts-ignore: decorator
@inline
function translate(memory: usize, address: u64, length: u32): u32 {
  const count = min(load<u32>(memory, MEMORY_COUNT), MOST_REGIONS as u32);
  for (let i: u32 = 0; i < count; i++) {
    const region = memory + REGIONS + ((i as usize) << REGION_SHIFT);
    const distance = address - load<u64>(region, REGION_START);
    const bytes = load<u64>(region, REGION_BYTES);
    if (distance < bytes && bytes - distance >= (length as u64)) return load<u32>(region, REGION_OFFSET) + (distance as u32);
  }
  return 0;
}

/** Up to `want` chains that were made available, flattened into the scratch memory. They stay available until `putSplit`. Returns how many. */
export function gatherSplit(queue: usize, want: u32, writable: u32): u32 {
  const outside = beginOutside(queue);
  const avail: usize = load<u32>(queue, VQ_AVAIL);
  const table: usize = load<u32>(queue, VQ_DESC);
  const size = load<u32>(queue, VQ_SIZE);
  const next = load<u32>(queue, VQ_NEXT_AVAIL);
  // Pairs with the driver's release of the index: the descriptors before it.
  const ready = ((atomic.load<u16>(avail, RING_INDEX) as u32) - next) & 0xffff;
  if (ready > size) {
    count64(queue + DEVICE_BAD_INDEX, 1);
    return 0;
  }
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const end = scratch + SEGMENTS_END;
  const memory: usize = load<u32>(queue, VQ_MEMORY);
  let segment = scratch + SEGMENTS;
  let chains: u32 = 0;
  want = min(want, ready);
  for (; chains < want && segment + ((MOST as usize) << SEGMENT_SHIFT) <= end; chains++) {
    if (outside && !holdsOutside(outside)) break;
    const head: u32 = load<u16>(avail + RING_ENTRIES + (((next + chains) & (size - 1)) as usize << 1));
    const chain = scratch + ((chains as usize) << CHAIN_SHIFT);
    store<u64>(chain, 1 << 32 | (head as u64)); // one place
    if (head >= size) {
      store<u32>(chain, NO_ID);
      spoil(queue, chain, segment, DEVICE_BAD_INDEX);
      continue;
    }
    // Copied once, then checked, then used.
    const at = table + ((head as usize) << DESC_SHIFT);
    const address = load<u64>(at);
    const rest = load<u64>(at, 8);
    const flags = (rest >> 32) as u32 & (DESC_NEXT | DESC_WRITE | DESC_INDIRECT);
    if (flags == writable) segment = single(queue, memory, chain, segment, address, rest as u32, writable);
    else segment = several(queue, memory, chain, segment, address, rest, writable, table, size, false);
  }
  if (outside && !writable) fetchOutside(outside);
  return chains;
}

/** The same in a packed ring. Returns, in the upper half, how many places they have together. */
export function gatherPacked(queue: usize, want: u32, writable: u32): u32 {
  const outside = beginOutside(queue);
  const table: usize = load<u32>(queue, VQ_DESC);
  const size = load<u32>(queue, VQ_SIZE);
  const tableEnd = table + ((size as usize) << DESC_SHIFT);
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const most = scratch + SEGMENTS_END - ((MOST as usize) << SEGMENT_SHIFT);
  const memory: usize = load<u32>(queue, VQ_MEMORY);
  const next = load<u32>(queue, VQ_NEXT_AVAIL);
  const chains = scratch + ((want as usize) << CHAIN_SHIFT);
  let at = table + (((next & 0x7fff) as usize) << DESC_SHIFT);
  let turn: u32 = next & 0x8000 ? DESC_AVAIL : DESC_USED;
  let segment = scratch + SEGMENTS;
  let chain = scratch;
  // No more places than the ring has: what is behind them may be what was not given back yet.
  let left = size;
  while (chain < chains && left > 0 && segment <= most) {
    if (outside && !holdsOutside(outside)) break;
    // Pairs with the driver's release of the flags: the rest of the descriptors before them. Length, id and flags in one.
    const rest = loadInOrder64(at + 8);
    const flags = (rest >> 48) as u32;
    if ((flags & (DESC_AVAIL | DESC_USED)) != turn) break;
    store<u64>(chain, 1 << 32 | ((rest >> 32) & 0xffff));
    const address = load<u64>(at);
    if ((flags & (DESC_NEXT | DESC_WRITE | DESC_INDIRECT)) == writable) {
      segment = single(queue, memory, chain, segment, address, rest as u32, writable);
      left--;
      at += 1 << DESC_SHIFT;
    } else {
      segment = several(queue, memory, chain, segment, address, rest, writable, table, size, true, ((at - table) as u32) >> DESC_SHIFT, left);
      const places = load<u32>(chain, CHAIN_DESCS);
      if (places == 0) break;
      left -= places;
      at += (places as usize) << DESC_SHIFT;
    }
    chain += 1 << CHAIN_SHIFT;
    if (at >= tableEnd) {
      at -= (size as usize) << DESC_SHIFT;
      turn ^= DESC_AVAIL | DESC_USED;
    }
  }
  if (outside && !writable) fetchOutside(outside);
  return ((chain - scratch) as u32 >> CHAIN_SHIFT) | ((size - left) << PLACES_SHIFT);
}

export const PLACES_SHIFT: u32 = 16;

/** A chain of one descriptor, which nearly all are. Returns where the next segment goes. */
// @ts-ignore: decorator
@inline
function single(queue: usize, memory: usize, chain: usize, segment: usize, address: u64, length: u32, writable: u32): usize {
  const offset = translate(memory, address, length);
  if (offset == 0) return singleOutside(queue, chain, segment, address, length, writable);
  store<u64>(segment, (offset as u64) | ((length as u64) << 32));
  store<u64>(chain, (segment as u64) | (1 << 32), CHAIN_FIRST);
  store<u64>(chain, length as u64, CHAIN_LENGTH);
  return segment + (1 << SEGMENT_SHIFT);
}

/** The same where the driver's memory is not in the arena, or nowhere. */
function singleOutside(queue: usize, chain: usize, segment: usize, address: u64, length: u32, writable: u32): usize {
  const outside: usize = load<u32>(queue, VQ_OUTSIDE);
  if (!outside) return spoil(queue, chain, segment, DEVICE_BAD_ADDRESS);
  startChain(outside, chain);
  const placed = placeOutside(outside, load<u32>(outside, OUTSIDE_USED), address, length);
  if (placed == 0) return spoil(queue, chain, segment, DEVICE_BAD_ADDRESS);
  store<u64>(segment, placed);
  store<u64>(chain, (segment as u64) | (1 << 32), CHAIN_FIRST);
  store<u64>(chain, bytesOutside(writable, placed, length), CHAIN_LENGTH);
  return segment + (1 << SEGMENT_SHIFT);
}

/** What of a segment counts: a driver's buffer is as large as its place; a frame that is larger than that is none. */
// @ts-ignore: decorator
@inline
function bytesOutside(writable: u32, placed: u64, length: u32): u64 {
  const part = placed >> 32;
  return writable || part == (length as u64) ? part : 0xffffffff;
}

/**
 * A bad chain has no segments; it is counted, and given back unused. The scratch memory that it took stays taken: so many
 * descriptors are looked at in one go and no more, or a driver of bad chains would hold whoever polls it.
 */
function spoil(queue: usize, chain: usize, segment: usize, counter: usize): usize {
  count64(queue + counter, 1);
  store<u64>(chain, segment as u64, CHAIN_FIRST);
  store<u64>(chain, 0, CHAIN_LENGTH);
  return segment;
}

/**
 * A chain of several, in the ring or in a table of its own. What is wrong with one makes all of it bad; in a packed ring
 * its places are still counted, since the next chain stands behind them. One that is longer than any is has no places:
 * its end is not looked for at every burst, and the ring stands still there until its driver resets it.
 */
function several(
  queue: usize, memory: usize, chain: usize, segment: usize, address: u64, rest: u64, writable: u32, table: usize, size: u32, packed: bool,
  index: u32 = 0, left: u32 = 0,
): usize {
  const first = segment;
  let flags = descFlags(rest, packed);
  let bad: usize = 0;
  let limit = packed ? left : size;
  let inside = false;
  const outside: usize = load<u32>(queue, VQ_OUTSIDE);
  let used: u32 = 0;
  if (outside) {
    startChain(outside, chain);
    used = load<u32>(outside, OUTSIDE_USED);
  }
  if (flags & DESC_INDIRECT) {
    const bytes = rest as u32;
    limit = bytes >> DESC_SHIFT;
    const allowed = (load<u32>(queue, VQ_FLAGS) & VQ_INDIRECT) && !(flags & DESC_NEXT) && (bytes & 15) == 0;
    if (!allowed || limit == 0 || limit > MOST) return spoil(queue, chain, first, DEVICE_BAD_CHAIN);
    table = outside ? tableOutside(outside, address, bytes) : translate(memory, address, bytes);
    if (table == 0) return spoil(queue, chain, first, DEVICE_BAD_ADDRESS);
    inside = true;
    index = 0;
    address = load<u64>(table);
    rest = load<u64>(table, 8);
    flags = descFlags(rest, packed);
  }
  let total: u64 = 0;
  let places: u32 = 1;
  while (true) {
    if (!bad) {
      const length = rest as u32;
      if ((flags & DESC_INDIRECT) || (flags & DESC_WRITE) != writable || places > MOST) bad = DEVICE_BAD_CHAIN;
      else {
        const placed = outside ? placeOutside(outside, used, address, length) : placeInside(memory, address, length);
        if (placed == 0) bad = DEVICE_BAD_ADDRESS;
        else {
          store<u64>(segment, placed);
          segment += 1 << SEGMENT_SHIFT;
          total += outside ? bytesOutside(writable, placed, length) : (length as u64);
        }
      }
    }
    // In a packed table all descriptors are the chain's (2.8.8); elsewhere the flag says whether one follows.
    if (inside && packed ? places >= limit : !(flags & DESC_NEXT)) break;
    if (bad && (inside || !packed)) break;
    if (packed && !inside && places > MOST) {
      store<u64>(chain, (rest >> 32) & 0xffff); // no places
      if (outside) forgetChain(outside, chain, used);
      return spoil(queue, chain, segment, DEVICE_BAD_CHAIN);
    }
    if (places >= limit) {
      bad = bad ? bad : DEVICE_BAD_CHAIN;
      break;
    }
    index = packed ? index + 1 : ((rest >> 48) as u32);
    if (packed && !inside && index >= size) index -= size;
    if (index >= (inside ? limit : size)) {
      bad = DEVICE_BAD_CHAIN;
      break;
    }
    const at = table + ((index as usize) << DESC_SHIFT);
    address = load<u64>(at);
    rest = load<u64>(at, 8);
    flags = descFlags(rest, packed);
    places++;
  }
  if (packed && !inside) store<u64>(chain, ((places as u64) << 32) | ((rest >> 32) & 0xffff)); // the last one's id
  if (bad) {
    if (outside) forgetChain(outside, chain, used);
    return spoil(queue, chain, segment, bad);
  }
  store<u64>(chain, (first as u64) | (((segment - first) as u64 >> SEGMENT_SHIFT) << 32), CHAIN_FIRST);
  store<u64>(chain, min<u64>(total, 0xffffffff), CHAIN_LENGTH);
  return segment;
}

/** A segment: its offset in the arena and, in the upper half, its bytes. 0: not shared. */
// @ts-ignore: decorator
@inline
function placeInside(memory: usize, address: u64, length: u32): u64 {
  const offset = translate(memory, address, length);
  return offset == 0 ? 0 : (offset as u64) | ((length as u64) << 32);
}

// @ts-ignore: decorator
@inline
function descFlags(rest: u64, packed: bool): u32 {
  return (packed ? (rest >> 48) as u32 : (rest >> 32) as u32) & (DESC_NEXT | DESC_WRITE | DESC_INDIRECT);
}

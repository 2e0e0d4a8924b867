/** A memif ring whose frames are copied: lays out what came or may be filled as chains, and gives it back. The twin is burst/memif_ring.ts; the ring is explained in memif/layout.ts. */
import {
  MEMIF_AHEAD, MEMIF_BUFFERS, MEMIF_BUFFER_BYTES, MEMIF_DESC_NEXT, MEMIF_DESC_OFFSET, MEMIF_DESC_SHIFT, MEMIF_LEAD, MEMIF_NEXT, MEMIF_ORIGIN,
  MEMIF_OURS, MEMIF_REGIONS, MEMIF_REGION_SHIFT, MEMIF_RING, MEMIF_TABLE, MEMIF_THEIRS, RING_DESCS, RING_FLAGS,
} from '../../port/drivers/memif/layout';
import {
  CHAIN_COUNT, CHAIN_DESCS, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_MORE, CHAIN_SHIFT, CHAIN_WRITTEN, DESC_WRITE, DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN,
  DEVICE_BAD_INDEX, MOST_SEGMENTS, SEGMENTS, SEGMENTS_END, SEGMENT_SHIFT, VQ_SCRATCH, VQ_SIZE,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { publish16 } from './publish';
import { tellSplit } from './virtqueue';

const MOST: u32 = MOST_SEGMENTS;

// @ts-ignore: decorator
@inline
export function slotAt(queue: usize, index: u32): usize {
  return (load<u32>(queue, MEMIF_RING) as usize) + RING_DESCS + (((index & (load<u32>(queue, VQ_SIZE) - 1)) as usize) << MEMIF_DESC_SHIFT);
}

/** The arena's offset of `length` bytes in a region; 0 when the other end has not shared all of them. */
// @ts-ignore: decorator
@inline
function translate(table: usize, region: u32, offset: u32, length: u32): u32 {
  if (region >= load<u32>(table)) return 0;
  const entry = table + MEMIF_TABLE + ((region as usize) << MEMIF_REGION_SHIFT);
  const bytes = load<u32>(entry, 4);
  return offset <= bytes && length <= bytes - offset ? load<u32>(entry) + offset : 0;
}

/** Of a client that copies: where descriptor `index` has its buffer. */
// @ts-ignore: decorator
@inline
function ownBuffer(queue: usize, index: u32): u32 {
  return load<u32>(queue, MEMIF_BUFFERS) + (index & (load<u32>(queue, VQ_SIZE) - 1)) * load<u32>(queue, MEMIF_BUFFER_BYTES);
}

/**
 * Up to `want` frames that came, or (`writable`) descriptors that may be filled, as chains in the scratch memory. They stay
 * as they are until `putMemif`. Returns how many.
 */
export function gatherMemif(queue: usize, want: u32, writable: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  // Pairs with the other end's release of its index: the descriptors before it.
  let ready = ((atomic.load<u16>(load<u32>(queue, MEMIF_THEIRS)) as u32) + load<u32>(queue, MEMIF_LEAD) - load<u32>(queue, MEMIF_NEXT)) & 0xffff;
  if (ready > size) {
    count64(queue + DEVICE_BAD_INDEX, 1);
    return 0;
  }
  return writable == DESC_WRITE ? gatherEmpty(queue, min(want, ready)) : gatherFrames(queue, want, ready);
}

/** Each descriptor is a chain of its own: a frame that needs several takes a run of them. */
// @ts-ignore: decorator
@inline
function gatherEmpty(queue: usize, count: u32): u32 {
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const table: usize = load<u32>(queue, MEMIF_REGIONS);
  const own = load<u32>(queue, MEMIF_BUFFERS) != 0;
  let index = load<u32>(queue, MEMIF_NEXT);
  let segment = scratch + SEGMENTS;
  for (let i: u32 = 0; i < count; i++, index++) {
    const chain = scratch + ((i as usize) << CHAIN_SHIFT);
    let length = load<u32>(queue, MEMIF_BUFFER_BYTES);
    let offset: u32;
    if (own) offset = ownBuffer(queue, index);
    else {
      const at = slotAt(queue, index);
      const word = load<u64>(at);
      length = (word >> 32) as u32;
      offset = translate(table, (word >> 16) as u32 & 0xffff, load<u32>(at, MEMIF_DESC_OFFSET), length);
    }
    segment = finish(queue, chain, segment, offset, length);
  }
  return count;
}

// @ts-ignore: decorator
@inline
function gatherFrames(queue: usize, want: u32, ready: u32): u32 {
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const end = scratch + SEGMENTS_END;
  const table: usize = load<u32>(queue, MEMIF_REGIONS);
  let index = load<u32>(queue, MEMIF_NEXT);
  let segment = scratch + SEGMENTS;
  let chains: u32 = 0;
  for (; chains < want && ready > 0 && segment + ((MOST as usize) << SEGMENT_SHIFT) <= end; chains++) {
    const chain = scratch + ((chains as usize) << CHAIN_SHIFT);
    const at = slotAt(queue, index);
    // Copied once, then checked, then used.
    const word = load<u64>(at);
    const length = (word >> 32) as u32;
    const offset = placeOf(queue, table, index, (word >> 16) as u32 & 0xffff, load<u32>(at, MEMIF_DESC_OFFSET), length);
    if (word & MEMIF_DESC_NEXT) segment = several(queue, table, chain, segment, index, ready, offset, length);
    else segment = finish(queue, chain, segment, offset, length);
    const places = load<u32>(chain, CHAIN_DESCS);
    index += places;
    ready -= places;
  }
  return chains;
}

/** Where a descriptor's bytes are; 0 where they are not all shared. A client's buffers are where it put them, whatever the descriptor says by now. */
// @ts-ignore: decorator
@inline
function placeOf(queue: usize, table: usize, index: u32, region: u32, offset: u32, length: u32): u32 {
  if (load<u32>(queue, MEMIF_BUFFERS) == 0) return translate(table, region, offset, length);
  return length <= load<u32>(queue, MEMIF_BUFFER_BYTES) ? ownBuffer(queue, index) : 0;
}

/** A chain of one descriptor; offset 0: a bad one. Returns where the next segment goes. */
// @ts-ignore: decorator
@inline
function finish(queue: usize, chain: usize, segment: usize, offset: u32, length: u32): usize {
  store<u64>(chain, 1 << 32); // one place
  store<u64>(chain, 0, CHAIN_MORE);
  if (offset == 0) return spoil(queue, chain, segment, DEVICE_BAD_ADDRESS);
  store<u64>(segment, (offset as u64) | ((length as u64) << 32));
  store<u64>(chain, (segment as u64) | (1 << 32), CHAIN_FIRST);
  store<u64>(chain, length as u64, CHAIN_LENGTH);
  return segment + (1 << SEGMENT_SHIFT);
}

/** A bad chain has no segments; it is counted, and given back. */
function spoil(queue: usize, chain: usize, segment: usize, counter: usize): usize {
  count64(queue + counter, 1);
  store<u64>(chain, segment as u64, CHAIN_FIRST);
  store<u64>(chain, 0, CHAIN_LENGTH);
  return segment;
}

/**
 * A frame in several descriptors, the first of which is copied already. What is wrong with one makes all of it bad; its
 * places are counted to its end, since the next frame stands behind them. One whose end has not come is bad too: who
 * sends publishes whole frames.
 */
function several(queue: usize, table: usize, chain: usize, first: usize, index: u32, ready: u32, offset: u32, length: u32): usize {
  let segment = first;
  let total: u64 = 0;
  let places: u32 = 1;
  let bad: usize = 0;
  for (let last = false; ; places++) {
    if (!bad) {
      if (places > MOST) bad = DEVICE_BAD_CHAIN;
      else if (offset == 0) bad = DEVICE_BAD_ADDRESS;
      else {
        store<u64>(segment, (offset as u64) | ((length as u64) << 32));
        segment += 1 << SEGMENT_SHIFT;
        total += length as u64;
      }
    }
    if (last) break;
    if (places == ready) {
      if (!bad) bad = DEVICE_BAD_CHAIN;
      break;
    }
    const at = slotAt(queue, index + places);
    const word = load<u64>(at);
    length = (word >> 32) as u32;
    offset = placeOf(queue, table, index + places, (word >> 16) as u32 & 0xffff, load<u32>(at, MEMIF_DESC_OFFSET), length);
    last = !(word & MEMIF_DESC_NEXT);
  }
  store<u64>(chain, (places as u64) << 32);
  store<u64>(chain, 0, CHAIN_MORE);
  if (bad) return spoil(queue, chain, first, bad);
  store<u64>(chain, (first as u64) | (((segment - first) as u64 >> SEGMENT_SHIFT) << 32), CHAIN_FIRST);
  store<u64>(chain, min<u64>(total, 0xffffffff), CHAIN_LENGTH);
  return segment;
}

/** Gives the first `count` gathered chains back: emptied, or filled with what CHAIN_WRITTEN says. */
export function putMemif(queue: usize, count: u32, writable: u32): void {
  if (count == 0) return;
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const own = load<u32>(queue, MEMIF_BUFFERS) != 0;
  const old = load<u32>(queue, MEMIF_NEXT);
  let index = old;
  if (writable == DESC_WRITE) {
    for (let i: u32 = 0; i < count; i++, index++) {
      const chain = scratch + ((i as usize) << CHAIN_SHIFT);
      const at = slotAt(queue, index);
      const written = load<u32>(chain, CHAIN_WRITTEN);
      const more = load<u32>(chain, CHAIN_MORE);
      if (own) describe(queue, at, index, more, written);
      else {
        store<u16>(at, more as u16);
        store<u32>(at, written, 4);
      }
    }
  } else {
    for (let i: u32 = 0; i < count; i++) index += load<u32>(scratch + ((i as usize) << CHAIN_SHIFT), CHAIN_DESCS);
    // Of a client that copies: each buffer is empty again.
    if (own) for (let each = old; each != index; each++) describe(queue, slotAt(queue, each), each, 0, load<u32>(queue, MEMIF_BUFFER_BYTES));
  }
  store<u32>(queue, index & 0xffff, MEMIF_NEXT);
  publish16(load<u32>(queue, MEMIF_OURS), index + load<u32>(queue, MEMIF_AHEAD));
  // Who receives says in the flags whether it wants to be told.
  if (writable == DESC_WRITE) tellSplit(queue, (load<u32>(queue, MEMIF_RING) as usize) + RING_FLAGS, 0, index & 0xffff, old);
}

/** A descriptor of the client's own buffer, written whole. */
// @ts-ignore: decorator
@inline
function describe(queue: usize, at: usize, index: u32, flags: u32, length: u32): void {
  store<u64>(at, (flags as u64) | ((length as u64) << 32)); // region 0
  store<u32>(at, ownBuffer(queue, index) - load<u32>(queue, MEMIF_ORIGIN), MEMIF_DESC_OFFSET);
}

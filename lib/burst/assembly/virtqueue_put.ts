/** The device's side of the rings: gives chains back that virtqueue_gather.ts has flattened. The twin is burst/virtqueue_put.ts. */
import {
  CHAIN_DESCS, CHAIN_ID, CHAIN_SHIFT, CHAIN_WRITTEN, DESC_AVAIL, DESC_SHIFT, DESC_USED, DESC_WRITE, INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP,
  INFLIGHT_SPLIT_USED, INFLIGHT_USED, INFLIGHT_WRAP, NO_ID, RING_ENTRIES, RING_INDEX, VQ_AVAIL, VQ_DESC, VQ_FLAGS, VQ_IN_ORDER, VQ_INFLIGHT,
  VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_OUTSIDE, VQ_SCRATCH, VQ_SIZE, VQ_USED,
} from '../../virtqueue/layout';
import { storeOutside } from './outside';
import { publish16, publish64 } from './publish';
import { advance, tellPacked, tellSplit, usedEvent } from './virtqueue';

// @ts-ignore: decorator
@inline
export function chainAt(queue: usize, index: u32): usize {
  return (load<u32>(queue, VQ_SCRATCH) as usize) + ((index as usize) << CHAIN_SHIFT);
}

/**
 * Gives the first `count` gathered chains back, each with the bytes that were written into it; `together` says that there
 * are none, so that one entry can stand for all where buffers are used in order.
 */
export function putSplit(queue: usize, count: u32, together: bool): void {
  const outside: usize = load<u32>(queue, VQ_OUTSIDE);
  if (outside && !together) storeOutside(outside, load<u32>(queue, VQ_SCRATCH), count);
  const used: usize = load<u32>(queue, VQ_USED);
  const size = load<u32>(queue, VQ_SIZE);
  const old = load<u32>(queue, VQ_NEXT_USED);
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const single = together && (load<u32>(queue, VQ_FLAGS) & VQ_IN_ORDER) != 0;
  let index = old;
  let last: u32 = NO_ID;
  for (let i: u32 = 0; i < count; i++) {
    const chain = scratch + ((i as usize) << CHAIN_SHIFT);
    const id = load<u32>(chain, CHAIN_ID);
    if (id == NO_ID) continue;
    if (single) last = id;
    else store<u64>(used + RING_ENTRIES + (((index & (size - 1)) as usize) << 3), (id as u64) | ((load<u32>(chain, CHAIN_WRITTEN) as u64) << 32));
    index++;
  }
  if (last != NO_ID) store<u64>(used + RING_ENTRIES + (((old & (size - 1)) as usize) << 3), last as u64);
  index &= 0xffff;
  store<u32>(queue, (load<u32>(queue, VQ_NEXT_AVAIL) + count) & 0xffff, VQ_NEXT_AVAIL);
  store<u32>(queue, index, VQ_NEXT_USED);
  if (index == old) return;
  // Pairs with the driver's acquire of the index: entries and buffers before it.
  publish16(used + RING_INDEX, index);
  const inflight: usize = load<u32>(queue, VQ_INFLIGHT);
  if (inflight) store<u16>(inflight, index as u16, INFLIGHT_SPLIT_USED);
  const avail: usize = load<u32>(queue, VQ_AVAIL);
  tellSplit(queue, avail, usedEvent(avail, size), index, old);
}

/**
 * The same in a packed ring. The driver looks at them in order, so the first one's flags are what publishes all. `places`:
 * what the chains have together, 0 where it is not known.
 */
export function putPacked(queue: usize, count: u32, places: u32, together: bool): void {
  if (count == 0) return;
  const outside: usize = load<u32>(queue, VQ_OUTSIDE);
  if (outside && !together) storeOutside(outside, load<u32>(queue, VQ_SCRATCH), count);
  const size = load<u32>(queue, VQ_SIZE);
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const old = load<u32>(queue, VQ_NEXT_USED);
  const single = together && (load<u32>(queue, VQ_FLAGS) & VQ_IN_ORDER) != 0;
  if (places == 0) places = placesOf(scratch, count);
  const next = advance(old, places, size);
  if (!single && places == count) useSingles(queue, scratch, count, next, size);
  else if (!single) usePlaces(queue, scratch, count, old, size);
  const inflight: usize = load<u32>(queue, VQ_INFLIGHT);
  if (inflight) {
    store<u16>(inflight, (next & 0x7fff) as u16, INFLIGHT_USED);
    store<u8>(inflight, (next >> 15) as u8, INFLIGHT_WRAP);
  }
  const flags: u32 = old & 0x8000 ? DESC_AVAIL | DESC_USED : 0;
  publish64((load<u32>(queue, VQ_DESC) as usize) + (((old & 0x7fff) as usize) << DESC_SHIFT) + 8, usedWord(single ? chainAt(queue, count - 1) : scratch, flags));
  if (inflight) {
    store<u16>(inflight, (next & 0x7fff) as u16, INFLIGHT_OLD_USED);
    store<u8>(inflight, (next >> 15) as u8, INFLIGHT_OLD_WRAP);
  }
  store<u32>(queue, advance(load<u32>(queue, VQ_NEXT_AVAIL), places, size), VQ_NEXT_AVAIL);
  store<u32>(queue, next, VQ_NEXT_USED);
  tellPacked(queue, load<u32>(queue, VQ_AVAIL), next, places);
}

function placesOf(scratch: usize, count: u32): u32 {
  let places: u32 = 0;
  const end = scratch + ((count as usize) << CHAIN_SHIFT);
  for (let chain = scratch; chain < end; chain += 1 << CHAIN_SHIFT) places += load<u32>(chain, CHAIN_DESCS);
  return places;
}

/** Writes the used descriptors of all chains but the first, where each has one place, which end before `next`: from the last on, as the driver looks at the first all the while. */
// @ts-ignore: decorator
@inline
function useSingles(queue: usize, scratch: usize, count: u32, next: u32, size: u32): void {
  const table: usize = load<u32>(queue, VQ_DESC);
  let at = table + (((next & 0x7fff) as usize) << DESC_SHIFT);
  let flags: u32 = next & 0x8000 ? DESC_AVAIL | DESC_USED : 0;
  for (let chain = scratch + (((count - 1) as usize) << CHAIN_SHIFT); chain > scratch; chain -= 1 << CHAIN_SHIFT) {
    if (at == table) {
      at += (size as usize) << DESC_SHIFT;
      flags ^= DESC_AVAIL | DESC_USED;
    }
    at -= 1 << DESC_SHIFT;
    store<u64>(at, usedWord(chain, flags), 8);
  }
}

/** The same for chains of any length. */
function usePlaces(queue: usize, scratch: usize, count: u32, old: u32, size: u32): void {
  const table: usize = load<u32>(queue, VQ_DESC);
  const tableEnd = table + ((size as usize) << DESC_SHIFT);
  const end = scratch + ((count as usize) << CHAIN_SHIFT);
  let at = table + (((old & 0x7fff) as usize) << DESC_SHIFT);
  let flags: u32 = old & 0x8000 ? DESC_AVAIL | DESC_USED : 0;
  for (let chain = scratch + (1 << CHAIN_SHIFT); chain < end; chain += 1 << CHAIN_SHIFT) {
    at += (load<u32>(chain - (1 << CHAIN_SHIFT), CHAIN_DESCS) as usize) << DESC_SHIFT;
    if (at >= tableEnd) {
      at -= (size as usize) << DESC_SHIFT;
      flags ^= DESC_AVAIL | DESC_USED;
    }
    store<u64>(at, usedWord(chain, flags), 8);
  }
}

/** Length, id and flags of a used descriptor. */
// @ts-ignore: decorator
@inline
function usedWord(chain: usize, flags: u32): u64 {
  const written = load<u32>(chain, CHAIN_WRITTEN);
  return (written as u64) | ((load<u32>(chain, CHAIN_ID) as u64) << 32) | (((written ? flags | DESC_WRITE : flags) as u64) << 48);
}

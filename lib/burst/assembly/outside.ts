/**
 * Memory of the driver's that is not in the arena: what a burst needs of it is copied, in one call for all chains of a go,
 * and one for each table of descriptors. The twin is burst/outside.ts.
 */
import {
  CHAIN_LIST, CHAIN_SHIFT, CHAIN_WRITTEN, MEMORY_COUNT, MOST_REGIONS, OUTSIDE_AREA, OUTSIDE_AREA_BYTES, OUTSIDE_CHAIN, OUTSIDE_COUNT,
  OUTSIDE_ENTRY_SHIFT, OUTSIDE_LIST, OUTSIDE_REGIONS, OUTSIDE_TABLE, OUTSIDE_TABLE_ENTRY, OUTSIDE_USED, REGIONS, REGION_BYTES, REGION_OUTSIDE,
  REGION_SHIFT, REGION_START, VQ_OUTSIDE,
} from '../../virtqueue/layout';

/** The native copy of a list of entries: into the arena, or with `out` 1 out of it. */
// @ts-ignore: decorator
@external("pollmode", "copy")
declare function copy(list: usize, count: u32, out: u32): void;

/** A go begins: nothing is on the list. Returns 0 where all memory is in the arena. */
// @ts-ignore: decorator
@inline
export function beginOutside(queue: usize): usize {
  const outside: usize = load<u32>(queue, VQ_OUTSIDE);
  if (outside) store<u64>(outside, 0, OUTSIDE_USED); // and the count
  return outside;
}

/** Is there room for one more chain? */
// @ts-ignore: decorator
@inline
export function holdsOutside(outside: usize): bool {
  return load<u32>(outside, OUTSIDE_AREA_BYTES) - load<u32>(outside, OUTSIDE_USED) >= load<u32>(outside, OUTSIDE_CHAIN);
}

/** Fetches what is on the list. */
// @ts-ignore: decorator
@inline
export function fetchOutside(outside: usize): void {
  const count = load<u32>(outside, OUTSIDE_COUNT);
  if (count > 0) copy(outside + OUTSIDE_LIST, count, 0);
}

/** What was written into the first `count` chains goes to where it belongs. */
export function storeOutside(outside: usize, scratch: usize, count: u32): void {
  const list = outside + OUTSIDE_LIST;
  let end = list;
  for (let i: u32 = 0; i < count; i++) {
    const chain = scratch + ((i as usize) << CHAIN_SHIFT);
    let entry = list + ((load<u16>(chain, CHAIN_LIST) as usize) << OUTSIDE_ENTRY_SHIFT);
    for (let left = load<u32>(chain, CHAIN_WRITTEN); left > 0; entry += 1 << OUTSIDE_ENTRY_SHIFT) {
      const part = min(load<u32>(entry, 12), left);
      store<u64>(end, load<u64>(entry));
      store<u32>(end, load<u32>(entry, 8), 8);
      store<u32>(end, part, 12);
      end += 1 << OUTSIDE_ENTRY_SHIFT;
      left -= part;
    }
  }
  if (end != list) copy(list, ((end - list) as u32) >> OUTSIDE_ENTRY_SHIFT, 1);
}

/** The chain's places on the list begin here. */
// @ts-ignore: decorator
@inline
export function startChain(outside: usize, chain: usize): void {
  store<u32>(chain, load<u32>(outside, OUTSIDE_COUNT), CHAIN_LIST);
}

/** A bad chain's places are the next one's. */
// @ts-ignore: decorator
@inline
export function forgetChain(outside: usize, chain: usize, used: u32): void {
  store<u32>(outside, load<u16>(chain, CHAIN_LIST), OUTSIDE_COUNT);
  store<u32>(outside, used, OUTSIDE_USED);
}

/** Where `length` bytes at an address of the other side's are in this process; 0 when it has not shared all of them. */
function locate(outside: usize, address: u64, length: u32): u64 {
  const table: usize = load<u32>(outside, OUTSIDE_REGIONS);
  const count = min(load<u32>(table, MEMORY_COUNT), MOST_REGIONS as u32);
  for (let i: u32 = 0; i < count; i++) {
    const region = table + REGIONS + ((i as usize) << REGION_SHIFT);
    const distance = address - load<u64>(region, REGION_START);
    const bytes = load<u64>(region, REGION_BYTES);
    if (distance < bytes && bytes - distance >= (length as u64)) return load<u64>(region, REGION_OUTSIDE) + distance;
  }
  return 0;
}

/**
 * Puts a segment of a chain whose first one was placed at `used` on the list. Returns its offset in the area and, in the
 * upper half, how many of its bytes have a place: all, as long as the chain is not longer than a frame. 0: not shared.
 */
export function placeOutside(outside: usize, used: u32, address: u64, length: u32): u64 {
  const at = locate(outside, address, length);
  if (at == 0) return 0;
  const taken = load<u32>(outside, OUTSIDE_USED);
  const part = min(length, load<u32>(outside, OUTSIDE_CHAIN) - (taken - used));
  const offset = load<u32>(outside, OUTSIDE_AREA) + taken;
  if (part > 0) {
    const count = load<u32>(outside, OUTSIDE_COUNT);
    const entry = outside + OUTSIDE_LIST + ((count as usize) << OUTSIDE_ENTRY_SHIFT);
    store<u64>(entry, at);
    store<u32>(entry, offset, 8);
    store<u32>(entry, part, 12);
    store<u32>(outside, count + 1, OUTSIDE_COUNT);
    store<u32>(outside, taken + part, OUTSIDE_USED);
  }
  return (offset as u64) | ((part as u64) << 32);
}

/** Copies a table of descriptors. Returns its offset in the arena; 0 for one that is not shared. */
export function tableOutside(outside: usize, address: u64, length: u32): usize {
  const at = locate(outside, address, length);
  if (at == 0) return 0;
  const table = outside + OUTSIDE_TABLE;
  store<u64>(outside, at, OUTSIDE_TABLE_ENTRY);
  store<u64>(outside, (table as u64) | ((length as u64) << 32), OUTSIDE_TABLE_ENTRY + 8);
  copy(outside + OUTSIDE_TABLE_ENTRY, 1, 0);
  return table;
}

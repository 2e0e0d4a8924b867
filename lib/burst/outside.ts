/**
 * Memory of the driver's that is not in the arena, in plain TypeScript: what a burst needs of it is copied, in one call for
 * all chains of a go, and one for each table of descriptors. The fast double is assembly/outside.ts; neither calls the other.
 */
import {
  CHAIN_LIST, CHAIN_SHIFT, CHAIN_WRITTEN, MEMORY_COUNT, MOST_REGIONS, OUTSIDE_AREA, OUTSIDE_AREA_BYTES, OUTSIDE_CHAIN, OUTSIDE_COUNT,
  OUTSIDE_ENTRY_SHIFT, OUTSIDE_LIST, OUTSIDE_REGIONS, OUTSIDE_TABLE, OUTSIDE_TABLE_ENTRY, OUTSIDE_USED, REGIONS, REGION_BYTES, REGION_OUTSIDE,
  REGION_SHIFT, REGION_START,
} from '../virtqueue/layout.js';
import type { ArenaViews } from './views.js';

/** The native copy of a list of entries (OUTSIDE_LIST): into the arena, or with `out` 1 out of it. */
export type CopyList = (list: number, count: number, out: number) => void;

export interface OutsideFunctions {
  /** A go begins: nothing is on the list. */
  begin(outside: number): void;
  /** Is there room for one more chain? */
  holds(outside: number): boolean;
  /** Fetches what is on the list. */
  fetch(outside: number): void;
  /** What was written into the first `count` chains goes to where it belongs. */
  store(outside: number, scratch: number, count: number): void;
  /** The chain's places on the list begin here. Returns where they do in the area. */
  startChain(outside: number, chain: number): number;
  /** A bad chain's places are the next one's. */
  forgetChain(outside: number, chain: number, used: number): void;
  /** Puts a segment on the list, of a chain that began at `used`: its offset in the area, and how many of its bytes have a place. Undefined: not shared. */
  place(outside: number, used: number, address: bigint, length: number): { offset: number; part: number } | undefined;
  /** Copies a table of descriptors. Returns its offset in the arena; 0 for one that is not shared. */
  table(outside: number, address: bigint, length: number): number;
}

export function outsideFunctions({ u16, u32, u64 }: ArenaViews, copy: CopyList): OutsideFunctions {
  return {
    begin(outside) {
      set(outside, OUTSIDE_USED, 0);
      set(outside, OUTSIDE_COUNT, 0);
    },
    holds: outside => get(outside, OUTSIDE_AREA_BYTES) - get(outside, OUTSIDE_USED) >= get(outside, OUTSIDE_CHAIN),
    fetch(outside) {
      if (get(outside, OUTSIDE_COUNT) > 0) copy(outside + OUTSIDE_LIST, get(outside, OUTSIDE_COUNT), 0);
    },
    store(outside, scratch, count) {
      let stored = 0;
      for (let i = 0; i < count; i++) {
        const chain = scratch + (i << CHAIN_SHIFT);
        let left = get(chain, CHAIN_WRITTEN);
        for (let from = u16[(chain + CHAIN_LIST) >>> 1]; left > 0; from++, stored++) {
          const entry = entryAt(outside, from);
          const part = Math.min(get(entry, 12), left);
          writeEntry(entryAt(outside, stored), u64[entry / 8], get(entry, 8), part);
          left -= part;
        }
      }
      if (stored > 0) copy(outside + OUTSIDE_LIST, stored, 1);
    },
    startChain(outside, chain) {
      set(chain, CHAIN_LIST, get(outside, OUTSIDE_COUNT));
      return get(outside, OUTSIDE_USED);
    },
    forgetChain(outside, chain, used) {
      set(outside, OUTSIDE_COUNT, get(chain, CHAIN_LIST));
      set(outside, OUTSIDE_USED, used);
    },
    place(outside, used, address, length) {
      const at = locate(outside, address, length);
      if (at === undefined) return undefined;
      const taken = get(outside, OUTSIDE_USED);
      const part = Math.min(length, get(outside, OUTSIDE_CHAIN) - (taken - used));
      const offset = get(outside, OUTSIDE_AREA) + taken;
      if (part > 0) {
        writeEntry(entryAt(outside, get(outside, OUTSIDE_COUNT)), at, offset, part);
        set(outside, OUTSIDE_COUNT, get(outside, OUTSIDE_COUNT) + 1);
        set(outside, OUTSIDE_USED, taken + part);
      }
      return { offset, part };
    },
    table(outside, address, length) {
      const at = locate(outside, address, length);
      if (at === undefined) return 0;
      writeEntry(outside + OUTSIDE_TABLE_ENTRY, at, outside + OUTSIDE_TABLE, length);
      copy(outside + OUTSIDE_TABLE_ENTRY, 1, 0);
      return outside + OUTSIDE_TABLE;
    },
  };

  /** Where `length` bytes at an address of the other side's are in this process; undefined when it has not shared all of them. */
  function locate(outside: number, address: bigint, length: number): bigint | undefined {
    const table = get(outside, OUTSIDE_REGIONS);
    for (let i = 0; i < Math.min(get(table, MEMORY_COUNT), MOST_REGIONS); i++) {
      const region = table + REGIONS + (i << REGION_SHIFT);
      const distance = address - u64[(region + REGION_START) / 8];
      const bytes = u64[(region + REGION_BYTES) / 8];
      if (distance >= 0n && distance < bytes && bytes - distance >= BigInt(length)) return u64[(region + REGION_OUTSIDE) / 8] + distance;
    }
    return undefined;
  }

  function entryAt(outside: number, index: number): number {
    return outside + OUTSIDE_LIST + (index << OUTSIDE_ENTRY_SHIFT);
  }

  function writeEntry(entry: number, address: bigint, offset: number, bytes: number): void {
    u64[entry / 8] = address;
    set(entry, 8, offset);
    set(entry, 12, bytes);
  }

  function get(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }

  function set(structure: number, name: number, value: number): void {
    u32[(structure + name) >>> 2] = value;
  }
}

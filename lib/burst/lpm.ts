/** Longest-prefix match in plain TypeScript; lookup/lpm_layout.ts says how it stands. The fast double is assembly/lpm.ts; neither calls the other. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF } from '../mbuf/layout.js';
import {
  LPM_GROUPS, LPM_GROUP_ENTRIES, LPM_GROUP_NARROW, LPM_GROUP_WIDE, LPM_NONE, LPM_RETRIES, LPM_REUSES, LPM_ROOT, LPM_ROOT_BITS, LPM_WIDE,
} from '../lookup/lpm_layout.js';
import type { BurstFunctions } from './functions.js';
import type { ArenaViews } from './views.js';

type LpmFunctions = Pick<BurstFunctions, 'lpm4Lookup' | 'lpm4Mbufs' | 'lpm6Lookup' | 'lpm6Mbufs'>;
/** The next hop of an address, or LPM_NONE. */
export type LookOne = (lpm: number, byteAt: (byte: number) => number) => number;

/** `lookOne` is the forwarding's too. */
export function lpmFunctions({ u8, u16, u32 }: ArenaViews): LpmFunctions & { readonly lookOne: LookOne } {
  return { lpm4Lookup, lpm4Mbufs: (...of) => lookUpMbufs(4, ...of), lpm6Lookup, lpm6Mbufs: (...of) => lookUpMbufs(16, ...of), lookOne };

  function lpm4Lookup(lpm: number, addresses: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const address = u32[(addresses >>> 2) + i];
      u32[(to >>> 2) + i] = lookOne(lpm, byte => (address >>> (24 - byte * 8)) & 0xff);
    }
  }

  function lpm6Lookup(lpm: number, addresses: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const address = addresses + i * 16;
      u32[(to >>> 2) + i] = lookOne(lpm, byte => u8[address + byte]);
    }
  }

  function lookUpMbufs(bytes: number, lpm: number, table: number, burst: number, place: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const handle = u32[(burst >>> 2) + i];
      const header = table + (handle << HEADER_SHIFT);
      const at = ((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1] + place;
      const whole = place + bytes <= u16[(header + MBUF_DATA_LEN) >>> 1];
      u32[(to >>> 2) + i] = whole ? lookOne(lpm, byte => u8[at + byte]) : LPM_NONE;
    }
  }

  /** Byte by byte: the first few are an index into the root, each other one into a group. */
  function lookOne(lpm: number, byteAt: (byte: number) => number): number {
    const wide = u32[(lpm + LPM_WIDE) >>> 2] === 1;
    const isGroup = wide ? LPM_GROUP_WIDE : LPM_GROUP_NARROW;
    const rootBytes = u32[(lpm + LPM_ROOT_BITS) >>> 2] / 8;
    for (let tries = 0; tries < LPM_RETRIES; tries++) {
      const reuses = Atomics.load(u32, (lpm + LPM_REUSES) >>> 2);
      let index = 0;
      for (let byte = 0; byte < rootBytes; byte++) index = index * 256 + byteAt(byte);
      let entry = entryAt(u32[(lpm + LPM_ROOT) >>> 2], index, wide);
      for (let byte = rootBytes; entry >= isGroup; byte++) {
        entry = entryAt(u32[(lpm + LPM_GROUPS) >>> 2], (entry - isGroup) * LPM_GROUP_ENTRIES + byteAt(byte), wide);
      }
      if (Atomics.load(u32, (lpm + LPM_REUSES) >>> 2) === reuses) return (entry - 1) >>> 0;
    }
    return LPM_NONE;
  }

  function entryAt(table: number, index: number, wide: boolean): number {
    return wide ? Atomics.load(u32, (table >>> 2) + index) : Atomics.load(u16, (table >>> 1) + index);
  }
}

import type { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import * as layout from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';

/** Bytes of a MAC address (IEEE 802.3 clause 3). */
const ETHER_ADDR_LEN = 6;

// V8 loads an imported constant at each use, and knows a module's own: in the loops below that is a quarter of the time.
const { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_OFF } = layout;

/**
 * Exchanges source and destination MAC of the first `count` mbufs, as testpmd's macswap does. The twelve bytes are three
 * words when the frame starts at a multiple of 4, which it does behind the usual headroom; else they are moved by bytes.
 */
export function swapMacs(mbufs: Mbufs, burst: Burst, count: number): void {
  const { u16, u32, table } = mbufs;
  const { handles } = burst;
  for (let i = 0; i < count; i++) {
    const handle = handles[i]!;
    const at = ((handle << HANDLE_SHIFT) + u16[(table + (handle << HEADER_SHIFT) + MBUF_DATA_OFF) >>> 1]!) >>> 0;
    if ((at & 3) !== 0) {
      swapBytes(mbufs.u8, at);
      continue;
    }
    const word = at >>> 2;
    const first = u32[word]!;
    const middle = u32[word + 1]!;
    const last = u32[word + 2]!;
    u32[word] = (middle >>> 16) | (last << 16);
    u32[word + 1] = (last >>> 16) | (first << 16);
    u32[word + 2] = (first >>> 16) | (middle << 16);
  }
}

/** The same for one frame that starts at `at`, wherever that is. */
export function swapBytes(u8: Uint8Array, at: number): void {
  for (let i = 0; i < ETHER_ADDR_LEN; i++) {
    const byte = u8[at + i]!;
    u8[at + i] = u8[at + ETHER_ADDR_LEN + i]!;
    u8[at + ETHER_ADDR_LEN + i] = byte;
  }
}

/** "02:00:00:00:00:01" */
export function formatMac(u8: Uint8Array, at = 0): string {
  return Array.from(u8.subarray(at, at + ETHER_ADDR_LEN), byte => byte.toString(16).padStart(2, '0')).join(':');
}

/** Six bytes from "02:00:00:00:00:01". Throws EOPTION. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new PollmodeError('EOPTION', `"${text.slice(0, 40)}" is no MAC address: write six bytes as 02:00:00:00:00:01.`);
  }
  return Uint8Array.from(text.split(':'), byte => parseInt(byte, 16));
}

/** Writes destination and source MAC of the first `count` mbufs, as testpmd's mac mode does. */
export function rewriteMacs(mbufs: Mbufs, burst: Burst, count: number, destination: Uint8Array, source: Uint8Array): void {
  const { u8, u16, table } = mbufs;
  const { handles } = burst;
  for (let i = 0; i < count; i++) {
    const handle = handles[i]!;
    const at = ((handle << HANDLE_SHIFT) + u16[(table + (handle << HEADER_SHIFT) + MBUF_DATA_OFF) >>> 1]!) >>> 0;
    for (let byte = 0; byte < ETHER_ADDR_LEN; byte++) {
      u8[at + byte] = destination[byte]!;
      u8[at + ETHER_ADDR_LEN + byte] = source[byte]!;
    }
  }
}

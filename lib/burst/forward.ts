/** A router's forwarding in plain TypeScript; lookup/forward_layout.ts says what stands where. The fast double is assembly/forward.ts; neither calls the other. */
import {
  ADJACENCY_AT, ADJACENCY_COUNT, ADJACENCY_NONE, ADJACENCY_SHIFT, ADJACENCY_VALUE, FORWARD_ADJACENCIES, FORWARD_CHECKS, FORWARD_LPM, FORWARD_MAC,
  FORWARD_STATION, FORWARD_SUM, FORWARD_TABLE, FORWARD_VALUES,
} from '../lookup/forward_layout.js';
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_PKT_LEN } from '../mbuf/layout.js';
import type { BurstFunctions } from './functions.js';
import type { LookOne } from './lpm.js';
import type { ArenaViews } from './views.js';

export function forwardFunctions({ u8, u16, u32 }: ArenaViews, lookOne: LookOne): Pick<BurstFunctions, 'forward4'> {
  return { forward4 };

  function forward4(forwarder: number, burst: number, count: number): number {
    let left = 0;
    for (let i = 0; i < count; i++) {
      const value = forwardOne(forwarder, u32[(burst >>> 2) + i]);
      u32[((forwarder + FORWARD_VALUES) >>> 2) + i] = value;
      if (value === ADJACENCY_NONE) left++;
    }
    return left;
  }

  /** Returns the adjacency's value; ADJACENCY_NONE where the packet is left as it was. */
  function forwardOne(forwarder: number, handle: number): number {
    const header = u32[(forwarder + FORWARD_TABLE) >>> 2] + (handle << HEADER_SHIFT);
    const frame = ((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1];
    if (u16[(header + MBUF_DATA_LEN) >>> 1] < 34 || !isForwardable(frame) || !isSound(forwarder, frame, u32[(header + MBUF_PKT_LEN) >>> 2])) return ADJACENCY_NONE;
    const hop = lookOne(u32[(forwarder + FORWARD_LPM) >>> 2], byte => u8[frame + 30 + byte]);
    const adjacencies = u32[(forwarder + FORWARD_ADJACENCIES) >>> 2];
    if (hop >= u32[(adjacencies + ADJACENCY_COUNT) >>> 2]) return ADJACENCY_NONE;
    const adjacency = adjacencies + ADJACENCY_AT + (hop << ADJACENCY_SHIFT);
    const value = u32[(adjacency + ADJACENCY_VALUE) >>> 2];
    if (value >= 0x80000000) return ADJACENCY_NONE;
    u8.copyWithin(frame, adjacency, adjacency + 12);
    passHop(frame);
    return value;
  }

  /** IPv4 without options, a hop left, to one host. */
  function isForwardable(frame: number): boolean {
    return u8[frame + 12] === 0x08 && u8[frame + 13] === 0x00 && u8[frame + 14] === 0x45 && u8[frame + 22] > 1 && u8[frame + 30] < 224;
  }

  /** FORWARD_CHECKS. */
  function isSound(forwarder: number, frame: number, length: number): boolean {
    const checks = u32[(forwarder + FORWARD_CHECKS) >>> 2];
    return ((checks & FORWARD_STATION) === 0 || isFor(forwarder + FORWARD_MAC, frame)) && ((checks & FORWARD_SUM) === 0 || isWhole(frame, length));
  }

  function isFor(mac: number, frame: number): boolean {
    for (let byte = 0; byte < 6; byte++) if (u8[frame + byte] !== u8[mac + byte]) return false;
    return true;
  }

  /** RFC 1071: the words of the header sum up to a multiple of 0xffff. All of the packet is there. */
  function isWhole(frame: number, length: number): boolean {
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += word(frame + at);
    const total = word(frame + 16);
    return sum % 0xffff === 0 && total >= 20 && total + 14 <= length;
  }

  /** RFC 1624, equation 3: HC' = ~(~HC + ~m + m'), where m' is 0x0100 less than m. */
  function passHop(frame: number): void {
    u8[frame + 22]--;
    const sum = (~word(frame + 24) & 0xffff) + 0xfeff;
    const next = ~((sum & 0xffff) + (sum >>> 16));
    u8[frame + 24] = next >>> 8;
    u8[frame + 25] = next;
  }

  /** In network order. */
  function word(at: number): number {
    return u8[at] << 8 | u8[at + 1];
  }
}

/**
 * Internet checksums (RFC 1071) of bursts, in plain TypeScript. The fast double is assembly/checksum.ts; neither calls
 * the other. Which headers a packet has is parse.ts's to say; what they sum up may lie in any segment of a chain.
 */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD,
  RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD,
} from '../mbuf/layout.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_ROUTING, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/protocol_layout.js';
import type { BurstFunctions } from './functions.js';
import type { NetworkLayer, ParseInternals } from './parse.js';
import type { ArenaViews } from './views.js';

/** Where in a message its checksum stands. */
const PLACES = new Map([[PROTOCOL_TCP, 16], [PROTOCOL_UDP, 6], [PROTOCOL_ICMP, 2], [PROTOCOL_ICMPV6, 2]]);
const FLAGS = RX_IP_CKSUM_BAD | RX_IP_CKSUM_GOOD | RX_L4_CKSUM_BAD | RX_L4_CKSUM_GOOD;

/** A whole message of TCP, UDP or ICMP. `checksum`: where that stands in the arena; `start`, from the frame's first byte. */
interface Message { readonly start: number; readonly length: number; readonly checksum: number; readonly pseudo: number; readonly protocol: number }

/** For ports that write a checksum which is not the packet's own. */
export interface ChecksumInternals {
  /** Of `length` bytes from `start` on, over all segments; undefined when the chain has not so many. */
  sumChain(table: number, first: number, start: number, length: number, initial: number): number | undefined;
}

export type ChecksumFunctions = Pick<BurstFunctions, 'checksumCheck' | 'checksumFill' | 'checksumRange'>;

export function checksumFunctions({ u8, u16, u32 }: ArenaViews, parser: ParseInternals): ChecksumFunctions & ChecksumInternals {
  return { checksumCheck, checksumFill, checksumRange, sumChain };

  function checksumRange(table: number, burst: number, count: number, offset: number, length: number, to: number): void {
    for (let i = 0; i < count; i++) u32[(to >>> 2) + i] = sumChain(table, u32[(burst >>> 2) + i], offset, length, 0) ?? 0xffffffff;
  }

  function sumOf(at: number, length: number): number {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += i % 2 === 0 ? u8[at + i] * 256 : u8[at + i];
    return fold(sum);
  }

  function checksumCheck(table: number, burst: number, count: number): number {
    let bad = 0;
    for (let i = 0; i < count; i++) {
      const handle = u32[(burst >>> 2) + i];
      const header = headerOf(table, handle);
      const flags = verdict(table, handle);
      u32[(header + MBUF_OL_FLAGS) >>> 2] = (u32[(header + MBUF_OL_FLAGS) >>> 2] & ~FLAGS) | flags;
      if ((flags & (RX_IP_CKSUM_BAD | RX_L4_CKSUM_BAD)) !== 0) bad++;
    }
    return bad;
  }

  function verdict(table: number, handle: number): number {
    const found = parser.networkOf(table, handle);
    if (found === undefined) return 0;
    let flags = 0;
    if (found.network.family === 4) flags = sumOf(found.ip, found.network.bytes) === 0xffff ? RX_IP_CKSUM_GOOD : RX_IP_CKSUM_BAD;
    const message = messageOf(table, handle, found);
    if (message === undefined) return flags;
    // None was computed (RFC 768); over IPv6 there has to be one (RFC 8200 section 8.1).
    if (message.protocol === PROTOCOL_UDP && u8[message.checksum] === 0 && u8[message.checksum + 1] === 0) {
      return found.network.family === 4 ? flags : flags | RX_L4_CKSUM_BAD;
    }
    const sum = sumChain(table, handle, message.start, message.length, message.pseudo);
    return sum === undefined ? flags : flags | (sum === 0xffff ? RX_L4_CKSUM_GOOD : RX_L4_CKSUM_BAD);
  }

  function checksumFill(table: number, burst: number, count: number): void {
    for (let i = 0; i < count; i++) fill(table, u32[(burst >>> 2) + i]);
  }

  function fill(table: number, handle: number): void {
    const found = parser.networkOf(table, handle);
    if (found === undefined) return;
    if (found.network.family === 4) {
      store16(found.ip + 10, 0);
      store16(found.ip + 10, ~sumOf(found.ip, found.network.bytes));
    }
    const message = messageOf(table, handle, found);
    if (message === undefined) return;
    const before = (u8[message.checksum] << 8) | u8[message.checksum + 1];
    store16(message.checksum, 0);
    const sum = sumChain(table, handle, message.start, message.length, message.pseudo);
    if (sum === undefined) return store16(message.checksum, before);
    store16(message.checksum, message.protocol === PROTOCOL_UDP && sum === 0xffff ? 0xffff : ~sum);
  }

  /** Undefined for fragments, for what was cut, and for what has no checksum that we know. */
  function messageOf(table: number, handle: number, { frame, ip, network }: { frame: number; ip: number; network: NetworkLayer }): Message | undefined {
    const { family, protocol, bytes, isFragment } = network;
    const place = PLACES.get(protocol);
    if (place === undefined || isFragment || protocol === (family === 4 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP) || isRouted(ip, network)) return undefined;
    const start = ip - frame + bytes;
    const packet = u32[(headerOf(table, handle) + MBUF_PKT_LEN) >>> 2] - (ip - frame);
    const said = family === 4 ? big16(ip + 2) : big16(ip + 4) && big16(ip + 4) + 40;
    let length = (said || packet) - bytes;
    if ((said || packet) > packet || network.left < place + 2) return undefined;
    if (protocol === PROTOCOL_UDP) {
      const own = big16(ip + bytes + 4) || length;
      if (own < 8 || own > length) return undefined;
      length = own;
    }
    const pseudo = protocol === PROTOCOL_ICMP ? 0 : (family === 4 ? sumOf(ip + 12, 8) : sumOf(ip + 8, 32)) + protocol + (length >>> 16) + (length & 0xffff);
    return { start, length, checksum: ip + bytes + place, pseudo, protocol };
  }

  /** With a routing header that has stations left, the pseudo header has the last one's address (RFC 8200 section 8.1): not followed. */
  function isRouted(ip: number, { family, bytes }: NetworkLayer): boolean {
    if (family === 4) return false;
    let [next, at] = [u8[ip + 6], 40];
    while (at < bytes) {
      if (next === PROTOCOL_ROUTING && u8[ip + at + 3] !== 0) return true;
      const length = parser.extensionBytes(next, u8[ip + at + 1]);
      next = u8[ip + at];
      at += length;
    }
    return false;
  }

  /** Of `length` bytes from `start` on, over all segments; undefined when the chain has not so many. */
  function sumChain(table: number, first: number, start: number, length: number, initial: number): number | undefined {
    let [sum, skip, left, isOdd] = [initial, start, length, false];
    let handle = first;
    for (let segments = 0; left > 0 && handle !== 0 && segments < 65536; segments++) {
      const header = headerOf(table, handle);
      const bytes = u16[(header + MBUF_DATA_LEN) >>> 1];
      const from = Math.min(skip, bytes);
      const part = Math.min(bytes - from, left);
      const partSum = sumOf(((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1] + from, part);
      sum += isOdd ? ((partSum & 0xff) << 8) | (partSum >>> 8) : partSum;
      [skip, left, isOdd] = [skip - from, left - part, isOdd !== (part % 2 === 1)];
      handle = u32[(header + MBUF_NEXT) >>> 2];
    }
    return left > 0 ? undefined : fold(sum);
  }

  function store16(at: number, value: number): void {
    u8[at] = value >>> 8;
    u8[at + 1] = value;
  }

  function big16(at: number): number {
    return (u8[at] << 8) | u8[at + 1];
  }
}

function headerOf(table: number, handle: number): number {
  return (table + (handle << HEADER_SHIFT)) >>> 0;
}

/** To 16 bits, the carries added in again. */
function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

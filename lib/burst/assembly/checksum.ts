/** Internet checksums of bursts. The twin is burst/checksum.ts. Sums are made in memory order and turned at the end (RFC 1071 section 2). */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD,
  RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD,
} from '../../mbuf/layout';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_ROUTING, PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/protocol_layout';
import { big16, parseLink } from './parse_link';
import { NETWORK_FRAGMENT, NETWORK_SIX, NO_NETWORK, bytesOf, extensionBytes, parseNetwork, protocolOf } from './parse_network';

const FLAGS: u32 = RX_IP_CKSUM_BAD | RX_IP_CKSUM_GOOD | RX_L4_CKSUM_BAD | RX_L4_CKSUM_GOOD;
const BAD: u32 = RX_IP_CKSUM_BAD | RX_L4_CKSUM_BAD;

// @ts-ignore: decorator
@inline
export function fold(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >>> 32);
  sum = (sum & 0xffff) + ((sum >>> 16) & 0xffff) + (sum >>> 32);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ((sum & 0xffff) + (sum >>> 16)) as u32;
}

// @ts-ignore: decorator
@inline
export function turned(sum: u32): u32 {
  return ((sum & 0xff) << 8) | (sum >>> 8);
}

// @ts-ignore: decorator
@inline
function mean(a: v128, b: v128): v128 {
  return i16x8.avgr_u(a, b);
}

// @ts-ignore: decorator
@inline
function plus(a: v128, b: v128): v128 {
  return i32x4.add(a, b);
}

/** The halves of each 32-bit lane, added up. */
// @ts-ignore: decorator
@inline
function halves(lanes: v128): v128 {
  return plus(v128.and(lanes, i32x4.splat(0xffff)), i32x4.shr_u(lanes, 16));
}

/** From so many bytes on, aligning the loads gains more than it costs. */
const WORTH_ALIGNING: u32 = 1024;

/**
 * The sum in memory order, folded to 16 bits: 0 only for zeros.
 *
 * 128 bytes at a time, each 32-bit lane is added up modulo 2^32, and how often it went over is found afterwards: the
 * sum of the means of eight upper halves (rounded up, and so within 1.5 of the mean) tells the true sum to within 2^29,
 * so the multiple of 2^32 that is missing is the nearest. Each counts 1, as 2^32 does modulo 65535. That is 17 operations
 * instead of the 24 of adding halves; it holds for 65535 bytes, which are all that a segment has. What is left of 128
 * bytes goes in without a loop: as eight words of which some are 0, then singly, the last by the 16 bytes that end there.
 *
 * A load costs as much as an operation here, so none is made twice: 256 bytes at a time V8 has no registers for.
 */
// @ts-ignore: decorator
@inline
function sumInline(at: usize, length: u32): u32 {
  const end = at + (length as usize);
  if (length < 16) return sumFew(at, end);
  const places = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const none = i32x4.splat(0);
  let lanes = none;
  let all = none;
  let means = none;
  if (length >= WORTH_ALIGNING && (at & 1) == 0) {
    const head: u32 = (0 - (at as u32)) & 15;
    lanes = halves(v128.and(v128.load(at), i8x16.lt_u(places, i8x16.splat(head as i8))));
    at += head as usize;
  }
  for (; at + 128 <= end; at += 128) {
    const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
    const e = v128.load(at, 64), f = v128.load(at, 80), g = v128.load(at, 96), h = v128.load(at, 112);
    means = plus(means, i32x4.shr_u(mean(mean(mean(a, b), mean(c, d)), mean(mean(e, f), mean(g, h))), 16));
    all = plus(all, plus(plus(plus(a, b), plus(c, d)), plus(plus(e, f), plus(g, h))));
  }
  if (at + 64 <= end) {
    const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
    means = plus(means, i32x4.shr_u(mean(mean(mean(a, b), mean(c, d)), none), 16));
    all = plus(all, plus(plus(a, b), plus(c, d)));
    at += 64;
  }
  if (at + 32 <= end) {
    const a = v128.load(at), b = v128.load(at, 16);
    means = plus(means, i32x4.shr_u(mean(mean(mean(a, b), none), none), 16));
    all = plus(all, plus(a, b));
    at += 32;
  }
  if (at + 16 <= end) {
    lanes = plus(lanes, halves(v128.load(at)));
    at += 16;
  }
  if (at < end) {
    // The bytes before were counted: what is left moves to the front, and 0 follows.
    const counted: u32 = 16 - ((end - at) as u32);
    lanes = plus(lanes, halves(i8x16.swizzle(v128.load(end - 16), i8x16.add(places, i8x16.splat(counted as i8)))));
  }
  const over = i32x4.shr_u(plus(i32x4.sub(i32x4.shl(means, 3), i32x4.shr_u(all, 16)), i32x4.splat(32768)), 16);
  return across(plus(plus(lanes, halves(all)), over));
}

/** The same where a call more is none too many. */
function sumMemory(at: usize, length: u32): u32 {
  return sumInline(at, length);
}

function sumFew(at: usize, end: usize): u32 {
  let sum: u32 = 0;
  for (; at + 2 <= end; at += 2) sum += load<u16>(at) as u32;
  if (at < end) sum += load<u8>(at) as u32;
  return (sum & 0xffff) + (sum >>> 16);
}

/** The sum of four lanes, of less than 2^30 each, folded. */
// @ts-ignore: decorator
@inline
function across(lanes: v128): u32 {
  const two = plus(lanes, i32x4.shuffle(lanes, lanes, 2, 3, 0, 1));
  const sum = i32x4.extract_lane(plus(two, i32x4.shuffle(two, two, 1, 0, 3, 2)), 0) as u32;
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

const NO_SUM: u32 = 0xffffffff;

/** Of `length` bytes from `start` on, over all segments, in network order and folded; NO_SUM when the chain has not so many. */
// @ts-ignore: decorator
@inline
export function sumChain(table: usize, handle: u32, start: u32, length: u32, initial: u64): u32 {
  const head = table + ((handle as usize) << HEADER_SHIFT);
  if (start + length <= (load<u16>(head, MBUF_DATA_LEN) as u32)) {
    const whole = sumInline(((handle as usize) << HANDLE_SHIFT) + (load<u16>(head, MBUF_DATA_OFF) as usize) + (start as usize), length);
    return initial == 0 ? turned(whole) : fold((turned(whole) as u64) + initial);
  }
  let sum: u64 = 0;
  let skip = start;
  let left = length;
  let isOdd: u32 = 0;
  for (let segments = 0; left > 0 && handle != 0 && segments < 65536; segments++) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const bytes: u32 = load<u16>(header, MBUF_DATA_LEN);
    const from = min(skip, bytes);
    const part = min(bytes - from, left);
    const data = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize) + (from as usize);
    const partSum = sumMemory(data, part);
    sum += (isOdd != 0 ? turned(partSum) : partSum) as u64;
    skip -= from;
    left -= part;
    isOdd ^= part & 1;
    handle = load<u32>(header, MBUF_NEXT);
  }
  return left > 0 ? NO_SUM : fold((turned(fold(sum)) as u64) + initial);
}

/** As the twin's: with a routing header that has stations left, the sum is over another address. */
function isRouted(ip: usize, bytes: u32): bool {
  let next: u32 = load<u8>(ip, 6);
  for (let at: u32 = 40; at < bytes;) {
    const extension = ip + (at as usize);
    if (next == PROTOCOL_ROUTING && load<u8>(extension, 3) != 0) return true;
    at += extensionBytes(next, load<u8>(extension, 1));
    next = load<u8>(extension);
  }
  return false;
}

/** Where in a message its checksum stands; 0 for none that we know. */
// @ts-ignore: decorator
@inline
function placeOf(protocol: u32, isSix: bool): u32 {
  if (protocol == PROTOCOL_TCP) return 16;
  if (protocol == PROTOCOL_UDP) return 6;
  return protocol == (isSix ? (PROTOCOL_ICMPV6 as u32) : (PROTOCOL_ICMP as u32)) ? 2 : 0;
}

/** Bytes of the message that the packet's checksum is over, 0 where it cannot be told. */
// @ts-ignore: decorator
@inline
function messageBytes(ip: usize, network: u64, packet: u32, place: u32): u32 {
  const bytes = bytesOf(network);
  const isSix = (network & NETWORK_SIX) != 0;
  if (place == 0 || (network & NETWORK_FRAGMENT) != 0 || (network as u32) < place + 2) return 0;
  let said: u32 = isSix ? big16(ip + 4) : big16(ip + 2);
  if (said == 0) said = packet;
  else if (isSix) said += 40;
  if (said > packet) return 0;
  if (isSix && bytes > 40 && isRouted(ip, bytes)) return 0;
  const length = said - bytes;
  if (protocolOf(network) != PROTOCOL_UDP) return length;
  let own = big16(ip + (bytes as usize) + 4);
  if (own == 0) own = length;
  return own < 8 || own > length ? 0 : own;
}

// @ts-ignore: decorator
@inline
function pseudoSum(ip: usize, network: u64, protocol: u32, length: u32): u64 {
  if (protocol == PROTOCOL_ICMP) return 0;
  const addresses: u64 = (network & NETWORK_SIX) == 0 ? (load<u32>(ip, 12) as u64) + (load<u32>(ip, 16) as u64) : (sumMemory(ip + 8, 32) as u64);
  return (turned(fold(addresses)) as u64) + (protocol as u64) + (length as u64);
}

/** Looks at one packet (`fills` 0), or writes its checksums. Returns the flags. */
// @ts-ignore: decorator
@inline
function one(table: usize, handle: u32, fills: bool): u32 {
  const header = table + ((handle as usize) << HEADER_SHIFT);
  const frame = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
  const segment: u32 = load<u16>(header, MBUF_DATA_LEN);
  const outer = parseLink(frame, segment);
  const l2 = outer & 0xff;
  const ip = frame + (l2 as usize);
  const network = parseNetwork(ip, segment - l2, outer >> 16);
  if (network == NO_NETWORK) return 0;
  const isSix = (network & NETWORK_SIX) != 0;
  const bytes = bytesOf(network);
  let flags: u32 = 0;
  if (!isSix) {
    if (fills) {
      store<u16>(ip, 0, 10);
      store<u16>(ip, ~sumMemory(ip, bytes) as u16, 10);
    } else flags = sumMemory(ip, bytes) == 0xffff ? RX_IP_CKSUM_GOOD : RX_IP_CKSUM_BAD;
  }
  const protocol = protocolOf(network);
  const place = placeOf(protocol, isSix);
  const length = messageBytes(ip, network, load<u32>(header, MBUF_PKT_LEN) - l2, place);
  if (length == 0) return flags;
  const at = ip + ((bytes + place) as usize);
  const before = load<u16>(at);
  if (!fills && before == 0 && protocol == PROTOCOL_UDP) return isSix ? flags | RX_L4_CKSUM_BAD : flags;
  if (fills) store<u16>(at, 0);
  const sum = sumChain(table, handle, l2 + bytes, length, pseudoSum(ip, network, protocol, length));
  if (fills) {
    if (sum == NO_SUM) store<u16>(at, before);
    else store<u16>(at, turned(protocol == PROTOCOL_UDP && sum == 0xffff ? 0xffff : ~sum & 0xffff) as u16);
    return 0;
  }
  if (sum == NO_SUM) return flags;
  return flags | (sum == 0xffff ? RX_L4_CKSUM_GOOD : RX_L4_CKSUM_BAD);
}

export function checksumCheck(table: usize, burst: usize, count: u32): u32 {
  let bad: u32 = 0;
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const handle = load<u32>(burst);
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const flags = one(table, handle, false);
    store<u32>(header, (load<u32>(header, MBUF_OL_FLAGS) & ~FLAGS) | flags, MBUF_OL_FLAGS);
    if ((flags & BAD) != 0) bad++;
  }
  return bad;
}

export function checksumFill(table: usize, burst: usize, count: u32): void {
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) one(table, load<u32>(burst), true);
}

export function checksumRange(table: usize, burst: usize, count: u32, offset: u32, length: u32, to: usize): void {
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    store<u32>(to, sumChain(table, load<u32>(burst), offset, length, 0));
    to += 4;
  }
}

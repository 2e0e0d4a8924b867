/** Internet checksums of bursts. The twin is burst/checksum.ts. Sums are made in memory order and turned at the end (RFC 1071 section 2). */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD,
  RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD,
} from '../../mbuf/layout';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_ROUTING, PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/protocol_layout';
import { NETWORK_FRAGMENT, NETWORK_SIX, NO_NETWORK, big16, bytesOf, extensionBytes, parseLink, parseNetwork, protocolOf } from './parse';

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

/** Of the upper halves of 32-bit lanes, rounded up: within 1.5 of the mean of eight. */
// @ts-ignore: decorator
@inline
function mean(a: v128, b: v128, c: v128, d: v128, e: v128, f: v128, g: v128, h: v128): v128 {
  const front = i16x8.avgr_u(i16x8.avgr_u(a, b), i16x8.avgr_u(c, d));
  const back = i16x8.avgr_u(i16x8.avgr_u(e, f), i16x8.avgr_u(g, h));
  return i32x4.shr_u(i16x8.avgr_u(front, back), 16);
}

/**
 * The sum in memory order, not folded, congruent to the sum of 16-bit words modulo 65535, and 0 only for zeros.
 *
 * 128 bytes at a time, each 32-bit lane is added up modulo 2^32, and how often it went over is found afterwards: the
 * sum of the means of eight upper halves tells the true sum to within 2^29, so the multiple of 2^32 that is missing is
 * the nearest. Each counts 1, as 2^32 does modulo 65535. That is 17 operations instead of the 24 of adding halves; it
 * holds for 65535 bytes, which are all that a segment has.
 */
function sumMemory(at: usize, length: u32): u64 {
  let sum: u64 = 0;
  const end = at + (length as usize);
  if (length >= 128) {
    let all = i32x4.splat(0);
    let means = i32x4.splat(0);
    for (; at + 128 <= end; at += 128) {
      const a = v128.load(at);
      const b = v128.load(at, 16);
      const c = v128.load(at, 32);
      const d = v128.load(at, 48);
      const e = v128.load(at, 64);
      const f = v128.load(at, 80);
      const g = v128.load(at, 96);
      const h = v128.load(at, 112);
      means = i32x4.add(means, mean(a, b, c, d, e, f, g, h));
      all = i32x4.add(all, i32x4.add(i32x4.add(i32x4.add(a, b), i32x4.add(c, d)), i32x4.add(i32x4.add(e, f), i32x4.add(g, h))));
    }
    const over = i32x4.shr_u(i32x4.add(i32x4.sub(i32x4.shl(means, 3), i32x4.shr_u(all, 16)), i32x4.splat(32768)), 16);
    sum = pairs(all) + pairs(over);
  }
  if (at + 16 <= end) {
    let low = i32x4.splat(0);
    let high = i32x4.splat(0);
    for (; at + 16 <= end; at += 16) {
      const a = v128.load(at);
      low = i32x4.add(low, v128.and(a, i32x4.splat(0xffff)));
      high = i32x4.add(high, i32x4.shr_u(a, 16));
    }
    sum += pairs(i32x4.add(low, high));
  }
  for (; at + 4 <= end; at += 4) sum += load<u32>(at) as u64;
  if (at + 2 <= end) {
    sum += load<u16>(at) as u64;
    at += 2;
  }
  return at < end ? sum + (load<u8>(at) as u64) : sum;
}

/** The sum of four lanes. */
// @ts-ignore: decorator
@inline
function pairs(lanes: v128): u64 {
  const two = i64x2.add(v128.and(lanes, i64x2.splat(0xffffffff)), i64x2.shr_u(lanes, 32));
  return i64x2.extract_lane(two, 0) + i64x2.extract_lane(two, 1);
}

const NO_SUM: u32 = 0xffffffff;

/** Of `length` bytes from `start` on, over all segments, in network order and folded; NO_SUM when the chain has not so many. */
// @ts-ignore: decorator
@inline
export function sumChain(table: usize, handle: u32, start: u32, length: u32, initial: u64): u32 {
  const head = table + ((handle as usize) << HEADER_SHIFT);
  if (start + length <= (load<u16>(head, MBUF_DATA_LEN) as u32)) {
    const whole = sumMemory(((handle as usize) << HANDLE_SHIFT) + (load<u16>(head, MBUF_DATA_OFF) as usize) + (start as usize), length);
    return fold((turned(fold(whole)) as u64) + initial);
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
    const partSum = fold(sumMemory(data, part));
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
  const addresses: u64 = (network & NETWORK_SIX) == 0 ? (load<u32>(ip, 12) as u64) + (load<u32>(ip, 16) as u64) : sumMemory(ip + 8, 32);
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
      store<u16>(ip, ~fold(sumMemory(ip, bytes)) as u16, 10);
    } else flags = fold(sumMemory(ip, bytes)) == 0xffff ? RX_IP_CKSUM_GOOD : RX_IP_CKSUM_BAD;
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

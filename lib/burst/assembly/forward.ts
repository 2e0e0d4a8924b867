/** A router's forwarding of IPv4 packets (lookup/forward_layout.ts). The twin is burst/forward.ts. */
import {
  ADJACENCY_AT, ADJACENCY_COUNT, ADJACENCY_NONE, ADJACENCY_NOWHERE, ADJACENCY_SHIFT, FORWARD_ADJACENCIES, FORWARD_CHECKS, FORWARD_DUMP, FORWARD_FRAMES,
  FORWARD_LPM, FORWARD_MAC, FORWARD_STATION, FORWARD_SUM, FORWARD_TABLE, FORWARD_VALUES,
} from '../../lookup/forward_layout';
import { LPM_ROOT, LPM_ROOT_BITS, LPM_WIDE } from '../../lookup/lpm_layout';
import { HANDLE_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_PKT_LEN } from '../../mbuf/layout';
import { deeper4, entryAt, groupBit, narrowEntries, wideEntries } from './lpm';
import { headerOf } from './owner';

/** Ethernet and an IPv4 header without options. */
const HEADERS: u32 = 34;

/**
 * Looks up and rewrites a burst of at most FORWARD_MAX. Returns how many packets were left as they were.
 *
 * Eight at a time in four steps over the burst, each with all of its packets' loads under way at once and without a
 * branch for what a packet is: one that does not go on is looked up in a place where nothing is, meets the adjacency that
 * is not known, and what would be written into its frame goes to the dump. Loops ask at their end whether to go on, since
 * V8 moves nothing out of one that may not run, and each turn is eight packets, since it looks at the stack's end in each.
 */
export function forward4(forwarder: usize, burst: usize, count: u32): u32 {
  if (load<u32>(load<u32>(forwarder, FORWARD_LPM), LPM_WIDE)) return forward<u32>(forwarder, burst, count);
  return forward<u16>(forwarder, burst, count);
}

// @ts-ignore: decorator
@inline
function forward<T>(forwarder: usize, burst: usize, count: u32): u32 {
  let done: u32 = count & ~7;
  let left: u32 = 0;
  if (done > 0) {
    if (areLong(forwarder, burst, done)) left = forwardAll<T>(forwarder, burst, (done as usize) << 2);
    else done = 0; // a short one is among them: one by one
  }
  for (; done < count; done++) left += forwardOne<T>(forwarder, load<u32>(burst + ((done as usize) << 2)), forwarder + FORWARD_VALUES + ((done as usize) << 2));
  return left;
}

// @ts-ignore: decorator
@inline
function forwardAll<T>(forwarder: usize, burst: usize, bytes: usize): u32 {
  findPlaces<T>(forwarder, bytes);
  if (load<u32>(forwarder, FORWARD_CHECKS) != 0) dropUnsound(forwarder, burst, bytes);
  if (takeEntries<T>(forwarder, bytes)) takeDeeper<T>(forwarder, burst, bytes);
  return rewrite(forwarder, bytes);
}

// @ts-ignore: decorator
@inline
function frameOf(header: usize, handle: u32): usize {
  return ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
}

/** Negative where the first segment has no room for the headers. */
// @ts-ignore: decorator
@inline
function spare(header: usize): i32 {
  return (load<u16>(header, MBUF_DATA_LEN) as i32) - (HEADERS as i32);
}

/** Step 1: where the frames stand. Returns whether all have their headers in the first segment. */
// @ts-ignore: decorator
@inline
function areLong(forwarder: usize, burst: usize, count: u32): bool {
  const table: usize = load<u32>(forwarder, FORWARD_TABLE);
  const frames = forwarder + FORWARD_FRAMES - burst;
  const end = burst + ((count as usize) << 2);
  let short: i32 = 0;
  do {
    short |= findFrames(table, burst, frames) | findFrames(table, burst + 16, frames);
    burst += 32;
  } while (burst < end);
  return short >= 0;
}

/** Of four mbufs. Negative where one is too short. */
// @ts-ignore: decorator
@inline
function findFrames(table: usize, burst: usize, frames: usize): i32 {
  const a = load<u32>(burst), b = load<u32>(burst, 4), c = load<u32>(burst, 8), d = load<u32>(burst, 12);
  const ha = headerOf(table, a), hb = headerOf(table, b), hc = headerOf(table, c), hd = headerOf(table, d);
  store<u32>(burst + frames, frameOf(ha, a));
  store<u32>(burst + frames, frameOf(hb, b), 4);
  store<u32>(burst + frames, frameOf(hc, c), 8);
  store<u32>(burst + frames, frameOf(hd, d), 12);
  return spare(ha) | spare(hb) | spare(hc) | spare(hd);
}

/**
 * Step 2: where the root's entries stand, to the vector of values; 0, where nothing is, for what is no IPv4 packet without
 * options to one host and with a hop left.
 */
// @ts-ignore: decorator
@inline
function findPlaces<T>(forwarder: usize, bytes: usize): void {
  const lpm: usize = load<u32>(forwarder, FORWARD_LPM);
  const roots = i32x4.splat(load<u32>(lpm, LPM_ROOT));
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  const values = FORWARD_VALUES - FORWARD_FRAMES;
  let at = forwarder + FORWARD_FRAMES;
  const end = at + bytes;
  do {
    findFour<T>(at, values, roots, shift);
    findFour<T>(at + 16, values, roots, shift);
    at += 32;
  } while (at < end);
}

// @ts-ignore: decorator
@inline
function findFour<T>(at: usize, values: usize, roots: v128, shift: u32): void {
  const a: usize = load<u32>(at), b: usize = load<u32>(at, 4), c: usize = load<u32>(at, 8), d: usize = load<u32>(at, 12);
  // Of bytes 8 to 23: type, version and header length in the second word; hop limit in the fourth.
  const ab = i32x4.shuffle(v128.load(a, 8), v128.load(b, 8), 1, 3, 5, 7), cd = i32x4.shuffle(v128.load(c, 8), v128.load(d, 8), 1, 3, 5, 7);
  const shapes = i32x4.eq(v128.and(i32x4.shuffle(ab, cd, 0, 2, 4, 6), i32x4.splat(0xffffff)), i32x4.splat(0x450008));
  const lives = i32x4.gt_s(v128.and(i32x4.shuffle(ab, cd, 1, 3, 5, 7), i32x4.splat(0xff0000)), i32x4.splat(0x1ffff));
  const networkOrder = v128.load32_lane(d, v128.load32_lane(c, v128.load32_lane(b, v128.load32_zero(a, 30), 1, 30), 2, 30), 3, 30);
  const addresses = i8x16.swizzle(networkOrder, i8x16(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
  const places = i32x4.add(i32x4.shl(i32x4.shr_u(addresses, shift), alignof<T>() as i32), roots);
  // 224.0.0.0 and above are negative, and 0xe0000000 the least of them that is.
  const groups = i32x4.gt_u(addresses, i32x4.splat(0xdfffffff));
  v128.store(at + values, v128.andnot(v128.and(v128.and(shapes, lives), places), groups));
}

/** What else was asked for, packet by packet. */
function dropUnsound(forwarder: usize, burst: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 4) {
    if (!isSound(forwarder, load<u32>(burst + i), load<u32>(forwarder + FORWARD_FRAMES + i))) store<u32>(forwarder + FORWARD_VALUES + i, 0);
  }
}

/** Step 3: where the adjacencies stand, in the place of where the entries do. Returns whether an entry named a group. */
// @ts-ignore: decorator
@inline
function takeEntries<T>(forwarder: usize, bytes: usize): bool {
  const adjacencies: usize = load<u32>(forwarder, FORWARD_ADJACENCIES);
  const nowhere = i32x4.splat((adjacencies + ADJACENCY_NOWHERE) as i32);
  const most = load<u32>(adjacencies, ADJACENCY_COUNT);
  const mostNarrow = i16x8.splat(min(most, 0x7fff) as i16);
  const mostWide = i32x4.splat(most);
  let all = i64x2.splat(0);
  let at = forwarder + FORWARD_VALUES;
  const end = at + bytes;
  do {
    if (sizeof<T>() == 2) {
      let entries = narrowEntries(at);
      all = v128.or(all, entries);
      entries = v128.and(entries, i16x8.le_u(entries, mostNarrow));
      v128.store(at, i32x4.add(i32x4.shl(i32x4.extend_low_i16x8_u(entries), ADJACENCY_SHIFT), nowhere));
      v128.store(at, i32x4.add(i32x4.shl(i32x4.extend_high_i16x8_u(entries), ADJACENCY_SHIFT), nowhere), 16);
    } else {
      const low = wideEntries(at), high = wideEntries(at + 16);
      all = v128.or(all, v128.or(low, high));
      v128.store(at, i32x4.add(i32x4.shl(v128.and(low, i32x4.le_u(low, mostWide)), ADJACENCY_SHIFT), nowhere));
      v128.store(at, i32x4.add(i32x4.shl(v128.and(high, i32x4.le_u(high, mostWide)), ADJACENCY_SHIFT), nowhere), 16);
    }
    at += 32;
  } while (at < end);
  return (sizeof<T>() == 2 ? i16x8.bitmask(all) : i32x4.bitmask(all)) != 0;
}

/** Where an entry named a group: all that have no adjacency until now are looked at again, one by one. */
function takeDeeper<T>(forwarder: usize, burst: usize, bytes: usize): void {
  const nowhere: usize = load<u32>(forwarder, FORWARD_ADJACENCIES) + ADJACENCY_NOWHERE;
  for (let i: usize = 0; i < bytes; i += 4) {
    const place = forwarder + FORWARD_VALUES + i;
    if (load<u32>(place) == (nowhere as u32)) store<u32>(place, adjacencyOf<T>(forwarder, load<u32>(burst + i), load<u32>(forwarder + FORWARD_FRAMES + i)));
  }
}

/** Step 4: MAC addresses, hop limit and checksum into the frames, values into the place of where the adjacencies stand. */
// @ts-ignore: decorator
@inline
function rewrite(forwarder: usize, bytes: usize): u32 {
  const frames = FORWARD_FRAMES - FORWARD_VALUES;
  const dump = i32x4.splat((forwarder + FORWARD_DUMP) as i32);
  let left = i64x2.splat(0);
  let at = forwarder + FORWARD_VALUES;
  const end = at + bytes;
  do {
    left = i32x4.add(left, i32x4.add(rewriteFour(at, frames, dump), rewriteFour(at + 16, frames, dump)));
    at += 32;
  } while (at < end);
  return 0 - (i32x4.extract_lane(left, 0) + i32x4.extract_lane(left, 1) + i32x4.extract_lane(left, 2) + i32x4.extract_lane(left, 3));
}

/** Returns -1 for each packet that is left. */
// @ts-ignore: decorator
@inline
function rewriteFour(at: usize, frames: usize, dump: v128): v128 {
  const a = v128.load(load<u32>(at)), b = v128.load(load<u32>(at, 4)), c = v128.load(load<u32>(at, 8)), d = v128.load(load<u32>(at, 12));
  const values = i32x4.shuffle(i32x4.shuffle(a, b, 2, 3, 6, 7), i32x4.shuffle(c, d, 2, 3, 6, 7), 1, 3, 5, 7);
  const unknown = i32x4.shr_s(values, 31);
  v128.store(at, v128.or(values, unknown));
  v128.store(at + frames, v128.bitselect(dump, v128.load(at + frames), unknown));
  rewriteOne(load<u32>(at + frames), a);
  rewriteOne(load<u32>(at + frames, 4), b);
  rewriteOne(load<u32>(at + frames, 8), c);
  rewriteOne(load<u32>(at + frames, 12), d);
  return unknown;
}

/**
 * The frame's first 32 bytes. RFC 1624: what is summed is 0x0100 less in network order, which reads as 1 here, so the
 * checksum is 1 more, and 2 where that carries: from 0xfffe on.
 */
// @ts-ignore: decorator
@inline
function rewriteOne(frame: usize, adjacency: v128): void {
  v128.store(frame, i32x4.shuffle(adjacency, v128.load(frame), 0, 1, 2, 7));
  const words = v128.load(frame, 16);
  const carry = i16x8.min_u(i16x8.sub_sat_u(words, i16x8(-1, -1, -1, -1, -3, -1, -1, -1)), i16x8.splat(1));
  v128.store(frame, i16x8.add(i16x8.add(words, i16x8(0, 0, 0, -1, 1, 0, 0, 0)), carry), 16);
}

/** The slow way, one packet of any length. Returns 1 where it is left as it was. */
function forwardOne<T>(forwarder: usize, handle: u32, value: usize): u32 {
  const header = headerOf(load<u32>(forwarder, FORWARD_TABLE), handle);
  store<u32>(value, ADJACENCY_NONE);
  if (spare(header) < 0) return 1;
  const frame = frameOf(header, handle);
  const adjacency = v128.load(adjacencyOf<T>(forwarder, handle, frame));
  if (i32x4.extract_lane(adjacency, 3) < 0) return 1;
  store<u32>(value, i32x4.extract_lane(adjacency, 3));
  rewriteOne(frame, adjacency);
  return 0;
}

/** Where the adjacency of a frame that has its headers stands. */
function adjacencyOf<T>(forwarder: usize, handle: u32, frame: usize): usize {
  const lpm: usize = load<u32>(forwarder, FORWARD_LPM);
  const adjacencies: usize = load<u32>(forwarder, FORWARD_ADJACENCIES);
  const address = bswap<u32>(load<u32>(frame, 30));
  const isForwardable = (load<u32>(frame, 12) & 0xffffff) == 0x450008 && load<u8>(frame, 22) > 1 && address < 0xe0000000 && isSound(forwarder, handle, frame);
  if (!isForwardable) return adjacencies + ADJACENCY_NOWHERE;
  const entry = entryAt<T>(load<u32>(lpm, LPM_ROOT), address >>> (32 - load<u32>(lpm, LPM_ROOT_BITS)));
  const hop = entry & groupBit<T>() ? deeper4<T>(lpm, address) : entry - 1;
  return hop < load<u32>(adjacencies, ADJACENCY_COUNT) ? adjacencies + ADJACENCY_AT + ((hop as usize) << ADJACENCY_SHIFT) : adjacencies + ADJACENCY_NOWHERE;
}

/** FORWARD_CHECKS. */
function isSound(forwarder: usize, handle: u32, frame: usize): bool {
  const checks = load<u32>(forwarder, FORWARD_CHECKS);
  if (checks & FORWARD_STATION && (load<u64>(frame) ^ load<u64>(forwarder, FORWARD_MAC)) << 16 != 0) return false;
  return (checks & FORWARD_SUM) == 0 || isWhole(frame, load<u32>(headerOf(load<u32>(forwarder, FORWARD_TABLE), handle), MBUF_PKT_LEN));
}

/** RFC 1071: the header's words sum up to 0xffff, in whatever byte order. */
function isWhole(frame: usize, length: u32): bool {
  const first = load<u64>(frame, 14), second = load<u64>(frame, 22);
  let sum = (first & 0xffffffff) + (first >>> 32) + (second & 0xffffffff) + (second >>> 32) + (load<u32>(frame, 30) as u64);
  sum = (sum & 0xffff) + ((sum >>> 16) & 0xffff) + (sum >>> 32);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  const total = bswap<u16>(load<u16>(frame, 16)) as u32;
  return sum == 0xffff && total >= 20 && total + 14 <= length;
}

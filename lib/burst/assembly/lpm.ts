/** Longest-prefix match (lookup/lpm_layout.ts): one writer, many readers. The twin is burst/lpm.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF } from '../../mbuf/layout';
import {
  LPM_GROUPS, LPM_GROUP_NARROW, LPM_GROUP_SHIFT, LPM_GROUP_WIDE, LPM_NONE, LPM_RETRIES, LPM_REUSES, LPM_ROOT, LPM_ROOT_BITS, LPM_WIDE,
} from '../../lookup/lpm_layout';

/** The bit of an entry that makes it a group's name. */
// @ts-ignore: decorator
@inline
export function groupBit<T>(): u32 {
  return sizeof<T>() == 2 ? LPM_GROUP_NARROW : (LPM_GROUP_WIDE as u32);
}

/** Atomic elsewhere than on x86, so that `reuses` is read after it: see order.ts. */
// @ts-ignore: decorator
@inline
export function entryAt<T>(table: usize, index: u32): u32 {
  const at = table + ((index as usize) << alignof<T>());
  return X86_STORE_ORDER ? load<T>(at) as u32 : atomic.load<T>(at) as u32;
}

/** Next hops of `count` IPv4 addresses, u32 in host order, to the vector at `to`; LPM_NONE where no route leads. */
export function lpm4Lookup(lpm: usize, addresses: usize, to: usize, count: u32): void {
  if (load<u32>(lpm, LPM_WIDE)) lookUp4<u32>(lpm, addresses, to, count);
  else lookUp4<u16>(lpm, addresses, to, count);
}

/**
 * As if no entry named a group; only where one did, each is looked at, so that in most bursts no branch waits for memory.
 * What limits it is how many loads a CPU has under way at once, and so how few instructions there are to one: where the
 * entries stand is worked out four at a time and kept in the vector of results, entries are loaded straight into the
 * lanes of a register.
 */
// @ts-ignore: decorator
@inline
function lookUp4<T>(lpm: usize, addresses: usize, to: usize, count: u32): void {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  const end = to + ((count as usize) << 2);
  let from = addresses;
  let at = to;
  for (; at + 16 <= end; at += 16) {
    v128.store(at, placesOf4<T>(root, shift, v128.load(from)));
    from += 16;
  }
  for (; at < end; at += 4) {
    store<u32>(at, root + (((load<u32>(from) >>> shift) as usize) << alignof<T>()));
    from += 4;
  }
  if ((takeAll4<T>(to, end) & groupBit<T>()) == 0) return;
  for (; to < end; to += 4) {
    const address = load<u32>(addresses);
    const entry = entryAt<T>(root, address >>> shift);
    store<u32>(to, entry & groupBit<T>() ? deeper4<T>(lpm, address) : entry - 1);
    addresses += 4;
  }
}

/** Where the entries of four addresses stand. */
// @ts-ignore: decorator
@inline
function placesOf4<T>(root: usize, shift: u32, addresses: v128): v128 {
  return i32x4.add(i32x4.shl(i32x4.shr_u(addresses, shift), alignof<T>() as i32), i32x4.splat(root as i32));
}

/** Puts each entry less one in the place of where it stands. Returns all of the entries' bits, of some only the highest. */
// @ts-ignore: decorator
@inline
function takeAll4<T>(to: usize, end: usize): u32 {
  let bits: u32 = 0;
  if (X86_STORE_ORDER) {
    let all = i64x2.splat(0);
    for (; to + 32 <= end; to += 32) all = v128.or(all, sizeof<T>() == 2 ? takeNarrow(to) : takeWide(to));
    bits = sizeof<T>() == 2 ? (i16x8.bitmask(all) != 0 ? (LPM_GROUP_NARROW as u32) : 0) : i32x4.bitmask(all) != 0 ? (LPM_GROUP_WIDE as u32) : 0;
  }
  for (; to < end; to += 4) {
    const entry = entryAt<T>(load<u32>(to), 0);
    bits |= entry;
    store<u32>(to, entry - 1);
  }
  return bits;
}

/** Eight entries of 2 bytes, by where they stand. Loads of no order: what they lead to depends on them. */
// @ts-ignore: decorator
@inline
export function narrowEntries(at: usize): v128 {
  let entries = v128.load16_lane(load<u32>(at), i64x2.splat(0), 0);
  entries = v128.load16_lane(load<u32>(at, 4), entries, 1);
  entries = v128.load16_lane(load<u32>(at, 8), entries, 2);
  entries = v128.load16_lane(load<u32>(at, 12), entries, 3);
  entries = v128.load16_lane(load<u32>(at, 16), entries, 4);
  entries = v128.load16_lane(load<u32>(at, 20), entries, 5);
  entries = v128.load16_lane(load<u32>(at, 24), entries, 6);
  return v128.load16_lane(load<u32>(at, 28), entries, 7);
}

/** Four of 4 bytes. */
// @ts-ignore: decorator
@inline
export function wideEntries(at: usize): v128 {
  let entries = v128.load32_zero(load<u32>(at));
  entries = v128.load32_lane(load<u32>(at, 4), entries, 1);
  entries = v128.load32_lane(load<u32>(at, 8), entries, 2);
  return v128.load32_lane(load<u32>(at, 12), entries, 3);
}

// @ts-ignore: decorator
@inline
function takeNarrow(to: usize): v128 {
  const entries = narrowEntries(to);
  v128.store(to, i32x4.sub(i32x4.extend_low_i16x8_u(entries), i32x4.splat(1)));
  v128.store(to, i32x4.sub(i32x4.extend_high_i16x8_u(entries), i32x4.splat(1)), 16);
  return entries;
}

/** Eight of them. */
// @ts-ignore: decorator
@inline
function takeWide(to: usize): v128 {
  const low = wideEntries(to);
  const high = wideEntries(to + 16);
  v128.store(to, i32x4.sub(low, i32x4.splat(1)));
  v128.store(to, i32x4.sub(high, i32x4.splat(1)), 16);
  return v128.or(low, high);
}

/** Next hops of the IPv4 addresses that stand `place` bytes into the first `count` mbufs; LPM_NONE for one whose first segment is too short, too. */
export function lpm4Mbufs(lpm: usize, table: usize, burst: usize, place: u32, to: usize, count: u32): void {
  if (load<u32>(lpm, LPM_WIDE)) lookUpMbufs4<u32>(lpm, table, burst, place, to, count);
  else lookUpMbufs4<u16>(lpm, table, burst, place, to, count);
}

/** Where the entries stand first, all of them, into the vector: two short loops have more loads under way than a long one. */
// @ts-ignore: decorator
@inline
function lookUpMbufs4<T>(lpm: usize, table: usize, burst: usize, place: u32, to: usize, count: u32): void {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  const end = to + ((count as usize) << 2);
  let short: u32 = 0;
  let from = burst;
  let at = to;
  for (; at + 16 <= end; at += 16) {
    const a = placeIn(table, load<u32>(from), place, 4), b = placeIn(table, load<u32>(from, 4), place, 4);
    const c = placeIn(table, load<u32>(from, 8), place, 4), d = placeIn(table, load<u32>(from, 12), place, 4);
    short |= ((a == 0) as u32) | ((b == 0) as u32) | ((c == 0) as u32) | ((d == 0) as u32);
    const addresses = v128.load32_lane(d, v128.load32_lane(c, v128.load32_lane(b, v128.load32_zero(a), 1), 2), 3);
    v128.store(at, placesOf4<T>(root, shift, i8x16.shuffle(addresses, addresses, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)));
    from += 16;
  }
  for (; at < end; at += 4) {
    const address = placeIn(table, load<u32>(from), place, 4);
    short |= (address == 0) as u32;
    store<u32>(at, root + (((bswap<u32>(load<u32>(address)) >>> shift) as usize) << alignof<T>()));
    from += 4;
  }
  if (((takeAll4<T>(to, end) & groupBit<T>()) | short) == 0) return;
  for (; to < end; to += 4) {
    const at = placeIn(table, load<u32>(burst), place, 4);
    const address = bswap<u32>(load<u32>(at));
    const entry = entryAt<T>(root, address >>> shift);
    store<u32>(to, at == 0 ? LPM_NONE : entry & groupBit<T>() ? deeper4<T>(lpm, address) : entry - 1);
    burst += 4;
  }
}

/** Where so many bytes stand in an mbuf, or 0 (which can be read too, and means nothing) where its first segment is too short. */
// @ts-ignore: decorator
@inline
function placeIn(table: usize, handle: u32, place: u32, bytes: u32): usize {
  const header = table + ((handle as usize) << HEADER_SHIFT);
  const at = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize) + (place as usize);
  return (place as u64) + (bytes as u64) <= (load<u16>(header, MBUF_DATA_LEN) as u64) ? at : 0;
}

/** From the root on, through groups. */
export function deeper4<T>(lpm: usize, address: u32): u32 {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const groups: usize = load<u32>(lpm, LPM_GROUPS);
  for (let tries = LPM_RETRIES; tries > 0; tries--) {
    const reuses = atomic.load<u32>(lpm, LPM_REUSES);
    let shift: i32 = 32 - load<u32>(lpm, LPM_ROOT_BITS);
    let entry = entryAt<T>(root, address >>> shift);
    while (entry & groupBit<T>() && shift > 0) {
      shift -= 8;
      entry = entryAt<T>(groups, ((entry & ~groupBit<T>()) << LPM_GROUP_SHIFT) | ((address >>> shift) & 0xff));
    }
    if (atomic.load<u32>(lpm, LPM_REUSES) == reuses) return entry - 1;
  }
  return LPM_NONE;
}

/** Next hops of `count` IPv6 addresses, 16 bytes each in network order, to the vector at `to`; LPM_NONE where no route leads. */
export function lpm6Lookup(lpm: usize, addresses: usize, to: usize, count: u32): void {
  if (load<u32>(lpm, LPM_WIDE)) lookUp6<u32>(lpm, false, 0, addresses, 0, to, count);
  else lookUp6<u16>(lpm, false, 0, addresses, 0, to, count);
}

/** The same as lpm4Mbufs, for the 16 bytes of an IPv6 address. */
export function lpm6Mbufs(lpm: usize, table: usize, burst: usize, place: u32, to: usize, count: u32): void {
  if (load<u32>(lpm, LPM_WIDE)) lookUp6<u32>(lpm, true, table, burst, place, to, count);
  else lookUp6<u16>(lpm, true, table, burst, place, to, count);
}

/**
 * All of a burst's addresses a step further in each turn, so that a CPU waits for what they need in a turn together; an
 * address that is done stays as it is. Where groups were used again meanwhile, each is looked up by itself.
 */
// @ts-ignore: decorator
@inline
function lookUp6<T>(lpm: usize, mbufs: bool, table: usize, from: usize, place: u32, to: usize, count: u32): void {
  const groups: usize = load<u32>(lpm, LPM_GROUPS);
  const bytes = (count as usize) << 2;
  const reuses = atomic.load<u32>(lpm, LPM_REUSES);
  let bits = firstStep6<T>(lpm, mbufs, table, from, place, to, bytes);
  for (let byte: usize = load<u32>(lpm, LPM_ROOT_BITS) >>> 3; bits & groupBit<T>() && byte < 16; byte++) {
    bits = 0;
    for (let i: usize = 0; i < bytes; i += 4) {
      const entry = load<u32>(to + i);
      const grouped = (entry & groupBit<T>()) != 0;
      const index = ((entry & ~groupBit<T>()) << LPM_GROUP_SHIFT) | (load<u8>(address6(mbufs, table, from, place, i) + byte) as u32);
      // Entry 0 of group 0 for those that are done: no branch, and nothing comes of it.
      const next = select<u32>(entryAt<T>(groups, index & (0 - (grouped as u32))), entry, grouped);
      store<u32>(to + i, next);
      bits |= next;
    }
  }
  const same = atomic.load<u32>(lpm, LPM_REUSES) == reuses;
  for (let i: usize = 0; i < bytes; i += 4) {
    const at = address6(mbufs, table, from, place, i);
    store<u32>(to + i, mbufs && at == 0 ? LPM_NONE : same ? load<u32>(to + i) - 1 : deeper6<T>(lpm, at));
  }
}

// @ts-ignore: decorator
@inline
function firstStep6<T>(lpm: usize, mbufs: bool, table: usize, from: usize, place: u32, to: usize, bytes: usize): u32 {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  let bits: u32 = 0;
  for (let i: usize = 0; i < bytes; i += 4) {
    const entry = entryAt<T>(root, bswap<u32>(load<u32>(address6(mbufs, table, from, place, i))) >>> shift);
    store<u32>(to + i, entry);
    bits |= entry;
  }
  return bits;
}

/** Where the address stands whose result stands `i` bytes into the vector. */
// @ts-ignore: decorator
@inline
function address6(mbufs: bool, table: usize, from: usize, place: u32, i: usize): usize {
  return mbufs ? placeIn(table, load<u32>(from + i), place, 16) : from + (i << 2);
}

function deeper6<T>(lpm: usize, address: usize): u32 {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const groups: usize = load<u32>(lpm, LPM_GROUPS);
  const rootBits = load<u32>(lpm, LPM_ROOT_BITS);
  const end = address + 16;
  for (let tries = LPM_RETRIES; tries > 0; tries--) {
    const reuses = atomic.load<u32>(lpm, LPM_REUSES);
    let entry = entryAt<T>(root, bswap<u32>(load<u32>(address)) >>> (32 - rootBits));
    for (let at = address + ((rootBits >>> 3) as usize); entry & groupBit<T>() && at < end; at++) {
      entry = entryAt<T>(groups, ((entry & ~groupBit<T>()) << LPM_GROUP_SHIFT) | (load<u8>(at) as u32));
    }
    if (atomic.load<u32>(lpm, LPM_REUSES) == reuses) return entry - 1;
  }
  return LPM_NONE;
}

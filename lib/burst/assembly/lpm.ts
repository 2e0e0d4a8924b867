/** Longest-prefix match (lookup/lpm_layout.ts): one writer, many readers. The twin is burst/lpm.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF } from '../../mbuf/layout';
import {
  LPM_GROUPS, LPM_GROUP_NARROW, LPM_GROUP_SHIFT, LPM_GROUP_WIDE, LPM_NONE, LPM_RETRIES, LPM_REUSES, LPM_ROOT, LPM_ROOT_BITS, LPM_WIDE,
} from '../../lookup/lpm_layout';

/** The bit of an entry that makes it a group's name. */
// @ts-ignore: decorator
@inline
function groupBit<T>(): u32 {
  return sizeof<T>() == 2 ? LPM_GROUP_NARROW : (LPM_GROUP_WIDE as u32);
}

/** Atomic elsewhere than on x86, so that `reuses` is read after it: see order.ts. */
// @ts-ignore: decorator
@inline
function entryAt<T>(table: usize, index: u32): u32 {
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
 * What limits it is how many loads a CPU has under way at once, and so how few instructions there are to one.
 */
// @ts-ignore: decorator
@inline
function lookUp4<T>(lpm: usize, addresses: usize, to: usize, count: u32): void {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  const end = addresses + ((count as usize) << 2);
  if ((storeAll4<T>(root, shift, addresses, end, to) & groupBit<T>()) == 0) return;
  for (; addresses < end; addresses += 4) {
    const address = load<u32>(addresses);
    const entry = entryAt<T>(root, address >>> shift);
    store<u32>(to, entry & groupBit<T>() ? deeper4<T>(lpm, address) : entry - 1);
    to += 4;
  }
}

/** Each entry less one. Returns all of the entries' bits. Eight make a turn, since a turn has a price of its own: V8 looks at the stack's end in each. */
// @ts-ignore: decorator
@inline
function storeAll4<T>(root: usize, shift: u32, from: usize, end: usize, to: usize): u32 {
  let bits: u32 = 0;
  for (; from + 32 <= end; from += 32) {
    const a = entryAt<T>(root, load<u32>(from) >>> shift), b = entryAt<T>(root, load<u32>(from, 4) >>> shift);
    const c = entryAt<T>(root, load<u32>(from, 8) >>> shift), d = entryAt<T>(root, load<u32>(from, 12) >>> shift);
    const e = entryAt<T>(root, load<u32>(from, 16) >>> shift), f = entryAt<T>(root, load<u32>(from, 20) >>> shift);
    const g = entryAt<T>(root, load<u32>(from, 24) >>> shift), h = entryAt<T>(root, load<u32>(from, 28) >>> shift);
    bits |= a | b | c | d | e | f | g | h;
    store<u32>(to, a - 1);
    store<u32>(to, b - 1, 4);
    store<u32>(to, c - 1, 8);
    store<u32>(to, d - 1, 12);
    store<u32>(to, e - 1, 16);
    store<u32>(to, f - 1, 20);
    store<u32>(to, g - 1, 24);
    store<u32>(to, h - 1, 28);
    to += 32;
  }
  for (; from < end; from += 4) {
    const entry = entryAt<T>(root, load<u32>(from) >>> shift);
    bits |= entry;
    store<u32>(to, entry - 1);
    to += 4;
  }
  return bits;
}

/** Next hops of the IPv4 addresses that stand `place` bytes into the first `count` mbufs; LPM_NONE for one whose first segment is too short, too. */
export function lpm4Mbufs(lpm: usize, table: usize, burst: usize, place: u32, to: usize, count: u32): void {
  if (load<u32>(lpm, LPM_WIDE)) lookUpMbufs4<u32>(lpm, table, burst, place, to, count);
  else lookUpMbufs4<u16>(lpm, table, burst, place, to, count);
}

/** The addresses first, all of them, into the vector: two short loops have more loads under way than a long one. */
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
    short |= gather4(table, from, place, at) | gather4(table, from + 4, place, at + 4) | gather4(table, from + 8, place, at + 8) | gather4(table, from + 12, place, at + 12);
    from += 16;
  }
  for (; at < end; at += 4) {
    short |= gather4(table, from, place, at);
    from += 4;
  }
  if (((storeAll4<T>(root, shift, to, end, to) & groupBit<T>()) | short) == 0) return;
  for (; to < end; to += 4) {
    const at = placeIn(table, load<u32>(burst), place, 4);
    const address = bswap<u32>(load<u32>(at));
    const entry = entryAt<T>(root, address >>> shift);
    store<u32>(to, at == 0 ? LPM_NONE : entry & groupBit<T>() ? deeper4<T>(lpm, address) : entry - 1);
    burst += 4;
  }
}

/** The address in the mbuf whose handle stands at `from`, to `to`. Returns 1 where the mbuf is too short; then whatever stands at 0. */
// @ts-ignore: decorator
@inline
function gather4(table: usize, from: usize, place: u32, to: usize): u32 {
  const at = placeIn(table, load<u32>(from), place, 4);
  store<u32>(to, bswap<u32>(load<u32>(at)));
  return (at == 0) as u32;
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
function deeper4<T>(lpm: usize, address: u32): u32 {
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

/** Longest-prefix match (lookup/lpm_layout.ts): one writer, many readers. The twin is burst/lpm.ts. */
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

// In the loops four addresses make a turn, since a turn has a price of its own: V8 looks at the stack's end in each.

// @ts-ignore: decorator
@inline
function lookUp4<T>(lpm: usize, addresses: usize, to: usize, count: u32): void {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  const end = to + ((count as usize) << 2);
  for (; to + 16 <= end; to += 16) {
    const a = load<u32>(addresses), b = load<u32>(addresses, 4), c = load<u32>(addresses, 8), d = load<u32>(addresses, 12);
    const w = entryAt<T>(root, a >>> shift), x = entryAt<T>(root, b >>> shift), y = entryAt<T>(root, c >>> shift), z = entryAt<T>(root, d >>> shift);
    store<u32>(to, w - 1);
    store<u32>(to, x - 1, 4);
    store<u32>(to, y - 1, 8);
    store<u32>(to, z - 1, 12);
    if ((w | x | y | z) & groupBit<T>()) {
      if (w & groupBit<T>()) store<u32>(to, deeper4<T>(lpm, a));
      if (x & groupBit<T>()) store<u32>(to, deeper4<T>(lpm, b), 4);
      if (y & groupBit<T>()) store<u32>(to, deeper4<T>(lpm, c), 8);
      if (z & groupBit<T>()) store<u32>(to, deeper4<T>(lpm, d), 12);
    }
    addresses += 16;
  }
  for (; to < end; to += 4) {
    const a = load<u32>(addresses);
    const entry = entryAt<T>(root, a >>> shift);
    store<u32>(to, entry & groupBit<T>() ? deeper4<T>(lpm, a) : entry - 1);
    addresses += 4;
  }
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
  if (load<u32>(lpm, LPM_WIDE)) lookUp6<u32>(lpm, addresses, to, count);
  else lookUp6<u16>(lpm, addresses, to, count);
}

// @ts-ignore: decorator
@inline
function lookUp6<T>(lpm: usize, addresses: usize, to: usize, count: u32): void {
  const root: usize = load<u32>(lpm, LPM_ROOT);
  const shift = 32 - load<u32>(lpm, LPM_ROOT_BITS);
  for (const end = to + ((count as usize) << 2); to < end; to += 4) {
    const entry = entryAt<T>(root, bswap<u32>(load<u32>(addresses)) >>> shift);
    store<u32>(to, entry & groupBit<T>() ? deeper6<T>(lpm, addresses) : entry - 1);
    addresses += 16;
  }
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

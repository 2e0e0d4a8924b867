/** Exact-match tables (lookup/hash_layout.ts): where a key belongs, and what a bucket holds of it. The twin is burst/hash.ts. */
import { BUCKET_SLOTS, BUCKET_TAGS, HASH_BUCKETS, HASH_BUCKET_BYTES, HASH_FIRST, HASH_MULTIPLIERS, HASH_SLOT_BYTES } from '../../lookup/hash_layout';
import { loadInOrder } from './order';

export const NO_SLOT: usize = 0;

/** The bits of a bucket's first 16 bytes that are tags. */
export const TAG_BITS: i32 = 0xffc0;

// @ts-ignore: decorator
@inline
export function hashOf(table: usize, key: usize, bytes: u32): u32 {
  let sum = load<u64>(table, HASH_MULTIPLIERS);
  if (bytes == 16) {
    sum += load<u64>(table, HASH_MULTIPLIERS + 8) * (load<u32>(key) as u64) + load<u64>(table, HASH_MULTIPLIERS + 16) * (load<u32>(key, 4) as u64)
      + load<u64>(table, HASH_MULTIPLIERS + 24) * (load<u32>(key, 8) as u64) + load<u64>(table, HASH_MULTIPLIERS + 32) * (load<u32>(key, 12) as u64);
    return (sum >> 32) as u32;
  }
  let multiplier = table + HASH_MULTIPLIERS + 8;
  for (const end = key + (bytes as usize); key < end; key += 4) {
    sum += load<u64>(multiplier) * (load<u32>(key) as u64);
    multiplier += 8;
  }
  return (sum >> 32) as u32;
}

// @ts-ignore: decorator
@inline
export function tagOf(hash: u32): u32 {
  const tag = hash & 0xff;
  return tag + ((tag == 0) as u32);
}

// @ts-ignore: decorator
@inline
export function homeOf(table: usize, hash: u32): u32 {
  return (((hash as u64) * (load<u32>(table, HASH_BUCKETS) as u64)) >> 32) as u32;
}

// @ts-ignore: decorator
@inline
export function bucketAt(table: usize, number: u32): usize {
  return (load<u32>(table, HASH_FIRST) as usize) + (number as usize) * (load<u32>(table, HASH_BUCKET_BYTES) as usize);
}

// @ts-ignore: decorator
@inline
export function after(table: usize, number: u32): u32 {
  return number + 1 == load<u32>(table, HASH_BUCKETS) ? 0 : number + 1;
}

/** Bits of the slots that have this tag; of the free ones for 0. */
// @ts-ignore: decorator
@inline
export function tagged(bucket: usize, tag: u32): i32 {
  return i8x16.bitmask(i8x16.eq(v128.load(bucket), i8x16.splat(tag as i8))) & TAG_BITS;
}

// @ts-ignore: decorator
@inline
export function slotOf(bucket: usize, bit: i32, slotBytes: usize): usize {
  return bucket + BUCKET_SLOTS + ((bit - BUCKET_TAGS) as usize) * slotBytes;
}

// @ts-ignore: decorator
@inline
export function sameKey(slot: usize, key: usize, bytes: u32): bool {
  if (X86_STORE_ORDER && bytes == 16) return !v128.any_true(v128.xor(v128.load(slot), v128.load(key)));
  for (const end = key + (bytes as usize); key < end; key += 4) {
    if (loadInOrder(slot) != load<u32>(key)) return false;
    slot += 4;
  }
  return true;
}

/** Elsewhere than on x86 the tags that were just read sixteen at a time say nothing of when, so the one is read again. */
// @ts-ignore: decorator
@inline
export function stillTagged(bucket: usize, bit: i32, tag: u32): bool {
  return X86_STORE_ORDER ? true : atomic.load<u8>(bucket + (bit as usize)) == tag;
}

export function find(table: usize, bucket: usize, key: usize, bytes: u32, tag: u32): usize {
  const slotBytes: usize = load<u32>(table, HASH_SLOT_BYTES);
  let hits = tagged(bucket, tag);
  while (hits) {
    const slot = slotOf(bucket, ctz(hits), slotBytes);
    if (stillTagged(bucket, ctz(hits), tag) && sameKey(slot, key, bytes)) return slot;
    hits &= hits - 1;
  }
  return NO_SLOT;
}

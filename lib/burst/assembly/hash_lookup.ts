/** Exact-match tables (lookup/hash_layout.ts): what any number of readers do. The twin is burst/hash.ts. */
import {
  BUCKET_PASSED, HASH_BUCKETS, HASH_BUCKET_BYTES, HASH_FIRST, HASH_KEY_BYTES, HASH_MULTIPLIERS, HASH_NONE, HASH_PROBES, HASH_RETRIES, HASH_STALE,
} from '../../lookup/hash_layout';
import { NO_SLOT, hashOf, tagOf, bucketAt, after, tagged, slotOf, sameKey, stillTagged, find } from './hash_bucket';
import { loadInOrder } from './order';

/** Values of `count` keys to the vector at `to`, HASH_NONE for those that are not there. Returns how many are. */
export function hashLookup(table: usize, keys: usize, stride: u32, to: usize, count: u32, now: u32): u32 {
  const bytes = load<u32>(table, HASH_KEY_BYTES);
  // The same loops twice: once the compiler knows the length, which makes them half as long.
  return bytes == 16 ? lookUp(table, keys, stride, to, count, now, 16) : lookUp(table, keys, stride, to, count, now, bytes);
}

/**
 * The first loop only says where to look and touches it, so that a CPU waits for all of a burst's buckets together. What
 * the table says of itself is read once: a compiler cannot know that the stores leave it alone.
 */
// @ts-ignore: decorator
@inline
function lookUp(table: usize, keys: usize, stride: u32, to: usize, count: u32, now: u32, bytes: u32): u32 {
  const first: usize = load<u32>(table, HASH_FIRST);
  const bucketBytes: usize = load<u32>(table, HASH_BUCKET_BYTES);
  const buckets: u64 = load<u32>(table, HASH_BUCKETS);
  const m0 = load<u64>(table, HASH_MULTIPLIERS), m1 = load<u64>(table, HASH_MULTIPLIERS + 8), m2 = load<u64>(table, HASH_MULTIPLIERS + 16);
  const m3 = load<u64>(table, HASH_MULTIPLIERS + 24), m4 = load<u64>(table, HASH_MULTIPLIERS + 32);
  const end = to + ((count as usize) << 2);
  let key = keys;
  for (let at = to; at < end; at += 4) {
    const hash = bytes == 16
      ? ((m0 + m1 * (load<u32>(key) as u64) + m2 * (load<u32>(key, 4) as u64) + m3 * (load<u32>(key, 8) as u64) + m4 * (load<u32>(key, 12) as u64)) >> 32) as u32
      : hashOf(table, key, bytes);
    const home = (((hash as u64) * buckets) >> 32) as u32;
    atomic.load<u32>(first + (home as usize) * bucketBytes);
    store<u32>(at, (home << 8) | tagOf(hash));
    key += stride;
  }
  let hits: u32 = 0;
  for (let at = to; at < end; at += 4) {
    const place = load<u32>(at);
    const value = lookOne(table, first + ((place >>> 8) as usize) * bucketBytes, keys, bytes, place, now);
    store<u32>(at, value);
    hits += (value != HASH_NONE) as u32;
    keys += stride;
  }
  return hits;
}

// @ts-ignore: decorator
@inline
function lookOne(table: usize, bucket: usize, key: usize, bytes: u32, place: u32, now: u32): u32 {
  const version = atomic.load<u32>(bucket);
  const hits = tagged(bucket, place & 0xff);
  if (hits) {
    const slot = slotOf(bucket, ctz(hits), (bytes as usize) + 8);
    if (stillTagged(bucket, ctz(hits), place & 0xff) && sameKey(slot, key, bytes)) {
      const value = loadInOrder(slot + (bytes as usize));
      if (atomic.load<u32>(bucket) == version) {
        touch(slot, bytes, now);
        return value;
      }
    }
  }
  return lookFurther(table, key, bytes, place >>> 8, place & 0xff, now);
}

/** A reader's note of when the entry was last seen: written only when it changes, so that readers do not fight for the line. */
// @ts-ignore: decorator
@inline
function touch(slot: usize, bytes: u32, now: u32): void {
  if (now != 0 && load<u32>(slot + (bytes as usize), 4) != now) atomic.store<u32>(slot + (bytes as usize), now, 4);
}

/** All that the quick look did not answer: a second slot with the same tag, buckets that were passed, a slot that changed. */
function lookFurther(table: usize, key: usize, bytes: u32, number: u32, tag: u32, now: u32): u32 {
  let retries = HASH_RETRIES;
  for (let probes = 0; probes < HASH_PROBES; probes++) {
    const bucket = bucketAt(table, number);
    const version = atomic.load<u32>(bucket);
    const slot = find(table, bucket, key, bytes, tag);
    if (slot != NO_SLOT) {
      const value = loadInOrder(slot + (bytes as usize));
      if (atomic.load<u32>(bucket) == version) {
        touch(slot, bytes, now);
        return value;
      }
      if (--retries == 0) {
        atomic.add<u64>(table + HASH_STALE, 1);
        return HASH_NONE;
      }
      probes--;
      continue;
    }
    if (load<u16>(bucket, BUCKET_PASSED) == 0) return HASH_NONE;
    number = after(table, number);
  }
  return HASH_NONE;
}

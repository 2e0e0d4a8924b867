/** Exact-match tables (lookup/hash_layout.ts): one writer, many readers. The twin is burst/hash.ts. */
import {
  BUCKET_PASSED, BUCKET_PASSED_MAX, BUCKET_SLOTS, BUCKET_TAGS, HASH_AGED, HASH_BUCKETS, HASH_BUCKET_BYTES, HASH_CAPACITY, HASH_COUNT,
  HASH_CURSOR, HASH_FIRST, HASH_FULL, HASH_KEY_BYTES, HASH_MULTIPLIERS, HASH_NONE, HASH_PROBES, HASH_RETRIES, HASH_SLOT_BYTES, HASH_STALE,
} from '../../lookup/hash_layout';
import { count64 } from './memory_ports';
import { loadInOrder, publish8, storeInOrder } from './order';

const NO_SLOT: usize = 0;
/** The bits of a bucket's first 16 bytes that are tags. */
const TAG_BITS: i32 = 0xffc0;

// @ts-ignore: decorator
@inline
function hashOf(table: usize, key: usize, bytes: u32): u32 {
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
function tagOf(hash: u32): u32 {
  const tag = hash & 0xff;
  return tag + ((tag == 0) as u32);
}

// @ts-ignore: decorator
@inline
function homeOf(table: usize, hash: u32): u32 {
  return (((hash as u64) * (load<u32>(table, HASH_BUCKETS) as u64)) >> 32) as u32;
}

// @ts-ignore: decorator
@inline
function bucketAt(table: usize, number: u32): usize {
  return (load<u32>(table, HASH_FIRST) as usize) + (number as usize) * (load<u32>(table, HASH_BUCKET_BYTES) as usize);
}

// @ts-ignore: decorator
@inline
function after(table: usize, number: u32): u32 {
  return number + 1 == load<u32>(table, HASH_BUCKETS) ? 0 : number + 1;
}

/** Bits of the slots that have this tag; of the free ones for 0. */
// @ts-ignore: decorator
@inline
function tagged(bucket: usize, tag: u32): i32 {
  return i8x16.bitmask(i8x16.eq(v128.load(bucket), i8x16.splat(tag as i8))) & TAG_BITS;
}

// @ts-ignore: decorator
@inline
function slotOf(bucket: usize, bit: i32, slotBytes: usize): usize {
  return bucket + BUCKET_SLOTS + ((bit - BUCKET_TAGS) as usize) * slotBytes;
}

// @ts-ignore: decorator
@inline
function sameKey(slot: usize, key: usize, bytes: u32): bool {
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
function stillTagged(bucket: usize, bit: i32, tag: u32): bool {
  return X86_STORE_ORDER ? true : atomic.load<u8>(bucket + (bit as usize)) == tag;
}

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

function find(table: usize, bucket: usize, key: usize, bytes: u32, tag: u32): usize {
  const slotBytes: usize = load<u32>(table, HASH_SLOT_BYTES);
  let hits = tagged(bucket, tag);
  while (hits) {
    const slot = slotOf(bucket, ctz(hits), slotBytes);
    if (stillTagged(bucket, ctz(hits), tag) && sameKey(slot, key, bytes)) return slot;
    hits &= hits - 1;
  }
  return NO_SLOT;
}

/** Adds `count` keys with the values at `values`, or gives those that are there new ones. Stops at the first for which there is no room. Returns how many it did. */
export function hashAdd(table: usize, keys: usize, stride: u32, values: usize, count: u32, now: u32): u32 {
  const bytes = load<u32>(table, HASH_KEY_BYTES);
  let key = keys;
  for (let i: u32 = 0; i < count; i++) {
    atomic.load<u32>(bucketAt(table, homeOf(table, hashOf(table, key, bytes))));
    key += stride;
  }
  for (let i: u32 = 0; i < count; i++) {
    if (!addOne(table, keys, bytes, load<u32>(values), now)) {
      count64(table + HASH_FULL, 1);
      return i;
    }
    keys += stride;
    values += 4;
  }
  return count;
}

// @ts-ignore: decorator
@inline
function addOne(table: usize, key: usize, bytes: u32, value: u32, now: u32): bool {
  const hash = hashOf(table, key, bytes);
  const tag = tagOf(hash);
  const home = homeOf(table, hash);
  let number = home;
  for (let probes = 0; probes < HASH_PROBES; probes++) {
    const bucket = bucketAt(table, number);
    const slot = find(table, bucket, key, bytes, tag);
    if (slot != NO_SLOT) {
      atomic.store<u32>(slot + (bytes as usize), value);
      atomic.store<u32>(slot + (bytes as usize), now, 4);
      return true;
    }
    if (load<u16>(bucket, BUCKET_PASSED) == 0) break;
    number = after(table, number);
  }
  return insert(table, key, bytes, home, tag, value, now);
}

/** Into the first free slot from its home on. */
// @ts-ignore: decorator
@inline
function insert(table: usize, key: usize, bytes: u32, home: u32, tag: u32, value: u32, now: u32): bool {
  const count = load<u32>(table, HASH_COUNT);
  if (count >= load<u32>(table, HASH_CAPACITY)) return false;
  let number = home;
  let bucket = bucketAt(table, number);
  let free = tagged(bucket, 0);
  for (let probes = 1; free == 0; probes++) {
    if (probes == HASH_PROBES) return false;
    number = after(table, number);
    bucket = bucketAt(table, number);
    free = tagged(bucket, 0);
  }
  passed(table, home, number, 1);
  fill(bucket, ctz(free), load<u32>(table, HASH_SLOT_BYTES), key, bytes, tag, value, now);
  store<u32>(table, count + 1, HASH_COUNT);
  return true;
}

/** Counts an entry in or out in the buckets from its home to the one that it stands in. */
// @ts-ignore: decorator
@inline
function passed(table: usize, home: u32, last: u32, by: i32): void {
  for (let number = home; number != last; number = after(table, number)) {
    const bucket = bucketAt(table, number);
    const entries: u32 = load<u16>(bucket, BUCKET_PASSED);
    if (entries != BUCKET_PASSED_MAX) atomic.store<u16>(bucket, (entries + by) as u16, BUCKET_PASSED);
  }
}

// @ts-ignore: decorator
@inline
function fill(bucket: usize, bit: i32, slotBytes: usize, key: usize, bytes: u32, tag: u32, value: u32, now: u32): void {
  const slot = slotOf(bucket, bit, slotBytes);
  storeInOrder(bucket, load<u32>(bucket) + 1); // before the slot changes: it pairs with the reader's second look
  if (X86_STORE_ORDER && bytes == 16) v128.store(slot, v128.load(key));
  else for (let i: usize = 0; i < (bytes as usize); i += 4) storeInOrder(slot + i, load<u32>(key + i));
  storeInOrder(slot + (bytes as usize), value);
  storeInOrder(slot + (bytes as usize) + 4, now);
  publish8(bucket + (bit as usize), tag);
}

/** Deletes `count` keys; their values, or HASH_NONE, to the vector at `to`. Returns how many were there. */
export function hashDelete(table: usize, keys: usize, stride: u32, to: usize, count: u32): u32 {
  const bytes = load<u32>(table, HASH_KEY_BYTES);
  let deleted: u32 = 0;
  for (const end = to + ((count as usize) << 2); to < end; to += 4) {
    const value = deleteOne(table, keys, bytes);
    store<u32>(to, value);
    deleted += (value != HASH_NONE) as u32;
    keys += stride;
  }
  return deleted;
}

function deleteOne(table: usize, key: usize, bytes: u32): u32 {
  const hash = hashOf(table, key, bytes);
  const tag = tagOf(hash);
  const home = homeOf(table, hash);
  let number = home;
  for (let probes = 0; probes < HASH_PROBES; probes++) {
    const bucket = bucketAt(table, number);
    const slot = find(table, bucket, key, bytes, tag);
    if (slot != NO_SLOT) {
      const value = load<u32>(slot + (bytes as usize));
      remove(table, home, number, bucket, ((slot - bucket - BUCKET_SLOTS) / (load<u32>(table, HASH_SLOT_BYTES) as usize)) as u32);
      return value;
    }
    if (load<u16>(bucket, BUCKET_PASSED) == 0) break;
    number = after(table, number);
  }
  return HASH_NONE;
}

function remove(table: usize, home: u32, number: u32, bucket: usize, index: u32): void {
  publish8(bucket + BUCKET_TAGS + (index as usize), 0);
  passed(table, home, number, -1);
  store<u32>(table, load<u32>(table, HASH_COUNT) - 1, HASH_COUNT);
}

/**
 * Looks at the next `buckets` buckets, and deletes what was not seen for more than `age` before `now`; the values go to the
 * vector at `to`. Stops after `max` of them, in a bucket that it then begins with. Returns how many.
 */
export function hashExpire(table: usize, buckets: u32, now: u32, age: u32, to: usize, max: u32): u32 {
  const bytes = load<u32>(table, HASH_KEY_BYTES);
  const slotBytes: usize = load<u32>(table, HASH_SLOT_BYTES);
  let number = load<u32>(table, HASH_CURSOR);
  let taken: u32 = 0;
  for (; buckets > 0 && taken < max; buckets--) {
    const bucket = bucketAt(table, number);
    let used = ~tagged(bucket, 0) & TAG_BITS;
    while (used && taken < max) {
      const bit = ctz(used);
      const slot = slotOf(bucket, bit, slotBytes);
      if (now - load<u32>(slot + (bytes as usize), 4) > age) {
        store<u32>(to + ((taken as usize) << 2), load<u32>(slot + (bytes as usize)));
        remove(table, homeOf(table, hashOf(table, slot, bytes)), number, bucket, bit - BUCKET_TAGS);
        taken++;
      }
      used &= used - 1;
    }
    if (used == 0) number = after(table, number);
  }
  store<u32>(table, number, HASH_CURSOR);
  count64(table + HASH_AGED, taken);
  return taken;
}

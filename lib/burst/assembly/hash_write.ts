/** Exact-match tables (lookup/hash_layout.ts): what their one writer does. The twin is burst/hash.ts. */
import {
  BUCKET_PASSED, BUCKET_PASSED_MAX, BUCKET_SLOTS, BUCKET_TAGS, HASH_AGED, HASH_CAPACITY, HASH_COUNT, HASH_CURSOR, HASH_FULL, HASH_KEY_BYTES,
  HASH_NONE, HASH_PROBES, HASH_SLOT_BYTES,
} from '../../lookup/hash_layout';
import { NO_SLOT, TAG_BITS, hashOf, tagOf, homeOf, bucketAt, after, tagged, slotOf, find } from './hash_bucket';
import { count64 } from './memory_ports';
import { publish8, storeInOrder } from './order';

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

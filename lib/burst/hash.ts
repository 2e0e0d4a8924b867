/**
 * Exact-match tables in plain TypeScript; lookup/hash_layout.ts says how they stand and why readers need no lock. The
 * fast double is assembly/hash_*.ts; neither calls the other.
 */
import {
  BUCKET_PASSED, BUCKET_PASSED_MAX, BUCKET_SLOTS, BUCKET_TAGS, BUCKET_WIDTH, HASH_AGED, HASH_BUCKETS, HASH_BUCKET_BYTES, HASH_CAPACITY,
  HASH_COUNT, HASH_CURSOR, HASH_FIRST, HASH_FULL, HASH_KEY_BYTES, HASH_MULTIPLIERS, HASH_NONE, HASH_PROBES, HASH_RETRIES, HASH_SLOT_BYTES,
  HASH_STALE,
} from '../lookup/hash_layout.js';
import type { BurstFunctions } from './functions.js';
import { count64, countShared, type ArenaViews } from './views.js';

export type HashFunctions = Pick<BurstFunctions, 'hashLookup' | 'hashAdd' | 'hashDelete' | 'hashExpire'>;

export function hashFunctions({ u8, u16, u32, u64 }: ArenaViews): HashFunctions {
  return { hashLookup, hashAdd, hashDelete, hashExpire };

  function hashLookup(table: number, keys: number, stride: number, to: number, count: number, now: number): number {
    let hits = 0;
    for (let i = 0; i < count; i++) {
      const value = lookOne(table, keys + i * stride, now);
      u32[(to >>> 2) + i] = value;
      if (value !== HASH_NONE) hits++;
    }
    return hits;
  }

  function lookOne(table: number, key: number, now: number): number {
    const hash = hashOf(table, key);
    let number = homeOf(table, hash);
    let retries = HASH_RETRIES;
    for (let probes = 0; probes < HASH_PROBES;) {
      const bucket = bucketAt(table, number);
      const version = Atomics.load(u32, bucket >>> 2);
      const index = find(table, bucket, key, tagOf(hash));
      if (index < 0) {
        if (field16(bucket, BUCKET_PASSED) === 0) return HASH_NONE;
        number = after(table, number);
        probes++;
        continue;
      }
      const place = valueAt(table, bucket, index);
      const value = Atomics.load(u32, place);
      if (Atomics.load(u32, bucket >>> 2) === version) {
        if (now !== 0) Atomics.store(u32, place + 1, now);
        return value;
      }
      if (--retries === 0) {
        countShared(u64, table + HASH_STALE, 1);
        return HASH_NONE;
      }
    }
    return HASH_NONE;
  }

  function hashAdd(table: number, keys: number, stride: number, values: number, count: number, now: number): number {
    for (let i = 0; i < count; i++) {
      if (!addOne(table, keys + i * stride, u32[(values >>> 2) + i], now)) {
        count64(u32, table + HASH_FULL, 1);
        return i;
      }
    }
    return count;
  }

  function addOne(table: number, key: number, value: number, now: number): boolean {
    const hash = hashOf(table, key);
    const found = search(table, key, hash);
    if (found !== undefined) {
      const place = valueAt(table, found.bucket, found.index);
      Atomics.store(u32, place, value);
      Atomics.store(u32, place + 1, now);
      return true;
    }
    return u32[(table + HASH_COUNT) >>> 2] < u32[(table + HASH_CAPACITY) >>> 2] && insert(table, key, hash, value, now);
  }

  function insert(table: number, key: number, hash: number, value: number, now: number): boolean {
    const home = homeOf(table, hash);
    let number = home;
    for (let probes = 0; probes < HASH_PROBES; probes++, number = after(table, number)) {
      const bucket = bucketAt(table, number);
      const index = u8.subarray(bucket + BUCKET_TAGS, bucket + BUCKET_SLOTS).indexOf(0);
      if (index < 0) continue;
      countPassed(table, home, number, 1);
      Atomics.add(u32, bucket >>> 2, 1); // before the slot changes: it pairs with the reader's second look
      const [slot, words] = [slotAt(table, bucket, index), u32[(table + HASH_KEY_BYTES) >>> 2] / 4];
      for (let word = 0; word < words; word++) Atomics.store(u32, (slot >>> 2) + word, u32[(key >>> 2) + word]);
      Atomics.store(u32, valueAt(table, bucket, index), value);
      Atomics.store(u32, valueAt(table, bucket, index) + 1, now);
      Atomics.store(u8, bucket + BUCKET_TAGS + index, tagOf(hash));
      u32[(table + HASH_COUNT) >>> 2]++;
      return true;
    }
    return false;
  }

  function hashDelete(table: number, keys: number, stride: number, to: number, count: number): number {
    let deleted = 0;
    for (let i = 0; i < count; i++) {
      const [key, hash] = [keys + i * stride, hashOf(table, keys + i * stride)];
      const found = search(table, key, hash);
      u32[(to >>> 2) + i] = found === undefined ? HASH_NONE : u32[valueAt(table, found.bucket, found.index)];
      if (found === undefined) continue;
      remove(table, homeOf(table, hash), found);
      deleted++;
    }
    return deleted;
  }

  function hashExpire(table: number, buckets: number, now: number, age: number, to: number, max: number): number {
    let taken = 0;
    for (; buckets > 0 && taken < max; buckets--) {
      const number = u32[(table + HASH_CURSOR) >>> 2];
      const bucket = bucketAt(table, number);
      let index = 0;
      for (; index < BUCKET_WIDTH && taken < max; index++) {
        const place = valueAt(table, bucket, index);
        if (u8[bucket + BUCKET_TAGS + index] === 0 || (now - u32[place + 1]) >>> 0 <= age) continue;
        u32[(to >>> 2) + taken++] = u32[place];
        remove(table, homeOf(table, hashOf(table, slotAt(table, bucket, index))), { number, bucket, index });
      }
      if (u8.subarray(bucket + BUCKET_TAGS + index, bucket + BUCKET_SLOTS).every(tag => tag === 0)) u32[(table + HASH_CURSOR) >>> 2] = after(table, number);
    }
    count64(u32, table + HASH_AGED, taken);
    return taken;
  }

  function remove(table: number, home: number, { number, bucket, index }: Place): void {
    Atomics.store(u8, bucket + BUCKET_TAGS + index, 0);
    countPassed(table, home, number, -1);
    u32[(table + HASH_COUNT) >>> 2]--;
  }

  function countPassed(table: number, home: number, last: number, by: number): void {
    for (let number = home; number !== last; number = after(table, number)) {
      const at = (bucketAt(table, number) + BUCKET_PASSED) >>> 1;
      if (u16[at] !== BUCKET_PASSED_MAX) Atomics.add(u16, at, by);
    }
  }

  /** Where the key stands, for the writer, under whom nothing changes. */
  function search(table: number, key: number, hash: number): Place | undefined {
    let number = homeOf(table, hash);
    for (let probes = 0; probes < HASH_PROBES; probes++, number = after(table, number)) {
      const bucket = bucketAt(table, number);
      const index = find(table, bucket, key, tagOf(hash));
      if (index >= 0) return { number, bucket, index };
      if (field16(bucket, BUCKET_PASSED) === 0) return undefined;
    }
    return undefined;
  }

  function find(table: number, bucket: number, key: number, tag: number): number {
    const words = u32[(table + HASH_KEY_BYTES) >>> 2] / 4;
    for (let index = 0; index < BUCKET_WIDTH; index++) {
      if (Atomics.load(u8, bucket + BUCKET_TAGS + index) !== tag) continue;
      const slot = slotAt(table, bucket, index) >>> 2;
      let word = 0;
      while (word < words && Atomics.load(u32, slot + word) === u32[(key >>> 2) + word]) word++;
      if (word === words) return index;
    }
    return -1;
  }

  function hashOf(table: number, key: number): number {
    const words = u32[(table + HASH_KEY_BYTES) >>> 2] / 4;
    const multiplier = (table + HASH_MULTIPLIERS) >>> 2;
    let [low, high] = [u32[multiplier], u32[multiplier + 1]];
    for (let word = 0; word < words; word++) {
      const [factor, at] = [u32[(key >>> 2) + word], multiplier + 2 + word * 2];
      low += Math.imul(u32[at], factor) >>> 0;
      high += mulHigh(u32[at], factor) + (Math.imul(u32[at + 1], factor) >>> 0);
    }
    return (high + Math.floor(low / 2 ** 32)) % 2 ** 32;
  }

  function homeOf(table: number, hash: number): number {
    return Math.floor(hash * u32[(table + HASH_BUCKETS) >>> 2] / 2 ** 32); // exact: at most 2^21 buckets
  }

  function after(table: number, number: number): number {
    return (number + 1) % u32[(table + HASH_BUCKETS) >>> 2];
  }

  function bucketAt(table: number, number: number): number {
    return u32[(table + HASH_FIRST) >>> 2] + number * u32[(table + HASH_BUCKET_BYTES) >>> 2];
  }

  function slotAt(table: number, bucket: number, index: number): number {
    return bucket + BUCKET_SLOTS + index * u32[(table + HASH_SLOT_BYTES) >>> 2];
  }

  /** Index of the value's word; the stamp's is the next. */
  function valueAt(table: number, bucket: number, index: number): number {
    return (slotAt(table, bucket, index) + u32[(table + HASH_KEY_BYTES) >>> 2]) >>> 2;
  }

  function field16(bucket: number, field: number): number {
    return Atomics.load(u16, (bucket + field) >>> 1);
  }
}

interface Place { readonly number: number; readonly bucket: number; readonly index: number }

function tagOf(hash: number): number {
  return Math.max(hash & 0xff, 1);
}

/** The high half of a product of two words. */
function mulHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + Math.floor(aLow * bLow / 65536);
  return aHigh * bHigh + Math.floor(middle / 65536) + Math.floor((aLow * bHigh + middle % 65536) / 65536);
}

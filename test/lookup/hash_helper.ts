/** Exact-match tables laid out by hand in a laboratory (test/burst/layout_helper.ts), so that HashTable cannot hide a mistake of the burst functions. */
import {
  BUCKET_FILL, BUCKET_SLOTS, BUCKET_WIDTH, HASH_BUCKETS, HASH_BUCKETS_AT, HASH_BUCKET_BYTES, HASH_CAPACITY, HASH_FIRST, HASH_KEY_BYTES, HASH_KIND,
  HASH_MAGIC, HASH_MULTIPLIERS, HASH_SLOT_BYTES,
} from '../../lib/lookup/hash_layout.js';
import { reserve, set, type Lab } from '../burst/layout_helper.js';

export interface TableShape {
  readonly keyBytes: number;
  readonly capacity: number;
  /** All keys have the same home: a table of chains. */
  readonly colliding: boolean;
}

export function makeTable(lab: Lab, { keyBytes, capacity, colliding }: TableShape): number {
  const buckets = Math.ceil(capacity / BUCKET_FILL);
  const bucketBytes = Math.ceil((BUCKET_SLOTS + BUCKET_WIDTH * (keyBytes + 8)) / 64) * 64;
  const table = reserve(lab, HASH_BUCKETS_AT + buckets * bucketBytes);
  const fields = [
    [HASH_KIND, HASH_MAGIC], [HASH_KEY_BYTES, keyBytes], [HASH_SLOT_BYTES, keyBytes + 8], [HASH_BUCKET_BYTES, bucketBytes],
    [HASH_BUCKETS, buckets], [HASH_FIRST, table + HASH_BUCKETS_AT], [HASH_CAPACITY, capacity],
  ] as const;
  for (const [field, value] of fields) set(lab, table, field, value);
  // Odd and large, or all but the first 0: then every key's hash is m0's high half.
  for (let word = 0; word <= 16; word++) lab.u64[(table + HASH_MULTIPLIERS) / 8 + word] = colliding && word > 0 ? 0n : (0x9e3779b97f4a7c15n * BigInt(2 * word + 1)) & 0xffffffffffffffffn;
  return table;
}

/** A key of which only a number is told; the rest repeats it. */
export function keyWords(number: number, keyBytes: number): number[] {
  return Array.from({ length: keyBytes / 4 }, (_, i) => Math.imul(number + 1, i === 0 ? 0x9e3779b1 : i) >>> 0);
}

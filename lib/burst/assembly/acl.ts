/** Access control lists (lookup/acl_layout.ts). The twin is burst/acl.ts, which tries the rules one by one. */
import {
  ACL_ACTIVE, ACL_FRONT, ACL_NONE, FIELD_BITS, FIELD_BYTES, FIELD_INDEX, FIELD_RANGES, INDEX_CLASS, INDEX_COUNT_SHIFT, TABLE_FIELDS,
  TABLE_STRIDE, TABLE_VALUES, TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_DESTINATION_PORT, TUPLE_PROTOCOL, TUPLE_SOURCE, TUPLE_SOURCE_PORT,
} from '../../lookup/acl_layout';

const SOURCE = TABLE_FIELDS;
const DESTINATION = TABLE_FIELDS + FIELD_BYTES;
const SOURCE_PORT = TABLE_FIELDS + 2 * FIELD_BYTES;
const DESTINATION_PORT = TABLE_FIELDS + 3 * FIELD_BYTES;
const PROTOCOL = TABLE_FIELDS + 4 * FIELD_BYTES;

/** Values of the rules that `count` tuples match, to the vector at `to`; ACL_NONE where none does. Returns how many match one. */
export function aclClassify(acl: usize, tuples: usize, to: usize, count: u32): u32 {
  const table: usize = atomic.load<u32>(acl, ACL_ACTIVE);
  let matched: u32 = 0;
  for (const end = to + ((count as usize) << 2); to < end; to += 4) {
    const value = table == 0 ? ACL_NONE : classify(table, tuples);
    store<u32>(to, value);
    matched += (value != ACL_NONE) as u32;
    tuples += TUPLE_BYTES;
  }
  return matched;
}

// @ts-ignore: decorator
@inline
function classify(table: usize, tuple: usize): u32 {
  const stride: usize = load<u32>(table, TABLE_STRIDE);
  const a = bitsOf(table + SOURCE, addressClass(table + SOURCE, load<u32>(tuple, TUPLE_SOURCE)), stride);
  const b = bitsOf(table + DESTINATION, addressClass(table + DESTINATION, load<u32>(tuple, TUPLE_DESTINATION)), stride);
  const c = bitsOf(table + SOURCE_PORT, directClass(table + SOURCE_PORT, load<u16>(tuple, TUPLE_SOURCE_PORT)), stride);
  const d = bitsOf(table + DESTINATION_PORT, directClass(table + DESTINATION_PORT, load<u16>(tuple, TUPLE_DESTINATION_PORT)), stride);
  const e = bitsOf(table + PROTOCOL, directClass(table + PROTOCOL, load<u8>(tuple, TUPLE_PROTOCOL)), stride);
  const front = all(a, b, c, d, e);
  let step: usize = 0;
  let left = i64x2.extract_lane(front, 0);
  if (left == 0) {
    left = i64x2.extract_lane(front, 1);
    step = 64;
  }
  while (left) {
    const number = step + (ctz(left) as usize);
    const bits = ACL_FRONT + (number << 4);
    const both = all(a + bits, b + bits, c + bits, d + bits, e + bits);
    if (v128.any_true(both)) {
      const low = i64x2.extract_lane(both, 0);
      const bit = low ? ctz(low) : 64 + ctz(i64x2.extract_lane(both, 1));
      return load<u32>((load<u32>(table, TABLE_VALUES) as usize) + (((number << 7) + (bit as usize)) << 2));
    }
    left &= left - 1;
    if (left == 0 && step == 0) {
      left = i64x2.extract_lane(front, 1);
      step = 64;
    }
  }
  return ACL_NONE;
}

// @ts-ignore: decorator
@inline
function all(a: usize, b: usize, c: usize, d: usize, e: usize): v128 {
  return v128.and(v128.and(v128.and(v128.load(a), v128.load(b)), v128.and(v128.load(c), v128.load(d))), v128.load(e));
}

// @ts-ignore: decorator
@inline
function bitsOf(field: usize, number: u32, stride: usize): usize {
  return (load<u32>(field, FIELD_BITS) as usize) + (number as usize) * stride;
}

// @ts-ignore: decorator
@inline
function directClass(field: usize, value: u32): u32 {
  return load<u16>((load<u32>(field, FIELD_INDEX) as usize) + ((value as usize) << 1));
}

// @ts-ignore: decorator
@inline
function addressClass(field: usize, address: u32): u32 {
  const entry = load<u32>((load<u32>(field, FIELD_INDEX) as usize) + ((address >>> 16 << 2) as usize));
  return entry & (INDEX_CLASS as u32) ? entry & ~(INDEX_CLASS as u32) : searchRanges(load<u32>(field, FIELD_RANGES), entry, address);
}

/** The last of the ranges that begins at the address or before. */
// @ts-ignore: decorator
@inline
function searchRanges(ranges: usize, entry: u32, address: u32): u32 {
  let at = ranges + (((entry & 0xffff) as usize) << 3);
  let count = (entry >>> INDEX_COUNT_SHIFT) + 1;
  while (count > 1) {
    const half = count >>> 1;
    const middle = at + ((half as usize) << 3);
    at = select<usize>(middle, at, load<u32>(middle) <= address);
    count -= half;
  }
  return load<u32>(at, 4);
}

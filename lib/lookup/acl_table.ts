import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_ACL } from '../arena/layout.js';
import { classesOf, type Classes } from './acl_classes.js';
import {
  ACL_FRONT, ACL_STEP, FIELD_BITS, FIELD_BYTES, FIELD_CLASSES, FIELD_INDEX, FIELD_RANGES, INDEX_CLASS, INDEX_COUNT_SHIFT, RANGE_BYTES, RULE_BYTES,
  TABLE_BYTES, TABLE_DUPLICATES, TABLE_FIELDS, TABLE_RECORDS, TABLE_RULES, TABLE_STRIDE, TABLE_VALUES,
} from './acl_layout.js';
import { FIELD_MAX, type PlainRule } from './acl_rules.js';

const ADDRESS_FIELDS = 2;
const ADDRESS_INDEX = 65536;

/** Builds a table for these rules, which stand by priority, in a memzone of its own. Throws EARENAFULL, EEXISTS. */
export function buildTable(arena: Arena, name: string, rules: readonly PlainRule[]): Memzone {
  const fields = FIELD_MAX.map((max, field) => classesOf(rules, field, max));
  const stride = ACL_FRONT + Math.max(1, Math.ceil(rules.length / ACL_STEP)) * ACL_STEP / 8;
  const sizes = fields.flatMap((classes, field) => [indexBytes(field), field < ADDRESS_FIELDS ? classes.starts.length * RANGE_BYTES : 0, classes.bits.length * stride]);
  const plan = [TABLE_BYTES, ...sizes, rules.length * 4, rules.length * RULE_BYTES].map(bytes => Math.ceil(bytes / 64) * 64);
  const zone = arena.reserve(name, plan.reduce((sum, bytes) => sum + bytes, 0), { align: 64, type: ZONE_ACL });
  const places = plan.map((_, i) => zone.offset + plan.slice(0, i).reduce((sum, bytes) => sum + bytes, 0));
  const set = (field: number, value: number): void => { arena.u32[(zone.offset + field) >>> 2] = value; };
  set(TABLE_RULES, rules.length);
  set(TABLE_STRIDE, stride);
  set(TABLE_DUPLICATES, duplicates(rules));
  fields.forEach((classes, field) => {
    const [index, ranges, bits] = places.slice(1 + field * 3);
    const at = TABLE_FIELDS + field * FIELD_BYTES;
    set(at + FIELD_INDEX, index);
    set(at + FIELD_RANGES, ranges);
    set(at + FIELD_BITS, bits);
    set(at + FIELD_CLASSES, classes.bits.length);
    if (field < ADDRESS_FIELDS) writeAddressIndex(arena, classes, index, ranges);
    else writeDirectIndex(arena, classes, index, FIELD_MAX[field]);
    classes.bits.forEach((words, number) => writeBits(arena, words, bits + number * stride));
  });
  const [values, records] = places.slice(-2);
  set(TABLE_VALUES, values);
  set(TABLE_RECORDS, records);
  rules.forEach((rule, i) => writeRule(arena, rule, values + i * 4, records + i * RULE_BYTES));
  return zone;
}

function indexBytes(field: number): number {
  return field < ADDRESS_FIELDS ? ADDRESS_INDEX * 4 : (FIELD_MAX[field] + 1) * 2;
}

/** For each upper half: the class, where only one range is in it; else which ranges. */
function writeAddressIndex({ u32 }: Arena, { starts, classOf }: Classes, index: number, ranges: number): void {
  starts.forEach((start, i) => u32.set([start, classOf[i]], (ranges + i * RANGE_BYTES) >>> 2));
  let first = 0;
  for (let half = 0; half < ADDRESS_INDEX; half++) {
    while (first + 1 < starts.length && starts[first + 1] <= half * 65536) first++;
    let last = first;
    while (last + 1 < starts.length && starts[last + 1] < (half + 1) * 65536) last++;
    u32[(index >>> 2) + half] = last === first ? INDEX_CLASS + classOf[first] : (last - first) * 2 ** INDEX_COUNT_SHIFT + first;
    first = last;
  }
}

function writeDirectIndex({ u16 }: Arena, { starts, classOf }: Classes, index: number, max: number): void {
  starts.forEach((start, i) => u16.fill(classOf[i], (index >>> 1) + start, (index >>> 1) + (starts[i + 1] ?? max + 1)));
}

function writeBits({ u32 }: Arena, words: Uint32Array, at: number): void {
  u32.set(words, (at + ACL_FRONT) >>> 2);
  words.forEach((word, i) => {
    const step = i >>> 2;
    if (word !== 0) u32[(at >>> 2) + (step >>> 5)] |= 1 << (step & 31);
  });
}

function writeRule({ u8, u16, u32 }: Arena, { value, ranges }: PlainRule, valueAt: number, at: number): void {
  u32[valueAt >>> 2] = value;
  u32.set([...ranges[0], ...ranges[1]], at >>> 2);
  u16.set([...ranges[2], ...ranges[3]], (at + 16) >>> 1);
  u8.set(ranges[4], at + 24);
}

function duplicates(rules: readonly PlainRule[]): number {
  return rules.length - new Set(rules.map(({ ranges }) => ranges.join())).size;
}

/** Access control lists in plain TypeScript: the rules, which stand by priority, are tried one by one. The fast double is assembly/acl.ts. */
import {
  ACL_ACTIVE, ACL_NONE, RULE_BYTES, RULE_DESTINATION, RULE_DESTINATION_PORT, RULE_PROTOCOL, RULE_SOURCE, RULE_SOURCE_PORT, TABLE_RECORDS,
  TABLE_RULES, TABLE_VALUES, TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_DESTINATION_PORT, TUPLE_PROTOCOL, TUPLE_SOURCE, TUPLE_SOURCE_PORT,
} from '../lookup/acl_layout.js';
import type { BurstFunctions } from './functions.js';
import type { ArenaViews } from './views.js';

export function aclFunctions({ u8, u16, u32 }: ArenaViews): Pick<BurstFunctions, 'aclClassify'> {
  return { aclClassify };

  function aclClassify(acl: number, tuples: number, to: number, count: number): number {
    const table = Atomics.load(u32, (acl + ACL_ACTIVE) >>> 2);
    let matched = 0;
    for (let i = 0; i < count; i++) {
      const value = table === 0 ? ACL_NONE : classify(table, tuples + i * TUPLE_BYTES);
      u32[(to >>> 2) + i] = value;
      if (value !== ACL_NONE) matched++;
    }
    return matched;
  }

  function classify(table: number, tuple: number): number {
    const rules = u32[(table + TABLE_RULES) >>> 2];
    for (let rule = 0; rule < rules; rule++) {
      if (matches(u32[(table + TABLE_RECORDS) >>> 2] + rule * RULE_BYTES, tuple)) return u32[(u32[(table + TABLE_VALUES) >>> 2] >>> 2) + rule];
    }
    return ACL_NONE;
  }

  function matches(rule: number, tuple: number): boolean {
    return within(u32, (tuple + TUPLE_SOURCE) >>> 2, (rule + RULE_SOURCE) >>> 2)
      && within(u32, (tuple + TUPLE_DESTINATION) >>> 2, (rule + RULE_DESTINATION) >>> 2)
      && within(u16, (tuple + TUPLE_SOURCE_PORT) >>> 1, (rule + RULE_SOURCE_PORT) >>> 1)
      && within(u16, (tuple + TUPLE_DESTINATION_PORT) >>> 1, (rule + RULE_DESTINATION_PORT) >>> 1)
      && within(u8, tuple + TUPLE_PROTOCOL, rule + RULE_PROTOCOL);
  }
}

/** Of a view: is its value at `at` between those at `range` and the next? */
function within(view: Uint8Array | Uint16Array | Uint32Array, at: number, range: number): boolean {
  return view[at] >= view[range] && view[at] <= view[range + 1];
}

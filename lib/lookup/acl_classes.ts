import type { PlainRule, Range } from './acl_rules.js';

/** What a field's values fall into. */
export interface Classes {
  /** First values of the ranges, ascending from 0, and each one's class. */
  readonly starts: readonly number[];
  readonly classOf: readonly number[];
  /** Of each class: the rules that allow it, a bit each, in words of 32. */
  readonly bits: readonly Uint32Array[];
}

/**
 * Cuts a field's values where any rule begins or ends, and gives ranges that the same rules allow one class. From one
 * range to the next only the rules that begin or end there change, so each set is a copy of the last with a few bits
 * turned.
 */
export function classesOf(rules: readonly PlainRule[], field: number, max: number): Classes {
  const turns = turnsOf(rules.map(({ ranges }) => ranges[field]), max);
  const current = new Uint32Array(Math.max(1, Math.ceil(rules.length / 32)));
  const known = new Map<string, number>();
  const [starts, classOf, bits]: [number[], number[], Uint32Array[]] = [[], [], []];
  for (const [start, changing] of turns) {
    for (const rule of changing) current[rule >>> 5] ^= 1 << (rule & 31);
    const text = Buffer.from(current.buffer).toString('latin1');
    let number = known.get(text);
    if (number === undefined) {
      number = bits.length;
      known.set(text, number);
      bits.push(current.slice());
    }
    if (classOf.at(-1) === number) continue;
    starts.push(start);
    classOf.push(number);
  }
  return { starts, classOf, bits };
}

/** Where rules begin, or have just ended, ascending; the first is 0. */
function turnsOf(ranges: readonly Range[], max: number): [start: number, rules: number[]][] {
  const turns = new Map<number, number[]>([[0, []]]);
  const note = (at: number, rule: number): void => {
    const list = turns.get(at);
    if (list === undefined) turns.set(at, [rule]);
    else list.push(rule);
  };
  ranges.forEach(([first, last], rule) => {
    note(first, rule);
    if (last < max) note(last + 1, rule);
  });
  return [...turns].sort(([a], [b]) => a - b);
}

import { addressBytes, prefixFault } from '../address.js';
import { PollmodeError } from '../errors.js';
import { ACL_NONE } from './acl_layout.js';
import { whole } from './whole.js';

/** Both ends are in it. */
export type Range = readonly [first: number, last: number];

/** What is left out allows everything. */
export interface AclRule {
  /** The one with the largest matches first; of equal ones, the earlier in the list. */
  readonly priority: number;
  /** What a lookup then says: any number below 2^32 - 1, such as an index of the program's own. */
  readonly value: number;
  /** IPv4: "10.0.0.0/8", "10.0.0.1", or a range of numbers in host order. */
  readonly source?: string | Range;
  readonly destination?: string | Range;
  readonly sourcePort?: number | Range;
  readonly destinationPort?: number | Range;
  readonly protocol?: number | Range;
}

/** A rule as numbers. */
export interface PlainRule {
  readonly priority: number;
  readonly value: number;
  /** Source, destination, source port, destination port, protocol. */
  readonly ranges: readonly Range[];
}

/** The largest value of each field. */
export const FIELD_MAX = [0xffffffff, 0xffffffff, 0xffff, 0xffff, 0xff] as const;

/** Checked, and in the order in which they match. Throws EOPTION with the number of the rule that will not do. */
export function plainRules(rules: readonly AclRule[]): PlainRule[] {
  return rules.map((rule, i) => {
    const subject = `ACL rule ${i}`;
    if (!Number.isSafeInteger(rule.priority)) throw new PollmodeError('EOPTION', `${subject}: priority ${String(rule.priority)}: give a whole number.`);
    whole(subject, 'value', rule.value, 0, ACL_NONE - 1);
    return {
      priority: rule.priority, value: rule.value,
      ranges: [
        addressRange(subject, 'source', rule.source), addressRange(subject, 'destination', rule.destination),
        numberRange(subject, 'sourcePort', rule.sourcePort, 0xffff), numberRange(subject, 'destinationPort', rule.destinationPort, 0xffff), numberRange(subject, 'protocol', rule.protocol, 0xff),
      ],
    };
  }).sort((a, b) => b.priority - a.priority); // stable
}

function addressRange(subject: string, what: string, given: string | Range | undefined): Range {
  if (typeof given !== 'string') return numberRange(subject, what, given, 0xffffffff);
  const [address, length = '32', more] = given.split('/');
  const bytes = addressBytes(address);
  if (bytes.length !== 4 || more !== undefined || !/^\d{1,2}$/.test(length) || Number(length) > 32) throw new PollmodeError('EOPTION', `${subject}: ${what} "${given.slice(0, 60)}": write an IPv4 address or prefix, as 10.0.0.0/8.`);
  const first = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const size = 2 ** (32 - Number(length));
  if (first % size !== 0) throw new PollmodeError('EOPTION', `${subject}: ${what} ${prefixFault(bytes, Number(length))!}.`);
  return [first, first + size - 1];
}

function numberRange(subject: string, what: string, given: number | Range | undefined, max: number): Range {
  const [first, last] = typeof given === 'object' ? given : [given ?? 0, given ?? max];
  whole(subject, what, first, 0, max);
  whole(subject, what, last, first, max);
  return [first, last];
}

/** Whether a packet can match two rules: what may be carried out in another order than they are asked in. */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTOCOL_SCTP, PROTOCOL_TCP } from '../wire/protocol_layout.js';
import { FIELD_DESTINATION_PORT, FIELD_ETHERTYPE, FIELD_FRAGMENT, FIELD_PROTOCOL, FIELD_SOURCE_PORT, FIELD_VERSION, NO_PROTOCOL } from './layout.js';
import type { FieldTest } from './match.js';

const ALL = 0xffffffff;

/** True only if no packet can match both. */
export function disjoint(one: readonly FieldTest[], other: readonly FieldTest[]): boolean {
  const others = withImplied(other);
  return withImplied(one).some(test => others.some(each => each.field === test.field && exclude(test, each)));
}

function exclude(one: FieldTest, other: FieldTest): boolean {
  if (one.mask === ALL && other.mask === ALL) return one.to < other.from || other.to < one.from;
  if (one.from !== one.to || other.from !== other.to) return false;
  return ((one.from ^ other.from) & one.mask & other.mask) !== 0;
}

/** With what the field reader lets be only together: ports of what is no fragment and has them, a protocol of IP only. */
function withImplied(tests: readonly FieldTest[]): FieldTest[] {
  const between = (field: number, from: number, to = from): FieldTest => ({ field, mask: ALL, from, to });
  const more: FieldTest[] = [];
  const has = (field: number, holds: (test: FieldTest) => boolean): boolean => tests.some(test => test.field === field && test.mask === ALL && holds(test));
  const ports = has(FIELD_SOURCE_PORT, () => true) || has(FIELD_DESTINATION_PORT, () => true);
  if (ports) more.push(between(FIELD_PROTOCOL, PROTOCOL_TCP, PROTOCOL_SCTP), between(FIELD_FRAGMENT, 0));
  if (has(FIELD_VERSION, ({ from, to }) => from === 4 && to === 4)) more.push(between(FIELD_ETHERTYPE, ETHERTYPE_IPV4));
  else if (has(FIELD_VERSION, ({ from, to }) => from === 6 && to === 6)) more.push(between(FIELD_ETHERTYPE, ETHERTYPE_IPV6));
  else if (ports || has(FIELD_VERSION, ({ from }) => from >= 4) || has(FIELD_PROTOCOL, ({ to }) => to < NO_PROTOCOL) || has(FIELD_FRAGMENT, ({ from }) => from === 1)) {
    more.push(between(FIELD_ETHERTYPE, ETHERTYPE_IPV4, ETHERTYPE_IPV6));
  }
  return [...tests, ...more];
}

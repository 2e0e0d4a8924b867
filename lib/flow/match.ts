/** A match as tests of fields (layout.ts): what software and XDP programs both are made from. */
import { PollmodeError } from '../errors.js';
import { addressBytes, prefixFault } from '../address.js';
import { parseMac } from '../wire/ethernet.js';
import {
  FIELD_DESTINATION, FIELD_DESTINATION_MAC, FIELD_DESTINATION_PORT, FIELD_ETHERTYPE, FIELD_FRAGMENT, FIELD_PROTOCOL, FIELD_SOURCE, FIELD_SOURCE_MAC,
  FIELD_SOURCE_PORT, FIELD_VERSION, FIELD_VLAN, NO_VLAN,
} from './layout.js';
import type { FlowMatch } from './rule.js';

/** Holds when `from <= (field & mask) <= to`, all of them u32. */
export interface FieldTest {
  readonly field: number;
  readonly mask: number;
  readonly from: number;
  readonly to: number;
}

const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 };
const ALL = 0xffffffff;
const KEYS = ['destinationMac', 'sourceMac', 'etherType', 'vlan', 'source', 'destination', 'protocol', 'sourcePort', 'destinationPort', 'fragment'];

/** Throws EOPTION, naming the rule. */
export function testsOf(rule: string, match: FlowMatch): FieldTest[] {
  const unknown = Object.keys(match).find(key => !KEYS.includes(key));
  if (unknown !== undefined) wrong(rule, `it matches "${unknown}", which no packet has: there are ${KEYS.join(', ')}`);
  const tests: FieldTest[] = [];
  const { destinationMac, sourceMac, etherType, vlan, source, destination, protocol, sourcePort, destinationPort, fragment } = match;
  if (destinationMac !== undefined) tests.push(...mac(FIELD_DESTINATION_MAC, destinationMac));
  if (sourceMac !== undefined) tests.push(...mac(FIELD_SOURCE_MAC, sourceMac));
  if (etherType !== undefined) tests.push(is(FIELD_ETHERTYPE, whole(rule, 'etherType', etherType, 0xffff)));
  if (vlan !== undefined) tests.push(is(FIELD_VLAN, vlan === 'none' ? NO_VLAN : whole(rule, 'vlan', vlan, 4095)));
  if (source !== undefined) tests.push(...prefix(rule, FIELD_SOURCE, source));
  if (destination !== undefined) tests.push(...prefix(rule, FIELD_DESTINATION, destination));
  if (protocol !== undefined) tests.push(is(FIELD_PROTOCOL, typeof protocol === 'number' ? whole(rule, 'protocol', protocol, 255) : named(rule, protocol)));
  if (sourcePort !== undefined) tests.push(ports(rule, FIELD_SOURCE_PORT, sourcePort));
  if (destinationPort !== undefined) tests.push(ports(rule, FIELD_DESTINATION_PORT, destinationPort));
  if (fragment !== undefined) tests.push(...(fragment ? [is(FIELD_FRAGMENT, 1)] : [{ field: FIELD_VERSION, mask: ALL, from: 4, to: 6 }, is(FIELD_FRAGMENT, 0)]));
  return tests;
}

function is(field: number, value: number, mask = ALL): FieldTest {
  return { field, mask, from: value, to: value };
}

function mac(field: number, text: string): FieldTest[] {
  const bytes = parseMac(text);
  return [is(field, ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0), is(field + 1, (bytes[4]! << 8) | bytes[5]!)];
}

/** The version, then each word that the prefix has bits in. */
function prefix(rule: string, field: number, text: string): FieldTest[] {
  const [address = '', bits, more] = String(text).split('/');
  const bytes = addressBytes(address);
  const most = bytes.length * 8;
  const length = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : NaN;
  if (!(length <= most) || more !== undefined) wrong(rule, `"${String(text).slice(0, 60)}" is no prefix: write it as 10.0.0.0/8 or 2001:db8::/32`);
  const fault = prefixFault(bytes, length);
  if (fault !== undefined) wrong(rule, fault);
  const tests = [is(FIELD_VERSION, most === 32 ? 4 : 6)];
  for (let word = 0; word * 32 < length; word++) {
    const mask = length - word * 32 >= 32 ? ALL : (ALL << (32 - (length - word * 32))) >>> 0;
    const value = ((bytes[word * 4]! << 24) | (bytes[word * 4 + 1]! << 16) | (bytes[word * 4 + 2]! << 8) | bytes[word * 4 + 3]!) >>> 0;
    tests.push(is(field + word, (value & mask) >>> 0, mask));
  }
  return tests;
}

/** Of a match that was checked. */
export function protocolNumber(protocol: NonNullable<FlowMatch['protocol']>): number {
  return typeof protocol === 'number' ? protocol : PROTOCOLS[protocol]!;
}

function named(rule: string, protocol: string): number {
  const number = PROTOCOLS[protocol];
  if (number === undefined) wrong(rule, `protocol "${String(protocol).slice(0, 40)}": name ${Object.keys(PROTOCOLS).join(', ')}, or give its number`);
  return number as number;
}

function ports(rule: string, field: number, wanted: number | readonly [number, number]): FieldTest {
  const [from, to] = typeof wanted === 'number' ? [wanted, wanted] : wanted;
  whole(rule, 'port', from, 0xffff);
  whole(rule, 'port', to, 0xffff);
  if (from > to) wrong(rule, `ports ${from} to ${to}: the first is no higher than the last`);
  return { field, mask: ALL, from, to };
}

export function whole(rule: string, what: string, value: unknown, most: number): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > most) wrong(rule, `${what} ${String(value)}: give a whole number from 0 to ${most}`);
  return value as number;
}

export function wrong(rule: string, what: string): never {
  throw new PollmodeError('EOPTION', `Flow rule "${rule}": ${what}.`);
}

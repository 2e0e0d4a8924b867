/** Rules and frames for the tests of flow tables, and a second opinion on which rule a frame matches. */
import fc from 'fast-check';
import type { FlowAction, FlowMatch, FlowRule } from '../../lib/flow/rule.js';
import { addressBytes } from '../../lib/address.js';
import { frames } from '../rss/frames_helper.js';

const ADDRESSES = ['10.0.0.1', '10.0.0.200', '10.128.3.4', '192.168.1.1'] as const;
const HIGH = ['2001:db8::1', '2001:db8:8000::2', 'fe80::1'] as const;

/** A well-formed frame of few addresses and ports, so that rules meet it. */
const known: fc.Arbitrary<Uint8Array> = fc.record({
  six: fc.boolean(), source: fc.nat(3), destination: fc.nat(3), protocol: fc.constantFrom(6, 17, 132, 1, 58), sourcePort: fc.integer({ min: 1, max: 4 }), destinationPort: fc.integer({ min: 1, max: 4 }),
  tags: fc.nat(2), vlan: fc.nat(2), fragment: fc.nat(9), options: fc.nat(2), payload: fc.nat(40),
  extensions: fc.oneof(fc.constant<[number, number][]>([]), fc.array(fc.tuple(fc.constantFrom<number>(0, 43, 60, 51, 44, 44), fc.nat(3)), { maxLength: 6 })),
}).map(({ six, source, destination, protocol, sourcePort, destinationPort, tags, vlan, fragment, options, payload, extensions }) => {
  const tagBytes = Array.from({ length: tags }, (_, i) => [...(i === 0 && tags === 2 ? [0x88, 0xa8] : [0x81, 0]), 0xa0, vlan]).flat();
  const ports = [0, sourcePort, 0, destinationPort, ...new Array<number>(payload).fill(0x55)];
  const ip = six
    ? [0x60, 0, 0, 0, 0, ports.length, extensions[0]?.[0] ?? protocol, 64, ...addressBytes(HIGH[source % 3]!), ...addressBytes(HIGH[destination % 3]!), ...extensions.flatMap(([kind, size], i) => extensionBytes(kind, size, extensions[i + 1]?.[0] ?? protocol)), ...ports]
    : [0x45 + options, 0, 0, 20 + 4 * options + ports.length, 0, 0, ...(fragment === 0 ? [0x20, 0] : fragment === 1 ? [0, 7] : [0x40, 0]), 64, protocol, 0, 0, ...addressBytes(ADDRESSES[source]!), ...addressBytes(ADDRESSES[destination]!), ...new Array<number>(4 * options).fill(1), ...ports];
  return Uint8Array.from([2, 0, 0, 0, 0, 1 + (source % 2), 2, 0, 0, 0, 0, 9, ...tagBytes, ...(six ? [0x86, 0xdd] : [8, 0]), ...ip]);
});

/** An extension header; `size`: how long it is, or which part of a datagram a fragment header speaks of. */
function extensionBytes(kind: number, size: number, next: number): number[] {
  if (kind === 44) return [next, 0, ...[[0, 0], [0, 1], [0, 8], [1, 1]][size]!, 0, 0, 0, 9];
  const words = kind === 51 ? 2 + size : 2 * (1 + size);
  return [next, kind === 51 ? words - 2 : words / 2 - 1, ...new Array<number>(4 * words - 2).fill(0)];
}

/** Whole ones, ones with changed bytes, ones cut anywhere behind the Ethernet header. */
export const anyFrame: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 4, arbitrary: known }, { weight: 1, arbitrary: frames },
  { weight: 2, arbitrary: fc.tuple(known, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }), fc.integer({ min: 14, max: 120 })).map(([frame, changes, cut]) => {
    const bytes = frame.slice();
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return bytes.slice(0, cut);
  }) },
).filter(frame => frame.length >= 14);

const port = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 3, max: 5 })));
const prefix = fc.constantFrom('10.0.0.0/8', '10.0.0.0/24', '10.128.0.0/9', '192.168.1.1', '0.0.0.0/0', '2001:db8::/32', '2001:db8:8000::/33', 'fe80::1', '::/0', '10.0.0.128/25', '128.0.0.0/1');
const criteria: fc.Arbitrary<Required<FlowMatch>> = fc.record({
  destinationMac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'), sourceMac: fc.constantFrom('02:00:00:00:00:09', 'ff:ff:ff:ff:ff:ff'),
  etherType: fc.constantFrom(0x800, 0x86dd, 0x8100, 0x88a8), vlan: fc.constantFrom(0, 1, 2, 'none' as const), source: prefix, destination: prefix,
  protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const, 'icmp' as const, 58, 255), sourcePort: port, destinationPort: port, fragment: fc.boolean(),
});
const KEYS = ['destinationMac', 'sourceMac', 'etherType', 'vlan', 'source', 'destination', 'protocol', 'sourcePort', 'destinationPort', 'fragment'] as const;
/** One or two criteria mostly, or no frame would ever meet them. */
export const matches: fc.Arbitrary<FlowMatch> = fc.tuple(criteria, fc.uniqueArray(fc.constantFrom(...KEYS), { minLength: 1, maxLength: 3 }))
  .map(([all, keys]) => Object.fromEntries(keys.map(key => [key, all[key]])));

const fates: fc.Arbitrary<FlowAction | undefined> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ do: 'drop' as const }) }, fc.constant(undefined), fc.nat(2).map(queue => ({ do: 'queue' as const, queue })), fc.constant({ do: 'rss' as const, queues: [1, 2] }),
);
const before: fc.Arbitrary<FlowAction> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ do: 'count' as const }) }, fc.nat(1000).map(mark => ({ do: 'mark' as const, mark })),
  fc.record({ do: fc.constant('rewrite' as const), destinationMac: fc.constant('02:00:00:00:00:77'), dscp: fc.nat(63) }),
);

/** For a table of three queues. */
export const ruleLists: fc.Arbitrary<FlowRule[]> = fc.array(fc.tuple(matches, fc.array(before, { maxLength: 2 }), fates, fc.nat(5)), { maxLength: 12, size: 'max' })
  .map(list => list.map(([match, actions, fate, priority], index) => ({ name: `rule ${index}`, priority, match, actions: fate === undefined ? actions : [...actions, fate] })));

/** The name of the first rule that the frame matches, worked out from the bytes with strings and BigInts; undefined for none. */
export function firstMatch(rules: readonly FlowRule[], frame: Uint8Array): string | undefined {
  const seen = look(frame);
  return [...rules].map((rule, index) => ({ rule, index })).sort((a, b) => a.rule.priority! - b.rule.priority! || a.index - b.index).find(({ rule }) => holds(rule.match ?? {}, seen))?.rule.name;
}

interface Seen { readonly macs: readonly [string, string]; readonly type: number; readonly vlan: number | 'none'; readonly version: number; readonly addresses: readonly number[][]; readonly protocol: number; readonly fragment: boolean; readonly ports: readonly number[] }

function look(frame: Uint8Array): Seen {
  const hex = (from: number): string => Buffer.from(frame.subarray(from, from + 6)).toString('hex').replace(/..(?!$)/g, '$&:');
  let rest = Buffer.from(frame.subarray(12));
  let vlan: number | 'none' = 'none';
  for (let tag = 0; tag < 2 && [0x8100, 0x88a8].includes(rest.readUInt16BE(0)) && rest.length >= 6; tag++) {
    if (tag === 0) vlan = rest.readUInt16BE(2) % 4096;
    rest = rest.subarray(4);
  }
  const type = rest.readUInt16BE(0);
  const nothing: Seen = { macs: [hex(0), hex(6)], type, vlan, version: 0, addresses: [], protocol: -1, fragment: false, ports: [] };
  const ip = rest.subarray(2);
  const version = (ip[0] ?? 0) >> 4;
  const header = version === 4 ? (ip[0]! & 15) * 4 : 40;
  if (!((type === 0x800 && version === 4 && ip.length >= 20 && header >= 20) || (type === 0x86dd && version === 6)) || ip.length < header) return nothing;
  const { protocol, fragment, upper } = version === 4
    ? { protocol: ip[9]!, fragment: (ip.readUInt16BE(6) & 0x3fff) !== 0, upper: ip.subarray(header) }
    : walk(ip[6]!, ip.subarray(40), false, 0);
  const addresses = version === 4 ? [[...ip.subarray(12, 16)], [...ip.subarray(16, 20)]] : [[...ip.subarray(8, 24)], [...ip.subarray(24, 40)]];
  const ported = !fragment && [6, 17, 132].includes(protocol) && upper.length >= 4;
  return { ...nothing, version, addresses, protocol, fragment, ports: ported ? [upper.readUInt16BE(0), upper.readUInt16BE(2)] : [] };
}

/** Over IPv6's extension headers, by RFC 8200 section 4 and RFC 4302 section 2.2. Four at most. */
function walk(kind: number, rest: Buffer, fragment: boolean, walked: number): { protocol: number; fragment: boolean; upper: Buffer } {
  if (![0, 43, 44, 51, 60].includes(kind)) return { protocol: kind, fragment, upper: rest };
  const length = kind === 44 ? 8 : kind === 51 ? (rest[1]! + 2) * 4 : (rest[1]! + 1) * 8;
  if (walked === 4 || rest.length < 8 || rest.length < length) return { protocol: 59, fragment, upper: Buffer.alloc(0) };
  const [offset, more] = kind === 44 ? [rest.readUInt16BE(2) >> 3, rest[3]! % 2] : [0, 0];
  if (offset > 0) return { protocol: rest[0]!, fragment: true, upper: Buffer.alloc(0) };
  return walk(rest[0]!, rest.subarray(length), fragment || more === 1, walked + 1);
}

function holds(match: FlowMatch, seen: Seen): boolean {
  const inside = (text: string | undefined, which: number): boolean => {
    if (text === undefined) return true;
    const [address = '', length] = text.split('/');
    const bits = (bytes: readonly number[]): string => bytes.map(byte => byte.toString(2).padStart(8, '0')).join('');
    const wanted = bits(addressBytes(address));
    const found = bits(seen.addresses[which] ?? []);
    return wanted.length === found.length && wanted.slice(0, Number(length ?? wanted.length)) === found.slice(0, Number(length ?? wanted.length));
  };
  const port = (wanted: FlowMatch['sourcePort'], which: number): boolean => {
    if (wanted === undefined) return true;
    const found = seen.ports[which];
    return found !== undefined && (typeof wanted === 'number' ? found === wanted : found >= wanted[0] && found <= wanted[1]);
  };
  const number = { icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 };
  return (match.destinationMac ?? seen.macs[0]) === seen.macs[0] && (match.sourceMac ?? seen.macs[1]) === seen.macs[1] && (match.etherType ?? seen.type) === seen.type
    && (match.vlan ?? seen.vlan) === seen.vlan && inside(match.source, 0) && inside(match.destination, 1)
    && (match.protocol === undefined || (typeof match.protocol === 'number' ? match.protocol : number[match.protocol]) === seen.protocol)
    && port(match.sourcePort, 0) && port(match.destinationPort, 1)
    && (match.fragment === undefined || (match.fragment ? seen.fragment : seen.version !== 0 && !seen.fragment));
}

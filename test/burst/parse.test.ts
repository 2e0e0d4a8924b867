/** Packet types and 5-tuples of bursts: what DPDK's numbers say of known frames, the same in all builds, and as the views read them. */
import fc from 'fast-check';
import t from 'tap';
import { HANDLE_SHIFT, HEADER_BYTES, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD } from '../../lib/mbuf/layout.js';
import * as build from '../../lib/wire/build.js';
import { Ethernet } from '../../lib/wire/ether.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { Parser } from '../../lib/wire/parser.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../lib/wire/protocol_layout.js';
import { TUPLE_BYTES } from '../../lib/wire/tuple_layout.js';
import { codeThrown } from '../kernel/rights.js';
import { brokenFrames, soundFrames } from '../wire/frames_helper.js';
import { packets } from '../wire/packet_helper.js';
import { HIGH_BASE, IMPLEMENTATIONS, makeLab, makePool, reserve, reset, set, writeVector, type Lab } from './layout_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 50_000 : 1500;
const COUNT = 8;

interface Outcome { readonly found: number; readonly types: number[]; readonly lengths: number[]; readonly tuples: Buffer }

/** Each frame ends where its buffer does, so that what is behind it is another's: `garbage`. */
function run(lab: Lab, frames: readonly Uint8Array[], garbage: number): Outcome {
  reset(lab);
  const pool = makePool(lab, { count: COUNT * 2, cache: 0, lcores: 1, buffers: true });
  const vector = reserve(lab, COUNT * 4);
  const to = reserve(lab, COUNT * TUPLE_BYTES);
  lab.zone.fill(garbage, 0, COUNT * 2 * 2048);
  const handles = frames.map((bytes, i) => {
    const handle = pool.handles[i * 2]!;
    const header = pool.table + handle * HEADER_BYTES;
    lab.u16[(header + MBUF_DATA_OFF) >>> 1] = 2048 - bytes.length;
    lab.u16[(header + MBUF_DATA_LEN) >>> 1] = bytes.length;
    lab.zone.set(bytes, handle * 2 ** HANDLE_SHIFT - lab.base + 2048 - bytes.length);
    set(lab, header, MBUF_PACKET_TYPE, 0xffffffff);
    return handle;
  });
  writeVector(lab, vector, handles);
  lab.zone.fill(0xee, to - lab.base, to - lab.base + COUNT * TUPLE_BYTES);
  lab.burst.parse(pool.table, vector, frames.length);
  const found = lab.burst.tuples(pool.table, vector, frames.length, to);
  const field = (name: number): number[] => handles.map(handle => lab.u32[(pool.table + handle * HEADER_BYTES + name) >>> 2]!);
  return { found, types: field(MBUF_PACKET_TYPE), lengths: field(MBUF_TX_OFFLOAD), tuples: Buffer.from(lab.zone.subarray(to - lab.base, to - lab.base + COUNT * TUPLE_BYTES)) };
}

const labs = [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const].map(makeLab);

t.test('all builds say the same of any frame, and nothing behind it matters', async t => {
  const kinds = new Set<number>();
  let found = 0;
  fc.assert(fc.property(fc.array(fc.oneof(soundFrames, brokenFrames), { minLength: 1, maxLength: COUNT }), frames => {
    const outcomes = labs.map((lab, i) => run(lab, frames, [0, 0xff, 0x45, 0x60, 0x11, 0x06, 0x81][i % 7]!));
    const texts = outcomes.map(({ tuples, ...rest }) => JSON.stringify({ ...rest, tuples: tuples.toString('hex') }));
    texts.forEach((text, i) => { if (text !== texts[0]) throw new Error(`${labs[0]!.name}: ${texts[0]}\n${labs[i]!.name}: ${text}`); });
    for (const type of outcomes[0]!.types) kinds.add(type);
    found += outcomes[0]!.found;
  }), { numRuns: RUNS });
  t.ok(kinds.size > 100, `${kinds.size} packet types`);
  t.ok(found > RUNS, `${found} IP packets`);
});

t.test('the zones are the same to the byte', async t => {
  const [left, right] = [labs[0]!, makeLab({ build: 'twin' })];
  fc.assert(fc.property(fc.array(brokenFrames, { minLength: 1, maxLength: COUNT }), frames => {
    run(left, frames, 0x5a);
    run(right, frames, 0x5a);
    if (!left.zone.equals(right.zone)) throw new Error('they differ');
  }), { numRuns: 300 });
  t.pass('300 bursts');
});

t.test('the views say the same', async t => {
  const lab = packets();
  const parser = new Parser(lab.arena, 32);
  const [ether, four, six] = [new Ethernet(lab.mbufs), new Ipv4(lab.mbufs), new Ipv6(lab.mbufs)];
  let found = 0;
  fc.assert(fc.property(brokenFrames, bytes => {
    const handle = lab.put(bytes);
    const count = parser.tuples(lab.burst, 1);
    parser.parse(lab.burst, 1);
    if (!ether.at(handle)) return count === 0;
    const isFour = ether.type === ETHERTYPE_IPV4 && four.at(handle, ether.end);
    const isSix = ether.type === ETHERTYPE_IPV6 && six.at(handle, ether.end);
    if (ether.type === 0x8847 || ether.type === 0x8864) return true; // looked through by the burst function alone
    if (!isFour && !isSix) return count === 0 && parser.family(0) === 0;
    found++;
    const ip = isFour ? four : six;
    if (lab.mbufs.l3Len(handle) === ip.length) return parser.protocol(0) === ip.protocol && parser.isFragment(0) === ip.isFragment && lab.mbufs.l2Len(handle) === ether.end;
    return isSix && six.length > 511 - 255 * 8; // header lengths above 511 have no room in an mbuf
  }), { numRuns: RUNS * 2 });
  t.ok(found > RUNS / 2, `${found} of them IP`);
});

const v4 = (fields = {}): build.Layer => build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', ...fields });
const v6 = build.ipv6({ source: '2001:db8::1', destination: '2001:db8::2' });
const udp = build.udp({ sourcePort: 1000, destinationPort: 2000 });
const tcp = build.tcp({ sourcePort: 1000, destinationPort: 2000, options: [1, 1, 1, 1] });
const ether = build.ethernet();
const tag = build.vlan({ id: 1 });

/** RTE_PTYPE_* by their numbers in rte_mbuf_ptype.h; then the lengths of layers 2, 3 and 4. */
const KNOWN: [string, Uint8Array, number, [number, number, number]][] = [
  ['IPv4, UDP', build.frame(ether, v4(), udp), 0x211, [14, 20, 8]],
  ['IPv4 with options, TCP', build.frame(ether, v4({ options: [1, 1, 1, 0] }), tcp), 0x131, [14, 24, 24]],
  ['one tag, IPv6, TCP', build.frame(ether, tag, v6, tcp), 0x146, [18, 40, 24]],
  ['two tags, IPv6 with an extension header, SCTP', build.frame(ether, tag, tag, v6, build.extension(), build.sctp({ sourcePort: 1, destinationPort: 2 })), 0x4c7, [22, 48, 12]],
  ['five tags', build.frame(ether, tag, tag, tag, tag, tag, v4(), udp), 0x7, [30, 0, 0]],
  ['a first fragment', build.frame(ether, v4({ moreFragments: true }), udp), 0x311, [14, 20, 0]],
  ['a later fragment over IPv6', build.frame(ether, v6, build.fragment({ offset: 8, nextHeader: 17 }), [1, 2, 3]), 0x3c1, [14, 48, 0]],
  ['ICMP', build.frame(ether, v4(), build.icmp({ type: 8 })), 0x511, [14, 20, 8]],
  ['ICMPv6', build.frame(ether, v6, build.icmpv6({ type: 128 })), 0x541, [14, 40, 8]],
  ['ICMP over IPv6', build.frame(ether, v6, build.icmp({ type: 8 })), 0x641, [14, 40, 0]],
  ['IGMP', build.frame(ether, v4({ protocol: 2 }), [0x16, 0, 0, 0]), 0x711, [14, 20, 0]],
  ['OSPF', build.frame(ether, v4({ protocol: 89 }), [2]), 0x611, [14, 20, 0]],
  ['ARP', build.frame(build.ethernet({ type: 0x806 }), [0]), 0x3, [14, 0, 0]],
  ['LLDP', build.frame(build.ethernet({ type: 0x88cc }), [0]), 0x4, [14, 0, 0]],
  ['PTP', build.frame(build.ethernet({ type: 0x88f7 }), [0]), 0x2, [14, 0, 0]],
  ['PPPoE', build.frame(build.ethernet({ type: 0x8864 }), [0x11, 0, 0, 1, 0, 30, 0, 0x21], v4(), udp), 0x218, [22, 20, 8]],
  ['MPLS', build.frame(ether, build.mpls({ label: 16 }), build.mpls({ label: 17 }), v4(), udp), 0x21a, [22, 20, 8]],
  ['IPv4 in IPv4', build.frame(ether, v4(), v4(), udp), 0x02101011, [14, 20, 0]],
  ['IPv6 in IPv4', build.frame(ether, v4(), v6, tcp), 0x01301011, [14, 20, 0]],
  ['GRE', build.frame(ether, v4(), build.gre({ key: 7 }), v6, build.extension(), udp), 0x02502011, [14, 20, 0]],
  ['NVGRE', build.frame(ether, v4(), build.gre({ key: 7 }), ether, tag, v4(), tcp), 0x01124011, [14, 20, 0]],
  ['VXLAN', build.frame(ether, v4(), build.vxlanOverUdp(5), ether, v4({ options: [1, 1, 1, 0] }), tcp), 0x01213211, [14, 20, 8]],
  ['ESP', build.frame(ether, v4({ protocol: 50 }), [1, 2, 3, 4]), 0x9011, [14, 20, 0]],
  ['TCP that is cut', build.frame(ether, v4(), tcp).slice(0, 50), 0x11, [14, 20, 0]],
  ['13 bytes', new Uint8Array(13), 0, [0, 0, 0]],
  ['an 802.3 length', build.frame(build.ethernet({ type: 46 }), new Uint8Array(46)), 0x1, [14, 0, 0]],
];

t.test('known frames', async t => {
  const lab = packets();
  const parser = new Parser(lab.arena);
  for (const [name, bytes, ptype, lengths] of KNOWN) {
    const handle = lab.put(bytes);
    parser.parse(lab.burst, 1);
    t.equal(lab.mbufs.packetType(handle).toString(16), ptype.toString(16), name);
    t.same([lab.mbufs.l2Len(handle), lab.mbufs.l3Len(handle), lab.mbufs.l4Len(handle)], lengths, name);
  }
});

t.test('5-tuples by name', async t => {
  const lab = packets();
  const parser = new Parser(lab.arena, 2);
  const tupleOf = (...parts: (build.Layer | readonly number[])[]): unknown[] => {
    lab.put(build.frame(...parts));
    const found = parser.tuples(lab.burst, 1);
    return [found, parser.family(0), parser.source(0), parser.destination(0), parser.protocol(0), parser.sourcePort(0), parser.destinationPort(0), parser.isFragment(0)];
  };
  t.same(tupleOf(ether, v4(), udp), [1, 4, '10.0.0.1', '10.0.0.2', 17, 1000, 2000, false]);
  t.same(tupleOf(ether, v6, build.hopByHop(), tcp), [1, 6, '2001:db8::1', '2001:db8::2', 6, 1000, 2000, false]);
  t.same(tupleOf(ether, v4({ moreFragments: true }), udp), [1, 4, '10.0.0.1', '10.0.0.2', 17, 0, 0, true], 'a fragment has no ports, though they are there');
  t.same(tupleOf(ether, v6, build.fragment({}), udp), [1, 6, '2001:db8::1', '2001:db8::2', 17, 1000, 2000, false], 'one that is whole has');
  t.same(tupleOf(ether, v4({ protocol: 33 }), [0, 7, 0, 8]), [1, 4, '10.0.0.1', '10.0.0.2', 33, 7, 8, false], 'DCCP');
  t.same(tupleOf(ether, v4(), build.icmp({ type: 8 })), [1, 4, '10.0.0.1', '10.0.0.2', 1, 0, 0, false]);
  t.same(tupleOf(ether, [1, 2, 3]), [0, 0, '', '', 0, 0, 0, false]);
  t.same([parser.sourceWord(0), parser.destinationWord(0)], [0, 0]);
  tupleOf(ether, v4(), udp);
  t.same([parser.sourceWord(0), parser.destinationWord(0, 1)], [0x0a000001, 0]);
  t.equal(parser.tuples(lab.burst, 0), 0);
  t.equal(codeThrown(() => parser.family(2)), 'EOPTION');
  t.equal(codeThrown(() => new Parser(lab.arena, 0)), 'EOPTION');
  parser.close();
});

/** The model receives: jumbo frames, offloads, RSS, filters, and no descriptors; driven by the datasheet's own sequences. */
import t from 'tap';
import { frameOf } from '../../../../rss/frames_helper.js';
import { checksum, tagged } from '../../kernel_helper.js';
import { BROADCAST, Bench, DROP_EN, ENTRIES, KEY, VME, clean, forStation, plainFrame, start } from './helper.js';
import { frameCheck } from './packet.js';

t.test('jumbo frames over several descriptors, and too long ones', async t => {
  const bench = start(new Bench(), { filters: bench => { bench.modify('HLREG0', 1 << 2); bench.set('MAXFRS', 9018 << 16); } });
  const frame = plainFrame(9014, 3);
  t.ok(bench.model.receive(frame));
  const pieces = [0, 1, 2, 3, 4].map(i => bench.received(0, i));
  t.same(pieces.map(({ length, done, end }) => [length, done, end]), [[2048, true, false], [2048, true, false], [2048, true, false], [2048, true, false], [822, true, true]]);
  t.same(Uint8Array.from(pieces.flatMap(({ bytes }) => [...bytes])), frame);
  t.notOk(bench.model.receive(plainFrame(9015)), 'longer than MAXFRS');
  t.ok(bench.model.receive(tagged(plainFrame(9014), 0x8100, 1)), 'a tag is four more');
  t.equal(bench.get('ROC'), 1);
  const small = start(new Bench());
  t.notOk(small.model.receive(plainFrame(1515)), 'without JUMBOEN 1518 with FCS is the most');
  t.ok(small.model.receive(plainFrame(1514)));
  t.notOk(small.model.receive(plainFrame(59)), 'and 64 the least');
  t.same([small.get('ROC'), small.get('RUC'), small.get('GPRC'), small.get('TPR')], [1, 1, 1, 3]);
  clean(t, bench);
  clean(t, small);
});

t.test('the FCS, stripped or not; a tag, stripped or not; checksums on receive', async t => {
  const left = start(new Bench(), { without: ['RDRXCTL'], filters: bench => { bench.modify('RDRXCTL', 3 << 25, (0x1f << 17) | 2); bench.modify('HLREG0', 0, 2); } });
  const frame = plainFrame(100);
  t.ok(left.model.receive(frame));
  t.equal(left.received(0, 0).length, 104);
  t.equal(frameCheck(left.received(0, 0).bytes), 0x2144df1c, 'the residue of a frame with its CRC-32');
  clean(t, left);
  const strip = start(new Bench(), { rxdctl: VME });
  t.ok(strip.model.receive(tagged(frame, 0x8100, 0x7123)));
  t.match(strip.received(0, 0), { length: 100, vlan: 0x7123, bytes: frame });
  t.equal(strip.received(0, 0).status & 8, 8, 'VP');
  t.ok(strip.model.receive(frame));
  t.equal(strip.received(0, 1).status & 8, 0);
  const good = forStation(frameOf({ source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2, protocol: 'udp', tags: 0, extensions: [], fragment: false }));
  const view = new DataView(good.buffer);
  view.setUint16(38, 20);
  view.setUint16(24, checksum(view, 14, 20));
  view.setUint16(40, 0);
  strip.model.receive(good);
  t.equal((strip.received(0, 2).status & 0xc0000070) >>> 0, 1 << 6, 'IPCS; a UDP checksum of 0 is none');
  view.setUint16(40, 0x1234);
  view.setUint16(24, 0x1234);
  strip.model.receive(good);
  t.equal((strip.received(0, 3).status & 0xc0000070) >>> 0, 0xc0000070, 'both wrong: IPE and L4E');
  t.equal(strip.received(0, 3).type >> 4, 0x21, 'IPv4 and UDP');
  t.ok(strip.model.receive(good.subarray(0, 60)));
  clean(t, strip);
});

/** "Verifying the RSS Hash Calculation", Microsoft's documentation of NDIS: destination, source, of the addresses, with the ports. */
const PUBLISHED: readonly (readonly [string, number, string, number, number, number])[] = [
  ['161.142.100.80', 1766, '66.9.149.187', 2794, 0x323e8fc2, 0x51ccc178],
  ['65.69.140.83', 4739, '199.92.111.2', 14230, 0xd718262a, 0xc626b0ea],
  ['12.22.207.184', 38024, '24.19.198.95', 12898, 0xd2d0a5de, 0x5c2b394a],
  ['209.142.163.6', 2217, '38.27.205.30', 48228, 0x82989176, 0xafc7327f],
  ['202.188.127.2', 1303, '153.39.163.191', 44251, 0x5d1809c5, 0x10e828a2],
  ['3ffe:2501:200:3::1', 1766, '3ffe:2501:200:1fff::7', 2794, 0x2cc18cd5, 0x40207d3d],
  ['ff02::1', 4739, '3ffe:501:8::260:97ff:fe40:efab', 14230, 0x0f0c461c, 0xdde51bbf],
  ['fe80::200:f8ff:fe21:67cf', 38024, '3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 0x4b61e985, 0x02d1feef],
];

/** What the tests' redirection table has: all seven bits of the hash count. */
function queueOf(hash: number): number {
  const index = hash & 0x7f;
  return (index ^ (index >> 2) ^ (index >> 4) ^ (index >> 6)) & 3;
}

function useRss(types: number): (bench: Bench) => void {
  return bench => {
    KEY.forEach((value, n) => bench.set('RSSRK', value, n));
    bench.fill('RETA', n => [0, 1, 2, 3].reduce((word, i) => word | (queueOf(n * 4 + i) << (i * 8)), 0));
    bench.set('RXCSUM', 1 << 13); // PCSD
    bench.set('MRQC', (1 | types) >>> 0);
  };
}

t.test('receive side scaling: the published vectors, and the queue that the table names', async t => {
  for (const [types, column, name] of [[0x33 << 16, 5, 'with ports'], [0x12 << 16, 4, 'of the addresses']] as const) {
    const bench = start(new Bench(), { queues: [0, 1, 2, 3], filters: useRss(types) });
    const heads = [0, 0, 0, 0];
    for (const vector of PUBLISHED) {
      const [destination, destinationPort, source, sourcePort] = vector;
      const hash = vector[column];
      t.ok(bench.model.receive(forStation(frameOf({ source, destination, sourcePort, destinationPort, protocol: 'tcp', tags: 0, extensions: [], fragment: false }))));
      const queue = queueOf(hash);
      const got = bench.received(queue, heads[queue]++);
      t.match(got, { done: true, hash }, `${source} to ${destination}, ${name}`);
      t.equal(got.type & 0xf, column === 4 ? (source.includes(':') ? 5 : 2) : source.includes(':') ? 3 : 1, 'the RSS type');
    }
    t.ok(bench.model.receive(plainFrame(60)));
    t.match(bench.received(0, heads[0]), { done: true, hash: 0 }, 'what has no hash goes to queue 0');
    heads[0]++;
    const [destination, destinationPort, source, sourcePort, plain] = PUBLISHED[0]!;
    t.ok(bench.model.receive(forStation(frameOf({ source, destination, sourcePort, destinationPort, protocol: 'tcp', tags: 0, extensions: [], fragment: true }))));
    const fragment = bench.received(queueOf(plain), heads[queueOf(plain)]);
    t.match(fragment, { done: true, hash: plain }, 'a fragment has no ports');
    t.same([fragment.type, fragment.status & 0x30], [0x12, 0], 'IPv4, and no L4');
    clean(t, bench);
  }
});

t.test('filters of queues: an EtherType, a 5-tuple of priority, and RSS for the rest', async t => {
  const bench = start(new Bench(), { queues: [0, 1, 2, 3], filters: useRss(0x33 << 16) });
  bench.set('ETQS', 0x80000000 | (3 << 16), 2);
  bench.set('ETQF', 0x800088f7, 2);
  const frame = forStation(frameOf({ source: '10.1.2.3', destination: '10.4.5.6', sourcePort: 1000, destinationPort: 53, protocol: 'udp', tags: 0, extensions: [], fragment: false }));
  const tuple = (n: number, ignored: number, priority: number, queue: number): void => {
    bench.set('SAQF', 0x0302010a, n);
    bench.set('DAQF', 0x0605040a, n);
    bench.set('SDPQF', 0x3500e803, n);
    bench.set('L34TIMIR', (1 << 12) | (1 << 19) | (queue << 21), n);
    bench.set('FTQF', (0x80000001 | (1 << 30) | (priority << 2) | (ignored << 25)) >>> 0, n);
  };
  const came = (bytes: Uint8Array): { queue: number; type: number } => {
    t.ok(bench.model.receive(bytes));
    const queue = [0, 1, 2, 3].find(each => bench.received(each, heads[each]!).done)!;
    return { queue, type: bench.received(queue, heads[queue]!++).type };
  };
  const heads = [0, 0, 0, 0];
  const event = plainFrame(60);
  event.set([0x88, 0xf7], 12);
  t.same(came(event), { queue: 3, type: 0x8020 }, 'the descriptor tells which');
  t.equal(came(tagged(event, 0x8100, 5)).queue, 3, 'behind a tag');
  tuple(100, 0, 1, 1);
  tuple(7, 0x1f, 2, 2);
  t.equal(came(frame).queue, 2, 'the higher priority');
  bench.set('FTQF', 0, 7);
  t.equal(came(frame).queue, 1);
  for (const [at, bit] of [[26, 0], [30, 1], [34, 2], [36, 3], [23, 4]] as const) {
    const other = frame.slice();
    other[at]! ^= at === 23 ? 17 ^ 6 : 1;
    tuple(100, 0, 1, 1);
    const without = came(other).queue;
    tuple(100, 1 << bit, 1, 1);
    t.equal(came(other).queue, 1, `bit ${25 + bit} is not to compare`);
    t.type(without, 'number');
  }
  clean(t, bench);
});

t.test('filters: unicast, broadcast, multicast by table and all, VLANs', async t => {
  const other = [2, 0, 0, 0, 0, 9], group = [0x01, 0x00, 0x5e, 0x00, 0x12, 0x34];
  const taken = (bench: Bench, to: readonly number[], tag?: number): boolean => bench.model.receive(tag === undefined ? plainFrame(60, 0, to) : tagged(plainFrame(60, 0, to), 0x8100, tag));
  const plain = start(new Bench());
  t.same([taken(plain, BROADCAST), taken(plain, other), taken(plain, group)], [true, false, false]);
  const none = start(new Bench(), { filters: bench => bench.set('FCTRL', 0) });
  t.notOk(taken(none, BROADCAST), 'BAM is needed');
  const all = start(new Bench(), { filters: bench => bench.set('FCTRL', 3 << 8) });
  t.same([taken(all, BROADCAST), taken(all, other), taken(all, group)], [true, true, true], 'UPE and MPE');
  t.equal(all.received(0, 1).status & 0x80, 0x80, 'PIF');
  for (const [offset, bit] of [[0, 0x341], [1, 0x682], [2, 0xd04], [3, 0x412]] as const) {
    const table = start(new Bench(), { filters: bench => { bench.set('MTA', (1 << (bit & 31)) >>> 0, bit >> 5); bench.set('MCSTCTRL', 4 | offset); } });
    t.same([taken(table, group), taken(table, [1, 0, 0x5e, 0, 0x12, 0x35])], [true, false], `MCSTCTRL.MO ${offset}`);
    clean(t, table);
  }
  const more = start(new Bench(), { filters: bench => { bench.set('RAL', 0x00000002, 127); bench.set('RAH', 0x80000900, 127); } });
  t.same([taken(more, other), taken(more, [2, 0, 0, 0, 0, 8])], [true, false], 'the last of 128 addresses');
  const vlans = start(new Bench(), { filters: bench => { bench.set('VFTA', 1 << 5, 4095 >> 5 & 3); bench.modify('VLNCTRL', 1 << 30); } });
  t.same([taken(vlans, BROADCAST), taken(vlans, BROADCAST, 101), taken(vlans, BROADCAST, 102)], [true, true, false], 'VFTA');
  for (const bench of [plain, none, all, more, vlans]) clean(t, bench);
});

t.test('no descriptors: dropped where the queue says so, and held in the packet buffer otherwise', async t => {
  const drops = start(new Bench(), { srrctl: DROP_EN });
  const outcomes = Array.from({ length: 20 }, (_, i) => drops.model.receive(plainFrame(100, i)));
  t.equal(outcomes.filter(Boolean).length, ENTRIES - 1, 'a ring holds one less than its size');
  t.equal(drops.get('QPRDC'), 20 - (ENTRIES - 1));
  const holds = start(new Bench());
  for (let i = 0; i < 20; i++) t.ok(holds.model.receive(plainFrame(100, i)));
  holds.arm(0, ENTRIES - 1);
  holds.arm(0, 0);
  holds.set('RDT', 1);
  holds.model.step();
  t.equal(holds.peek('RDH'), 1, 'they come when there is room');
  t.same(holds.received(0, ENTRIES - 1).bytes, plainFrame(100, ENTRIES - 1), 'in their order');
  let taken = 0;
  while (holds.model.receive(plainFrame(1500))) taken++;
  t.ok(taken > 300 && taken < 360, `512 KB of packet buffer hold ${taken} more frames`);
  t.equal(holds.get('RXMPC'), 1);
  t.equal(holds.peek('EICR') & (1 << 17), 1 << 17, 'RX_MISS');
  clean(t, drops);
  clean(t, holds);
  const disabled = start(new Bench(), { queues: [0], filters: useRss(0x33 << 16) });
  const results = PUBLISHED.map(([destination, destinationPort, source, sourcePort]) => disabled.model.receive(forStation(frameOf({ source, destination, sourcePort, destinationPort, protocol: 'tcp', tags: 0, extensions: [], fragment: false }))));
  t.same(results, PUBLISHED.map(vector => queueOf(vector[5]) === 0), 'packets to a disabled queue are dropped');
});

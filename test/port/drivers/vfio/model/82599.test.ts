/** The model by itself, driven by the datasheet's own sequences: each register access as section 4.6 has it. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t, { type Test as Tap } from 'tap';
import { frameOf } from '../../../../rss/frames_helper.js';
import { checksum, tagged } from '../../kernel_helper.js';
import { Bench, DROP_EN, ENTRIES, HOLE, IFCS, IOVA, IXSM, KEY, RINGS, TXSM, VLE, VME, count, forStation, plainFrame, start, type Access } from './helper.js';
import { frameCheck } from './packet.js';
import { REGISTERS, at } from './registers.js';
import type { StepperData } from './stepper.js';

const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

function clean(t: Tap, bench: Bench): void {
  t.same(bench.model.violations, [], 'nothing that the datasheet forbids');
  t.equal(bench.model.faults, 0, 'no access outside what is mapped');
}

for (const access of ['bus', 'memory'] as const satisfies readonly Access[]) {
  t.test(`the datasheet's start-up, and frames both ways, ${access === 'bus' ? 'access by access' : 'in plain memory'}`, async t => {
    const bench = start(new Bench(access));
    clean(t, bench);
    for (let i = 0; i < 40; i++) {
      const frame = plainFrame(60 + i * 36, i);
      t.ok(bench.model.receive(frame), `frame ${i} is taken`);
      const got = bench.received(0, i % ENTRIES);
      t.match(got, { done: true, end: true, length: frame.length, bytes: frame }, 'and stands in its buffer');
      bench.arm(0, i % ENTRIES);
      bench.set('RDT', (i + ENTRIES - 1 + 1) % ENTRIES, 0);
      const next = bench.putFrame(0, i % ENTRIES, frame);
      bench.set('TDT', next, 0);
      bench.model.step();
      t.same(bench.sent.splice(0), [frame], 'and goes out again');
      t.equal(bench.descriptor(bench.txRing(0), i % ENTRIES)[3]! & 1, 1, 'DD after RS');
    }
    t.equal(bench.peek('TDH'), 40 % ENTRIES);
    t.equal(bench.peek('RDH'), 40 % ENTRIES);
    clean(t, bench);
  });
}

t.test('registers: where they are, what they hold after a reset, and their other places', async t => {
  t.equal(at('RDT', 63), 0x1018 + 0x40 * 63);
  t.equal(at('RDT', 64), 0xd018, 'queues 64 and up stand apart');
  t.equal(at('TDT', 127), 0x6018 + 0x40 * 127);
  t.throws(() => at('RDT', 128));
  t.throws(() => at('RDX'));
  const bench = new Bench();
  t.equal(bench.get('STATUS') & (1 << 19), 1 << 19, 'PCIe Master Enable Status');
  t.equal(bench.get('MAXFRS') >>> 16, 1518);
  t.equal(bench.get('RAL'), 0x90598202, 'the station from the EEPROM');
  t.equal(bench.get('RAH'), 0x80000100);
  t.equal(bench.get('LINKS') & (1 << 30), 1 << 30);
  bench.model.write(0x5818, 1); // MRQC at the 82598's place
  t.equal(bench.get('MRQC'), 1);
  bench.set('MRQC', 0);
  t.equal(bench.model.read(0x5818), 0);
  for (const { name, mode, initial, reserved } of REGISTERS) {
    t.ok(initial === 'X' || Number.isInteger(initial), `${name} ${mode} ${reserved >>> 0}`);
  }
});

t.test('a reset: bits that clear themselves, defaults, and what comes back when', async t => {
  const bench = new Bench('memory');
  bench.set('FCTRL', 1 << 9);
  bench.set('MTA', 0x1234, 5);
  bench.modify('CTRL', 1 << 2);
  t.ok(bench.until('STATUS', 1 << 19, 0), 'the master is disabled');
  bench.raw('CTRL', (1 << 26) | (1 << 2));
  bench.model.step();
  t.equal(bench.peek('CTRL') & (1 << 26), 1 << 26, 'RST stays for a while');
  t.equal(bench.peek('FCTRL'), 0, 'the registers are new');
  t.equal(bench.peek('EEC') & (1 << 9), 0, 'the EEPROM is not read yet');
  t.notOk(bench.model.receive(plainFrame(60, 0, BROADCAST)), 'nothing is received meanwhile');
  t.ok(bench.until('CTRL', (1 << 26) | (1 << 2), 0), 'RST and the master\'s disabling are gone');
  t.ok(bench.until('EEC', 1 << 9, 1 << 9));
  t.ok(bench.until('EEMNGCTL', 1 << 18, 1 << 18), 'CFG_DONE0');
  t.ok(bench.until('RDRXCTL', 1 << 3, 1 << 3), 'DMAIDONE');
  t.equal(bench.peek('MTA', 5), 0x1234, 'memories are not touched');
  t.equal(bench.peek('LINKS') & (1 << 30), 1 << 30, 'nor the link');
  bench.modify('CTRL', 1 << 2);
  bench.modify('CTRL', 1 << 3); // LRST
  t.equal(bench.peek('LINKS'), 0, 'LRST takes the link');
  t.ok(bench.until('LINKS', 1 << 30, 1 << 30), 'which comes again');
  clean(t, bench);
});

t.test('a queue that is not programmed does not become enabled', async t => {
  const bench = new Bench('bus');
  bench.modify('RXDCTL', 1 << 25, 0, 3);
  t.notOk(bench.until('RXDCTL', 1 << 25, 1 << 25, 3));
  bench.set('RDLEN', 256, 3);
  bench.modify('RXDCTL', 1 << 25, 0, 3);
  t.equal(bench.get('RXDCTL', 3) & (1 << 25), 0, 'not at once');
  t.ok(bench.until('RXDCTL', 1 << 25, 1 << 25, 3), 'but in a moment');
  bench.modify('RXDCTL', 0, 1 << 25, 3);
  t.ok(bench.until('RXDCTL', 1 << 25, 0, 3), 'and disabled');
  t.match(bench.model.violations, [/RXDCTL\[3\]\.ENABLE is set before RDLEN/]);
});

t.test('all 128 queues send; a packet of several buffers; TXPADEN; no DD without RS', async t => {
  const queues = [0, 1, 63, 64, 127];
  const bench = start(new Bench(), { queues });
  for (const queue of queues) {
    const frame = plainFrame(300, queue);
    bench.set('TDT', bench.putFrame(queue, 0, frame, { pieces: 3 }), queue);
    bench.model.step();
    t.same(bench.sent.splice(0), [frame], `queue ${queue}`);
    t.same([0, 1, 2].map(i => bench.descriptor(bench.txRing(queue), i)[3]! & 1), [0, 0, 1], 'DD where RS was');
  }
  const half = bench.putFrame(1, 3, plainFrame(200), { pieces: 2 });
  bench.set('TDT', half - 1, 1);
  bench.model.step();
  t.equal(bench.sent.length, 0, 'a packet without its end waits');
  bench.set('TDT', half, 1);
  bench.model.step();
  t.equal(bench.sent.splice(0).length, 1);
  bench.set('TDT', bench.putFrame(0, 3, plainFrame(20)), 0);
  bench.model.step();
  t.equal(bench.sent.splice(0)[0]!.length, 60, 'padded by the MAC');
  clean(t, bench);
});

t.test('legacy descriptors, both ways', async t => {
  const bench = start(new Bench(), { srrctl: 0 });
  bench.modify('RXDCTL', 0, 1 << 25);
  bench.set('SRRCTL', 0x402);
  bench.set('RDH', 0);
  bench.set('RDT', 0);
  bench.modify('RXDCTL', 1 << 25);
  bench.until('RXDCTL', 1 << 25, 1 << 25);
  bench.set('RDT', 8);
  const frame = plainFrame(77);
  t.ok(bench.model.receive(frame));
  const [, , word2, word3] = bench.descriptor(bench.rxRing(0), 0);
  t.same({ length: word2! & 0xffff, status: word3! & 3 }, { length: 77, status: 3 });
  t.same(bench.u8.slice(bench.buffer(0, 0), bench.buffer(0, 0) + 77), frame);
  const to = 9 << 20;
  bench.u8.set(frame, to);
  bench.descriptor(bench.txRing(0), 0).set([IOVA + to - 0x100000000, 1, (77 | (0xb << 24) | (1 << 30)) >>> 0, 0x2005 << 16]); // EOP, IFCS, RS, VLE
  bench.set('TDT', 1);
  bench.model.step();
  t.same(bench.sent, [tagged(frame, 0x8100, 0x2005)], 'the tag is the descriptor\'s');
  t.equal(bench.descriptor(bench.txRing(0), 0)[3]! & 1, 1);
  clean(t, bench);
});

t.test('checksums and a tag on transmit, by the context', async t => {
  const bench = start(new Bench());
  const flow = { source: '10.1.2.3', destination: '10.9.8.7', sourcePort: 4000, destinationPort: 53, tags: 0, extensions: [], fragment: false };
  let index = 0;
  for (const [protocol, l4, field] of [['udp', 0, 40], ['tcp', 1, 50]] as const) {
    const frame = forStation(frameOf({ ...flow, protocol }));
    const view = new DataView(frame.buffer);
    if (protocol === 'udp') view.setUint16(38, 20);
    view.setUint16(field, ~pseudo(view, protocol === 'udp' ? 17 : 6, 20) & 0xffff);
    index = bench.putContext(0, index, { l4, vlan: 0x6abc });
    index = bench.putFrame(0, index, frame.subarray(0, 54), { command: IFCS | VLE, options: IXSM | TXSM });
    bench.set('TDT', index);
    bench.model.step();
    const sent = bench.sent.splice(0)[0]!;
    t.same([...sent.subarray(12, 16)], [0x81, 0x00, 0x6a, 0xbc], 'the tag');
    t.equal(sent.length, 60, 'padded behind it');
    const out = new DataView(Uint8Array.of(...sent.subarray(0, 12), ...sent.subarray(16)).buffer);
    t.equal(checksum(out, 14, 20), 0, `the IPv4 header's sum holds`);
    t.equal(~(~checksum(out, 34, 20) + 0) & 0xffff, addOnes(pseudo(out, protocol === 'udp' ? 17 : 6, 20)), `${protocol}'s sum holds with the pseudo header`);
  }
  clean(t, bench);
});

/** The complement of the pseudo header's sum. */
function pseudo(view: DataView, protocol: number, length: number): number {
  const bytes = new DataView(new ArrayBuffer(12));
  for (let i = 0; i < 8; i++) bytes.setUint8(i, view.getUint8(26 + i));
  bytes.setUint16(8, protocol);
  bytes.setUint16(10, length);
  return checksum(bytes, 0, 12);
}

/** What the rest has to sum up to, for all to sum up to 0xffff. */
function addOnes(complement: number): number {
  return ~complement & 0xffff;
}

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

function useRss(types: number): (bench: Bench) => void {
  return bench => {
    KEY.forEach((value, n) => bench.set('RSSRK', value, n));
    bench.fill('RETA', () => 0x03020100);
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
      const queue = hash & 3;
      const got = bench.received(queue, heads[queue]++);
      t.match(got, { done: true, hash }, `${source} to ${destination}, ${name}`);
      t.equal(got.type & 0xf, column === 4 ? (source.includes(':') ? 5 : 2) : source.includes(':') ? 3 : 1, 'the RSS type');
    }
    t.ok(bench.model.receive(plainFrame(60)));
    t.match(bench.received(0, heads[0]), { done: true, hash: 0 }, 'what has no hash goes to queue 0');
    clean(t, bench);
  }
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
  t.same(results, PUBLISHED.map(vector => (vector[5] & 3) === 0), 'packets to a disabled queue are dropped');
});

t.test('statistics: what is counted, by queue, over 32 bits, and cleared by reading', async t => {
  const bench = start(new Bench(), { queues: [0, 1], filters: bench => { bench.set('TQSM', 0x0100); bench.set('RQSMR', 0x0100); } });
  bench.model.receive(plainFrame(60));
  bench.model.receive(plainFrame(500, 0, BROADCAST));
  bench.set('TDT', bench.putFrame(1, 0, plainFrame(1000, 0, BROADCAST)), 1);
  bench.model.step();
  t.same(['GPRC', 'BPRC', 'PRC64', 'PRC511', 'GPTC', 'BPTC', 'PTC1023', 'TPT'].map(name => bench.get(name)), [2, 1, 1, 1, 1, 1, 1, 1]);
  t.same([bench.get('GORCL'), bench.get('GOTCL'), bench.get('QPRC'), bench.get('QBRC_L'), bench.get('QPTC', 1), bench.get('QBTC_L', 1)], [568, 1004, 2, 560, 1, 1000]);
  t.same([bench.get('GPRC'), bench.get('GORCL')], [0, 0], 'a read has cleared them');
  bench.model.receive(plainFrame(60));
  t.equal(bench.peek('GPRC'), 1);
  bench.model.readStatistics();
  t.equal(bench.peek('GPRC'), 0);
  clean(t, bench);
});

t.test('interrupts: causes, masks, clearing by 1 and by reading, vectors', async t => {
  const bench = start(new Bench(), { queues: [0, 1], filters: bench => {
    bench.set('GPIE', (1 << 4) | (1 << 30) | (1 << 5)); // Multiple_MSIX, EIAME, OCD
    bench.set('IVAR', 0x80 | (0x81 << 8) | (0x82 << 16));
    bench.set('IVAR_MISC', 0x83 << 8);
    bench.set('EIAC', 1);
    bench.set('EIAM', 4);
  } });
  bench.model.receive(plainFrame(60));
  t.same([bench.peek('EICR') & 0xffff, bench.vectors.splice(0)], [1, []], 'a cause, masked');
  bench.set('EIMS', 1);
  t.same([bench.peek('EICR') & 0xffff, bench.vectors.splice(0)], [0, [0]], 'unmasked: the vector, and EIAC clears the cause');
  bench.set('EIMS', 1 << 20);
  t.equal(bench.peek('EIMS'), (1 << 20) | 1, 'a 1 sets, a 0 leaves');
  t.equal(bench.peek('EIMS_EX'), 1, 'and the lower half stands in EIMS[1] too');
  bench.model.link(false);
  t.same(bench.vectors.splice(0), [3], 'LSC by IVAR_MISC');
  t.equal(bench.peek('EICR'), 1 << 20);
  bench.set('EICR', 1 << 20);
  t.equal(bench.peek('EICR'), 0, 'cleared by a 1');
  bench.set('EIMC', 1 << 20);
  t.equal(bench.peek('EIMS'), 1);
  bench.model.link(true);
  t.same([bench.vectors.splice(0), bench.peek('EICR')], [[], 1 << 20]);
  t.equal(bench.get('EICR'), 1 << 20);
  t.equal(bench.get('EICR'), 0, 'and by a read');
  bench.set('EIMS', 6);
  bench.set('TDT', bench.putFrame(0, 0, plainFrame(60)));
  bench.model.step();
  t.same(bench.vectors.splice(0), [1], 'transmit of queue 0');
  bench.set('EICS', 4);
  t.same([bench.vectors.splice(0), bench.peek('EIMS')], [[2], 3], 'by software, and EIAM masks');
  bench.set('EIMC_EX', 2);
  t.equal(bench.peek('EIMS'), 1, 'EIMC[1] is EIMC, below 16');
  clean(t, bench);
});

t.test('the link: nothing goes either way without it; loopback needs none', async t => {
  const bench = start(new Bench());
  bench.model.link(false);
  t.equal(bench.get('LINKS') & (1 << 30), 0);
  t.notOk(bench.model.receive(plainFrame(60)));
  bench.set('TDT', bench.putFrame(0, 0, plainFrame(60)));
  bench.model.step();
  t.same([bench.sent.length, bench.peek('TDH')], [0, 0], 'sending waits');
  bench.model.link(true);
  bench.model.step();
  t.equal(bench.sent.splice(0).length, 1);
  bench.modify('AUTOC', 1 << 12);
  t.same([bench.get('AUTOC') & (1 << 12), bench.get('LINKS')], [0, 0], 'Restart_AN clears itself, and the link is away');
  bench.model.step();
  t.equal(bench.get('LINKS') & (1 << 30), 1 << 30);
  bench.modify('HLREG0', 1 << 15); // LPBK
  bench.set('TDT', bench.putFrame(0, 1, plainFrame(60, 5)));
  bench.model.step();
  t.same([bench.sent.length, bench.received(0, 0).bytes], [0, plainFrame(60, 5)], 'what was sent is received');
  clean(t, bench);
});

t.test('head write-back, WTHRESH', async t => {
  const bench = start(new Bench(), { queues: [0, 1], without: ['tx enable', 'tx poll'] });
  bench.set('TDWBAL', (12 << 20) | 1);
  bench.set('TDWBAH', 1);
  bench.modify('TXDCTL', 1 << 25);
  bench.set('TXDCTL', ((1 << 25) | (4 << 16)) >>> 0, 1);
  bench.model.step();
  bench.set('TDT', bench.putFrame(0, 0, plainFrame(60)));
  bench.model.step();
  t.same([bench.view.getUint32(12 << 20, true), bench.descriptor(bench.txRing(0), 0)[3]! & 1], [1, 0], 'the head, and no descriptor');
  const done = (): number[] => [0, 1, 2, 3].map(i => bench.descriptor(bench.txRing(1), i)[3]! & 1);
  for (let i = 0; i < 4; i++) {
    bench.putFrame(1, i, plainFrame(60, i));
    bench.descriptor(bench.txRing(1), i)[2]! &= ~(1 << 27);
    bench.set('TDT', i + 1, 1);
    bench.model.step();
    t.same(done(), i < 3 ? [0, 0, 0, 0] : [1, 1, 1, 1], 'four at a time');
  }
  clean(t, bench);
});

t.test('hostile descriptors: outside what is mapped, outside the ring, without end', async t => {
  const bench = start(new Bench());
  bench.arm(0, 0, IOVA + HOLE);
  bench.arm(0, 1, IOVA + HOLE - 30); // half of it is mapped
  bench.arm(0, 2, 0xffff_ffff_ffff_f000);
  for (let i = 0; i < 4; i++) t.ok(bench.model.receive(plainFrame(100, i)));
  t.equal(bench.model.faults, 3, 'three refused, one of them in its second page');
  t.same(bench.received(0, 3).bytes, plainFrame(100, 3), 'and the fourth arrives');
  t.ok(bench.u8.subarray(HOLE, HOLE + 4096).every(byte => byte === 0), 'nothing was written there');
  t.equal(bench.peek('EICR') & (1 << 18), 1 << 18, 'PCI Exception');
  bench.putFrame(0, 0, plainFrame(80));
  bench.descriptor(bench.txRing(0), 0)[0] = HOLE;
  bench.set('TDT', bench.putFrame(0, 1, plainFrame(80, 1)));
  bench.model.step();
  t.same(bench.sent.splice(0), [plainFrame(80, 1)], 'a frame that cannot be read is not sent, the next is');
  for (let i = 0; i < ENTRIES; i++) bench.descriptor(bench.txRing(0), i).set([0, 1, (64 | (3 << 20) | (1 << 29)) >>> 0, 0]);
  bench.set('TDT', 1);
  for (let i = 0; i < 100; i++) bench.model.step();
  t.equal(bench.sent.length, 0, 'a packet without end goes nowhere, and takes no time');
  const lost = start(new Bench(), { without: ['RDT'] });
  lost.modify('RXDCTL', 0, 1 << 25);
  lost.set('RDBAH', 7);
  lost.modify('RXDCTL', 1 << 25);
  lost.model.step();
  lost.set('RDT', 4);
  t.notOk(lost.model.receive(plainFrame(60)), 'a ring outside what is mapped');
  t.equal(lost.model.faults, 1);
  const random = start(new Bench());
  const sizes = [random.u32.length];
  let seed = 7;
  for (let round = 0; round < 300; round++) {
    for (let word = 0; word < ENTRIES * 4; word++) random.u32[random.txRing(0) / 4 + word] = seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    random.set('TDT', seed % ENTRIES);
    random.model.step();
  }
  t.same([random.u32.length, random.peek('TXDCTL') & (1 << 25)], [...sizes, 1 << 25], '300 rings of random words are lived through');
  t.ok(random.u8.subarray(RINGS - 4096, RINGS).every(byte => byte === 0), 'nothing strayed before the rings');
});

t.test('between two steps plain memory has no order, and the model asks for none', async t => {
  const bench = new Bench('memory', { sequential: false });
  t.equal(count('RXDCTL'), 128);
  start(bench);
  bench.modify('RXDCTL', 0, 1 << 25);
  bench.raw('RDH', 0);
  bench.raw('RDT', 0);
  bench.model.step();
  bench.raw('RDT', 7);
  bench.raw('RXDCTL', 1 << 25);
  bench.model.step();
  t.equal(bench.peek('RDT'), 7, 'enabled first, then the tail');
  bench.raw('MTQC', 8);
  bench.model.step();
  clean(t, bench);
  bench.raw('RDT', 3, 50);
  bench.model.step();
  t.match(bench.model.violations, [/RDT\[50\] is bumped before/], 'but no tail without a queue');
  bench.raw('EIMS', 5);
  bench.model.step();
  bench.raw('EIMC', 4);
  bench.model.step();
  t.same([bench.peek('EIMS'), bench.peek('EIMC')], [1, 0]);
});

t.test('a model in another thread: nothing is missed and nothing is taken for a fault', async t => {
  const control = new SharedArrayBuffer(12);
  const words = new Int32Array(control);
  // A model is made here too, for the bench, and never stepped; the other one then takes the registers over.
  const bench = new Bench('elsewhere');
  const worker = new Worker(new URL('./stepper.js', import.meta.url), { workerData: { memory: bench.memory, control } satisfies StepperData });
  const result = once(worker, 'message') as Promise<[{ violations: string[]; faults: number }]>;
  Atomics.wait(words, 0, 0, 10_000);
  for (let round = 0; round < 20; round++) {
    start(bench, { queues: [0, 1] });
    const lost = exchange(bench, round % 2, 100);
    t.equal(lost, 0, `round ${round}: 100 frames out and back`);
  }
  Atomics.store(words, 0, 0);
  const [{ violations, faults }] = await result;
  t.same(violations, []);
  t.equal(faults, 0);
  t.equal(Atomics.load(words, 2), 0);
});

/** Sends frames one by one, waits for each to come back in queue 0, and tells how many did not come as they went. */
function exchange(bench: Bench, queue: number, frames: number): number {
  let lost = 0;
  for (let i = 0; i < frames; i++) {
    const frame = plainFrame(60 + i, i);
    bench.set('TDT', bench.putFrame(queue, i % ENTRIES, frame), queue);
    const status = bench.descriptor(bench.rxRing(0), i % ENTRIES);
    for (let tries = 0; tries < 1000 && (status[2]! & 1) === 0; tries++) bench.step();
    const { done, bytes } = bench.received(0, i % ENTRIES);
    if (!done || Buffer.compare(bytes, frame) !== 0) lost++;
    bench.arm(0, i % ENTRIES);
    bench.set('RDT', i % ENTRIES);
  }
  return lost;
}

t.test('a PCIe reset: as at power-up', async t => {
  const bench = start(new Bench());
  bench.model.receive(plainFrame(60));
  bench.model.reset();
  t.same(['RXCTRL', 'GPRC', 'RDT', 'TDLEN'].map(name => bench.peek(name)), [0, 0, 0, 0]);
  t.not(bench.peek('MTA'), 0, 'memories hold what nobody knows');
  t.notOk(bench.model.receive(plainFrame(60)));
  start(bench);
  t.ok(bench.model.receive(plainFrame(60)));
  clean(t, bench);
});

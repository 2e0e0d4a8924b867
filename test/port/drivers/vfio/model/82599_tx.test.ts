/** The model sends: queues, buffers, both formats of descriptors, offloads and the ways of writing back. */
import t from 'tap';
import { frameOf } from '../../../../rss/frames_helper.js';
import { checksum, tagged } from '../../kernel_helper.js';
import { Bench, ENTRIES, IFCS, IOVA, IXSM, TXSM, VLE, clean, forStation, plainFrame, start } from './helper.js';

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
  for (let i = 0, next = 0; i < 20; i++) {
    next = bench.putFrame(63, (i * 3 + 3) % ENTRIES, plainFrame(200 + i, i), { pieces: 3 });
    bench.set('TDT', next, 63);
    bench.model.step();
    t.same(bench.sent.splice(0), [plainFrame(200 + i, i)], 'over the ring\'s end');
  }
  bench.set('TDT', bench.putFrame(127, 3, plainFrame(200), { pieces: 2 }) - 1, 127);
  bench.model.step();
  bench.modify('TXDCTL', 0, 1 << 25, 127);
  bench.set('TDH', 0, 127);
  bench.set('TDT', 0, 127);
  bench.modify('TXDCTL', 1 << 25, 0, 127);
  bench.until('TXDCTL', 1 << 25, 1 << 25, 127);
  bench.set('TDT', bench.putFrame(127, 0, plainFrame(90)), 127);
  bench.model.step();
  t.same(bench.sent.splice(0), [plainFrame(90)], 'what was begun before a queue was disabled is forgotten');
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
  const zero = forStation(frameOf({ ...flow, protocol: 'udp' }));
  const view = new DataView(zero.buffer);
  view.setUint16(38, 20);
  view.setUint16(40, ~pseudo(view, 17, 20) & 0xffff);
  view.setUint16(52, 0);
  view.setUint16(52, checksum(view, 34, 20)); // now all of it sums up to 0xffff
  index = bench.putContext(0, index, {});
  bench.set('TDT', bench.putFrame(0, index, zero, { options: IXSM | TXSM }));
  bench.model.step();
  t.equal(new DataView(bench.sent.splice(0)[0]!.buffer).getUint16(40), 0xffff, 'a UDP checksum of 0 is sent as 0xffff (RFC 768)');
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

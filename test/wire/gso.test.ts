/** Segmentation and its reverse: there and back, and back and there, are the same bytes. */
import fc from 'fast-check';
import t from 'tap';
import { Chains } from '../../lib/mbuf/chains.js';
import { MBUF_OL_FLAGS, MBUF_VLAN_TCI, RX_VLAN_STRIPPED } from '../../lib/mbuf/layout.js';
import * as build from '../../lib/wire/build.js';
import { Checksums } from '../../lib/wire/checksums.js';
import { Gro } from '../../lib/wire/gro.js';
import { Segmenter } from '../../lib/wire/gso.js';
import { packets, singles } from './packet_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 300;
const lab = packets({ count: 1024 });
const { mbufs, pool } = lab;
const chains = new Chains(pool);
const { fresh, free } = singles(pool);
const [pieces, mixed] = [pool.burst(64), pool.burst(128)];
const [segmenter, gro, checksums] = [new Segmenter(pool), new Gro(pool, { udp: true }), new Checksums(lab.arena)];
const everything = pool.audit().free;

function allFree(): void {
  if (pool.audit().free !== everything) throw new Error(`${pool.audit().free} free of ${everything}`);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const payload = fc.tuple(fc.integer({ min: 1, max: 20_000 }), fc.nat(255)).map(([length, seed]) => Uint8Array.from({ length }, (_, i) => i * 13 + (i >> 8) + seed));
const four = fc.record({ source: fc.ipV4(), destination: fc.ipV4(), identification: fc.nat(65535), ttl: fc.nat(255), dontFragment: fc.boolean(), tos: fc.nat(255) }).map(build.ipv4);
const six = fc.record({ source: fc.ipV6(), destination: fc.ipV6(), flowLabel: fc.nat(0xfffff), trafficClass: fc.nat(255) }).map(build.ipv6);
const tcp = fc.record({
  sourcePort: fc.nat(65535), destinationPort: fc.nat(65535), sequence: fc.oneof(fc.nat(0xffffffff), fc.constant(0xffffff00)), acknowledgment: fc.nat(0xffffffff), window: fc.nat(65535),
  flags: fc.constantFrom(0x10, 0x18, 0x11, 0x19), options: fc.constantFrom([], [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
}).map(build.tcp);
const udp = fc.record({ sourcePort: fc.nat(65535), destinationPort: fc.nat(65535) }).map(build.udp);
const tags = fc.constantFrom<build.Layer[]>([], [build.vlan({ id: 5 })]);
const big = fc.tuple(tags, fc.oneof(four, six), fc.oneof(tcp, udp), payload).map(([tag, ip, l4, data]) => build.frame(build.ethernet({ source: '02:00:00:00:00:01' }), ...tag, ip, l4, data));

t.test('one large packet: cut, and merged again', async t => {
  let [cut, most] = [0, 0];
  fc.assert(fc.property(big, fc.integer({ min: 400, max: 1448 }), (bytes, size) => {
    const handle = fresh(bytes);
    const count = segmenter.segment(handle, size, pieces);
    free(handle);
    if (count === 0) return bytes.length <= size + 100 || bytes.length > size * 60;
    if (checksums.check(pieces, count) !== 0) throw new Error('bad checksums');
    const before = Array.from(pieces.handles.subarray(0, count), piece => hex(chains.copyOut(piece)));
    if (gro.merge(pieces, count) !== 1) throw new Error('not merged into one');
    const whole = pieces.handles[0]!;
    if (hex(chains.copyOut(whole)) !== hex(bytes)) throw new Error(`${hex(chains.copyOut(whole))}\n${hex(bytes)}`);
    if (gro.segmentSize(whole) !== size) throw new Error(`of ${gro.segmentSize(whole)} bytes`);
    // And once more into the same packets.
    const again = segmenter.segment(whole, size, mixed);
    const after = Array.from(mixed.handles.subarray(0, again), piece => hex(chains.copyOut(piece)));
    if (before.join() !== after.join()) throw new Error('other packets');
    pool.free(mixed, 0, again);
    free(whole);
    allFree();
    [cut, most] = [cut + 1, Math.max(most, count)];
  }), { numRuns: RUNS });
  t.ok(cut > RUNS / 3 && most > 20, `${cut} packets, up to ${most} segments`);
});

t.test('segments that one buffer does not hold are chains', async t => {
  let [cut, longest] = [0, 0];
  fc.assert(fc.property(big, fc.integer({ min: 1700, max: 8960 }), (bytes, size) => {
    const handle = fresh(bytes);
    const count = segmenter.segment(handle, size, pieces);
    free(handle);
    const parts = Array.from(pieces.handles.subarray(0, count), piece => chains.copyOut(piece));
    if (count > 0 && checksums.check(pieces, count) !== 0) throw new Error('bad checksums');
    pool.free(pieces, 0, count);
    allFree();
    if (count === 0) return bytes.length <= size + 100;
    // The first is headers and `size` bytes, and every other one has as many bytes of headers.
    const header = parts[0]!.length - size;
    const whole = Buffer.concat([bytes.subarray(0, header), ...parts.map(part => part.subarray(header))]);
    if (hex(whole) !== hex(bytes)) throw new Error('other bytes');
    if (parts.slice(0, -1).some(part => part.length !== header + size)) throw new Error('other lengths');
    [cut, longest] = [cut + 1, Math.max(longest, parts[0]!.length)];
    return true;
  }), { numRuns: RUNS });
  t.ok(cut > RUNS / 3 && longest > 8000, `${cut} packets, segments of up to ${longest} bytes`);
});

interface Sent { readonly flow: number; readonly length: number; readonly skip: number; readonly flags: number; readonly window: number; readonly bad: boolean; readonly sameId: boolean }

const seldom = fc.nat(30).map(draw => draw === 0);
const mostly = <Value>(value: Value, ...others: Value[]): fc.Arbitrary<Value> => fc.oneof({ weight: 15, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: fc.constantFrom(...others) });
const streams = fc.array(fc.record({
  flow: fc.nat(2), length: mostly(100, 40, 0), skip: mostly(0, 1), flags: mostly(0x10, 0x18, 0x11, 0x02, 0x14), window: mostly(500, 501), bad: seldom, sameId: seldom,
}), { minLength: 1, maxLength: 60 });

/** Packets of three flows, in the order they were sent; each flow's own state goes on. */
function framesOf(list: readonly Sent[]): Uint8Array[] {
  const flows = [0, 1, 2].map(flow => ({ sequence: flow * 0xfffffff0, identification: 65530 }));
  return list.map(({ flow, length, skip, flags, window, bad, sameId }) => {
    const state = flows[flow]!;
    state.sequence = (state.sequence + skip) >>> 0;
    const l4 = build.tcp({ sourcePort: 1 + flow, destinationPort: 80, sequence: state.sequence, flags, window, ...(bad ? { checksum: 1 } : {}) });
    const ip = flow === 2 ? build.ipv6({ source: '::1', destination: '::2' }) : build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', identification: state.identification });
    state.sequence = (state.sequence + length) >>> 0;
    if (!sameId) state.identification = (state.identification + 1) & 0xffff;
    const frame = build.frame(build.ethernet(), ip, l4, new Uint8Array(length).map((_, i) => i + flow));
    return frame.length < 60 ? Uint8Array.from([...frame, ...new Array<number>(60 - frame.length).fill(0)]) : frame;
  });
}

t.test('flows between each other: merged or not, cut again they are the packets that came, each flow in its order', async t => {
  let [merged, alone] = [0, 0];
  const portOf = (frame: string): string => frame.slice(frame.slice(24, 28) === '0800' ? 68 : 108).slice(0, 4);
  fc.assert(fc.property(streams, list => {
    const frames = framesOf(list);
    frames.forEach((bytes, i) => { mixed.handles[i] = fresh(bytes); });
    const count = gro.merge(mixed, frames.length);
    merged += frames.length - count;
    const out: string[] = [];
    for (const handle of Array.from(mixed.handles.subarray(0, count))) {
      if (mbufs.segments(handle) === 1) {
        out.push(hex(chains.copyOut(handle)));
        alone++;
      } else {
        const made = segmenter.segment(handle, gro.segmentSize(handle), pieces);
        if (made !== mbufs.segments(handle)) throw new Error(`${made} of ${mbufs.segments(handle)} segments`);
        // Padding to 60 bytes does not come back.
        out.push(...Array.from(pieces.handles.subarray(0, made), piece => hex(chains.copyOut(piece)).padEnd(120, '0')));
        pool.free(pieces, 0, made);
      }
      free(handle);
    }
    for (const port of ['0001', '0002', '0003']) {
      const came = frames.map(hex).filter(frame => portOf(frame) === port);
      const went = out.filter(frame => portOf(frame) === port);
      if (came.join() !== went.join()) throw new Error(`${came.join('\n')}\n\n${went.join('\n')}`);
    }
    allFree();
  }), { numRuns: RUNS });
  t.ok(merged > RUNS && alone > RUNS, `${merged} merged, ${alone} alone`);
});

t.test('what is not cut, and why', async t => {
  const refused = (why: 'notWhole' | 'noNeed' | 'tooMany', size: number, ...parts: (build.Layer | Uint8Array)[]): void => {
    const handle = fresh(build.frame(build.ethernet(), ...parts));
    const before = segmenter.stats[why];
    t.equal(segmenter.segment(handle, size, pieces), 0, why);
    t.equal(segmenter.stats[why], before + 1, why);
    free(handle);
  };
  const ip = { source: '10.0.0.1', destination: '10.0.0.2' };
  const l4 = build.udp({ sourcePort: 1, destinationPort: 2 });
  const data = new Uint8Array(3000);
  refused('noNeed', 3000, build.ipv4(ip), l4, data);
  refused('noNeed', 0, build.ipv4(ip), l4, data);
  refused('tooMany', 10, build.ipv4(ip), l4, data);
  refused('notWhole', 1000, build.ipv4({ ...ip, moreFragments: true }), l4, data);
  refused('notWhole', 1000, build.ipv4({ ...ip, totalLength: 4000 }), l4, data);
  refused('notWhole', 1000, build.ipv4(ip), build.sctp({ sourcePort: 1, destinationPort: 2 }), data);
  refused('notWhole', 1000, data);
  const plain = new Gro(pool);
  const handle = fresh(build.frame(build.ethernet(), build.ipv4(ip), l4, data));
  const count = segmenter.segment(handle, 1000, pieces);
  t.equal(plain.merge(pieces, count), 3, 'UDP is left alone unless it is asked for');
  pool.free(pieces, 0, count);
  free(handle);
  plain.close();
  allFree();
});

t.test('what came by two VLANs is not one packet, where the port took their tags off', async t => {
  for (const [tags, wanted] of [[[5, 5], 1], [[5, 6], 2], [[undefined, 5], 2]] as const) {
    const handle = fresh(build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.tcp({ sourcePort: 1, destinationPort: 2, flags: 0x10 }), new Uint8Array(1000)));
    t.equal(segmenter.segment(handle, 500, pieces), 2);
    free(handle);
    tags.forEach((tag, i) => {
      if (tag === undefined) return;
      const header = mbufs.header(pieces.handles[i]!);
      mbufs.u32[(header + MBUF_OL_FLAGS) >>> 2]! |= RX_VLAN_STRIPPED;
      mbufs.u16[(header + MBUF_VLAN_TCI) >>> 1] = tag;
    });
    const count = gro.merge(pieces, 2);
    t.equal(count, wanted, tags.join());
    pool.free(pieces, 0, count);
    allFree();
  }
});

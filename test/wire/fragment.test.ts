/** Fragments: cut and put together again they are the same bytes, in any order; and whatever comes, nothing is lost or kept for ever. */
import fc from 'fast-check';
import t from 'tap';
import { Chains } from '../../lib/mbuf/chains.js';
import { MBUF_OL_FLAGS, MBUF_VLAN_TCI, RX_VLAN_STRIPPED } from '../../lib/mbuf/layout.js';
import * as build from '../../lib/wire/build.js';
import { sumBytes } from '../../lib/wire/checksum.js';
import { describe } from '../../lib/wire/describe.js';
import { Fragmenter } from '../../lib/wire/fragment.js';
import { Reassembler } from '../../lib/wire/reassemble.js';
import { codeThrown } from '../kernel/rights.js';
import { packets, singles } from './packet_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 300;
const lab = packets({ count: 1024 });
const { mbufs, pool } = lab;
const chains = new Chains(pool);
const { fresh, free } = singles(pool);
const pieces = pool.burst(256);
const everything = pool.audit().free;

function allFree(): void {
  const { free: now, twice } = pool.audit();
  if (now !== everything || twice > 0) throw new Error(`${now} free of ${everything}`);
}

const payload = fc.tuple(fc.integer({ min: 100, max: 20_000 }), fc.nat(255)).map(([length, seed]) => Uint8Array.from({ length }, (_, i) => i * 13 + (i >> 8) + seed));
const udp = build.udp({ sourcePort: 1, destinationPort: 2 });
const four = fc.record({ source: fc.ipV4(), destination: fc.ipV4(), identification: fc.nat(65535), ttl: fc.nat(255), options: fc.constantFrom([], [7, 7, 4, 0, 0, 0, 0, 1], [148, 4, 0, 0, 1, 7, 3, 4]) }).map(fields => [build.ipv4(fields)]);
const six = fc.tuple(fc.record({ source: fc.ipV6(), destination: fc.ipV6(), flowLabel: fc.nat(0xfffff) }).map(build.ipv6), fc.constantFrom([], [build.hopByHop()], [build.hopByHop(), build.extension({ kind: 43 })], [build.extension({ kind: 60 })], [build.hopByHop(), build.extension({ kind: 60 })])).map(([ip, list]) => [ip, ...list]);
const tags = fc.constantFrom<build.Layer[]>([], [build.vlan({ id: 5 })]);
const datagrams = fc.tuple(tags, fc.oneof(four, six), payload).map(([tag, ip, data]) => build.frame(build.ethernet({ source: '02:00:00:00:00:01' }), ...tag, ...ip, udp, data));

t.test('what is cut comes together again, in any order, to the same bytes', async t => {
  let most = 0;
  const fragmenter = new Fragmenter(pool);
  const reassembler = new Reassembler(pool, { fragments: 128 });
  fc.assert(fc.property(datagrams, fc.integer({ min: 200, max: 1500 }), fc.infiniteStream(fc.nat()), (bytes, mtu, order) => {
    const handle = fresh(bytes);
    const count = fragmenter.fragment(handle, mtu, pieces);
    free(handle);
    if (count === 0) {
      if (bytes.length > mtu + 18 && bytes.length < 120 * (mtu - 100)) throw new Error('not cut');
      return;
    }
    most = Math.max(most, count);
    const list = Array.from(pieces.handles.subarray(0, count));
    for (const piece of list) if (mbufs.pktLen(piece) > mtu + 18) throw new Error(`a fragment of ${mbufs.pktLen(piece)} bytes`);
    if (count > 128) return list.forEach(free);
    for (const piece of list.keys()) {
      const other = piece + order.next().value % (count - piece);
      [list[piece], list[other]] = [list[other]!, list[piece]!];
    }
    const results = list.map(piece => reassembler.add(piece, 0));
    if (results.slice(0, -1).some(result => result !== 0) || results.at(-1) === 0) throw new Error(`given out: ${results.join(' ')}`);
    const whole = results.at(-1)!;
    if (!Buffer.from(chains.copyOut(whole)).equals(Buffer.from(bytes))) throw new Error(`other bytes: ${describe(mbufs, whole)}`);
    free(whole);
    allFree();
  }), { numRuns: RUNS });
  t.ok(most > 50, `up to ${most} fragments`);
  t.equal(reassembler.stats.datagrams > RUNS / 2, true);
  reassembler.close();
  fragmenter.close();
});

t.test('fragments of fragments, and what is not cut', async t => {
  const fragmenter = new Fragmenter(pool, 7);
  const reassembler = new Reassembler(pool);
  const bytes = build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', identification: 9 }), udp, new Uint8Array(4000).map((_, i) => i));
  const handle = fresh(bytes);
  const count = fragmenter.fragment(handle, 1500, pieces);
  const first = Array.from(pieces.handles.subarray(0, count));
  const second = first.flatMap(piece => {
    const made = fragmenter.fragment(piece, 576, pieces);
    if (made === 0) return [piece];
    free(piece);
    return Array.from(pieces.handles.subarray(0, made));
  });
  t.same([count, second.length], [3, 8]);
  const whole = second.map(piece => reassembler.add(piece, 0)).at(-1)!;
  t.same(chains.copyOut(whole), bytes);
  free(whole);

  const refused = (why: keyof Fragmenter['stats'], mtu: number, ...parts: (build.Layer | Uint8Array)[]): void => {
    const other = fresh(build.frame(build.ethernet(), ...parts));
    const before = fragmenter.stats[why];
    t.equal(fragmenter.fragment(other, mtu, pieces), 0, why);
    t.equal(fragmenter.stats[why], before + 1);
    free(other);
  };
  const data = new Uint8Array(1000);
  const ip = { source: '10.0.0.1', destination: '10.0.0.2' };
  const ip6 = build.ipv6({ source: '::1', destination: '::2' });
  refused('dontFragment', 576, build.ipv4({ ...ip, dontFragment: true }), data);
  refused('noNeed', 1500, build.ipv4(ip), data);
  refused('noNeed', 20, build.ipv4(ip), data);
  refused('noNeed', 48, ip6, data);
  refused('notWhole', 576, build.ipv4({ ...ip, totalLength: 2000 }), data);
  refused('notWhole', 576, ip6, build.fragment({ more: true }), data);
  refused('notWhole', 576, data);
  refused('tooMany', 28, build.ipv4(ip), new Uint8Array(8000));
  free(handle);
  allFree();
  reassembler.close();
  fragmenter.close();
});

interface Piece { readonly start: number; readonly length: number; readonly more: boolean; readonly id: number; readonly isSix: boolean; readonly wait: number }

function fragmentOf({ start, length, more, id, isSix }: Piece): Uint8Array {
  const data = new Uint8Array(length).map((_, i) => start + i);
  const ip = isSix ? [build.ipv6({ source: '::1', destination: '::2' }), build.fragment({ offset: start, more, identification: id, nextHeader: 17 })]
    : [build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', identification: id, fragmentOffset: start, moreFragments: more, protocol: 17 })];
  return build.frame(build.ethernet(), ...ip, data);
}

const anyPieces = fc.array(fc.record({
  start: fc.oneof({ arbitrary: fc.nat(8).map(n => n * 16), weight: 5 }, { arbitrary: fc.nat(8191).map(n => n * 8), weight: 1 }), length: fc.oneof({ arbitrary: fc.constant(16), weight: 4 }, { arbitrary: fc.nat(100), weight: 1 }),
  more: fc.nat(7).map(draw => draw > 0), id: fc.oneof(fc.nat(1), fc.nat(20)), isSix: fc.boolean(), wait: fc.oneof({ arbitrary: fc.constant(0), weight: 9 }, { arbitrary: fc.nat(20_000), weight: 1 }),
}), { minLength: 1, maxLength: 60 });

const halves = [true, false].map(more => ({ start: more ? 0 : 16, length: 16, more, id: 1, isSix: false, wait: 0 }));
const beyond = [{ start: 8 * 8191, length: 16, more: false, id: 1, isSix: false, wait: 0 }];

t.test('whatever comes, each fragment is given out, held or counted, and in the end all are back', async t => {
  const sums: Record<string, number> = {};
  fc.assert(fc.property(anyPieces, list => {
    const reassembler = new Reassembler(pool, { datagrams: 8, fragments: 3 });
    let [now, out] = [0, 0];
    for (const piece of list) {
      now += piece.wait;
      const isPart = piece.more || piece.start > 0;
      const handle = fresh(fragmentOf(piece));
      const result = reassembler.add(handle, now);
      if (!isPart && result !== handle) throw new Error('a whole packet was kept');
      if (result === 0) continue;
      out += mbufs.segments(result);
      const bytes = chains.copyOut(result);
      const at = piece.isSix ? 54 : 34;
      bytes.subarray(at).forEach((byte, i) => { if (isPart && byte !== (i & 255)) throw new Error(`byte ${i} is ${byte}`); });
      free(result);
    }
    reassembler.expire(Infinity);
    const { stats } = reassembler;
    const dropped = stats.timedOut + stats.overlapping + stats.duplicates + stats.tiny + stats.malformed + stats.tooLong + stats.tooMany + stats.evicted;
    if (out + dropped !== list.length) throw new Error(`${out} out and ${dropped} dropped of ${list.length}: ${JSON.stringify(stats)}`);
    for (const [name, count] of Object.entries(stats)) sums[name] = (sums[name] ?? 0) + (count as number);
    reassembler.close();
    allFree();
  }), { numRuns: RUNS * 3, examples: [[halves], [beyond]] }); // chance alone seldom makes a whole one, or one that is too long
  for (const [name, count] of Object.entries(sums)) t.ok(count > 0 || name === 'tiny', `${name}: ${count}`); // no datagram of these is
});

t.test('each kind of mischief by name', async t => {
  const given = (list: readonly Partial<Piece & { now: number; kind: number }>[], options = {}): Record<string, number> => {
    const reassembler = new Reassembler(pool, options);
    let out = 0;
    for (const { now = 0, ...piece } of list) {
      const whole = reassembler.add(fresh(fragmentOf({ start: 0, length: 16, more: true, id: 1, isSix: false, wait: 0, ...piece })), now);
      if (whole !== 0) {
        out++;
        free(whole);
      }
    }
    const counted = Object.fromEntries(Object.entries(reassembler.stats).filter(([name, count]) => count > 0 && name !== 'fragments' && name !== 'datagrams'));
    const held = everything - pool.audit().free;
    reassembler.close();
    allFree();
    return { ...counted, ...(out > 0 ? { out } : {}), ...(held > 0 ? { held } : {}) };
  };
  const end = { start: 16, length: 5, more: false };
  t.same(given([{}, end]), { out: 1 });
  t.same(given([end, {}]), { out: 1 }, 'the end first');
  t.same(given([{}, {}, end]), { out: 1, duplicates: 1 });
  t.same(given([{}, { start: 8 }, end]), { overlapping: 3 }, 'and what comes after it');
  for (const isSix of [false, true]) t.same(given([{ isSix }, { start: 8, length: 8, isSix }, { ...end, isSix }]), { overlapping: 3 }, 'inside another');
  t.same(given([{ length: 7 }]), { malformed: 1 });
  t.same(given([{}, end, { start: 24, length: 8 }].reverse()), { malformed: 2, overlapping: 1 }, 'beyond the end');
  t.same(given([{ start: 8 * 8191, length: 8, more: false }]), { tooLong: 1 }, 'the ping of death');
  t.same(given([{ start: 0, length: 0, more: true }]), { malformed: 1 });
  t.same(given([{ now: 0 }, { ...end, now: 30_001 }]), { timedOut: 1, held: 1 });
  t.same(given([{ now: 0 }, { ...end, now: 29_999 }]), { out: 1 });
  t.same(given([0, 16, 32, 48].map(start => ({ start })), { fragments: 3 }), { tooMany: 4 });
  t.same(given([{ id: 1 }, { ...end, id: 2 }, { ...end, isSix: true }]), { held: 3 }, 'three that have nothing to do with each other');
  t.same(given(Array.from({ length: 20 }, (_, id) => ({ id, now: id })), { datagrams: 8 }), { evicted: 12, held: 8 });

  // IPv6 once more, since its rules have RFCs of their own (5722, 6946, 8200 section 4.5).
  const six = (list: readonly Partial<Piece>[]): Record<string, number> => given(list.map(piece => ({ isSix: true, ...piece })));
  t.same(six([{}, { start: 8 }, end, { id: 2 }, { ...end, id: 2 }]), { overlapping: 3, out: 1 }, 'an overlap takes its own datagram with it, and no other');
  t.same(six([{}, {}, end]), { out: 1, duplicates: 1 }, 'the same fragment twice is no overlap');
  t.same(six([{ start: 0, length: 40, more: false }, {}, end]), { out: 2 }, 'an atomic fragment stands alone: the datagram of the same identification is none of its business');
  t.same(six([{}, { start: 0, length: 16, more: false }, end]), { out: 2 }, 'also between that one\'s fragments');
  t.same(six([{ start: 8 * 8191, length: 8, more: false }]), { tooLong: 1 });
  t.same(six([{ length: 9 }]), { malformed: 1 });

  const reassembler = new Reassembler(pool);
  const ip = { source: '10.0.0.1', destination: '10.0.0.2' };
  const add = (...parts: (build.Layer | Uint8Array)[]): number => reassembler.add(fresh(build.frame(build.ethernet(), ...parts)), 0);
  t.equal(add(build.ipv4({ ...ip, protocol: 6, moreFragments: true }), new Uint8Array(16)), 0);
  t.equal(add(build.ipv4({ ...ip, protocol: 6, fragmentOffset: 8, moreFragments: true }), new Uint8Array(16)), 0);
  t.equal(add(build.ipv6({ source: '::1', destination: '::2' }), build.fragment({ more: true, nextHeader: 60 }), new Uint8Array([17, 9, 0, 0, 0, 0, 0, 0])), 0);
  const ip6 = build.ipv6({ source: '::1', destination: '::2' });
  for (const [nextHeader, length] of [[6, 16], [132, 8], [17, 0], [58, 0]] as const) t.equal(add(ip6, build.fragment({ more: true, nextHeader, identification: nextHeader }), new Uint8Array(length)), 0);
  t.same([reassembler.stats.tiny, reassembler.stats.malformed], [5, 2], 'no whole TCP or SCTP header, TCP flags in the second, extension headers that go on; nothing at all');
  reassembler.close();
  allFree();

  // Each part is short enough; behind the first one's header, which is the longest, the whole is not.
  const long = new Reassembler(pool);
  const parts = Array.from({ length: 45 }, (_, i) => build.frame(build.ethernet(), build.ipv4({ ...ip, protocol: 17, options: i === 0 ? new Array<number>(40).fill(1) : [], fragmentOffset: i * 1480, moreFragments: i < 44 }), new Uint8Array(i < 44 ? 1480 : 65_515 - 44 * 1480)));
  t.same(parts.map(part => long.add(fresh(part), 0)).filter(whole => whole !== 0), []);
  t.same([long.stats.tooLong, long.stats.datagrams], [45, 0]);
  long.close();
  allFree();
  for (const options of [{ timeout: 0 }, { datagrams: 0 }, { fragments: 1 }, { fragments: 513 }]) t.equal(codeThrown(() => new Reassembler(pool, options)), 'EOPTION');
});

t.test('congestion that any fragment met is the whole one\'s (RFC 3168 section 5.3)', async t => {
  const reassembler = new Reassembler(pool);
  const [noEcn, one, zero, congested] = [0, 1, 2, 3];
  const add = (parts: readonly Uint8Array[]): number => parts.map(part => reassembler.add(fresh(part), 0)).at(-1)!;
  const four = (...tos: number[]): Uint8Array[] => tos.map((each, i) => build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 17, tos: 0x28 + each, identification: 4, fragmentOffset: i * 16, moreFragments: i + 1 < tos.length }), new Uint8Array(16)));
  const six = (...tos: number[]): Uint8Array[] => tos.map((each, i) => build.frame(build.ethernet(), build.ipv6({ source: '::1', destination: '::2', trafficClass: 0x28 + each }), build.fragment({ nextHeader: 17, identification: 4, offset: i * 16, more: i + 1 < tos.length }), new Uint8Array(16)));
  for (const [list, whole] of [[[zero, zero, zero], zero], [[zero, congested, zero], congested], [[zero, zero, congested], congested], [[congested, one, zero], congested], [[noEcn, noEcn, noEcn], noEcn]] as const) {
    for (const isSix of [false, true]) {
      const handle = add(isSix ? six(...list) : four(...list));
      const bytes = mbufs.copyOut(handle);
      t.equal(isSix ? ((bytes[14]! << 4) | (bytes[15]! >>> 4)) & 255 : bytes[15], 0x28 + whole, `${list.join()} of ${isSix ? 'IPv6' : 'IPv4'}`);
      if (!isSix) t.equal(sumBytes(new DataView(bytes.buffer), 14, 20), 0xffff);
      free(handle);
    }
  }
  for (const parts of [four(noEcn, congested), six(congested, noEcn)]) t.equal(add(parts), 0, 'somebody has changed what has no ECN');
  t.equal(reassembler.stats.malformed, 4);
  reassembler.close();
  allFree();
});

t.test('fragments of two VLANs are of two datagrams', async t => {
  const reassembler = new Reassembler(pool);
  const part = (index: number, ...tags: build.Layer[]): number => fresh(build.frame(build.ethernet(), ...tags, build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 17, identification: 9, fragmentOffset: index * 16, moreFragments: index === 0 }), new Uint8Array(16)));
  const stripped = (handle: number, id: number): number => {
    const header = mbufs.header(handle);
    mbufs.u32[(header + MBUF_OL_FLAGS) >>> 2]! |= RX_VLAN_STRIPPED;
    mbufs.u16[(header + MBUF_VLAN_TCI) >>> 1] = 0xe000 | id;
    return handle;
  };
  const five = build.vlan({ id: 5 });
  t.equal(reassembler.add(part(0, five), 0), 0);
  for (const other of [part(1), part(1, build.vlan({ id: 6 })), stripped(part(1), 6)]) t.equal(reassembler.add(other, 0), 0);
  const whole = [reassembler.add(part(1, five), 0), reassembler.add(part(0), 0), reassembler.add(stripped(part(0), 6), 0)];
  t.equal(whole.filter(handle => handle !== 0).length, 3);
  whole.forEach(free);
  reassembler.close();
  allFree();
});

t.test('what is longer than any datagram is no datagram to cut', async t => {
  const fragmenter = new Fragmenter(pool);
  const [four, six] = [{ source: '10.0.0.1', destination: '10.0.0.2' }, { source: '::1', destination: '::2' }];
  const data = new Uint8Array(70_000);
  for (const parts of [[build.ipv4({ ...four, totalLength: 0 }), udp, data], [build.ipv6({ ...six, payloadLength: 0 }), udp, data], [build.ipv4({ ...four, fragmentOffset: 8 * 8191, protocol: 17 }), new Uint8Array(1600)]]) {
    const handle = fresh(build.frame(build.ethernet(), ...parts));
    t.equal(fragmenter.fragment(handle, 1500, pieces), 0);
    free(handle);
  }
  t.equal(fragmenter.stats.notWhole, 3);
  fragmenter.close();
  allFree();
});

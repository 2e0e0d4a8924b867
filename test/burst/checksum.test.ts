/** Checksums of bursts: known packets, any packet in any chain, in all builds alike; and the incremental update against the whole. */
import fc from 'fast-check';
import t from 'tap';
import {
  HANDLE_SHIFT, HEADER_BYTES, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, RX_IP_CKSUM_BAD,
  RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH,
} from '../../lib/mbuf/layout.js';
import * as build from '../../lib/wire/build.js';
import { adjustChecksum, adjustChecksum32, foldSum } from '../../lib/wire/checksum.js';
import { Checksums } from '../../lib/wire/checksums.js';
import { brokenFrames, soundFrames } from '../wire/frames_helper.js';
import { packets } from '../wire/packet_helper.js';
import { HIGH_BASE, IMPLEMENTATIONS, expectEqual, makeLab, makePool, reserve, reset, set, writeVector, type Lab } from './layout_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 20_000 : 250;
const SEGMENTS = 6;
const FRAMES = 4;

/** A frame, and at which places it is cut into segments; the first is where all headers are. */
interface Chain { readonly bytes: Uint8Array; readonly cuts: readonly number[]; readonly odd: number }

const chains = (frames: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Chain> => fc.record({ bytes: frames, cuts: fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: SEGMENTS - 1 }), odd: fc.nat(200) });

interface World { readonly lab: Lab; readonly table: number; readonly vector: number; readonly to: number; readonly firsts: readonly number[] }

function makeChains(lab: Lab, list: readonly Chain[]): World {
  reset(lab);
  const pool = makePool(lab, { count: FRAMES * SEGMENTS, cache: 0, lcores: 1, buffers: true });
  const [vector, to] = [reserve(lab, FRAMES * 4), reserve(lab, FRAMES * 4)];
  const firsts = list.map(({ bytes, cuts, odd }, i) => {
    const places = [...new Set(cuts.map(cut => Math.min(cut + 40, bytes.length)))].sort((a, b) => a - b);
    const parts = [0, ...places].map((from, j) => bytes.subarray(from, places[j] ?? bytes.length));
    const handles = parts.map((_, j) => pool.handles[i * SEGMENTS + j]!);
    parts.forEach((part, j) => {
      const header = pool.table + handles[j]! * HEADER_BYTES;
      lab.u16[(header + MBUF_DATA_OFF) >>> 1] = odd + j;
      lab.u16[(header + MBUF_DATA_LEN) >>> 1] = part.length;
      lab.u16[(header + MBUF_NB_SEGS) >>> 1] = parts.length - j;
      set(lab, header, MBUF_NEXT, handles[j + 1] ?? 0);
      set(lab, header, MBUF_PKT_LEN, bytes.length);
      set(lab, header, MBUF_OL_FLAGS, 0xff);
      lab.zone.set(part, handles[j]! * 2 ** HANDLE_SHIFT - lab.base + odd + j);
    });
    return handles[0]!;
  });
  writeVector(lab, vector, firsts);
  return { lab, table: pool.table, vector, to, firsts };
}

const labs = [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const].map(makeLab);
const flagsOf = ({ lab, table, firsts }: World): number[] => firsts.map(handle => lab.u32[(table + handle * HEADER_BYTES + MBUF_OL_FLAGS) >>> 2]!);

t.test('sound packets are sound in any chain, and what is filled in is what the builders wrote', async t => {
  let good = 0;
  fc.assert(fc.property(fc.array(chains(soundFrames), { minLength: 1, maxLength: FRAMES }), list => {
    for (const lab of labs) {
      const world = makeChains(lab, list);
      expectEqual(lab.burst.checksumCheck(world.table, world.vector, list.length), 0);
      const flags = flagsOf(world);
      expectEqual(flags.every(word => (word & (RX_IP_CKSUM_BAD | RX_L4_CKSUM_BAD)) === 0 && (word & RX_RSS_HASH) !== 0), true);
      if (lab === labs[0]) good += flags.filter(word => (word & RX_L4_CKSUM_GOOD) !== 0).length;
      const before = Buffer.from(lab.zone.subarray(0, FRAMES * SEGMENTS * 2048));
      lab.burst.checksumFill(world.table, world.vector, list.length);
      expectEqual(before.equals(lab.zone.subarray(0, FRAMES * SEGMENTS * 2048)), true);
    }
  }), { numRuns: RUNS });
  t.ok(good > RUNS / 5, `${good} messages`);
});

t.test('all builds leave the same bytes, whatever the packet', async t => {
  const kinds = new Set<number>();
  fc.assert(fc.property(fc.array(chains(fc.oneof(soundFrames, brokenFrames)), { minLength: 1, maxLength: FRAMES }), fc.nat(60), fc.nat(500), (list, offset, length) => {
    const worlds = labs.map(lab => makeChains(lab, list));
    const results = worlds.map(({ lab, table, vector, to }) => {
      const bad = lab.burst.checksumCheck(table, vector, list.length);
      lab.burst.checksumRange(table, vector, list.length, offset, length, to);
      const first = lab.zone.toString('latin1', 0, FRAMES * SEGMENTS * 2048);
      const flags = flagsOf(worlds[labs.indexOf(lab)]!);
      lab.burst.checksumFill(table, vector, list.length);
      return { bad, flags, sums: Array.from(lab.u32.subarray(to >>> 2, (to >>> 2) + list.length)), first, second: lab.zone.toString('latin1', 0, FRAMES * SEGMENTS * 2048) };
    });
    for (const result of results) expectEqual(result, results[0]);
    for (const word of results[0]!.flags) kinds.add(word);
    for (const [i, sum] of results[0]!.sums.entries()) {
      const part = list[i]!.bytes.subarray(offset, offset + length);
      const wanted = part.length < length ? 0xffffffff : foldSum(part.reduce((all, byte, at) => all + (at % 2 === 0 ? byte * 256 : byte), 0));
      expectEqual(sum, wanted);
    }
    // What was filled in checks.
    const { lab, table, vector } = worlds[0]!;
    lab.burst.checksumCheck(table, vector, list.length);
    expectEqual(flagsOf(worlds[0]!).filter(word => (word & (RX_IP_CKSUM_BAD | RX_L4_CKSUM_BAD)) !== 0), []);
  }), { numRuns: RUNS });
  t.ok(kinds.size >= 6, `${kinds.size} outcomes`);
});

const four = build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' });
const six = build.ipv6({ source: '2001:db8::1', destination: '2001:db8::2' });
const udp = (fields = {}): build.Layer => build.udp({ sourcePort: 1, destinationPort: 2, ...fields });
const [IP_GOOD, IP_BAD, L4_GOOD, L4_BAD] = [RX_IP_CKSUM_GOOD, RX_IP_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_L4_CKSUM_BAD];

t.test('known packets', async t => {
  const lab = packets();
  const checksums = new Checksums(lab.arena);
  const flags = (...parts: (build.Layer | readonly number[])[]): number => {
    const handle = lab.put(build.frame(build.ethernet(), ...parts));
    checksums.check(lab.burst, 1);
    return lab.mbufs.flags(handle);
  };
  t.equal(flags(four, udp(), [1]), IP_GOOD | L4_GOOD);
  t.equal(flags(four, udp({ checksum: 0 })), IP_GOOD, 'none over IPv4');
  t.equal(flags(six, udp({ checksum: 0 })), L4_BAD, 'none over IPv6');
  t.equal(flags(four, udp({ checksum: 1 })), IP_GOOD | L4_BAD);
  t.equal(flags(build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', checksum: 1 }), udp()), IP_BAD | L4_GOOD);
  t.equal(flags(six, build.icmpv6({ type: 128 }), [1, 2, 3]), L4_GOOD);
  t.equal(flags(four, build.icmp({ type: 8 }), [1, 2, 3]), IP_GOOD | L4_GOOD);
  t.equal(flags(four, build.icmp({ type: 8, checksum: 7 })), IP_GOOD | L4_BAD);
  t.equal(flags(four, build.tcp({ sourcePort: 1, destinationPort: 2 }), [0xff]), IP_GOOD | L4_GOOD);
  t.equal(flags(build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', moreFragments: true }), udp()), IP_GOOD, 'a fragment');
  t.equal(flags(build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', totalLength: 60 }), udp()), IP_GOOD, 'of which a part is missing');
  t.equal(flags(four, udp({ length: 12 })), IP_GOOD, 'longer than the packet around it');
  t.equal(flags(six, build.extension({ kind: 43, body: [0, 1, 0, 0, 0, 0] }), udp()), 0, 'on a source route');
  t.equal(flags(six, build.extension({ kind: 43, body: [0, 0, 0, 0, 0, 0] }), udp()), L4_GOOD, 'at its end');
  t.equal(flags(build.mpls({ label: 3 }), four, udp()), IP_GOOD | L4_GOOD);
  t.equal(flags([1, 2, 3]), 0);
  t.equal(flags(four, udp(), [1], [9, 9, 9, 9, 9, 9]), IP_GOOD | L4_GOOD);

  // RFC 1071 section 3: 00 01 f2 03 f4 f5 f6 f7 sums up to ddf2.
  t.equal(foldSum(0x0001 + 0xf203 + 0xf4f5 + 0xf6f7), 0xddf2);
});

t.test('RFC 1624: an update is what the sum over all would be', async t => {
  // Its section 4: the checksum 0xdd2f with 0x5555 turned into 0x3285 becomes 0x0000.
  t.equal(adjustChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
  const sumOf = (words: readonly number[]): number => ~foldSum(words.reduce((sum, word) => sum + word, 0)) & 0xffff;
  fc.assert(fc.property(fc.array(fc.nat(65535), { minLength: 2, maxLength: 20 }), fc.nat(65535), fc.nat(65535), fc.nat(), (rest, high, low, seed) => {
    const words = [0x4500, ...rest]; // a sum over zeros alone has two forms
    const at = 1 + seed % (words.length - 2 > 0 ? words.length - 2 : 1);
    const changed = words.map((word, i) => i === at ? high : i === at + 1 ? low : word);
    const before = sumOf(words);
    const single = adjustChecksum(adjustChecksum(before, words[at]!, high), words[at + 1]!, low);
    const both = adjustChecksum32(before, (words[at]! * 65536 + words[at + 1]!) >>> 0, (high * 65536 + low) >>> 0);
    expectEqual([single, both], [sumOf(changed), sumOf(changed)]);
  }), { numRuns: 5000 });
  t.pass('5000 changes');
});

t.test('long runs of extreme words', async t => {
  const words = fc.array(fc.record({ word: fc.constantFrom(0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff), other: fc.nat(65535), count: fc.nat(700) }), { minLength: 1, maxLength: 6 });
  fc.assert(fc.property(words, fc.nat(300), (runs, cut) => {
    const list = runs.flatMap(({ word, other, count }) => [...new Array<number>(count).fill(word), other]);
    const bytes = Uint8Array.from(list.flatMap(word => [word >> 8, word & 255])).subarray(0, 2048);
    const wanted = foldSum(bytes.reduce((sum, byte, i) => sum + (i % 2 === 0 ? byte * 256 : byte), 0));
    for (const lab of labs) {
      const { table, vector, to } = makeChains(lab, [{ bytes, cuts: [], odd: 0 }]);
      const length = Math.max(0, bytes.length - cut);
      lab.burst.checksumRange(table, vector, 1, 0, bytes.length, to);
      expectEqual(lab.u32[to >>> 2], wanted);
      lab.burst.checksumRange(table, vector, 1, bytes.length - length, length, to);
      expectEqual(lab.u32[to >>> 2], foldSum(bytes.subarray(bytes.length - length).reduce((sum, byte, i) => sum + (i % 2 === 0 ? byte * 256 : byte), 0)));
    }
  }), { numRuns: RUNS });
  t.pass(`${RUNS} of them`);
});

/**
 * Every parser against every prefix of every captured frame, and then against frames that are broken at random: nothing
 * is read past the end, nothing throws, and the builds agree. About a second for each parser here; POLLMODE_FUZZ=180 for so
 * many seconds in all, as CI has it; POLLMODE_LONG=1 for a minute each.
 */
import fc from 'fast-check';
import t from 'tap';
import { Chains } from '../../lib/mbuf/chains.js';
import { describeLong } from '../../lib/wire/describe.js';
import { Fragmenter } from '../../lib/wire/fragment.js';
import { Ethernet } from '../../lib/wire/ether.js';
import { Gro } from '../../lib/wire/gro.js';
import { Segmenter } from '../../lib/wire/gso.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { NeighborMessage } from '../../lib/wire/neighbor.js';
import { Reassembler } from '../../lib/wire/reassemble.js';
import { codeThrown } from '../kernel/rights.js';
import { capturedFrames } from '../wire/captures_helper.js';
import { brokenFrames } from '../wire/frames_helper.js';
import { packets } from '../wire/packet_helper.js';
import { readCapture, writeCapture } from '../wire/pcap_helper.js';
import { behind } from './behind_helper.js';
import { edge, guardedMbufs } from './edge_helper.js';
import { KEPT } from './seeds.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
/** However slow the machine is. */
const FRAMES_AT_LEAST = 200;
/** Targets: calls of `fuzz`, counted at the end. */
const TARGETS = 10;
const IN_ALL = Number(process.env['POLLMODE_FUZZ'] ?? '0');
const MILLISECONDS = LONG ? 60_000 : IN_ALL > 0 ? IN_ALL * 1000 / TARGETS : 1200;
let targets = 0;

const captured = capturedFrames().map(({ bytes }) => bytes).filter(bytes => bytes.length <= 3800);
const kept = KEPT.map(text => Uint8Array.from(Buffer.from(text, 'hex')));
const seeds = [...kept, ...captured];
const guarded = guardedMbufs();
const edges = (['fast', 'checking', 'twin'] as const).map(edge);

function agree(bytes: Uint8Array): void {
  const said = edges.map(each => each(bytes));
  if (new Set(said).size !== 1) throw new Error(said.join('\n'));
}

function describes(bytes: Uint8Array): void {
  const text = describeLong(guarded.mbufs, guarded.put(bytes));
  if (/undefined|NaN/.test(text)) throw new Error(text);
}

/** Bytes changed, put in, cut out, doubled: what bit errors, liars and mutation fuzzers do. */
const mutated = fc.tuple(
  fc.nat(seeds.length - 1), fc.array(fc.record({
    kind: fc.constantFrom('set', 'set', 'set', 'flip', 'insert', 'cut', 'double'), at: fc.oneof(fc.nat(80), fc.nat(1600)),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 4, 6, 17, 43, 44, 47, 51, 60, 0x45, 0x4f, 0x60, 0x81, 0x86, 0x88, 255)), count: fc.nat(40),
  }), { minLength: 1, maxLength: 6 }), fc.oneof(fc.constant(3800), fc.nat(200)),
).map(([seed, changes, length]) => {
  let bytes = [...seeds[seed]!];
  for (const { kind, at, value, count } of changes) {
    const place = bytes.length === 0 ? 0 : at % bytes.length;
    if (kind === 'set') bytes[place] = value;
    else if (kind === 'flip') bytes[place] = (bytes[place] ?? 0) ^ (1 << (value & 7));
    else if (kind === 'insert') bytes.splice(place, 0, ...new Array<number>(count).fill(value));
    else if (kind === 'cut') bytes.splice(place, count);
    else bytes = [...bytes.slice(0, place + count), ...bytes.slice(place)];
  }
  return Uint8Array.from(bytes.slice(0, length));
});

function fuzz(t: { pass(text: string): void; ok(value: boolean, text: string): void }, check: (bytes: Uint8Array) => void): void {
  let runs = 0;
  targets++;
  const property = fc.property(fc.oneof(mutated, brokenFrames), bytes => {
    runs++;
    check(bytes);
  });
  fc.assert(property, { numRuns: FRAMES_AT_LEAST, examples: kept.map(bytes => [bytes] as [Uint8Array]) });
  fc.assert(property, { numRuns: 1e9, interruptAfterTimeLimit: MILLISECONDS });
  t.ok(runs >= FRAMES_AT_LEAST, `${runs} frames`);
}

t.test('every prefix of every captured frame', async t => {
  let prefixes = 0;
  for (const bytes of seeds) {
    for (let length = 0; length <= bytes.length; length++, prefixes++) {
      const prefix = bytes.subarray(0, length);
      agree(prefix);
      // Whatever is described stands in the first bytes; behind them it is data.
      if (LONG || length < 140 && (length + bytes.length) % 3 === 0) describes(prefix);
    }
  }
  t.ok(prefixes > 100_000, `${prefixes} prefixes of ${seeds.length} frames`);
});

t.test('every value of the bytes that say lengths and kinds', async t => {
  let frames = 0;
  for (const bytes of seeds.slice(0, LONG ? seeds.length : 60)) {
    for (let at = 12; at < Math.min(bytes.length, 60); at++) {
      const changed = Uint8Array.from(bytes);
      for (const value of [0, 1, 4, 5, 6, 17, 43, 44, 51, 60, 0x40, 0x4f, 0x60, 0x7f, 0x80, 0xf0, 0xff]) {
        changed[at] = value;
        agree(changed);
        if (value % 5 === 0) describes(changed);
        frames++;
      }
    }
  }
  t.ok(frames > 10_000, `${frames} frames`);
});

t.test('fuzz: packet types, 5-tuples, checksums', async t => fuzz(t, agree));
const [ether, six, neighbor] = [new Ethernet(guarded.mbufs), new Ipv6(guarded.mbufs), new NeighborMessage(guarded.mbufs)];

/** The frame's bytes as a neighbour's message with its options, wherever a kind stands that there is none of. */
function readsNeighbor(bytes: Uint8Array): void {
  const handle = guarded.put(bytes);
  if (ether.at(handle) && six.at(handle, ether.end, ether.limit) && neighbor.at(handle, six.end, six.limit)) neighbor.isValid(six);
  for (const kind of [135, 136]) {
    bytes.set([kind, 0].slice(0, bytes.length));
    if (neighbor.at(guarded.put(bytes), 0) && neighbor.macAt > 0) guarded.mbufs.view.getUint8(neighbor.macAt + 5);
  }
}

t.test('fuzz: neighbours\' messages', async t => fuzz(t, readsNeighbor));
t.test('fuzz: header views and descriptions', async t => fuzz(t, describes));

for (const format of ['pcap', 'pcapng'] as const) {
  t.test(`fuzz: ${format} files`, async t => fuzz(t, bytes => {
    // The frame's own bytes break the file that carries another.
    const file = writeCapture(format, [{ bytes: captured[bytes.length % captured.length]!, length: 4000, time: [1, 2] }, { bytes, length: bytes.length, time: [3, 4] }]);
    bytes.forEach((byte, i) => { if (byte % 16 === 3) file[(i * 7 + byte) % file.length] = byte; });
    // A file may be refused when it is opened.
    const code = codeThrown(() => readCapture(file, { window: 8192 }));
    if (code !== 'none' && code !== 'EFORMAT') throw new Error(code);
  }));
}

t.test('fuzz: fragments, segmentation and merging', async t => {
  const lab = packets({ count: 128 });
  const { pool } = lab;
  const [burst, pieces] = [pool.burst(4), pool.burst(64)];
  const whole = pool.audit().free;
  const chains = new Chains(pool);
  const [fragmenter, segmenter, gro] = [new Fragmenter(pool), new Segmenter(pool), new Gro(pool, { udp: true })];
  const freeAll = (count: number): void => pool.free(pieces, 0, count);
  fuzz(t, bytes => {
    const reassembler = new Reassembler(pool, { datagrams: 8 });
    // The frame twice, so that it can follow or overlap itself.
    pool.alloc(burst, 2);
    for (const handle of burst.handles.subarray(0, 2)) chains.copyIn(handle, bytes);
    freeAll(fragmenter.fragment(burst.handles[0]!, 100 + bytes.length % 1000, pieces));
    freeAll(segmenter.segment(burst.handles[0]!, 20 + bytes.length % 500, pieces));
    const kept = gro.merge(burst, 2);
    let given = 0;
    for (const handle of burst.handles.slice(0, kept)) {
      const result = reassembler.add(handle, 0);
      if (result !== 0) pieces.handles[given++] = result;
    }
    freeAll(given);
    reassembler.close();
    const { free, twice } = pool.audit();
    if (free !== whole || twice !== 0) throw new Error(`${free} free of ${whole}, ${twice} twice`);
  });
});

// What reads without a view of its own is not stopped at the end: it must find the same whatever stands behind it, and leave that.
const blind = behind();
const { flow, rss, router, answers, keys } = blind;

t.test('fuzz: fields of flow rules; where IP is, its length and its ECN', async t => fuzz(t, bytes => blind.same(bytes, flow)));
t.test('fuzz: hashes, and a router\'s step', async t => fuzz(t, bytes => blind.same(bytes, handle => `${rss(handle)} ${router(handle)}`)));
t.test('fuzz: answers', async t => fuzz(t, bytes => { for (const answer of answers) blind.same(bytes, answer); }));
t.test('fuzz: a firewall\'s keys, and NAT', async t => fuzz(t, bytes => blind.same(bytes, keys)));

t.test('the guards work', async t => {
  t.equal(targets, TARGETS);
  t.throws(() => blind.same(new Uint8Array(20), handle => String(blind.mbufs.u8[blind.mbufs.data(handle) + 20])), /behind/);
  t.throws(() => blind.same(new Uint8Array(20), handle => String(blind.mbufs.u8[blind.mbufs.data(handle) + 20] = 1)), /behind/);
  const { mbufs, put } = guarded;
  const handle = put(new Uint8Array(20));
  t.equal(mbufs.view.getUint32(mbufs.data(handle) + 16), 0);
  t.throws(() => mbufs.view.getUint32(mbufs.data(handle) + 17), RangeError);
  t.throws(() => mbufs.view.getUint8(mbufs.data(handle) - 1), RangeError);
});

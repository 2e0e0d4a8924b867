import { deepEqual } from 'node:assert/strict';
import fc from 'fast-check';
import type { Test } from 'tap';
import { MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../../../lib/mbuf/layout.js';
import { Chains } from '../../../lib/mbuf/chains.js';
import { Bench } from './bench.js';
import { frame, frames, shiftedFrames, totalBytes } from './frames.js';
import { inJumboPlace, RUNS, type Place, type Subject } from './subject.js';

/** Most links let a tagged frame be so much longer. */
const VLAN_TAG = 4;

export function sending(t: Test, subject: Subject, place: Place): void {
  t.test('txBurst takes the first so many, and what it refuses stays the program\'s', t => ownership(t, subject, place));
  t.test('a count that is none, or too large', t => oddCounts(t, subject, place));
  t.test('a port that is full takes a part, keeps the order, and counts', t => partial(t, subject, place));
  t.test('frames of all lengths, anywhere in their buffers, leave whole and in order', t => wholeAndInOrder(t, subject, place));
  t.test('bursts of 1 and of 512', t => extremeBursts(t, subject, place));
  t.test('a shared mbuf goes out, and stays with its other holder', t => shared(t, subject, place));
  for (const kind of ['short', 'long'] as const) {
    if (subject.refusals[kind] !== undefined) t.test(`a frame that is too ${kind} is counted by name and not lost`, t => unsendable(t, subject, place, kind));
  }
  t.test(`a chain is ${subject.chains}`, t => chain(t, subject, place));
  if (subject.chains === 'carried' && subject.jumbo !== false) t.test('jumbo frames, of 9000 bytes of IP, leave whole', t => inJumboPlace(subject, place, place => jumbo(t, subject, place)));
}

async function ownership(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(32);
  bench.make(burst, frames(32));
  bench.balanced(32, 'before sending');
  const sent = bench.port.tx[0]!.txBurst(burst, 20);
  t.ok(sent >= 0 && sent <= 20, `took ${sent} of 20`);
  t.ok(bench.owned(burst, sent, 32), 'the rest is the program\'s');
  if (subject.handsOn !== true) for (let i = 0; i < sent; i++) t.notOk(bench.owned(burst, i, i + 1), 'what it took is not');
  bench.balanced(32 - sent, 'after sending');
  bench.pool.free(burst, sent, 32);
  bench.balanced(0, 'after freeing the rest');
}

async function oddCounts(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(4);
  const tx = bench.port.tx[0]!;
  bench.make(burst, frames(4));
  for (const none of [0, -0, -1, -(2 ** 31), -Infinity, NaN, 0.5]) {
    t.equal(tx.txBurst(burst, none), 0, `${none} frames are none`);
    t.ok(bench.owned(burst, 0, 4));
  }
  t.match(bench.stats(), { txPackets: 0, txRefused: 0 });
  bench.balanced(4, 'after sending nothing');
  const some = tx.txBurst(burst, 1.9);
  t.ok(some <= 1, 'a fraction is its whole part');
  const left = burst.keep(some, 4);
  bench.balanced(left, 'after a fraction');
  bench.pool.free(burst, 0, left);
  for (const many of [5, 2 ** 32 + 2, Infinity]) {
    bench.make(burst, frames(4));
    const sent = tx.txBurst(burst, many);
    t.ok(sent <= 4, 'never more than the burst holds');
    bench.balanced(4 - sent, `after sending ${many}`);
    bench.pool.free(burst, sent, 4);
  }
}

/** Offered without anybody at the other end until it refuses; then the other end takes, and the rest follows. */
async function partial(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(100);
  const tx = bench.port.tx[0]!;
  const all: Uint8Array[] = [];
  let left = 0;
  let refused = 0;
  for (let round = 0; round < 5 && left === 0; round++) {
    const some = frames(100, 60, round + 1);
    all.push(...some);
    bench.make(burst, some);
    const sent = tx.txBurst(burst, 100);
    left = burst.keep(sent, 100);
    refused += left;
    t.ok(bench.owned(burst, 0, left));
    bench.balanced(left, `after offering ${all.length}`);
  }
  t.equal(left > 0, subject.fills, subject.fills ? 'it fills up' : 'it takes all');
  t.ok(bench.stats().txRefused >= refused, `${refused} refusals are counted`);
  if (!subject.fills) t.equal(bench.stats().txRefused, 0);
  const out: Uint8Array[] = [];
  if (left > 0) t.equal(await bench.send(burst, left, () => { out.push(...bench.rig.departed()); }), left, 'the rest goes when there is room');
  t.match(bench.stats(), { txPackets: all.length, txBytes: totalBytes(all) });
  if (!subject.carries) return;
  out.push(...await bench.departed(all.length - out.length));
  t.same(out, all, 'all came out in order');
}

async function wholeAndInOrder(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(64);
  await fc.assert(fc.asyncProperty(shiftedFrames(bench.longest, bench.pool.room), async list => {
    await bench.reopen();
    bench.make(burst, list);
    const sent = list.map(each => each.bytes);
    deepEqual(await bench.send(burst, list.length), list.length);
    deepEqual([bench.stats().txPackets, bench.stats().txBytes], [sent.length, totalBytes(sent)]);
    bench.balanced(0, 'after sending');
    if (subject.carries) deepEqual(await bench.departed(sent.length), sent);
  }), { numRuns: RUNS });
}

async function extremeBursts(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const out: Uint8Array[] = [];
  const take = (): void => { if (bench.rig.arrive !== undefined) out.push(...bench.rig.departed()); };
  const [one, many] = [bench.burst(1), bench.burst(512)];
  for (const bytes of frames(10)) t.equal(await bench.send(one, bench.make(one, [bytes]), take), 1);
  t.equal(await bench.send(many, bench.make(many, frames(512, 70, 2)), take), 512);
  t.match(bench.stats(), { txPackets: 522, txBytes: 10 * 60 + 512 * 70 });
  if (!subject.carries) return;
  out.push(...await bench.departed(522 - out.length));
  t.same(out, [...frames(10), ...frames(512, 70, 2)]);
}

async function shared(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(1);
  const [bytes] = frames(1);
  bench.make(burst, [bytes!]);
  const handle = burst.handles[0]!;
  bench.mbufs.hold(handle);
  t.equal(await bench.send(burst, 1), 1);
  if (subject.carries) t.same(await bench.departed(1), [bytes]);
  await bench.settle();
  t.equal(bench.mbufs.refcnt(handle), 1, 'one holder is left');
  t.same(bench.mbufs.copyOut(handle), bytes, 'with the frame as it was');
  burst.handles[0] = handle;
  bench.pool.free(burst, 0, 1);
  bench.balanced(0, 'after the last holder let go');
}

/** In the middle of good ones: it is taken and dropped, or whoever sends the rest again would stand still before it for ever. */
async function unsendable(t: Test, subject: Subject, place: Place, kind: 'short' | 'long'): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const length = kind === 'short' ? subject.shortest - 1 : bench.longest + VLAN_TAG + 1;
  const burst = bench.burst(3);
  const good = frames(2);
  bench.make(burst, [good[0]!, { bytes: frame(length, 9), shift: kind === 'short' ? 0 : -256 }, good[1]!]);
  t.equal(bench.port.tx[0]!.txBurst(burst, 3), 3);
  t.equal(bench.stats().xstats[subject.refusals[kind]!], 1, 'the counter that says why');
  t.match(bench.stats(), { txPackets: 2, txBytes: totalBytes(good), txRefused: 0 });
  bench.balanced(0, 'after the refusal');
  if (subject.carries) t.same(await bench.departed(2), good, 'the good ones came out');
}

async function chain(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(3);
  const parts = [frame(60, 1), frame(300, 2), frame(31, 3)];
  bench.make(burst, parts);
  link(bench, [...burst.handles]);
  const sent = bench.port.tx[0]!.txBurst(burst, 1);
  if (subject.chains === 'carried') {
    t.equal(sent, 1);
    t.match(bench.stats(), { txPackets: 1, txBytes: 391 });
    if (subject.carries) t.same((await bench.departed(1)).map(each => each.length), [391]);
  } else {
    t.equal(sent, 1, 'taken, and dropped');
    t.match(bench.stats(), { txPackets: 0, txBytes: 0 });
    t.equal(bench.stats().xstats[subject.refusals.chain!], 1, 'the counter that says why');
  }
  bench.balanced(0, 'all segments are back');
}

async function jumbo(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const chains = new Chains(bench.pool);
  const burst = bench.burst(4);
  const sent = [9014, 9001, 1800, 9014].map((length, i) => frame(length, i));
  t.equal(bench.pool.alloc(burst, 4), 4);
  sent.forEach((bytes, i) => t.ok(chains.copyIn(burst.handles[i]!, bytes)));
  t.equal(await bench.send(burst, 4), 4);
  t.match(bench.stats(), { txPackets: 4, txBytes: totalBytes(sent) });
  if (subject.carries) deepEqual(await bench.departed(4), sent);
  await bench.settle();
  bench.balanced(0, 'all segments are back');
  chains.close();
}

/** One packet of the mbufs, in order. */
function link(bench: Bench, handles: readonly number[]): void {
  const { mbufs } = bench;
  const head = mbufs.header(handles[0]!);
  mbufs.u16[(head + MBUF_NB_SEGS) >>> 1] = handles.length;
  mbufs.u32[(head + MBUF_PKT_LEN) >>> 2] = handles.reduce((sum, handle) => sum + mbufs.dataLen(handle), 0);
  for (let i = 0; i + 1 < handles.length; i++) mbufs.u32[(mbufs.header(handles[i]!) + MBUF_NEXT) >>> 2] = handles[i + 1]!;
}

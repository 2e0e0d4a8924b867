import { deepEqual } from 'node:assert/strict';
import fc from 'fast-check';
import type { Test } from 'tap';
import { MBUF_NEXT, OWNER_APP, OWNER_SHIFT } from '../../../lib/mbuf/layout.js';
import type { Port } from '../../../lib/port/port.js';
import { Bench, until } from './bench.js';
import { copyWhole, frame, frames, shiftedFrames, totalBytes } from './frames.js';
import { inJumboPlace, RUNS, type Place, type Subject } from './subject.js';

export function receiving(t: Test, subject: Subject, place: Place): void {
  t.test('rxBurst fills at most what it may, and nothing behind it', t => atMost(t, subject, place));
  t.test('a maximum that is none, or too large', t => oddMaxima(t, subject, place));
  t.test('what was received is the program\'s, and plain', t => receivedHeaders(t, subject, place));
  t.test('bursts of 1 and of 512', t => extremeBursts(t, subject, place));
  t.test('a pool that runs dry is counted, and received from again', t => dryPool(t, subject, place));
  if (!subject.carries) return;
  t.test('nothing to receive is 0, and no counter moves', t => silence(t, subject, place));
  t.test('frames of all lengths arrive whole and in order', t => wholeAndInOrder(t, subject, place));
  if (subject.chains === 'carried' && subject.jumbo !== false && subject.jumboReceived !== false) {
    t.test('jumbo frames arrive whole, as chains, between others', t => inJumboPlace(subject, place, place => jumbo(t, subject, place)));
  }
}

async function atMost(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { incoming: frames(100) });
  const burst = bench.burst(9);
  const behind = (burst.offset >>> 2) + 9; // a zone is whole cache lines, so these words are nobody's
  bench.arena.u32.fill(0xdeadbeef, behind, behind + 7);
  let received = 0;
  await until(() => {
    const wanted = [1, 2, 9][received % 3]!;
    const got = bench.port.rx[0]!.rxBurst(burst, wanted);
    if (got > wanted || got < 0) t.fail(`${got} for at most ${wanted}`);
    if (!bench.owned(burst, 0, got)) t.fail('what was received is not the program\'s');
    bench.pool.free(burst, 0, got);
    received += got;
    return received >= 99;
  });
  t.ok(received >= 99, `received ${received}`);
  t.ok(bench.port.rx[0]!.rxBurst(burst) <= 9);
  t.same([...bench.arena.u32.subarray(behind, behind + 7)], Array(7).fill(0xdeadbeef));
}

async function oddMaxima(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { incoming: frames(60) });
  const burst = bench.burst(8);
  const rx = bench.port.rx[0]!;
  for (const none of [0, -0, -1, -(2 ** 31), -Infinity, NaN, 0.5]) {
    t.equal(rx.rxBurst(burst, none), 0, `at most ${none}`);
    bench.balanced(0, `after at most ${none}`);
  }
  t.match(bench.stats(), { rxPackets: 0, rxNoMbuf: 0 });
  for (const [most, limit] of [[Infinity, 8], [2 ** 32 + 1, 8], [9, 8], [8, 8], [2.9, 2], [undefined, 8]] as const) {
    let got = 0;
    await until(() => (got = rx.rxBurst(burst, most)) > 0);
    t.ok(got > 0 && got <= limit, `at most ${most} is ${got}`);
    bench.balanced(got, `after at most ${most}`);
    bench.pool.free(burst, 0, got);
  }
}

/** What the program at the other end allocated came in by no port. */
function cameBy(subject: Subject, port: Port): number {
  return subject.handsOn === true ? 0xffff : port.number;
}

async function receivedHeaders(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { incoming: frames(32) });
  const { mbufs, port } = bench;
  const burst = bench.burst(32);
  const seen = new Set<number>();
  let got = 0;
  await until(() => (got = port.rx[0]!.rxBurst(burst)) > 0);
  t.ok(got > 0);
  for (const handle of burst.handles.subarray(0, got)) {
    seen.add(handle);
    t.equal(mbufs.owner(handle), (OWNER_APP << OWNER_SHIFT) | bench.arena.lcore);
    t.same([mbufs.refcnt(handle), mbufs.segments(handle), mbufs.poolOf(handle)], [1, 1, bench.pool.offset]);
    t.equal(mbufs.pktLen(handle), mbufs.dataLen(handle));
    t.equal(mbufs.port(handle), cameBy(subject, port), 'it says which port it came in by');
  }
  t.equal(seen.size, got, 'no mbuf twice');
  bench.balanced(got, 'while the program holds them');
  bench.pool.free(burst, 0, got);
  bench.balanced(0, 'afterwards');
}

async function extremeBursts(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { incoming: frames(100) });
  for (const capacity of [1, 512]) {
    const got = await bench.receive(50, bench.burst(capacity));
    t.equal(got.length, 50, `50 frames in bursts of ${capacity}`);
    bench.balanced(0, `after bursts of ${capacity}`);
  }
  if (subject.takesMbufs) t.equal(bench.stats().rxNoMbuf, 0);
}

/** All that is free is taken by the program: what comes then is lost by name, or waits; and afterwards all is well again. */
async function dryPool(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { mbufs: 400, incoming: frames(100) });
  const burst = bench.burst(512);
  const held = takeAll(bench);
  const came = 100 + await arrive(bench, subject.takesMbufs ? 300 : 0);
  let received = 0;
  await until(() => {
    const got = bench.port.rx[0]!.rxBurst(burst);
    held.push(...burst.handles.subarray(0, got));
    received += got;
    return subject.takesMbufs ? bench.stats().rxNoMbuf > 0 : received === came;
  });
  bench.balanced(held.length, 'while the program has all that there is');
  t.equal(bench.stats().rxNoMbuf > 0, subject.takesMbufs, 'rxNoMbuf says so');
  freeAll(bench, held);
  const waiting = bench.port.rx[0]!.rxBurst(burst); // a port that keeps its device in mbufs gives it some here
  bench.pool.free(burst, 0, waiting);
  received += waiting;
  const sent = came + await arrive(bench, 20);
  const lost = (): number => subject.losses.reduce((sum, name) => sum + bench.stats().xstats[name]!, 0);
  await until(() => {
    const got = bench.port.rx[0]!.rxBurst(burst);
    bench.pool.free(burst, 0, got);
    received += got;
    return subject.carries && subject.uncounted === undefined ? received + lost() === sent : got > 0;
  });
  bench.balanced(0, 'afterwards');
  if (subject.uncounted !== undefined) t.comment(subject.uncounted);
  else if (subject.carries) t.equal(received + lost(), sent, `of ${sent} frames ${received} were received, and the others are counted as lost`);
}

async function jumbo(t: Test, subject: Subject, place: Place): Promise<void> {
  const incoming = [9014, 60, 1792, 1793, 3585, 9014, 9013, 61].map(frame);
  for (const most of [1, 3, 32]) {
    const bench = await Bench.open(t, subject, place, { incoming });
    const burst = bench.burst(most);
    const list: Uint8Array[] = [];
    await until(() => {
      const got = bench.port.rx[0]!.rxBurst(burst);
      for (const handle of burst.handles.subarray(0, got)) list.push(expectChain(t, bench, handle, cameBy(subject, bench.port)));
      bench.balanced(Array.from(burst.handles.subarray(0, got)).reduce((sum, handle) => sum + bench.mbufs.segments(handle), 0), 'while the program holds them');
      bench.pool.free(burst, 0, got);
      return list.length >= incoming.length;
    });
    deepEqual(list, incoming);
    t.match(bench.stats(), { rxPackets: incoming.length, rxBytes: totalBytes(incoming) });
    bench.balanced(0, 'all segments are back');
    bench.close();
  }
}

/** Each segment is the program's and says so much of itself; the first says of all. Returns the frame's bytes. */
function expectChain(t: Test, { mbufs, arena, pool }: Bench, first: number, port: number): Uint8Array {
  const bytes = copyWhole(mbufs, first);
  t.equal(mbufs.pktLen(first), bytes.length);
  t.equal(mbufs.port(first), port);
  let segments = 0;
  for (let handle = first; handle !== 0; handle = mbufs.u32[(mbufs.header(handle) + MBUF_NEXT) >>> 2]!, segments++) {
    t.same([mbufs.owner(handle), mbufs.refcnt(handle), mbufs.poolOf(handle)], [(OWNER_APP << OWNER_SHIFT) | arena.lcore, 1, pool.offset]);
  }
  t.equal(mbufs.segments(first), segments);
  t.equal(segments, Math.ceil(bytes.length / pool.room), 'no more segments than it takes');
  return bytes;
}

async function arrive(bench: Bench, count: number): Promise<number> {
  if (bench.rig.arrive === undefined) return 0;
  await bench.rig.arrive(frames(count, 60, 2));
  return count;
}

export function takeAll(bench: Bench): number[] {
  const burst = bench.burst(1);
  const held: number[] = [];
  while (bench.pool.alloc(burst, 1) === 1) held.push(burst.handles[0]!);
  return held;
}

export function freeAll(bench: Bench, handles: readonly number[]): void {
  const burst = bench.burst(1);
  for (const handle of handles) {
    burst.handles[0] = handle;
    bench.pool.free(burst, 0, 1);
  }
}

async function silence(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(32);
  for (let i = 0; i < 100; i++) t.equal(bench.port.rx[0]!.rxBurst(burst), 0);
  t.match(bench.stats(), { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, rxNoMbuf: 0, txRefused: 0 });
  bench.balanced(0, 'after listening');
}

async function wholeAndInOrder(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(16);
  await fc.assert(fc.asyncProperty(shiftedFrames(bench.longest, bench.pool.room), async list => {
    const sent = list.map(each => each.bytes);
    await bench.reopen(sent);
    const got = await bench.receive(sent.length, burst);
    deepEqual(got, sent);
    deepEqual([bench.stats().rxPackets, bench.stats().rxBytes], [sent.length, totalBytes(sent)]);
    bench.balanced(0, 'after receiving');
  }), { numRuns: RUNS });
}

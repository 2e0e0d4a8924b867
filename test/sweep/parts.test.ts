/** The parts of a sweep that need no link: the timer of round trips, the plan of runs, the choice of CPUs. */
import fc from 'fast-check';
import t from 'tap';
import { burstsPerTurn } from '../../lib/sweep/control.js';
import { buildFrame } from '../../lib/sweep/frame.js';
import { Estimate, GRIDS, plannedRuns } from '../../lib/sweep/grid.js';
import { SWEEP_PATHS, twoCpus } from '../../lib/sweep/plans.js';
import { RoundTripTimer } from '../../lib/sweep/round_trips.js';
import { nanoseconds } from '../../lib/sweep/thread.js';

t.test('round trips: the percentiles are those of the values, to three digits', async () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 5_000_000_000 }), { minLength: 1, maxLength: 300 }), (values) => {
    const timer = new RoundTripTimer();
    timer.reset();
    timer.begin();
    const sent = nanoseconds();
    for (const value of values) timer.time(sent, sent + value);
    timer.end();
    const sorted = [...values].sort((a, b) => a - b);
    const exact = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
    const { p50, p99, p999, samples, returned } = timer.read();
    const close = (a: number, b: number): boolean => Math.abs(a - b) <= 2 + b * 0.002;
    return samples === values.length && returned === values.length && close(p50, exact(0.5)) && close(p99, exact(0.99)) && close(p999, exact(0.999));
  }), { numRuns: 40 });
});

t.test('round trips: timed is what was sent in the measured part, back is what was sent in the run, and neither is what has no clock of ours', async (t) => {
  const timer = new RoundTripTimer();
  const stale = nanoseconds() - 1;
  timer.reset();
  const early = nanoseconds();
  timer.begin();
  const during = nanoseconds();
  timer.end();
  const late = nanoseconds();
  for (const sent of [stale, 0, NaN, -Infinity, late + 1e9]) timer.time(sent, late);
  t.match(timer.read(), { samples: 0, returned: 0 });
  for (const sent of [early - 0, during, late]) timer.time(sent, late + 1000);
  t.match(timer.read(), { samples: 1, returned: 3 });
  timer.time(during, during + 1e12);
  t.ok(timer.read().p999 <= 1.01e10, 'longer than the histogram is as long as it is');
  timer.reset();
  t.match(timer.read(), { samples: 0, returned: 0 }, 'and begins anew');
});

t.test('a plan: whole rounds, in which the paths take turns; each cell as often as there are rounds', async (t) => {
  const runs = plannedRuns(GRIDS.usual, SWEEP_PATHS);
  const { bursts, frames, rounds, latencyBursts, latencyFrames } = GRIDS.usual;
  const perRound = bursts.length * frames.length * 6 + latencyBursts.length * latencyFrames.length * 5;
  t.equal(runs.length, rounds * perRound);
  t.same(runs.slice(0, perRound), runs.slice(perRound, 2 * perRound));
  t.same(runs.slice(0, 6).map(({ path }) => path), SWEEP_PATHS);
  t.ok(new Estimate(runs.length, GRIDS.usual).left(0) < 90, 'the usual one is planned to end within 90 s');
  t.ok(new Estimate(plannedRuns(GRIDS.quick, SWEEP_PATHS).length, GRIDS.quick).left(0) < 20, 'and the quick one within 20');
  t.equal(plannedRuns({ ...GRIDS.usual, latencyRate: 0 }, SWEEP_PATHS).filter(({ rate }) => rate !== undefined).length, 0);
});

t.test('an estimate follows what the runs take; a round that would end after the limit is not begun', async (t) => {
  let now = 100;
  const grid = { ...GRIDS.usual, rounds: 3, limit: 20 };
  const estimate = new Estimate(30, grid, () => now);
  t.equal(estimate.exceeds(0), false, 'the first round is');
  now = 105;
  t.equal(estimate.left(10), 10, '0.5 s a run');
  t.equal(estimate.exceeds(10), false);
  now = 111;
  t.equal(estimate.exceeds(10), true, 'another 11 s would be 22');
  t.equal(estimate.exceeds(11), false, 'one that was begun is ended');
  t.equal(new Estimate(30, { ...GRIDS.full, rounds: 3 }, () => now).exceeds(10), false, 'without a limit never');
});

t.test('a turn is about as many packets for every burst', async () => {
  for (let burst = 1; burst <= 512; burst++) {
    const turns = burstsPerTurn(burst);
    if (!Number.isInteger(turns) || turns < 1 || turns > 16 || turns * burst > 512) throw new Error(`burst ${burst}: ${turns} a turn`);
  }
});

t.test('two CPUs where there are two', async (t) => {
  t.same(twoCpus([3]), [3, 3]);
  t.same(twoCpus([]), [0, 0]);
  const [first, second] = twoCpus([900, 901]);
  t.same([first, second], [900, 901], 'CPUs that this machine does not have are cores of their own');
});

t.test('the frame: lengths and the header checksum (RFC 791, RFC 1071)', async () => {
  const ends = { from: { mac: '02:00:00:00:00:0a', ip: '10.77.0.1' }, to: { mac: '02:00:00:00:00:0b', ip: '10.77.0.2' } };
  fc.assert(fc.property(fc.integer({ min: 64, max: 1518 }), (size) => {
    const frame = buildFrame(ends, size);
    const view = new DataView(frame.buffer);
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    return frame.length === size - 4 && view.getUint16(16) === size - 18 && view.getUint16(38) === size - 38 && sum === 0xffff && frame[5] === 0x0b && frame[11] === 0x0a;
  }));
});

import { readdirSync } from 'node:fs';
import t from 'tap';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import { GRIDS, type SweepGrid } from '../../lib/sweep/grid.js';
import { parseSweepResult, type MeasuredCell, type SweepResult } from '../../lib/sweep/results.js';
import { SWEEP_PATHS } from '../../lib/sweep/plans.js';
import { sweep, type SweepProgress } from '../../lib/sweep/sweep.js';
import { needs } from '../kernel/rights.js';
import { checkPath, measuredCells, TINY } from './tiny.js';

const native = { skip: tryBinding() instanceof PollmodeError && 'the native addon is not built' };
const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** Calls per packet of the cells of a path and direction, by burst, in the round that the machine disturbed least. */
function calls(result: SweepResult, path: string, direction: string): Map<number, number> {
  return new Map(measuredCells(result, path).filter((cell) => cell.direction === direction).map((cell: MeasuredCell) => [cell.burst, cell.syscalls!.min]));
}

t.test('every path, over a real link: what is sent, received and lost adds up; calls are counted', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF', 'CAP_PERFMON'), async (t) => {
  let seen: SweepProgress[] = [];
  const timed = SWEEP_PATHS.filter((path) => path !== 'memory null').flatMap((path) => [`${path} 1`, `${path} 32`]).sort();
  let result: SweepResult;
  // With longer measured parts until there are round trips of each: on a busy machine none may fall into a short one.
  for (let seconds = TINY.seconds; ; seconds *= 4) {
    seen = [];
    result = await sweep({ ...TINY, seconds, paths: SWEEP_PATHS, xdp: '', progress: (at) => seen.push(at) });
    if (result.latency.length >= timed.length) break;
  }
  t.same(parseSweepResult(JSON.parse(JSON.stringify(result))), result, 'it is a result that the reader takes');
  for (const path of SWEEP_PATHS) checkPath(t, result, path);

  for (const [burst, each] of calls(result, 'raw socket', 'send')) t.ok(each >= 1 && each < 1.1, `a raw socket makes one for each packet, and some that are refused: ${each} at burst ${burst}`);
  for (const [burst, each] of calls(result, 'dgram', 'send')) t.ok(each >= 1, `dgram makes at least one: ${each} at burst ${burst}`);
  for (const path of ['af_xdp', 'af_packet ring']) {
    for (const [burst, each] of calls(result, path, 'send')) t.ok(each > 0 && each <= 1.5 / burst, `${path} makes about one for a burst of ${burst}: ${each}`);
  }
  for (const path of ['memory ring', 'memory null']) for (const [burst, each] of calls(result, path, 'send')) t.ok(each < 0.5, `${path} makes next to none: ${each} at burst ${burst}`);
  for (const cell of result.cells) if (cell.status === 'measured') t.ok(cell.userNs!.median + cell.systemNs!.median > 0, `${cell.path} took CPU time`);

  t.same(result.latency.map(({ path, burst }) => `${path} ${burst}`).sort(), timed);
  for (const { path, p50, p99, p999, samples, sent, returned } of result.latency) {
    t.ok(0 < p50.median && p50.median <= p99.median && p99.median <= p999.median, `${path}: percentiles rise`);
    t.ok(0 < samples && samples <= returned && returned <= sent, `${path}: ${samples} timed, ${returned} back, ${sent} sent`);
  }
  t.same([result.header.link, result.header.mode.includes('copy')], ['veth pair between two network namespaces', true]);
  const total = 2 * (6 * 2 + 5 * 2);
  t.same(seen.map(({ done, total }) => [done, total]), Array.from({ length: total }, (_, done) => [done, total]), 'progress told of each run');
  t.ok(seen.every(({ secondsLeft }) => secondsLeft > 0));
});

t.test('memory ports lose nothing, at any frame size, and leave nothing behind', native, async (t) => {
  const grid: SweepGrid = { ...TINY, frames: [64, 1518], bursts: [1, 7, 512], latencyRate: 0 };
  await sweep({ ...grid, bursts: [1], paths: ['memory ring'], xdp: '' }); // what is opened once stays open
  const before = descriptors();
  const result = await sweep({ ...grid, paths: ['memory ring', 'memory null'], xdp: '' });
  t.equal(descriptors(), before, 'no descriptor is left');
  for (const path of ['memory ring', 'memory null']) {
    checkPath(t, result, path, grid);
    for (const cell of measuredCells(result, path)) t.equal(cell.received, cell.sent);
  }
  t.same([result.latency, result.header.link, result.header.mode, result.header.needWakeup], [[], 'none: memory only', 'none', null]);
});

t.test('what cannot be opened is in the result, with its reason', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW'), async (t) => {
  const before = descriptors();
  const result = await sweep({ ...TINY, bursts: [1], paths: ['af_xdp', 'memory ring'], xdp: 'queue=5', latencyRate: 0 });
  t.match(result.cells.filter((cell) => cell.path === 'af_xdp'), [{ status: 'missing', reason: /1 receive queue/ }, { status: 'missing' }]);
  t.equal(measuredCells(result, 'memory ring').length, 2, 'the others are measured');
  t.ok(descriptors() <= before + 1, 'and no descriptor is left');
});

t.test('stopped: what was measured is kept, the rest says why it is not there', native, async (t) => {
  const stop = new AbortController();
  const result = await sweep({ ...TINY, bursts: [1, 8, 32], paths: ['memory ring'], xdp: '', signal: stop.signal, progress: ({ done }) => { if (done === 1) stop.abort(); } });
  t.same(result.cells.map(({ burst, status }) => [burst, status]), [[1, 'measured'], [1, 'measured'], [8, 'measured'], [8, 'measured'], [32, 'missing'], [32, 'missing']]);
  t.match(result.cells.at(-1), { reason: /stopped before this cell/ });
  t.match(result.header.notes[0], /stopped after 2 of 10 runs/);
  t.same(measuredCells(result, 'memory ring').map((cell) => cell.packetsPerSecond.rounds.length), [1, 1, 1, 1], 'with the rounds that there are');
});

t.test('the grids hold what they promise', async (t) => {
  for (const name of ['usual', 'full'] as const) t.ok(GRIDS[name].rounds * GRIDS[name].seconds >= 0.5, `${name}: each cell for half a second`);
  t.same([GRIDS.full.bursts.at(-1), GRIDS.full.frames, GRIDS.full.latencyBursts], [512, [64, 512, 1518], GRIDS.full.bursts]);
});

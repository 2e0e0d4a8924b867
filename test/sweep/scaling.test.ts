/** Queues × lcores × idle policy: measured for real, read back, and shown. */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { scalingCsv } from '../../lib/sweep/csv.js';
import { parseSweepResult, POLICIES, sweepResult, type ScalingCell, type SweepResult } from '../../lib/sweep/results.js';
import { sweepReport } from '../../lib/sweep/report.js';
import { scalingShapes, type ScalingGrid } from '../../lib/sweep/scaling.js';
import { spread } from '../../lib/sweep/statistics.js';
import { sweep, type SweepProgress } from '../../lib/sweep/sweep.js';
import { sweepTables } from '../../lib/sweep/table.js';
import { mpps } from '../../lib/sweep/text.js';
import { needs } from '../kernel/rights.js';
import { exampleResult } from './example.js';
import { parseHtml } from './html.js';
import { TINY } from './tiny.js';

const GRID: ScalingGrid = { queues: [1, 2], lcores: [1, 2], policies: ['busy', 'interrupt'], rounds: 2, seconds: 0.05, warmUp: 0.02, rate: 5000 };
const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** A made-up result: nothing was measured, and one cell had no packet timed. */
function example(): SweepResult {
  const { header, cells, latency } = exampleResult();
  const scaling = scalingShapes({ ...GRID, policies: POLICIES }).map((shape, i): ScalingCell => ({
    ...shape, packetsPerSecond: spread([1e6 + i * 12_345, 1.1e6]), offered: 10_000, cpu: spread([0.1 * (i + 1), 0.3]),
    p50: i === 3 ? null : spread([4000 + i, 5000]), p99: i === 3 ? null : spread([40_000 + i, 90_000]),
  }));
  return sweepResult(header, cells, latency, scaling);
}

t.test('a queue has one lcore', async t => {
  t.same(scalingShapes({ ...GRID, policies: ['busy'], lcores: [1, 2, 4], queues: [1, 2] }).map(({ queues, lcores }) => [queues, lcores]), [[1, 1], [2, 1], [2, 2]]);
});

t.test('measured on a link of its own', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  const grid = { ...TINY, bursts: [32], rounds: 1, latencyRate: 0, paths: ['af_xdp'] as const, xdp: 'rx_ring=512,tx_ring=512' };
  await sweep(grid); // what is opened once stays open
  const before = descriptors();
  let seen: SweepProgress[] = [];
  let result: SweepResult;
  // With longer measured parts until packets came and were timed in each: on a busy machine a thread may have nothing of a short one.
  for (let seconds = GRID.seconds; ; seconds *= 4) {
    seen = [];
    result = await sweep({ ...grid, scaling: { ...GRID, seconds }, progress: at => seen.push(at) });
    if (result.scaling.every(({ packetsPerSecond, p50 }) => packetsPerSecond.max > 0 && p50 !== null)) break;
  }
  t.ok(descriptors() <= before, 'no descriptor is left');
  t.same(result.scaling.map(({ queues, lcores, policy }) => [queues, lcores, policy]), scalingShapes(GRID).map(({ queues, lcores, policy }) => [queues, lcores, policy]));
  for (const { queues, lcores, policy, packetsPerSecond, cpu, p50, p99, offered } of result.scaling) {
    const where = `${queues} queues, ${lcores} lcores, ${policy}`;
    t.ok(packetsPerSecond.max > 0, `${where}: ${packetsPerSecond.median} packets/s`);
    // Between the two clocks of a round others may have the CPU for a while: the round with less of that counts.
    t.ok(cpu.max > 0 && cpu.min < lcores * 1.2, `${where}: ${cpu.min} to ${cpu.max} CPUs`);
    t.ok(p50 !== null && p99 !== null && 0 < p50.median && p50.median <= p99.median, `${where}: percentiles rise`);
    t.same([packetsPerSecond.rounds.length, offered], [2, 5000]);
  }
  t.same(parseSweepResult(JSON.parse(JSON.stringify(result))), result, 'it is a result that the reader takes');
  t.equal(seen.filter(({ what }) => what.includes('lcores')).length, 2 * scalingShapes(GRID).length, 'progress told of each');
  const none = await sweep({ ...grid, scaling: GRID, paths: ['memory ring'] });
  t.same(none.scaling, [], 'without AF_XDP there is none');
});

t.test('in the tables, the CSV and the report, every figure', async t => {
  const result = example();
  const text = sweepTables(result, { width: 100, colour: false });
  const page = parseHtml(sweepReport(result));
  const csv = scalingCsv(result).trimEnd().split('\r\n');
  t.equal(csv.length, 1 + result.scaling.length);
  for (const [index, { queues, lcores, policy, packetsPerSecond, p50, p99 }] of result.scaling.entries()) {
    t.match(text, new RegExp(`^ *${queues} × ${lcores} ${policy} +${mpps(packetsPerSecond.median).replace('.', '\\.')} `, 'm'));
    t.ok(page.text.includes(mpps(packetsPerSecond.max)));
    t.match(csv[index + 1], new RegExp(`^${queues},${lcores},${policy},${packetsPerSecond.median},`));
    t.equal(csv[index + 1]!.endsWith(p99 === null ? ',,,,,,' : `,${p99.max}`), true, p50 === null ? 'what was not timed is empty' : 'and what was is there');
  }
  const bars = page.elements.filter(({ name, attributes }) => name === 'rect' && attributes.has('fill'));
  t.equal(bars.length, POLICIES.length + 3 * result.scaling.length - 1, 'a bar for each cell in each of three panels, and the legend');
  for (const policy of POLICIES) t.ok(page.text.includes(`${policy[0]!} = ${policy}: `), 'the letters are explained');
  t.notMatch(page.text, /log scale\)/, 'bars begin at 0');
  const apart = sweepResult(result.header, [], [], result.scaling.map((cell, index) => ({ ...cell, p99: spread([index === 0 ? 1e7 : 2e4]) })));
  const logarithmic = parseHtml(sweepReport(apart));
  t.match(logarithmic.text, /µs one way, p99,[^(]*\(log scale\)/);
  t.equal(logarithmic.elements.filter(({ name }) => name === 'circle').length, result.scaling.length, 'and where they cannot, there are dots, whose place alone counts');
  t.notMatch(sweepReport(exampleResult()), /id="scaling"/, 'none of it where it was not measured');
});

t.test('a file is believed no further than it can be', async t => {
  const file = JSON.parse(JSON.stringify(example())) as { scaling?: Record<string, unknown>[] };
  const [first] = file.scaling!;
  for (const change of [{ policy: 'nap' }, { queues: 0 }, { lcores: 257 }, { packetsPerSecond: null }, { p99: { rounds: [] } }, { cpu: { rounds: [-1] } }]) {
    t.throws(() => parseSweepResult({ ...file, scaling: [{ ...first, ...change }] }), { code: 'EFORMAT' }, JSON.stringify(change));
  }
  t.throws(() => parseSweepResult({ ...file, scaling: [first, first] }), { code: 'EFORMAT' }, 'two at one place');
  t.throws(() => parseSweepResult({ ...file, scaling: Array.from({ length: 65 }, (_, i) => ({ ...first, queues: i + 1 })) }), { code: 'EFORMAT' }, 'more shapes than a page can show');
  t.throws(() => parseSweepResult({ ...file, scaling: {} }), { code: 'EFORMAT' });
  delete file.scaling;
  t.same(parseSweepResult(file).scaling, [], 'an older file has none');
});

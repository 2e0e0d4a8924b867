/**
 * What does steering cost per packet as flows and table entries grow? Two curves: flows from 1 to 1 million over a table
 * of 2^20 buckets (RFS), and a redirection table of 2 to 512 entries with 65536 flows (RPS). Each point is distribution
 * and draining by one thread, less what the loop that makes the packets costs by itself; beside it stands how much of
 * the table is touched, and which cache that fits in. Each knee, a step of more than 5 %, is named with its reason below
 * its curve: one flow has one worker, so its bursts are handed over once instead of twice; then the cost is flat for as
 * long as the touched part fits in L2, and rises as less and less of it does. A step without such a reason says so.
 *
 *   node dist/bench/steering_curves.js [--seconds 0.5] [--rounds 3] [--cpu N] [--json] [--svg FILE]
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Arena } from '../lib/arena/arena.js';
import type { Burst } from '../lib/burst/burst.js';
import { MBUF_OL_FLAGS } from '../lib/mbuf/layout.js';
import { Mempool } from '../lib/mbuf/mempool.js';
import { BUCKET_BYTES } from '../lib/rss/layout.js';
import { Steering } from '../lib/rss/steering.js';
import { linearAxis } from '../lib/sweep/axis.js';
import { median } from '../lib/sweep/statistics.js';
import { benchOptions } from './options.js';
import { cyclesPerSecond, pin } from './ours/common.js';

const BURST = 32;
/** Few, so that headers, frames and hash tables stand in the first-level cache and the table is what grows. */
const PACKETS = 256;
const WORKERS = 2;
const TURN = 20;
const LINE = 64;
/** Smaller steps are noise. */
const KNEE = 0.05;

interface Cache { readonly name: string; readonly bytes: number }
interface Point { readonly x: number; readonly cycles: number; readonly touched: number; readonly fits: string }
interface Curve { readonly title: string; readonly axis: string; readonly points: readonly Point[] }

const values = benchOptions({
  what: 'Cycles per packet of steering as flows grow to a million, and entries of the table to 512; where a step is, and why.',
  against: 'nobody; what making the packets costs is taken off. `node dist/bench/rps.js` races C',
  options: {
    seconds: { value: 'S', default: '0.5', help: 'of each measurement' }, rounds: { value: 'N', default: '3', help: 'figures are medians' }, cpu: { value: 'N', default: String(cpus().length - 1), help: 'the CPU to be on' },
    json: { help: 'the figures as JSON' }, svg: { value: 'FILE', help: 'draws the curves into it' },
  },
});
pin(Number(values.cpu));
const caches = readCaches();
const arena = Arena.create();
const pool = Mempool.create(arena, 'pool', { count: PACKETS });
const handles = makePackets(pool);
const cyclesPerNanosecond = cyclesPerSecond() / 1e9;

const curves: Curve[] = [
  { title: 'Flows, in a table of 1,048,576 buckets', axis: 'flows', points: [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576].map(flows => point(flows, 1 << 20, flows)) },
  { title: 'Entries of the table, 65,536 flows', axis: 'entries', points: [2, 4, 8, 16, 32, 64, 128, 256, 512].map(entries => point(65536, entries, entries)) },
];
if (values.svg !== undefined) writeFileSync(values.svg, svg());
process.stdout.write(values.json ? `${JSON.stringify({ caches, curves, knees: curves.map(kneesOf) }, null, 2)}\n` : text());

function point(flows: number, buckets: number, x: number): Point {
  const steering = Steering.create(pool, 'curve', { workers: WORKERS, buckets, ringSize: 256 });
  const [side, workers, burst] = [steering.distributor(), [steering.worker(0), steering.worker(1)], pool.burst(BURST)];
  let packets = 0;
  const choose = chooser(flows);
  const empty = (): void => { packets = prepare(burst, packets, choose); };
  const whole = (): void => {
    packets = prepare(burst, packets, choose);
    side.distribute(burst, BURST);
    for (let worker = 0; worker < WORKERS; worker++) while (workers[worker].rxBurst(burst) > 0);
  };
  const rounds = Array.from({ length: Number(values.rounds) }, () => cost(whole) - cost(empty));
  const lines = Math.max(1, buckets * BUCKET_BYTES / LINE);
  // Flows fall into the table's lines at random: so many of them are hit by at least one.
  const touched = lines * (1 - (1 - 1 / lines) ** flows) * LINE;
  side.release();
  burst.close();
  steering.close(pool);
  return { x, cycles: median(rounds), touched, fits: caches.find(({ bytes }) => touched <= bytes)?.name ?? 'memory' };
}

/** Cycles per packet: the median of many short slices, the first eighth for warming up. */
function cost(body: () => void): number {
  const slices: number[] = [];
  for (const until = performance.now() + Number(values.seconds) * 1000; performance.now() < until;) {
    const start = performance.now();
    for (let turn = 0; turn < TURN; turn++) body();
    slices.push((performance.now() - start) * 1e6 / TURN / BURST);
  }
  return median(slices.slice(slices.length >> 3)) * cyclesPerNanosecond;
}

/** A flow at random, as the word that becomes its source address. */
function chooser(flows: number): () => number {
  let state = 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % flows;
  };
}

/** The next packets, each of some flow and without a hash, as a receive would leave them. */
function prepare(burst: Burst, packets: number, choose: () => number): number {
  const { u32, table } = arena;
  for (let i = 0; i < BURST; i++) {
    const handle = handles[(packets + i) % PACKETS];
    burst.handles[i] = handle;
    u32[(table + (handle << 6) + MBUF_OL_FLAGS) >>> 2] = 0;
    u32[((handle << 11) + 256 + 28) >>> 2] = Math.imul(choose(), 0x9e3779b1); // 2 bytes of source, 2 of destination address
  }
  return packets + BURST;
}

function makePackets({ mbufs }: Mempool): Uint32Array {
  const burst = pool.burst(BURST);
  const frame = new Uint8Array(60);
  frame.set([0x08, 0x00, 0x45], 12);
  frame.set([17, 0, 0, 10, 1, 0, 0, 10, 2, 0, 1, 4, 0, 0, 53], 23);
  const made: number[] = [];
  while (made.length < PACKETS) {
    pool.alloc(burst, BURST);
    for (const handle of burst.handles) mbufs.copyIn(handle, frame);
    made.push(...burst.handles);
  }
  burst.close();
  return Uint32Array.from(made);
}

/** Data caches, the smallest first: from sysfs, or where a virtual machine has none there, from getconf. */
function readCaches(): Cache[] {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  const found = existsSync(folder) ? readdirSync(folder).filter(name => name.startsWith('index')).map(name => {
    const read = (file: string): string => readFileSync(join(folder, name, file), 'utf8').trim();
    return { name: `L${read('level')}`, bytes: parseInt(read('size'), 10) * 1024, type: read('type') };
  }).filter(({ type }) => type !== 'Instruction') : [['L1', 'LEVEL1_DCACHE_SIZE'], ['L2', 'LEVEL2_CACHE_SIZE'], ['L3', 'LEVEL3_CACHE_SIZE']].map(([name, variable]) => (
    { name, bytes: Number(execFileSync('getconf', [variable], { encoding: 'utf8' })) }
  ));
  return found.filter(({ bytes }) => bytes > 0).map(({ name, bytes }) => ({ name, bytes })).sort((a, b) => a.bytes - b.bytes);
}

function text(): string {
  const sizes = caches.map(({ name, bytes }) => `${name} ${kib(bytes)}`).join(', ');
  const table = ({ title, axis, points }: Curve): string => [title, `${axis.padStart(9)}  cycles/packet  table touched  fits in`, ...points.map(({ x, cycles, touched, fits }) => (
    `${String(x).padStart(9)}  ${cycles.toFixed(1).padStart(13)}  ${kib(touched).padStart(13)}  ${fits}`
  ))].join('\n');
  const knees = (curve: Curve): string => [`Knees of more than ${KNEE * 100} %:`, ...kneesOf(curve)].join('\n  ');
  return `Steering, ${WORKERS} workers, bursts of ${BURST}; ${cpus()[0].model}, ${sizes}\n\n${curves.map(curve => `${table(curve)}\n${knees(curve)}`).join('\n\n')}\n`;
}

/** A sentence for each step, with what explains it. */
function kneesOf({ axis, points }: Curve): string[] {
  const steps = points.slice(1).map((point, i) => ({ before: points[i], point, part: point.cycles / points[i].cycles - 1 }));
  const found = steps.filter(({ part }) => Math.abs(part) > KNEE).map(({ before, point, part }) => (
    `${before.x} to ${point.x} ${axis}, ${part > 0 ? '+' : ''}${(part * 100).toFixed(0)} %: ${reason(axis, before, point)}`
  ));
  return found.length === 0 ? ['none: all of the table that is touched stays in one cache'] : found;
}

function reason(axis: string, before: Point, point: Point): string {
  if (axis === 'flows' && before.x === 1) return 'one flow has one worker, and a burst of it is handed over in one piece; from now on in one for each worker';
  if (before.fits !== point.fits) return `what is touched of the table (${kib(point.touched)}) no longer fits in ${before.fits}`;
  const outgrown = caches.filter(({ bytes }) => bytes < before.touched).at(-1);
  if (outgrown !== undefined && point.touched > before.touched) return `${kib(point.touched)} are touched, and of them ${outgrown.name} holds ${(outgrown.bytes / point.touched * 100).toFixed(0)} % at most, after ${(outgrown.bytes / before.touched * 100).toFixed(0)} %`;
  return 'NOT EXPLAINED by the size of a cache';
}

function kib(bytes: number): string {
  return bytes < 1024 ? `${Math.round(bytes)} B` : bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

/** Both curves side by side, cycles over log2 of x; a dashed line where the table outgrows a cache. */
function svg(): string {
  const y = linearAxis(Math.max(...curves.flatMap(({ points }) => points.map(({ cycles }) => cycles))));
  const panels = curves.map((curve, i) => panel(curve, 60 + i * 400, y.place, y.ticks));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 320" width="820" height="320" role="img"><title>Steering: cycles per packet</title>
<style>text{font:12px system-ui,sans-serif;fill:#3d444d}.page{fill:#fff}.grid{stroke:#d8dce1}.knee{stroke:#9a6700;stroke-dasharray:4 3}.line{fill:none;stroke:#0969da;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.page{fill:#0d1117}.grid{stroke:#30363d}}</style>
<rect class="page" width="820" height="320" rx="6"/>${panels.join('\n')}</svg>
`;
}

function panel({ title, axis, points }: Curve, left: number, place: (value: number) => number, ticks: readonly number[]): string {
  const span = Math.log2(points.at(-1)!.x / points[0].x);
  const x = (value: number): number => left + Math.log2(value / points[0].x) / span * 320;
  const height = (value: number): number => 260 - place(value) * 210;
  const grid = ticks.map(tick => `<path class="grid" d="M${left} ${height(tick)}h320"/><text x="${left - 6}" y="${height(tick) + 4}" text-anchor="end">${tick}</text>`);
  const labels = points.filter((_, i) => i % 2 === 0).map(each => `<text x="${x(each.x)}" y="278" text-anchor="middle">${each.x >= 1 << 20 ? '1M' : each.x >= 1024 ? `${each.x / 1024}k` : each.x}</text>`);
  const knees = points.slice(1).flatMap((each, i) => (each.fits === points[i].fits ? [] : [`<path class="knee" d="M${(x(points[i].x) + x(each.x)) / 2} 50V260"/><text x="${(x(points[i].x) + x(each.x)) / 2 - 4}" y="62" text-anchor="end">${points[i].fits}</text>`]));
  return `<text x="${left}" y="30">${title}</text><text x="${left + 160}" y="300" text-anchor="middle">${axis}; cycles per packet upwards</text>${grid.join('')}${labels.join('')}${knees.join('')}<path class="line" d="M${points.map(each => `${x(each.x)} ${height(each.cycles)}`).join('L')}"/>`;
}

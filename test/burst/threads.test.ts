import { Worker } from 'node:worker_threads';
import t from 'tap';
import type { BurstBuild } from '../../lib/burst/module.js';
import { get, makeLab, makeRing, reserve, ringContents } from './layout_helper.js';
import type { Task } from './threads_worker.js';

/** POLLMODE_LONG=1 for the long form. */
const LONG = process.env['POLLMODE_LONG'] === '1';
/** Elements of each producer. */
const EACH = LONG ? 2_000_000 : 100_000;
/** Of each worker's vector; bursts are 1 to this. */
const SLOTS = 32;
/** When a ring that does not move is given up: no measure of speed. */
const LIMIT_MS = LONG ? 120_000 : 80_000;
/** So that the indices wrap through 2^32 on the way. */
const START = 0xffff0000;

interface Case { readonly name: string; readonly producers: readonly BurstBuild[]; readonly consumers: readonly BurstBuild[]; readonly multi: boolean }

const CASES: readonly Case[] = [
  ...(['fast', 'portable', 'checking', 'twin'] as const).flatMap(build => [
    { name: `${build}, MP/MC`, producers: [build, build], consumers: [build, build], multi: true },
    { name: `${build}, SP/SC`, producers: [build], consumers: [build], multi: false },
  ]),
  { name: 'fast and twin on one ring, MP/MC', producers: ['fast', 'twin'], consumers: ['twin', 'fast'], multi: true },
];

t.setTimeout(CASES.length * 2 * LIMIT_MS);

for (const { name, producers, consumers, multi } of CASES) {
  t.test(`threads, ${name}: nothing lost, doubled or overtaken`, { timeout: 2 * LIMIT_MS }, async t => {
    const lab = makeLab({ build: 'fast' });
    const ring = makeRing(lab, { size: 256, start: START });
    const progress = reserve(lab, 8);
    const total = EACH * producers.length;
    const builds = [...producers, ...consumers];
    const outputs = await Promise.all(builds.map((build, i) => run({
      memory: lab.memory, build, ring, progress, multi, total, workers: builds.length, vector: reserve(lab, SLOTS * 4), slots: SLOTS, lcore: i, deadline: Date.now() + LIMIT_MS,
      ...(i < producers.length ? { produce: { first: i * EACH, count: EACH } } : {}),
    })));
    const received = outputs.slice(producers.length);
    t.equal(received.reduce((sum, { length }) => sum + length, 0), total);
    t.ok(times(received, total).every(count => count === 1), 'each came once');
    t.ok(received.every(isInOrder), 'each consumer saw each producer in order');
    t.same(ringContents(lab, ring), []);
    t.equal(get(lab, progress), total);
  });
}

/** How often each element came. */
function times(received: readonly Uint32Array[], total: number): Uint8Array {
  const counts = new Uint8Array(total);
  for (const part of received) for (const value of part) counts[value]++;
  return counts;
}

/** What came from one producer came in its order. */
function isInOrder(part: Uint32Array): boolean {
  const last = new Map<number, number>();
  return part.every(value => {
    const producer = Math.floor(value / EACH);
    const before = last.get(producer) ?? -1;
    last.set(producer, value);
    return value > before;
  });
}

function run(task: Task): Promise<Uint32Array> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./threads_worker.js', import.meta.url), { workerData: task });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

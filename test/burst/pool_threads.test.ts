import { Worker } from 'node:worker_threads';
import t from 'tap';
import type { BurstBuild } from '../../lib/burst/module.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { get64, makeLab, makePool, makeQueue, makeRing, reserve, ringContents } from './layout_helper.js';
import type { PoolTask } from './pool_worker.js';
import { RING_PORT_OWNER, cacheContents, stateOf, type World } from './world_helper.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
/** Packets of each sender. */
const EACH = LONG ? 1_000_000 : 50_000;
/** When threads that do not move are given up: no measure of speed. */
const LIMIT_MS = LONG ? 120_000 : 80_000;
const SLOTS = 32;
const FRAME = 60;

const CASES: readonly (readonly BurstBuild[])[] = [
  ['fast', 'fast', 'fast', 'fast'], ['checking', 'checking', 'checking', 'checking'], ['twin', 'twin', 'twin', 'twin'], ['fast', 'twin', 'twin', 'fast'],
];
t.setTimeout(CASES.length * 2 * LIMIT_MS);

for (const builds of CASES) {
  t.test(`two senders and two receivers on one pool (${builds.join(', ')}): every mbuf comes back, every packet is counted`, { timeout: 2 * LIMIT_MS }, async t => {
    const lab = makeLab({ build: 'fast' });
    // Small enough to run dry at times.
    const pool = makePool(lab, { count: 400, cache: 32, lcores: builds.length, start: 0xffff0000 });
    const ring = makeRing(lab, { size: 256, start: 0xffff0000, owner: RING_PORT_OWNER, table: pool.table });
    const progress = reserve(lab, 8);
    const tasks = builds.map((build, lcore): PoolTask => {
      const sends = lcore < 2;
      const nothing = makeQueue(lab, pool, { frame: FRAME });
      const wire = makeQueue(lab, pool, { ring, owner: RING_PORT_OWNER });
      return {
        memory: lab.memory, build, pool: pool.offset, lcore, progress, workers: builds.length, total: 2 * EACH, send: sends ? EACH : 0,
        rx: sends ? nothing : wire, tx: sends ? wire : nothing, vector: reserve(lab, SLOTS * 4), slots: SLOTS, deadline: Date.now() + LIMIT_MS,
      };
    });
    const [freedHere, freedThere, ...received] = await Promise.all(tasks.map(run));
    t.equal(received[0]! + received[1]!, 2 * EACH);

    const world = { lab, pool } as World;
    const free = [...ringContents(lab, pool.ring), ...builds.flatMap((_, lcore) => cacheContents(world, lcore))];
    t.same(free.sort((a, b) => a - b), pool.handles, 'each mbuf is in the pool, once');
    t.ok(pool.handles.every(handle => stateOf(world, handle).join() === '1,1,0,0'), 'and in order');

    const sum = (queues: readonly number[], field: number): number => queues.reduce((all, queue) => all + get64(lab, queue, field), 0);
    const [senders, receivers] = [tasks.slice(0, 2), tasks.slice(2)];
    const through = [senders.map(({ tx }) => tx), receivers.map(({ rx }) => rx), receivers.map(({ tx }) => tx)];
    for (const queues of through) {
      t.equal(sum(queues, QUEUE_PACKETS), 2 * EACH);
      t.equal(sum(queues, QUEUE_BYTES), 2 * EACH * FRAME);
    }
    t.equal(sum(through[0]!, QUEUE_NOMBUF), freedHere! + freedThere!, 'the ring\'s refusals');
    t.equal(sum(senders.map(({ rx }) => rx), QUEUE_PACKETS), 2 * EACH + freedHere! + freedThere!);
  });
}

function run(task: PoolTask): Promise<number> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./pool_worker.js', import.meta.url), { workerData: task });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

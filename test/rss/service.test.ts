/** Workers that leave a steering and come back, one thread playing all sides; where flows are; flows that share a bucket. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { RX_RSS_HASH, MBUF_HASH, MBUF_OL_FLAGS } from '../../lib/mbuf/layout.js';
import { Distributor } from '../../lib/lcore/distributor.js';
import type { IdlePolicy } from '../../lib/lcore/idle.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { open } from '../../lib/port/host.js';
import { STEER_HOLDER, STEER_LCORE } from '../../lib/rss/layout.js';
import { Steering, type SteeringOptions } from '../../lib/rss/steering.js';
import { freeSteering, workerAt, type SteeringWorker } from '../../lib/rss/steering_sides.js';
import type { Flow } from '../../lib/rss/tuple.js';
import { codeThrown } from '../kernel/rights.js';
import { frameOf } from './frames_helper.js';
import { OrderBook } from './order_helper.js';

/** A steering with one thread on all its sides. A packet has its flow as its hash, and its number as user data. */
class Bench {
  readonly arena = Arena.create({ size: MIN_ARENA });
  readonly pool = Mempool.create(this.arena, 'pool', { count: 1024, hugePages: 'never', cache: 0 });
  readonly steering: Steering;
  readonly distributor;
  readonly sides: SteeringWorker[];
  readonly burst = this.pool.burst(64);
  readonly #numbers = new Map<number, number>();
  readonly #seen = new Map<number, number>();
  sent = 0;
  received = 0;
  lost = 0;

  constructor(options: SteeringOptions) {
    this.steering = Steering.create(this.pool, 'steering', options);
    this.distributor = this.steering.distributor();
    this.sides = Array.from({ length: options.workers }, (_, worker) => this.steering.worker(worker));
  }

  send(...flows: readonly number[]): void {
    if (this.pool.alloc(this.burst, flows.length) === 0) return;
    flows.forEach((flow, i) => {
      const handle = this.burst.handles[i];
      const header = this.pool.mbufs.header(handle);
      const number = this.#numbers.get(flow) ?? 0;
      this.arena.u32[(header + MBUF_HASH) >>> 2] = flow;
      this.arena.u32[(header + MBUF_OL_FLAGS) >>> 2] = RX_RSS_HASH;
      this.pool.mbufs.setUser(handle, 0, number);
      this.#numbers.set(flow, number + 1);
    });
    this.sent += flows.length;
    this.distributor.distribute(this.burst, flows.length);
  }

  /** Returns the flows of what came, and may say that they are consumed elsewhere. Throws when one came out of order. */
  take(worker: number, max = 64, consumer = worker): number[] {
    const got = this.sides[worker].rxBurst(this.burst, max);
    const flows = Array.from(this.burst.handles.subarray(0, got), handle => {
      const flow = this.pool.mbufs.hash(handle);
      const number = this.pool.mbufs.user(handle, 0);
      if (number <= (this.#seen.get(flow) ?? -1)) throw new Error(`flow ${flow}: ${number} came after ${this.#seen.get(flow)}`);
      this.#seen.set(flow, number);
      return flow;
    });
    this.received += got;
    if (consumer !== worker) this.sides[worker].record(this.burst, got, consumer);
    if (got > 0) this.pool.free(this.burst, 0, got);
    return flows;
  }

  /** A worker's death with up to `max` packets in its hands, as it looks when its lcore has been recovered. */
  die(worker: number, max: number): void {
    const got = this.sides[worker].rxBurst(this.burst, max);
    if (got > 0) this.pool.free(this.burst, 0, got);
    this.lost += got;
    Atomics.store(this.arena.u32, (workerAt(this.steering.offset, worker) + STEER_HOLDER) >>> 2, 0);
    this.steering.retire(worker);
  }

  /** Its successor. */
  comeBack(worker: number): void {
    this.sides[worker] = this.steering.worker(worker);
    this.steering.restore(worker);
  }

  /** Until nothing comes any more. */
  drain(): void {
    this.distributor.takeOver();
    for (let worker = 0; worker < this.sides.length; worker++) while (this.take(worker).length > 0);
  }
}

interface Step { readonly kind: 'send' | 'take' | 'want' | 'record' | 'die' | 'leave' | 'back'; readonly count: number; readonly worker: number; readonly flow: number }

const steps: fc.Arbitrary<Step[]> = fc.array(fc.record({
  kind: fc.constantFrom('send', 'send', 'send', 'take', 'take', 'want', 'record', 'die', 'leave', 'back'), count: fc.integer({ min: 1, max: 40 }), worker: fc.nat(7), flow: fc.nat(1000),
}), { minLength: 20, maxLength: 150 });

t.test('workers die, leave and come back in any order: no flow is reordered, and nothing is lost but what the dead held', async t => {
  let takenOver = 0;
  let lost = 0;
  fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), fc.constantFrom(1, 3, 16), fc.constantFrom(16, 256), steps, (workers, buckets, ringSize, list) => {
    const bench = new Bench({ workers, buckets, ringSize });
    for (const { kind, count, worker: any, flow } of list) {
      const worker = any % workers;
      if (kind === 'send') bench.send(...Array.from({ length: count }, (_, i) => (flow * 31 + i * i) % 20));
      else if (kind === 'take') bench.take(worker, count);
      else if (kind === 'want') bench.steering.want(flow % buckets, worker);
      else if (kind === 'die') bench.die(worker, count);
      else if (kind === 'leave') bench.steering.retire(worker);
      else if (kind === 'back') bench.comeBack(worker);
      else bench.take(worker, count, flow % workers);
    }
    for (let worker = 0; worker < workers; worker++) bench.comeBack(worker);
    bench.drain();
    const stats = bench.steering.stats();
    if (bench.received + bench.lost + stats.ringFull !== bench.sent) throw new Error(`${bench.sent} sent, ${bench.received} received, ${bench.lost} held by the dead, ${stats.ringFull} dropped`);
    if (bench.pool.audit().free !== bench.pool.size) throw new Error('a buffer is gone');
    takenOver += stats.takenOver;
    lost += bench.lost;
  }), { numRuns: 200 });
  t.ok(takenOver > 100, `${takenOver} packets were taken over`);
  t.ok(lost > 100, `${lost} died in somebody's hands`);
});

t.test('what a dead worker left goes to the others before anything newer', async t => {
  const bench = new Bench({ workers: 3, buckets: 3, ringSize: 64 });
  bench.send(0, 1, 2, 0, 0);
  bench.die(0, 1); // it had the first packet of flow 0 in its hands
  t.same(bench.steering.whereIs({ source: '0.0.0.0', destination: '0.0.0.0' }), { hash: 0, bucket: 0, worker: 0, lcore: -1 });
  bench.send(0);
  t.equal(bench.steering.backlog(0), 0);
  t.same([...bench.take(1), ...bench.take(2)].sort(), [0, 0, 0, 1, 2], 'two from its ring, one new, and the others\' own');
  t.match(bench.steering.stats(), { takenOver: 2, distributed: 8 }, 'what is taken over is distributed twice');
  bench.steering.want(1, 0);
  bench.send(1);
  t.same(bench.take(1).concat(bench.take(2)), [1], 'nothing moves to one that is out of service');
  bench.comeBack(0);
  t.ok(bench.steering.inService(0));
  bench.drain();
  bench.send(0);
  t.same(bench.take(0), [0], 'its first bucket came back with its successor');
  t.ok(bench.steering.settled);
  bench.steering.close(bench.pool);
  t.equal(bench.pool.audit().free, bench.pool.size);
});

t.test('one that leaves alive keeps what it has, and gets nothing new', async t => {
  const bench = new Bench({ workers: 2, buckets: 2, ringSize: 64 });
  bench.send(0, 0, 0);
  bench.steering.retire(0);
  t.notOk(bench.steering.settled);
  bench.send(0);
  t.same([bench.steering.backlog(0), bench.steering.backlog(1)], [4, 0], 'a flow that is under way stays behind its older packets');
  bench.drain();
  bench.send(0);
  t.same([bench.steering.backlog(0), bench.steering.backlog(1)], [0, 1], 'and leaves when they are done');
});

t.test('a side has one thread', async t => {
  const bench = new Bench({ workers: 2, buckets: 2, ringSize: 64 });
  bench.send(0, 1);
  const holder = (workerAt(bench.steering.offset, 0) + STEER_HOLDER) >>> 2;
  Atomics.store(bench.arena.u32, holder, 40);
  t.equal(codeThrown(() => bench.steering.worker(0)), 'ETHREAD');
  t.same(bench.take(0), []);
  t.equal(bench.sides[0].wrongThread, 1, 'counted, and nothing is taken');
  Atomics.store(bench.arena.u32, holder, bench.arena.lcore + 1);
  t.same(bench.take(0), [0]);
  bench.sides[0].release();
  t.same(bench.take(0), [], 'let go');
  bench.comeBack(0);
  bench.send(0);
  t.same(freeSteering(bench.arena, bench.arena.lcore), ['steering/worker/0', 'steering/worker/1', 'steering/distributor'], 'what a dead lcore had is free');
  t.same(freeSteering(bench.arena, bench.arena.lcore), []);
  t.equal(bench.distributor.distribute(bench.burst, 1), 0);
  t.equal(bench.distributor.wrongThread, 1);
  bench.steering.close(bench.pool);
});

t.test('a worker\'s side that the distributor has for the moment of taking over is waited for; one that is stuck with it is not for ever', async t => {
  const bench = new Bench({ workers: 2, buckets: 2, ringSize: 64 });
  const { arena, steering } = bench;
  const [holder, distributor] = [(workerAt(steering.offset, 0) + STEER_HOLDER) >>> 2, (steering.offset + STEER_LCORE) >>> 2];
  bench.distributor.release();
  bench.sides[0].release();
  // As in the middle of `takeOver` of lcore 40, another thread's.
  for (const word of [holder, distributor]) Atomics.store(arena.u32, word, 41);
  const looks = new Int32Array(new SharedArrayBuffer(8));
  const other = new Worker(`
    const { words, holder, looks } = require('node:worker_threads').workerData;
    Atomics.store(looks, 0, 1);
    Atomics.notify(looks, 0);
    while (Atomics.load(looks, 1) === 0); // until it is waited for
    Atomics.wait(looks, 0, 1, 20);
    Atomics.store(words, holder, 0);
  `, { eval: true, workerData: { words: arena.i32, holder, looks } });
  while (Atomics.load(looks, 0) === 0) await new Promise(resolve => { setImmediate(resolve); });
  const clock = performance.now.bind(performance);
  performance.now = () => { Atomics.store(looks, 1, 1); return clock(); };
  const side = steering.worker(0);
  performance.now = clock;
  t.equal(Atomics.load(arena.u32, holder), arena.lcore + 1, 'taken as soon as it was let go');
  await once(other, 'exit');
  side.release();
  Atomics.store(arena.u32, holder, 41);
  let now = 0;
  performance.now = () => now += 4000;
  t.equal(codeThrown(() => steering.worker(0)), 'ETHREAD', 'after 10 seconds');
  performance.now = clock;
  t.ok(now > 10_000);
  Atomics.store(arena.u32, distributor, 0);
  t.equal(codeThrown(() => steering.worker(0)), 'ETHREAD', 'at once where another worker\'s thread has it');
  for (const word of [holder, distributor]) Atomics.store(arena.u32, word, 0);
  steering.close(bench.pool);
});

/** Two flows whose hashes differ and meet in one of few buckets. */
function colliding(steering: Steering): [Flow, Flow] {
  const flow = (port: number): Flow => ({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 'udp', sourcePort: port, destinationPort: 53 });
  for (let port = 2; ; port++) {
    const [one, other] = [steering.whereIs(flow(1)), steering.whereIs(flow(port))];
    if (one.bucket === other.bucket && one.hash !== other.hash) return [flow(1), flow(port)];
  }
}

t.test('a flow is seen where whereIs says, follows its consumer, and takes along what shares its bucket', async t => {
  const bench = new Bench({ workers: 4, buckets: 16, ringSize: 64 });
  const { pool, steering, burst } = bench;
  const flows = colliding(steering);
  const send = (flow: Flow): number => {
    pool.alloc(burst, 1);
    pool.mbufs.copyIn(burst.handles[0], frameOf({ ...flow, tags: 0, extensions: [], fragment: false }));
    bench.distributor.distribute(burst, 1);
    return bench.sides.findIndex((_, worker) => steering.backlog(worker) > 0);
  };
  const first = send(flows[0]);
  t.match(steering.whereIs(flows[0]), { worker: first, lcore: bench.arena.lcore, bucket: steering.bucketOf(flows[0]) });
  const got = bench.sides[first].rxBurst(burst);
  const consumer = (first + 1) % 4;
  bench.sides[first].record(burst, got, consumer);
  pool.free(burst, 0, got);
  t.equal(send(flows[1]), first, 'the last burst is still in work: nothing moves, the other flow neither');
  t.equal(bench.sides[first].rxBurst(burst), 1);
  pool.free(burst, 0, 1);
  bench.sides[first].rxBurst(burst);
  t.equal(send(flows[1]), consumer, 'the bucket moved with the first flow\'s consumer');
  t.same(flows.map(flow => steering.whereIs(flow).worker), [consumer, consumer]);
  t.equal(steering.stats().moves, 1);
});

t.test('a distributor that cannot begin says so when it is started, and leaves nothing', async t => {
  const folder = t.testdir({});
  const module = new URL('./order_worker.js', import.meta.url);
  const host = open(['null:', 'ring:a', `pcap:,tx=${folder}/out.pcap`]);
  OrderBook.create(host.arena, 'book', 1);
  const workers = [{ module, args: { book: 'book', lossy: true, recordEvery: 0, workers: 1, seed: 1 } }];
  const ended: unknown[] = [];
  const start = (port: number, policy: IdlePolicy): Promise<Distributor> => Distributor.start(host, { from: [{ port: host.ports[port]!.number }], workers, idle: { policy }, onEnd: event => ended.push(event) });
  await t.rejects(start(1, 'interrupt'), { message: /no descriptor to sleep on/ });
  await t.rejects(start(2, 'busy'));
  t.same(ended, []);
  const zones = host.arena.zones().length;
  const rps = await start(1, 'adaptive');
  t.ok(rps.steering.isDistributed);
  await rps.stop();
  t.equal(host.arena.zones().length, zones);
  host.close();
});

t.test('of two that replace one worker at once, one does', async t => {
  const host = open(['ring:a']);
  OrderBook.create(host.arena, 'book', 1);
  const workers = [{ module: new URL('./order_worker.js', import.meta.url), args: { book: 'book', lossy: true, recordEvery: 0, workers: 1, seed: 1 } }];
  const rps = await Distributor.start(host, { from: [{ port: host.ports[0]!.number }], workers, onEnd: () => undefined });
  await rps.lcore(0)!.terminate();
  while (rps.lcore(0) !== undefined) await new Promise(resolve => { setImmediate(resolve); });
  rps.steering.retire(0); // asks the distributor for something, which both wait for
  const outcomes = await Promise.allSettled([rps.replace(0), rps.replace(0)]);
  t.same(outcomes.map(outcome => outcome.status === 'fulfilled' ? 'replaced' : (outcome.reason as { code: string }).code).sort(), ['EBUSYQUEUE', 'replaced']);
  t.ok(rps.lcore(0) !== undefined && rps.steering.inService(0));
  await rps.stop();
  host.close();
});

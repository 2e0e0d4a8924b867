import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { RX_RSS_HASH, MBUF_HASH, MBUF_OL_FLAGS } from '../../lib/mbuf/layout.js';
import { instantiate, type BurstBuild } from '../../lib/burst/module.js';
import { STEER_HOLDER } from '../../lib/rss/layout.js';
import { Steering } from '../../lib/rss/steering.js';
import { freeSteering, workerAt } from '../../lib/rss/steering_sides.js';
import { codeThrown } from '../kernel/rights.js';

interface Step { readonly kind: 'distribute' | 'take' | 'want' | 'record'; readonly count: number; readonly worker: number; readonly bucket: number }

const steps: fc.Arbitrary<Step[]> = fc.array(fc.record({
  kind: fc.constantFrom('distribute', 'distribute', 'take', 'take', 'want', 'record'), count: fc.integer({ min: 1, max: 40 }), worker: fc.nat(7), bucket: fc.nat(1000),
}), { minLength: 10, maxLength: 120 });
const shapes = fc.record({ workers: fc.integer({ min: 1, max: 8 }), buckets: fc.constantFrom(1, 2, 3, 16, 100), ringSize: fc.constantFrom(2, 16, 128), flows: fc.constantFrom(1, 3, 50) });

/** One arena with the functions of one build. Every packet carries its flow as its hash, and its number in it as user data. */
function world(build: BurstBuild, shape: { workers: number; buckets: number; ringSize: number }) {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 1024, hugePages: 'never', cache: 0 });
  const steering = Steering.create(pool, 'steering', shape);
  return { arena, pool, steering, burst: pool.burst(64), functions: instantiate(arena.memory, build) };
}

t.test('steering keeps every flow in order, moves or not, and loses nothing that it does not count', async t => {
  let moved = 0;
  let dropped = 0;
  fc.assert(fc.property(shapes, steps, (shape, list) => {
    const results = (['fast', 'twin'] as const).map(build => {
      const { arena, pool, steering, burst, functions } = world(build, shape);
      const next = new Map<number, number>();
      const seen = new Map<number, number>();
      let sent = 0;
      let received = 0;
      const take = (worker: number, count: number): number => {
        const got = functions.steerTake(steering.offset, worker, burst.offset, count, arena.lcore);
        for (let i = 0; i < got; i++) {
          const handle = burst.handles[i]!;
          const flow = pool.mbufs.hash(handle);
          const number = pool.mbufs.user(handle, 0);
          if (number <= (seen.get(flow) ?? -1)) throw new Error(`flow ${flow}: ${number} came after ${seen.get(flow)}`);
          seen.set(flow, number);
        }
        received += got;
        return got;
      };
      for (const step of list) {
        const worker = step.worker % shape.workers;
        if (step.kind === 'distribute') {
          if (pool.alloc(burst, step.count) === 0) continue;
          for (let i = 0; i < step.count; i++) {
            const flow = (step.bucket * 7919 + i) % shape.flows;
            const header = pool.mbufs.header(burst.handles[i]!);
            arena.u32[(header + MBUF_HASH) >>> 2] = flow;
            arena.u32[(header + MBUF_OL_FLAGS) >>> 2] = RX_RSS_HASH;
            pool.mbufs.setUser(burst.handles[i]!, 0, next.get(flow) ?? 0);
            next.set(flow, (next.get(flow) ?? 0) + 1);
          }
          sent += step.count;
          functions.steerDistribute(steering.offset, burst.offset, step.count, arena.lcore);
        } else if (step.kind === 'take') {
          pool.free(burst, 0, take(worker, step.count));
        } else if (step.kind === 'want') {
          steering.want(step.bucket % shape.buckets, worker);
        } else {
          const got = take(worker, step.count);
          functions.steerRecord(steering.offset, burst.offset, got, (worker + 1) % shape.workers);
          pool.free(burst, 0, got);
        }
      }
      for (let worker = 0; worker < shape.workers; worker++) for (let got = take(worker, 64); got > 0; got = take(worker, 64)) pool.free(burst, 0, got);
      const stats = steering.stats();
      if (received + stats.ringFull !== sent) throw new Error(`${sent} sent, ${received} received, ${stats.ringFull} counted as dropped`);
      if (pool.audit().free !== pool.size) throw new Error('a buffer is gone');
      moved += stats.moves;
      dropped += stats.ringFull;
      return JSON.stringify([stats, [...seen], checksum(arena)]);
    });
    if (results[0] !== results[1]) throw new Error('fast and twin leave different bytes');
  }), { numRuns: 60 });
  t.ok(moved > 2, `${moved} moves`);
  t.ok(dropped > 10, `${dropped} drops`);
});

/** Of the whole arena from the header table on: what is before names its threads and vectors. */
function checksum({ u32, table }: Arena): number {
  let sum = 0;
  for (let i = table >>> 2; i < u32.length; i++) if (u32[i] !== 0) sum = (Math.imul(sum, 31) + i + u32[i]!) | 0;
  return sum;
}

t.test('a bucket that wants to move waits for its old worker', async t => {
  const { arena, pool, steering, burst } = world('fast', { workers: 2, buckets: 2, ringSize: 16 });
  const [zero, one, distributor] = [steering.worker(0), steering.worker(1), steering.distributor()];
  const send = (flow: number): void => {
    pool.alloc(burst, 1);
    const header = pool.mbufs.header(burst.handles[0]!);
    arena.u32[(header + MBUF_HASH) >>> 2] = flow;
    arena.u32[(header + MBUF_OL_FLAGS) >>> 2] = RX_RSS_HASH;
    distributor.distribute(burst, 1);
  };
  send(0);
  steering.want(0, 1);
  send(0);
  t.same([steering.backlog(0), steering.backlog(1)], [2, 0], 'its first packet is still waiting: the second goes behind it');
  const held = pool.burst(8);
  t.equal(zero.rxBurst(held), 2);
  send(0);
  t.same([steering.backlog(0), steering.backlog(1)], [1, 0], 'taken is not done');
  pool.free(held, 0, 2);
  t.equal(zero.rxBurst(held), 1);
  pool.free(held, 0, 1);
  t.equal(zero.rxBurst(held), 0, 'it comes again: it is done');
  send(0);
  t.same([steering.backlog(0), steering.backlog(1)], [0, 1], 'now it has moved');
  t.match(steering.stats(), { moves: 1, waits: 2, distributed: 4, ringFull: 0 });
  t.match(steering.bucket(0), { worker: 1, wanted: 1, packets: 4 });
  t.equal(one.rxBurst(held), 1);
  pool.free(held, 0, 1);
  steering.close(pool);
  t.equal(pool.audit().free, pool.size);
  t.notOk(arena.lookup('steering'));
});

t.test('what waits for a worker that is out of service goes to the others as soon as nobody has its side', async t => {
  for (const how of ['let go', 'dead'] as const) {
    const { arena, pool, steering, burst } = world('fast', { workers: 2, buckets: 2, ringSize: 16 });
    const [zero, one, distributor] = [steering.worker(0), steering.worker(1), steering.distributor()];
    pool.alloc(burst, 4);
    for (const handle of burst.handles.subarray(0, 4)) {
      const header = pool.mbufs.header(handle);
      arena.u32[(header + MBUF_HASH) >>> 2] = 0;
      arena.u32[(header + MBUF_OL_FLAGS) >>> 2] = RX_RSS_HASH;
    }
    distributor.distribute(burst, 4);
    steering.retire(0);
    t.equal(distributor.takeOver(), 0, 'it may still come for them');
    if (how === 'let go') zero.release();
    else {
      Atomics.store(arena.u32, (workerAt(steering.offset, 0) + STEER_HOLDER) >>> 2, 41);
      t.same(freeSteering(arena, 40), ['steering/worker/0']);
    }
    t.equal(distributor.takeOver(), 4, how);
    const held = pool.burst(8);
    t.equal(one.rxBurst(held), 4);
    pool.free(held, 0, 4);
    steering.close(pool);
    t.equal(pool.audit().free, pool.size);
  }
});

t.test('what cannot be made says why, and leaves nothing behind', async t => {
  const { arena, pool } = world('fast', { workers: 1, buckets: 1, ringSize: 16 });
  const zones = arena.zones().length;
  for (const options of [{ workers: 0 }, { workers: 65 }, { workers: 1, buckets: 0 }, { workers: 2, ringSize: 3 }, { workers: 1, buckets: 1.5 }]) {
    t.equal(codeThrown(() => Steering.create(pool, 'other', options)), 'EOPTION', JSON.stringify(options));
  }
  t.equal(codeThrown(() => Steering.create(pool, 'steering', { workers: 1 })), 'EEXISTS');
  t.equal(arena.zones().length, zones);
  t.equal(codeThrown(() => Steering.find(arena, 'pool')), 'ENOTFOUND');
  const steering = Steering.find(arena, 'steering');
  t.equal(codeThrown(() => steering.want(1, 0)), 'EOPTION');
  t.equal(codeThrown(() => steering.want(0, 1)), 'EOPTION');
  t.equal(codeThrown(() => steering.worker(1)), 'EOPTION');
});

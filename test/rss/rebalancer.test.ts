import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { RX_RSS_HASH, MBUF_HASH, MBUF_OL_FLAGS } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { Rebalancer, type RebalanceOptions, type RebalanceRound } from '../../lib/rss/rebalancer.js';
import { Steering } from '../../lib/rss/steering.js';
import { codeThrown } from '../kernel/rights.js';

/** A steering whose workers keep up; `traffic` says how many packets each bucket gets in a round. */
class Bench {
  readonly arena = Arena.create({ size: MIN_ARENA });
  readonly pool = Mempool.create(this.arena, 'pool', { count: 1024, hugePages: 'never', cache: 0 });
  readonly steering: Steering;
  readonly rebalancer: Rebalancer;
  readonly #burst = this.pool.burst(64);
  readonly #sides;
  readonly #distributor;

  constructor(workers: number, buckets: number, options: RebalanceOptions = {}) {
    this.steering = Steering.create(this.pool, 'steering', { workers, buckets, ringSize: 512 });
    this.rebalancer = new Rebalancer(this.steering, options);
    this.#sides = Array.from({ length: workers }, (_, worker) => this.steering.worker(worker));
    this.#distributor = this.steering.distributor();
  }

  round(traffic: readonly number[]): RebalanceRound {
    traffic.forEach((packets, bucket) => { for (let sent = 0; sent < packets; sent++) this.#send(bucket); });
    return this.rebalancer.round();
  }

  #send(bucket: number): void {
    this.pool.alloc(this.#burst, 1);
    const header = this.pool.mbufs.header(this.#burst.handles[0]);
    this.arena.u32[(header + MBUF_HASH) >>> 2] = bucket;
    this.arena.u32[(header + MBUF_OL_FLAGS) >>> 2] = RX_RSS_HASH;
    this.#distributor.distribute(this.#burst, 1);
    for (const side of this.#sides) {
      const got = side.rxBurst(this.#burst);
      if (got > 0) this.pool.free(this.#burst, 0, got);
      side.rxBurst(this.#burst);
    }
  }

  owners(): number[] {
    return Array.from({ length: this.steering.buckets }, (_, bucket) => this.steering.bucket(bucket).wanted);
  }
}

t.test('buckets leave a busy worker until it is no busier than the others', async t => {
  const bench = new Bench(2, 8);
  const traffic = [40, 0, 40, 0, 40, 0, 40, 0]; // the even ones are worker 0's
  const first = bench.round(traffic);
  t.same(first.loads, [160, 0]);
  t.same(first.moves.map(({ from, to, packets }) => [from, to, packets]), [[0, 1, 40], [0, 1, 40]]);
  const second = bench.round(traffic);
  t.same(second.loads, [80, 80], 'seen in the next round');
  t.same(second.moves, []);
});

t.test('an elephant stays put, and what shares its worker leaves', async t => {
  const bench = new Bench(2, 8);
  const traffic = [300, 5, 10, 5, 10, 5, 10, 5];
  for (let round = 0; round < 6; round++) bench.round(traffic);
  t.same(bench.owners(), [0, 1, 1, 1, 1, 1, 1, 1]);
  t.same(bench.round([300, 0, 0, 0, 0, 0, 0, 0]).moves, [], 'alone it has nowhere better to be');
});

t.test('moves of a round are bounded, small differences are left, a bucket that moved rests', async t => {
  const many = new Bench(2, 32, { moves: 3 });
  t.equal(many.round(Array.from({ length: 32 }, (_, bucket) => (bucket % 2 === 0 ? 10 : 0))).moves.length, 3);
  const near = new Bench(2, 8);
  t.same(near.round([12, 10, 12, 10, 12, 10, 12, 10]).moves, [], '9 % above the mean');
  const back = new Bench(2, 4, { rest: 2 });
  t.same(back.round([20, 0, 20, 0]).moves.map(({ bucket }) => bucket), [0]);
  for (let round = 0; round < 2; round++) t.same(back.round([20, 20, 0, 20]).moves.map(({ bucket }) => bucket).filter(bucket => bucket === 0), [], 'not at once back again');
});

t.test('a worker out of service neither gets nor counts; one whose packets pile up is busy', async t => {
  const bench = new Bench(3, 9);
  bench.steering.retire(2);
  const { loads, moves } = bench.round([50, 0, 0, 50, 0, 0, 50, 0, 0]);
  t.same(loads, [150, 0, -1]);
  t.ok(moves.length > 0 && moves.every(({ to }) => to === 1));
});

t.test('whatever comes: each move is from the busiest to the idlest of its moment and makes them more even', async t => {
  let moved = 0;
  fc.assert(fc.property(fc.integer({ min: 1, max: 6 }), fc.array(fc.array(fc.constantFrom(0, 0, 1, 5, 30), { minLength: 16, maxLength: 16 }), { minLength: 1, maxLength: 5 }), (workers, rounds) => {
    const bench = new Bench(workers, 16, { moves: 4, rest: 0 });
    for (const traffic of rounds) {
      const { loads, moves } = bench.round(traffic);
      const now = [...loads];
      if (loads.reduce((sum, load) => sum + load) !== traffic.reduce<number>((sum, packets) => sum + packets, 0)) throw new Error('loads are not what came');
      if (moves.length > 4) throw new Error('too many moves');
      for (const { from, to, packets } of moves) {
        if (now[from] !== Math.max(...now) || now[to] !== Math.min(...now)) throw new Error('not from the busiest to the idlest');
        now[from] -= packets;
        now[to] += packets;
        if (packets === 0 || now[from] < now[to]) throw new Error('the two changed places');
        moved++;
      }
    }
    bench.arena.close();
  }), { numRuns: 60 });
  t.ok(moved > 20, `${moved} moves`);
});

t.test('what makes no sense is refused', async t => {
  const { steering } = new Bench(1, 1);
  for (const options of [{ moves: 0 }, { moves: 1.5 }, { above: 0.1, until: 0.2 }, { until: -1 }, { rest: -1 }, { rest: 300 }]) {
    t.equal(codeThrown(() => new Rebalancer(steering, options)), 'EOPTION', JSON.stringify(options));
  }
});

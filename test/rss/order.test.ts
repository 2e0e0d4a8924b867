/**
 * Order on every packet: a generator lcore, a distributor and 1 to 16 workers, all real threads, while buckets are moved
 * at random, flows are recorded elsewhere and a rebalancer runs. Nothing may be lost and nothing reordered.
 */
import t, { type Test } from 'tap';
import { Arena } from '../../lib/arena/arena.js';
import { Distributor } from '../../lib/lcore/distributor.js';
import { launch } from '../../lib/lcore/lcore.js';
import { open } from '../../lib/port/host.js';
import { Rebalancer } from '../../lib/rss/rebalancer.js';
import { Rss } from '../../lib/rss/rss.js';
import type { Steering } from '../../lib/rss/steering.js';
import type { Flow } from '../../lib/rss/tuple.js';
import { collidingFlows } from './collisions_helper.js';
import { flowOf, type GeneratorArgs } from './order_generator.js';
import { OrderBook, randomNumbers } from './order_helper.js';
import type { WorkerArgs } from './order_worker.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
/** A worker's ring holds all that is under way, so that nothing is dropped even when one worker gets everything. */
const WINDOW = 4096;

interface Shape {
  readonly workers: number;
  readonly packets: number;
  readonly flows: number;
  readonly buckets: number;
  readonly list?: readonly Flow[];
}

async function inOrder(t: Test, { workers, packets, flows, buckets, list }: Shape): Promise<void> {
  const host = open(['ring:wire,size=4096,single=1'], { mbufs: 3 * WINDOW });
  const port = host.ports[0].number;
  const book = OrderBook.create(host.arena, 'book', flows);
  const module = new URL('./order_worker.js', import.meta.url);
  const rps = await Distributor.start(host, {
    from: [{ port }], steering: { buckets, ringSize: WINDOW },
    workers: Array.from({ length: workers }, (_, worker) => ({ module, args: { book: 'book', lossy: false, recordEvery: 20, workers, seed: 77 + worker } satisfies WorkerArgs })),
  });
  const args: GeneratorArgs = { port, book: 'book', flows, packets, window: WINDOW, seed: 5, ...(list === undefined ? {} : { list }) };
  const generator = await launch(host, { module: new URL('./order_generator.js', import.meta.url), args, queues: [{ port, direction: 'tx', queue: 0 }] });
  const shaken = shake(rps.steering);
  const sent = await generator.join() as number;
  const wanted = shaken();
  const end = await rps.stop({ drainMs: 60_000 });
  const stats = end.workers.map(each => (each?.how === 'returned' ? each.result as number : NaN));
  t.same(book.wrong, { count: 0, flow: 0, seen: 0, due: 0 }, 'no packet came out of its turn');
  t.equal(book.receivedInAll, sent, 'and all came');
  t.equal(stats.reduce((sum, count) => sum + count), sent, 'as the workers say too');
  t.ok(sent >= packets, `${sent} packets of ${flows} flows, ${wanted.moves} buckets moved, ${wanted.rebalanced} of them wanted by the rebalancer; workers had ${stats.join(', ')}`);
  if (workers > 1) t.ok(wanted.moves > 0, 'and buckets did move');
  const { free, total, twice, stray } = host.pool.audit();
  t.same({ free, twice, stray }, { free: total, twice: 0, stray: 0 }, 'every buffer is back');
  host.close();
}

/** Moves buckets about, in two ways, until it is told to stop. */
function shake(steering: Steering): () => { moves: number; rebalanced: number } {
  const random = randomNumbers(99);
  const rebalancer = new Rebalancer(steering, { above: 0.1, until: 0.02, rest: 1 });
  let rebalanced = 0;
  const timer = setInterval(() => {
    for (let i = 0; i < 20; i++) steering.want(random(steering.buckets), random(steering.workers));
    rebalanced += rebalancer.round().moves.length;
  }, 2);
  return () => {
    clearInterval(timer);
    return { moves: steering.stats().moves, rebalanced };
  };
}

t.test('one elephant flow, whose bucket is moved again and again', t => inOrder(t, { workers: 4, packets: LONG ? 640_000 : 40_000, flows: 1, buckets: 64 }));

t.test('flows that collide in their hashes on purpose: one bucket, one worker at a time, in order; another key parts them', async t => {
  const arena = Arena.create();
  const [usual, own] = [Rss.create(arena, 'usual'), Rss.create(arena, 'own', { key: Uint8Array.from({ length: 40 }, (_, i) => (i * 73 + 19) & 255) })];
  const list = collidingFlows(flow => usual.hashFlow(flow), flowOf(3), 500, randomNumbers(42));
  t.equal(new Set(list.map(flow => JSON.stringify(flow))).size, 500);
  t.same([...new Set(list.map(flow => usual.hashFlow(flow)))], [usual.hashFlow(flowOf(3))], 'all have one hash');
  t.ok(new Set(list.map(flow => own.hashFlow(flow) % 128)).size > 64, 'with a key that nobody knows they are spread as any others');
  arena.close();
  await inOrder(t, { workers: 4, packets: LONG ? 640_000 : 40_000, flows: list.length, buckets: 128, list });
});

const counts = LONG ? Array.from({ length: 16 }, (_, i) => i + 1) : [1, 2, 5, 16];
for (const workers of counts) {
  const packets = LONG ? 640_000 : 75_000;
  t.test(`${workers} workers keep the order of ${packets} packets`, t => inOrder(t, { workers, packets, flows: 3000, buckets: workers % 2 === 0 ? 1024 : 100 }));
}

if (LONG) t.test('four workers, 10 million packets, more flows than buckets', t => inOrder(t, { workers: 4, packets: 10_000_000, flows: 20_000, buckets: 256 }));

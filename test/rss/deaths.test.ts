/**
 * Workers that throw, exit or are terminated while they hold bursts, and distributors too, over and over under traffic:
 * what they held is back in the pool, what waited for them is received by others, and no flow is ever reordered.
 */
import { setTimeout as wait } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { PollmodeError } from '../../lib/errors.js';
import { Distributor, type DistributorEvent, type Who } from '../../lib/lcore/distributor.js';
import { launch, type Lcore } from '../../lib/lcore/lcore.js';
import { open, type Host } from '../../lib/port/host.js';
import { flowOf, type GeneratorArgs } from './order_generator.js';
import { ORDER_EXIT, ORDER_THROW, OrderBook, randomNumbers } from './order_helper.js';
import type { WorkerArgs } from './order_worker.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const FLOWS = 500;
const WORKERS = 3;

class World {
  readonly host: Host = open(['ring:wire,size=512,single=1'], { mbufs: 8192 });
  readonly port = this.host.ports[0].number;
  readonly book = OrderBook.create(this.host.arena, 'book', FLOWS);
  readonly events: DistributorEvent[] = [];
  rps!: Distributor;
  generator!: Lcore;
  #ended = false;
  /** Wakes who waits for an event. */
  #seen: () => void = () => undefined;

  /** @param t its end is the end of all threads here, so that a test that fails in the middle does not hold up the file */
  async start(t: Test, restarts: number): Promise<this> {
    t.teardown(() => this.#abandon());
    const module = new URL('./order_worker.js', import.meta.url);
    this.rps = await Distributor.start(this.host, {
      from: [{ port: this.port }], steering: { ringSize: 512, buckets: 64 }, restarts,
      workers: Array.from({ length: WORKERS }, (_, worker) => ({ module, args: { book: 'book', lossy: true, recordEvery: 50, workers: WORKERS, seed: worker + 3, toil: 100 } satisfies WorkerArgs })),
      onEnd: event => {
        this.events.push(event);
        this.#seen();
      },
    });
    const args: GeneratorArgs = { port: this.port, book: 'book', flows: FLOWS, packets: 0, window: 0, seed: 11, napEvery: 4 };
    this.generator = await launch(this.host, { module: new URL('./order_generator.js', import.meta.url), args, queues: [{ port: this.port, direction: 'tx', queue: 0 }] });
    return this;
  }

  /** Makes one die in some way, in the middle of its work, and waits until that is known. */
  async kill(who: Who, how: number): Promise<DistributorEvent> {
    const known = new Promise<void>(resolve => { this.#seen = resolve; });
    await this.progress(200);
    if (who === 'distributor' || how === 2) await this.rps.lcore(who)!.terminate();
    else this.book.order(who, how === 0 ? ORDER_THROW : ORDER_EXIT);
    await known;
    return this.events.at(-1)!;
  }

  /** Until so many more packets have been received. */
  async progress(packets: number): Promise<void> {
    for (const until = this.book.receivedInAll + packets; this.book.receivedInAll < until;) await wait(1);
  }

  /** Ends it all, and looks at what is left. */
  async end(t: Test): Promise<void> {
    this.#ended = true;
    this.book.stop();
    const sent = await this.generator.join() as number;
    const { left, stats } = await this.rps.stop();
    const lost = this.host.pool.stats().reclaimed; // now or later: how soon the others rest is a matter of who has the CPUs
    const told = this.events.reduce((sum, { end: { recovery } }) => sum + recovery.held + recovery.stray, 0);
    t.same(this.book.wrong, { count: 0, flow: 0, seen: 0, due: 0 }, 'no packet came out of its turn');
    const later = this.events.filter(({ end: { recovery } }) => !recovery.complete);
    t.ok(lost >= told && (later.length > 0 || lost === told), `${lost} came back, ${told} of them at once; ${later.length} of ${this.events.length} deaths were cleared up later`);
    t.ok(later.every(({ end: { recovery } }) => recovery.waitsFor >= 0), 'and each of these says who could not rest');
    const missing = sent - this.book.receivedInAll - stats.ringFull - left - this.drainWire();
    t.ok(missing >= 0 && missing <= lost, `${sent} sent, ${this.book.receivedInAll} received, ${stats.ringFull} dropped at full rings, ${stats.takenOver} taken over; the ${missing} missing are among the ${lost} that the dead held`);
    const { free, total, twice, stray } = this.host.pool.audit();
    t.same({ free, twice, stray }, { free: total, twice: 0, stray: 0 }, 'every buffer is back');
    this.host.close();
  }

  /** The failure has been told by then. */
  async #abandon(): Promise<void> {
    if (this.#ended) return;
    await Promise.allSettled([this.generator?.terminate(), ...[0, 1, 2, 'distributor' as const].map(who => this.rps?.lcore(who)?.terminate())]);
    await this.rps?.stop().catch(() => undefined);
  }

  /** What the distributor had not received yet. Returns how many. */
  drainWire(): number {
    const burst = this.host.burst(512);
    let packets = 0;
    for (let got = 1; got > 0; packets += got) {
      got = this.host.ports[0].rx[0].rxBurst(burst);
      this.host.pool.free(burst, 0, got);
    }
    return packets;
  }
}

t.test('deaths under traffic: the others take over, and a successor comes', async t => {
  const world = await new World().start(t, 0);
  const random = randomNumbers(2026);
  const kills = LONG ? 200 : 14; // two of them the distributor
  const seen = new Map<string, number>();
  for (let kill = 0; kill < kills; kill++) {
    const who: Who = kill % 7 === 6 ? 'distributor' : random(WORKERS);
    const how = kill % 3;
    const event = await world.kill(who, how);
    if (event.who !== who || event.then !== (who === 'distributor' ? 'waiting' : 'taken over')) t.fail(`kill ${kill} of ${who}: ${event.who} was ${event.then}`);
    if (who !== 'distributor' && random(2) === 0) await world.progress(1000); // the others have all of it for a while
    await world.rps.replace(who);
    const name = who === 'distributor' ? who : ['threw', 'exited', 'was terminated'][how];
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  await world.progress(2000);
  t.comment([...seen].map(([name, count]) => `${count} ${name}`).join(', '));
  t.equal(seen.size, 4, 'every way of dying was tried');
  await world.end(t);
});

t.test('lcores that are started again by themselves', async t => {
  const world = await new World().start(t, 5);
  for (const [who, how] of [[0, 0], [1, 1], [2, 2], ['distributor', 2]] as const) {
    t.match(await world.kill(who, how), { who, then: 'restarted' });
    await world.progress(500);
  }
  const { end } = world.events[0];
  t.ok(end.how === 'failed' && (end.error.cause as Error).stack?.includes('order_worker'), 'its error comes with its stack');
  t.equal(world.rps.steering.stats().takenOver, 0, 'a successor finds its ring as it was');
  await world.end(t);
});

t.test('when all workers are gone, packets wait for the first that comes back', async t => {
  const world = await new World().start(t, 0);
  for (let worker = 0; worker < WORKERS; worker++) await world.kill(worker, 0).catch(() => undefined);
  t.same(world.events.map(({ who }) => who), [0, 1, 2]);
  while (!world.rps.steering.settled) await wait(1);
  const before = world.book.receivedInAll;
  const flow = flowOf(1);
  t.equal(world.rps.whereIs(flow).lcore, -1, 'nobody sees a flow now');
  await world.rps.replace(1);
  await world.progress(3000);
  t.ok(world.book.receivedInAll > before);
  t.same(world.rps.whereIs(flow), { ...world.rps.whereIs(flow), worker: 1, lcore: world.rps.lcore(1)!.id }, 'the one that came back has everything');
  t.same([0, 2].map(worker => world.rps.steering.backlog(worker)), [0, 0], 'also what waited for the others');
  await world.end(t);
});

t.test('what cannot start leaves nothing behind', async t => {
  const host = open(['ring:wire']);
  const { number: port } = host.ports[0];
  const book = OrderBook.create(host.arena, 'book', 1);
  const zones = host.arena.zones().length;
  const module = new URL('./order_worker.js', import.meta.url);
  const args: WorkerArgs = { book: 'book', lossy: true, recordEvery: 0, workers: 1, seed: 1 };
  const refused = (options: object): Promise<string> => Distributor.start(host, { from: [{ port }], workers: [{ module, args }], ...options }).then(() => 'started', (cause: unknown) => (cause as PollmodeError).code);
  t.equal(await refused({ workers: [] }), 'EOPTION');
  t.equal(await refused({ from: [{ port: 9 }] }), 'ENOTFOUND');
  t.equal(await refused({ workers: [{ module, args }, { module: new URL('./no_such.js', import.meta.url) }] }), 'ELCORE');
  t.equal(await refused({ rebalance: { moves: 0 } }), 'EOPTION');
  t.equal(host.arena.zones().length, zones);
  const burst = host.burst();
  host.pool.alloc(burst, 3);
  t.equal(host.ports[0].tx[0].txBurst(burst, 3), 3);
  t.equal(host.ports[0].rx[0].rxBurst(burst), 3, 'the queue is this thread\'s');
  host.pool.free(burst, 0, 3);
  t.equal(host.pool.audit().free, host.pool.size);
  t.equal(book.receivedInAll, 0);
  host.close();
});

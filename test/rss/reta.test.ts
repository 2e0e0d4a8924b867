/** Moves of a NIC's redirection table. The NIC is played: ring ports are its queues, and a table says which one a frame goes to. */
import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { launch } from '../../lib/lcore/lcore.js';
import { open } from '../../lib/port/host.js';
import { RetaGuard, type RetaStep } from '../../lib/rss/reta.js';
import type { GuardedRxQueue } from '../../lib/rss/reta_queue.js';
import { codeThrown } from '../kernel/rights.js';
import { frameOf } from './frames_helper.js';
import { flowOf } from './order_generator.js';
import type { MoverArgs } from './reta_mover.js';

const ENTRIES = 8;

/** A NIC with a queue for each ring port, and pollers that check each flow's order. Time goes on when it is told to. */
class Nic {
  readonly host;
  readonly guard: RetaGuard;
  readonly queues: GuardedRxQueue[];
  readonly burst;
  time = 0;
  reordered = 0;
  sent = 0;
  received = 0;
  #table: readonly number[];
  readonly #numbers = new Map<number, number>();
  readonly #seen = new Map<number, number>();

  constructor(queues: number, options: { most?: number; holdUs?: number } = {}) {
    const { most = 4096, holdUs = 1000 } = options;
    this.host = open(Array.from({ length: queues }, (_, queue) => `ring:q${queue},size=256`), { mbufs: 2048 });
    this.#table = Array.from({ length: ENTRIES }, (_, entry) => entry % queues);
    this.guard = RetaGuard.create(this.host.arena, 'reta', { reta: this.#table, queues, holdUs });
    this.queues = this.host.ports.map((port, number) => this.guard.queue(number, port.rx[0], this.host.pool, { most, clock: () => this.time }));
    this.burst = this.host.burst(32);
  }

  readonly set = (table: readonly number[]): void => { this.#table = table; };

  queueOf(flow: number): number {
    return this.#table[this.entryOf(flow)];
  }

  entryOf(flow: number): number {
    return this.guard.rss.hashFlow(flowOf(flow)) % ENTRIES;
  }

  /** A frame arrives, and is put into the queue that the table names, or into one that it named before. */
  arrive(flow: number, queue = this.queueOf(flow)): void {
    const { pool, mbufs } = this.host;
    if (pool.alloc(this.burst, 1) === 0) return;
    const number = this.#numbers.get(flow) ?? 0;
    mbufs.copyIn(this.burst.handles[0], frameOf({ ...flowOf(flow), tags: 0, extensions: [], fragment: false }));
    mbufs.setUser(this.burst.handles[0], 0, flow);
    mbufs.setUser(this.burst.handles[0], 1, number);
    if (this.host.ports[queue].tx[0].txBurst(this.burst, 1) === 0) return pool.free(this.burst, 0, 1);
    this.#numbers.set(flow, number + 1);
    this.sent++;
  }

  /** Returns the flows that were delivered. */
  poll(queue: number, max = 32): number[] {
    const { pool, mbufs } = this.host;
    const got = this.queues[queue].rxBurst(this.burst, max);
    const flows = Array.from(this.burst.handles.subarray(0, got), handle => {
      const [flow, number] = [mbufs.user(handle, 0), mbufs.user(handle, 1)];
      const last = this.#seen.get(flow) ?? -1;
      if (number < last) this.reordered++;
      this.#seen.set(flow, Math.max(last, number));
      return flow;
    });
    this.received += got;
    if (got > 0) pool.free(this.burst, 0, got);
    return flows;
  }

  /** Polls all queues for so long that any hold ends. */
  rest(): void {
    for (let turn = 0; turn < 40; turn++) {
      for (let queue = 0; queue < this.queues.length; queue++) this.poll(queue);
      this.time += 0.5;
    }
  }
}

/** Flow whose frames the table sends to a queue. */
function flowIn(nic: Nic, queue: number): number {
  for (let flow = 0; ; flow++) if (nic.queueOf(flow) === queue) return flow;
}

t.test('what moved is held until its old queue has been empty for the stated time', async t => {
  const nic = new Nic(2);
  const flow = flowIn(nic, 0);
  const other = flowIn(nic, 1);
  for (let i = 0; i < 3; i++) nic.arrive(flow);
  const table = nic.guard.reta.map((queue, entry) => (entry === nic.entryOf(flow) ? 1 : queue));
  const step = nic.guard.begin(table, nic.set);
  t.equal(step.entries, 1);
  nic.arrive(flow);
  nic.arrive(other);
  t.same(nic.poll(1), [other], 'the new queue delivers its own, and keeps what moved');
  t.equal(nic.queues[1].holding, 1);
  t.equal(codeThrown(() => nic.guard.begin(table, nic.set)), 'EBUSYQUEUE');
  t.same(nic.poll(0), [flow, flow, flow], 'the old one delivers what it has');
  t.same(nic.poll(0), []);
  nic.time += 0.9;
  t.same([nic.poll(0), nic.poll(1)], [[], []], 'empty, but not for long enough');
  nic.time += 0.2;
  t.notOk(step.drained());
  t.same(nic.poll(0), []);
  t.ok(step.drained());
  nic.arrive(flow);
  t.same(nic.poll(1), [flow], 'now the held one comes');
  t.ok(step.delivered());
  t.same(nic.poll(1), [flow], 'and then the new one');
  t.same(nic.guard.counts(), { held: 1, reordered: 0, holdFull: 0 });
  nic.arrive(flow, 0); // a NIC that takes longer than the hold
  t.same(nic.poll(0), [flow]);
  t.equal(nic.guard.counts().reordered, 1, 'a late one is counted');
  step.end();
  t.same(nic.guard.reta, table);
  nic.arrive(flow, 0);
  nic.poll(0);
  t.equal(nic.guard.counts().reordered, 1, 'nobody looks any more');
  t.equal(nic.host.pool.audit().free, nic.host.pool.size);
  nic.host.close();
});

t.test('two queues that exchange entries do not wait for each other', async t => {
  const nic = new Nic(2);
  const [one, two] = [flowIn(nic, 0), flowIn(nic, 1)];
  for (const flow of [one, two]) nic.arrive(flow);
  const step = nic.guard.begin(nic.guard.reta.map(queue => 1 - queue), nic.set);
  for (const flow of [one, two]) nic.arrive(flow);
  t.same([nic.poll(0), nic.poll(1)], [[one], [two]], 'each delivers what came before, and holds what moved to it');
  t.same(nic.queues.map(queue => queue.holding), [1, 1]);
  for (const queue of [0, 1]) nic.poll(queue);
  nic.time += 1.1;
  t.same([0, 1, 0, 1, 0].flatMap(queue => nic.poll(queue)), [one, two], 'both have been empty for long enough, whatever they hold');
  t.ok(step.drained() && step.delivered());
  t.same([nic.guard.counts().reordered, nic.reordered], [0, 0]);
  step.end();
  nic.guard.close();
  nic.host.close();
});

t.test('a queue that never rests is waited for only so long; too many held are dropped and counted', async t => {
  const nic = new Nic(2, { most: 4 });
  const [flow, busy] = [flowIn(nic, 0), flowIn(nic, 0) + 1];
  const step = nic.guard.begin(nic.guard.reta.map((queue, entry) => (entry === nic.entryOf(flow) ? 1 : queue)), nic.set);
  for (let i = 0; i < 6; i++) {
    nic.arrive(flow);
    nic.arrive(busy, 0);
    nic.time += 1;
    t.same([nic.poll(0).length, nic.poll(1).length], [1, 0]);
  }
  t.notOk(step.drained());
  step.force();
  t.same(nic.poll(1).length, 4);
  step.end();
  t.match(nic.guard.counts(), { held: 4, holdFull: 2 });
  t.equal(nic.host.pool.audit().free, nic.host.pool.size);
  nic.host.close();
});

t.test('a table that the NIC refuses is as if it had never been', async t => {
  const nic = new Nic(2);
  const before = nic.guard.reta;
  const refuse = (): void => { throw new Error('no'); };
  t.throws(() => nic.guard.begin(before.map(() => 1), refuse), /no/);
  t.same(nic.guard.reta, before);
  for (const bad of [[0, 1], before.map(() => 2), before.map(() => 0.5)]) t.equal(codeThrown(() => nic.guard.begin(bad, nic.set)), 'EOPTION');
  nic.arrive(flowIn(nic, 0));
  t.equal(nic.poll(0).length, 1);
  for (const options of [{ reta: [], queues: 1 }, { reta: [1], queues: 1 }, { reta: [0], queues: 0 }, { reta: [0], queues: 1, holdUs: -1 }]) {
    t.equal(codeThrown(() => RetaGuard.create(nic.host.arena, 'other', options)), 'EOPTION', JSON.stringify(options));
  }
  t.equal(codeThrown(() => nic.guard.queue(2, nic.host.ports[0].rx[0], nic.host.pool)), 'EOPTION');
  t.equal(codeThrown(() => RetaGuard.find(nic.host.arena, 'reta/rss')), 'ENOTFOUND');
  nic.guard.close();
  t.notOk(nic.host.arena.lookup('reta'));
  nic.host.close();
});

t.test('move does it all, while the queues are polled', async t => {
  const nic = new Nic(3);
  let on = true;
  const polling = (async () => {
    for (let flow = 0; on; flow = (flow + 1) % 100) {
      nic.arrive(flow);
      if (flow % 20 === 0) for (let queue = 0; queue < 3; queue++) nic.poll(queue, 7);
      nic.time = performance.now();
      if (flow % 20 === 10) await wait(0);
    }
  })();
  const moves = [];
  for (let round = 0; round < 5; round++) {
    moves.push(await nic.guard.move(nic.guard.reta.map(queue => (queue + 1) % 3), nic.set, { patienceMs: 20, watchMs: 2 }));
  }
  on = false;
  await polling;
  nic.rest();
  t.ok(moves.every(({ entries }) => entries === ENTRIES));
  t.ok(moves.some(({ held }) => held > 0), `held ${moves.map(({ held }) => held).join(', ')}`);
  t.equal(nic.received + nic.guard.counts().holdFull, nic.sent);
  t.equal(nic.host.pool.audit().free, nic.host.pool.size);
  nic.host.close();
});

/** Another lcore begins to move entries and dies. `heard`: the NIC had been told. */
async function deadMove(nic: Nic, reta: readonly number[], dies: MoverArgs['dies'], heard: boolean): Promise<readonly string[]> {
  const args: MoverArgs = { guard: 'reta', reta, dies };
  const lcore = await launch(nic.host, { module: new URL('./reta_mover.js', import.meta.url), args });
  const { recovery } = await lcore.ended;
  if (heard) nic.set(reta);
  return recovery.queues;
}

for (const [name, dies, heard] of [['once the NIC knows', 'told', true], ['while it tells the NIC, which has heard it', 'telling', true], ['before the NIC has heard it', 'telling', false]] as const) {
  t.test(`a mover that dies ${name}: nothing is reordered, and another ends the move`, async t => {
    const nic = new Nic(3);
    const flows = Array.from({ length: 24 }, (_, flow) => flow);
    const arrive = (): void => { for (const flow of flows) nic.arrive(flow); };
    arrive();
    const table = nic.guard.reta.map(queue => (queue + 1) % 3);
    t.same(await deadMove(nic, table, dies, heard), ['reta/mover']);
    t.equal(nic.guard.isCertain, dies === 'told');
    arrive();
    t.equal(codeThrown(() => nic.guard.begin(table, nic.set)), 'EBUSYQUEUE', 'what it left comes first');
    nic.poll(2);
    if (heard) t.ok(nic.queues[2].holding > 0, 'its new queue holds what moved');
    const step = nic.guard.resume()!;
    t.equal(nic.guard.resume(), undefined, 'by one');
    t.equal(codeThrown(() => nic.guard.begin(table, nic.set)), 'EBUSYQUEUE');
    t.equal(step.entries, ENTRIES);
    nic.rest();
    t.ok(step.drained() && step.delivered(), 'the pollers went on without it');
    step.end();
    t.equal(nic.guard.resume(), undefined);
    // The next one, whatever the NIC has now: also entries that stay where they were told to be.
    arrive();
    const next = table.map((queue, entry) => (entry % 2 === 0 ? queue : 2 - queue));
    const another = nic.guard.begin(next, nic.set);
    arrive();
    for (const queue of [2, 1, 0, 2]) nic.poll(queue, 5);
    nic.rest();
    t.ok(another.drained() && another.delivered());
    another.end();
    t.same([nic.guard.reta, nic.guard.isCertain], [next, true]);
    t.same([nic.reordered, nic.guard.counts().reordered, nic.received], [0, 0, nic.sent], 'in order, and all');
    t.equal(nic.host.pool.audit().free, nic.host.pool.size);
    nic.host.close();
  });
}

t.test('move ends by itself what a dead one left', async t => {
  const nic = new Nic(2);
  const flow = flowIn(nic, 0);
  nic.arrive(flow);
  const table = nic.guard.reta.map(queue => 1 - queue);
  await deadMove(nic, table, 'telling', true);
  nic.arrive(flow);
  const polling = setInterval(() => {
    nic.time = performance.now();
    for (const queue of [1, 0]) nic.poll(queue);
  }, 0);
  const { entries, forced } = await nic.guard.move(table, nic.set, { patienceMs: 10_000, watchMs: 0 });
  clearInterval(polling);
  t.same({ entries, forced }, { entries: ENTRIES, forced: false }, 'all entries are told again');
  t.same([nic.guard.isCertain, nic.reordered, nic.received], [true, 0, nic.sent]);
  nic.host.close();
});

interface Step { readonly kind: 'arrive' | 'late' | 'poll' | 'time' | 'move' | 'end'; readonly flow: number; readonly queue: number; readonly count: number }
const steps: fc.Arbitrary<Step[]> = fc.array(fc.record({
  kind: fc.constantFrom('arrive', 'arrive', 'arrive', 'late', 'poll', 'poll', 'poll', 'time', 'move', 'end'), flow: fc.nat(11), queue: fc.nat(2), count: fc.integer({ min: 1, max: 12 }),
}), { minLength: 20, maxLength: 250 });

t.test('no flow is reordered by any interleaving, as long as the NIC lets nothing come later than the hold', async t => {
  let held = 0;
  let moved = 0;
  fc.assert(fc.property(steps, list => {
    const nic = new Nic(3);
    let step: RetaStep | undefined;
    let old: ((flow: number) => number) | undefined; // where the NIC still may put frames that were on their way
    for (const { kind, flow, queue, count } of list) {
      if (kind === 'arrive') for (let i = 0; i < count; i++) nic.arrive((flow + i) % 12);
      if (kind === 'late' && old !== undefined) nic.arrive(flow, old(flow));
      if (kind === 'arrive') old = undefined; // the order of arrival: nothing old comes behind something new
      if (kind === 'poll') nic.poll(queue, count);
      if (kind === 'time') nic.time += count / 10;
      if (kind === 'move' && step === undefined) {
        const was = nic.guard.reta;
        old = each => was[nic.entryOf(each)];
        step = nic.guard.begin(was.map((now, entry) => ((entry + flow) % 3 === 0 ? (now + 1) % 3 : now)), nic.set);
        moved += step.entries;
      }
      if (kind === 'time') old = undefined;
      if (kind === 'end' && step?.drained() === true && step.delivered()) {
        step.end();
        step = undefined;
      }
    }
    nic.rest();
    held += nic.guard.counts().held;
    if (nic.reordered > 0 || nic.guard.counts().reordered > 0) throw new Error(`${nic.reordered} reordered, ${nic.guard.counts().reordered} counted`);
    if (nic.received !== nic.sent) throw new Error(`${nic.sent} sent, ${nic.received} received`);
    if (nic.host.pool.audit().free !== nic.host.pool.size) throw new Error('a buffer is gone');
    nic.host.close();
  }), { numRuns: 60 });
  t.ok(held > 50 && moved > 50, `${moved} entries moved, ${held} packets held`);
});

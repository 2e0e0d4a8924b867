/** What a dead lcore had made for itself alone, with packets in it. */
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { ZONE_FLOW } from '../../lib/arena/layout.js';
import { launch, type Lcore } from '../../lib/lcore/lcore.js';
import { Adjacencies } from '../../lib/lookup/adjacencies.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import { open, type Host } from '../../lib/port/host.js';
import { Ring } from '../../lib/ring/ring.js';
import type { LeavingsArgs } from './leavings_worker.js';

class World {
  readonly host: Host = open(['null:'], { mbufs: 256 });
  readonly words = new Int32Array(new SharedArrayBuffer(8));

  constructor() {
    Lpm.create(this.host.arena, 'routes', { family: 4, routes: 16 });
    Adjacencies.create(this.host.arena, 'next hops', 16);
  }

  /** With its queues full. */
  async start(): Promise<Lcore> {
    this.words.fill(0);
    const lcore = await launch(this.host, { module: new URL('./leavings_worker.js', import.meta.url), args: { words: this.words } satisfies LeavingsArgs });
    while (Atomics.load(this.words, 0) === 0) await wait(1);
    return lcore;
  }

  /** Returns how many of its buffers came back. */
  async die(lcore: Lcore): Promise<number> {
    Atomics.store(this.words, 1, 1);
    return (await lcore.ended).recovery.held;
  }

  names(): string[] {
    return this.host.arena.zones().map(({ name }) => name);
  }
}

t.test('a flow table\'s and a tree\'s packets come back, and their memory, time after time', async t => {
  const world = new World();
  const before = world.names();
  for (let death = 0; death < 3; death++) {
    const lcore = await world.start();
    t.equal(world.host.pool.audit().ring, 21, 'twenty packets wait, one of them of two segments');
    t.equal(await world.die(lcore), 25, 'and five in the tree');
    t.match(world.host.pool.audit(), { free: 256, app: 0, ring: 0, stray: 0, twice: 0 });
  }
  t.same(world.names(), before);
  world.host.close();
});

t.test('a queue from which another takes is left to it', async t => {
  const world = new World();
  const lcore = await world.start();
  const { arena } = world.host;
  const table = arena.zones().find(({ type }) => type === ZONE_FLOW)!.name;
  const queues = [1, 2].map(queue => Ring.find(arena, `${table}/queue/${queue}`));
  const waiting = queues.map(queue => queue.count);
  t.ok(waiting.every(count => count > 1), waiting.join(' and '));
  const burst = world.host.burst(32);
  t.equal(queues[0]!.dequeueBurst(burst, 1), 1);
  world.host.pool.free(burst, 0, 1);
  await world.die(lcore);
  t.notOk(arena.lookup(`${table}/queue/2`), 'the other one is gone');
  t.equal(queues[0]!.dequeueBurst(burst, 32), waiting[0]! - 1, 'what waited is there still');
  world.host.pool.free(burst, 0, waiting[0]! - 1);
  world.host.close();
});

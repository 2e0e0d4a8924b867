/** What a recovery waits for, what it does not wait for, and what becomes of one that could not be completed. */
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { ARENA_HEADER, HEADER_PAUSE, LCORE_REST, REST_RESTING } from '../../lib/arena/layout.js';
import { lcoreField, lcoreHolder } from '../../lib/arena/lcores.js';
import { launch, type Lcore } from '../../lib/lcore/lcore.js';
import type { Recovery } from '../../lib/lcore/recover.js';
import { pauseOthers } from '../../lib/lcore/rest.js';
import { open, type Host } from '../../lib/port/host.js';
import { GO, WAITING } from './rest_words.js';
import type { RestArgs } from './rest_worker.js';

const module = new URL('./rest_worker.js', import.meta.url);
/** As good as for ever: a test that would need it ends with its file's time. */
const PATIENCE_MS = 600_000;

class World {
  readonly host: Host = open(['null:'], { mbufs: 512 });
  readonly words = new Int32Array(new SharedArrayBuffer(8));

  launch(what: RestArgs['what']): Promise<Lcore> {
    return launch(this.host, { module, name: what, args: { words: this.words, what } satisfies RestArgs });
  }

  /** Until so many stand where they wait, or are past it. */
  async standing(count: number): Promise<void> {
    while (Atomics.load(this.words, WAITING) < count) await wait(1);
  }

  go(): void {
    Atomics.store(this.words, GO, 1);
    Atomics.notify(this.words, GO);
  }

  /** Of one that dies with three buffers on their way. */
  async strayDeath(): Promise<Recovery> {
    return (await (await this.launch('stray')).ended).recovery;
  }

  get lost(): { stray: number; reclaimed: number } {
    return { stray: this.host.pool.audit().stray, reclaimed: this.host.pool.stats().reclaimed };
  }
}

t.test('an lcore whose module is still being loaded rests', async t => {
  const world = new World();
  const loading = world.launch('loading');
  await world.standing(1);
  t.match(await world.strayDeath(), { complete: true, waitsFor: -1, stray: 3 });
  world.go();
  await (await loading).stop();
  world.host.close();
});

t.test('one in the middle of a burst does not: the search for strays is made when it does, by itself', async t => {
  const world = new World();
  const busy = await world.launch('busy');
  await world.standing(1);
  t.match(await world.strayDeath(), { complete: false, waitsFor: busy.id, stray: 0 });
  t.same(world.lost, { stray: 3, reclaimed: 0 });
  world.go();
  while (world.lost.stray > 0) await wait(5);
  t.same(world.lost, { stray: 0, reclaimed: 3 });
  await busy.stop();
  world.host.close();
});

t.test('or by the next recovery', async t => {
  const world = new World();
  const busy = await world.launch('busy');
  await world.standing(1);
  t.notOk((await world.strayDeath()).complete);
  const { lcore, complete, stray } = await busy.terminate();
  t.same({ lcore, complete, stray }, { lcore: busy.id, complete: true, stray: 3 }, 'the one that was waited for ends');
  world.host.close();
});

t.test('nobody waits for one that is dead and not recovered', async t => {
  const world = new World();
  const { arena } = world.host;
  const dead = await world.launch('dead');
  await world.standing(1);
  world.go();
  // Its exit event waits for this turn of the event loop to end, as it does while another death is being recovered from.
  while (lcoreHolder(arena.i32, dead.id)?.life !== 'dead') Atomics.wait(world.words, GO, 1, 1);
  const pause = arena.reclaiming(() => pauseOthers(arena, [], PATIENCE_MS));
  t.ok('resume' in pause);
  if ('resume' in pause) pause.resume();
  t.match((await dead.ended).recovery, { lcore: dead.id, complete: true });
  world.host.close();
});

t.test('all that poll stand still in a pause, and go on after it', async t => {
  const world = new World();
  const { arena } = world.host;
  const pollers = await Promise.all([world.launch('poll'), world.launch('poll'), world.launch('poll')]);
  await world.standing(3);
  for (let round = 0; round < 50; round++) {
    const pause = arena.reclaiming(() => pauseOthers(arena, [], PATIENCE_MS));
    if (!('resume' in pause)) throw new Error(`lcore ${pause.waitsFor} did not rest`);
    const resting = pollers.filter(({ id }) => Atomics.load(arena.i32, lcoreField(id, LCORE_REST)) === REST_RESTING);
    pause.resume();
    if (resting.length !== 3) t.fail(`${resting.length} rested in round ${round}`);
    await wait(0);
  }
  await Promise.all(pollers.map(poller => poller.stop()));
  t.pass('they came to their end');
  world.host.close();
});

t.test('a pause that its asker left when it died is nobody\'s', async t => {
  const world = new World();
  Atomics.store(world.host.arena.i32, (ARENA_HEADER + HEADER_PAUSE) >> 2, 60);
  t.match(await world.strayDeath(), { complete: true, stray: 3 });
  world.host.close();
});

t.test('an lcore that ends after its arena is closed here ends all the same', async t => {
  const world = new World();
  const lcore = await world.launch('poll');
  await world.standing(1);
  world.host.close();
  t.match(await lcore.terminate(), { lcore: lcore.id, complete: false });
  await t.rejects(lcore.join(), { code: 'ELCORE' });
});

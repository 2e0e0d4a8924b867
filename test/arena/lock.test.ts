import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { ARENA_HEADER, HEADER_LOCK } from '../../lib/arena/layout.js';
import { Party, until } from './party_helper.js';

const LOCK = (ARENA_HEADER + HEADER_LOCK) >> 2;

/** Kills the caller at its nth atomic store, of which a reservation has about a dozen, most of them under the lock. */
const dieInReserve = ({ Arena, held }: import('./party_helper.js').Tools, { share, name, step, flag, how }: { share?: import('../../lib/arena/arena.js').ArenaShare; name: string; step: number; flag: number; how: 'kill' | 'stop' }): void => {
  held.arena = share === undefined ? Arena.attachProcess(name) : Arena.attach(share);
  const { i32 } = held.arena;
  const store = Atomics.store;
  let left = step;
  Atomics.store = ((...of: Parameters<typeof store>) => {
    if (--left === 0 && how === 'kill') process.kill(process.pid, 'SIGKILL');
    if (left === 0) {
      Atomics.add(i32, flag, 1);
      Atomics.wait(i32, flag, 1);
    }
    return store(...of);
  }) as typeof store;
  held.arena.reserve('unfinished', 1 << 16);
  Atomics.store = store;
};

t.test('a thread that dies at any step of a reservation holds nobody up, and the directory is whole', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  arena.reserve('before', 4096);
  const flag = arena.reserve('flag', 64);
  let [step, lockedDeaths, finished] = [1, 0, false];
  for (; !finished; step++) {
    arena.i32[flag.offset >> 2] = 0;
    const thread = new Party(t, { kind: 'thread' });
    const outcome = thread.run(dieInReserve, { share: arena.share(), name: '', step, flag: flag.offset >> 2, how: 'stop' as const }).then(() => { finished = true; }, () => {});
    await until(() => finished || Atomics.load(arena.i32, flag.offset >> 2) === 1);
    await thread.kill();
    await outcome;
    if ((Atomics.load(arena.i32, LOCK) & 0xff) !== 0) lockedDeaths++;
    await until(() => arena.deadLcores().length === 1);
    const zone = arena.reserve('after', 8192);
    arena.release(zone);
    const names = arena.zones().map(({ name }) => name);
    t.ok(names.join() === 'before,flag' || (names.join() === 'before,flag,unfinished' && finished), `step ${step}: ${names.join()}`);
    for (const lcore of arena.deadLcores()) arena.freeLcore(lcore);
    t.equal(arena.lcores().length, 1);
    if (finished) arena.release(arena.find('unfinished'));
    const again = arena.reserve('unfinished', 1 << 16);
    t.ok(again.offset >= flag.offset + 64, 'the name and the range are free');
    arena.release(again);
  }
  t.ok(step > 10 && lockedDeaths > 5, `${step} steps, ${lockedDeaths} deaths under the lock`);
  arena.close();
});

t.test('a process that is killed under the lock holds nobody up', async t => {
  const name = `test-lock-${process.pid}`;
  const arena = Arena.create({ size: MIN_ARENA, name });
  for (const step of [3, 8]) {
    const party = new Party(t);
    await party.runToDeath(dieInReserve, { name, step, flag: 0, how: 'kill' as const });
    t.not(Atomics.load(arena.i32, LOCK) & 0xff, 0, 'the lock is held by the dead');
    arena.release(arena.reserve('after', 4096));
    t.equal(Atomics.load(arena.i32, LOCK) & 0xff, 0);
    t.same(arena.zones(), []);
    t.equal(arena.deadLcores().length, 1);
    for (const lcore of arena.deadLcores()) arena.freeLcore(lcore);
  }
  arena.close();
});

t.test('a lock word of an lcore that nobody holds is taken away', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  Atomics.store(arena.i32, LOCK, 0x7fffff00 | (9 + 1));
  t.ok(arena.reserve('x', 64));
  t.equal(Atomics.load(arena.i32, LOCK), -0x80000000, 'the sequence goes on, through its sign');
  t.ok(arena.reserve('y', 64));
  arena.close();
});

t.test('a lock that a living thread keeps is not taken away: EBUSYQUEUE, and nothing changed', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const thread = new Party(t, { kind: 'thread' });
  const lcore = await thread.run(({ Arena, held }, share) => {
    held.arena = Arena.attach(share);
    return held.arena.lcore;
  }, arena.share());
  Atomics.store(arena.i32, LOCK, lcore + 1);
  t.throws(() => arena.reserve('x', 64), { code: 'EBUSYQUEUE', message: /lcore 1, which lives/ });
  t.same(arena.zones(), []);
  t.throws(() => { arena.freeLcore(lcore); }, { code: 'ETHREAD' });
  await thread.kill();
  t.ok(arena.reserve('x', 64), 'once it is dead, it is');
  arena.close();
});

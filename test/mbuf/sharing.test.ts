import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { Party, until } from '../arena/party_helper.js';

const BUILDS = ['fast', 'checking', 'twin'] as const;
const ROUNDS = process.env['POLLMODE_LONG'] === '1' ? 1_000_000 : 30_000;
t.setTimeout(600_000);

const join = ({ Arena, Mempool, Burst, held }: import('../arena/party_helper.js').Tools, share: import('../../lib/arena/arena.js').ArenaShare): void => {
  held.arena = Arena.attach(share);
  held.pool = Mempool.find(held.arena, 'pool');
  held.burst = new Burst(held.arena, 512);
};

for (const build of BUILDS) {
  t.test(`two threads hold and free one mbuf ${ROUNDS} times each (${build}): the count is exact`, async t => {
    const arena = Arena.create({ size: MIN_ARENA });
    const pool = Mempool.create(arena, 'pool', { count: 32 });
    const burst = pool.burst(1);
    pool.alloc(burst, 1);
    const [handle] = burst.handles as unknown as [number];
    const threads = [0, 1].map(() => new Party(t, { kind: 'thread', environment: { POLLMODE_BURST: build } }));
    await Promise.all(threads.map(thread => thread.run(join, arena.share())));
    await Promise.all(threads.map(thread => thread.run(({ held }, { handle, rounds }) => {
      held.burst.handles.fill(handle);
      for (let round = 0; round < rounds; round++) {
        const holds = 1 + round % 4;
        for (let i = 0; i < holds; i++) held.pool.mbufs.hold(handle);
        held.pool.free(held.burst, 0, holds);
      }
    }, { handle, rounds: ROUNDS })));
    t.equal(pool.mbufs.refcnt(handle), 1);
    t.same(Object.fromEntries(pool.audit().owners), { 'several lcores': 1, pool: 31 });
    pool.free(burst, 0, 1);
    t.match(pool.audit(), { free: 32, twice: 0, stray: 0 });
    t.match(pool.stats(), { foreign: 0 });
    await Promise.all(threads.map(thread => thread.run(({ held }) => { held.arena.close(); })));
    pool.close();
    arena.close();
  });

  t.test(`three threads let go of the same mbufs at once (${build}): each comes back once`, async t => {
    const arena = Arena.create({ size: MIN_ARENA });
    const pool = Mempool.create(arena, 'pool', { count: 512, cache: 64 });
    const burst = pool.burst(256);
    const gate = arena.reserve('gate', 64).offset >> 2;
    const threads = [0, 1].map(() => new Party(t, { kind: 'thread', environment: { POLLMODE_BURST: build } }));
    await Promise.all(threads.map(thread => thread.run(join, arena.share())));
    for (let round = 1; round <= 60; round++) {
      if (pool.alloc(burst, 256) !== 256) throw new Error('dry');
      const handles = burst.handles.slice();
      for (const handle of handles) {
        pool.mbufs.hold(handle);
        pool.mbufs.hold(handle);
      }
      const done = threads.map((thread, which) => thread.run(({ held }, { handles, gate, round, which }) => {
        held.burst.handles.set(which === 0 ? handles : handles.slice().reverse());
        Atomics.add(held.arena.i32, gate, 1);
        while (Atomics.load(held.arena.i32, gate) < 2 * round);
        for (let from = 0; from < 256; from += 8) held.pool.free(held.burst, from, from + 8);
      }, { handles, gate, round, which }));
      await until(() => Atomics.load(arena.i32, gate) >= 2 * round);
      for (let from = 0; from < 256; from += 32) pool.free(burst, from, from + 32);
      await Promise.all(done);
      const { free, twice, stray } = pool.audit();
      if (free !== 512 || twice !== 0 || stray !== 0) t.fail(`round ${round}: ${free} free, ${twice} twice, ${stray} stray`);
    }
    t.match(pool.stats(), { foreign: 0, dry: 0 });
    t.match(pool.audit(), { free: 512, twice: 0 });
    arena.close();
  });
}

t.test('an lcore that lets go of a shared mbuf takes its name off, so that its death takes nothing from the others', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 32 });
  const burst = pool.burst(1);
  const thread = new Party(t, { kind: 'thread' });
  await thread.run(join, arena.share());
  // The thread allocates, gives us a hold, frees its own, and dies.
  const handle = await thread.run(({ held }) => {
    held.pool.alloc(held.burst, 1);
    const [handle] = held.burst.handles as unknown as [number];
    held.pool.mbufs.hold(handle);
    held.pool.free(held.burst, 0, 1);
    return handle;
  });
  await thread.kill();
  await until(() => arena.deadLcores().length === 1);
  const [dead] = arena.deadLcores();
  pool.reclaim(dead!);
  t.equal(pool.mbufs.refcnt(handle), 1);
  t.match(pool.audit(), { free: 31, app: 1 });
  burst.handles[0] = handle;
  pool.free(burst, 0, 1);
  t.match(pool.audit(), { free: 32, twice: 0 });
  arena.close();
});

import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { recoverDead } from '../../lib/lcore/recover.js';
import { Ring } from '../../lib/ring/ring.js';
import { Party, until, type Tools } from '../arena/party_helper.js';

const NAME = `test-reclaim-${process.pid}`;
const KINDS = ['thread', 'process'] as const;
t.setTimeout(600_000);

interface Way { readonly name: string; readonly share: ReturnType<Arena['share']> | undefined }

const join = ({ Arena, Mempool, Burst, held }: Tools, { name, share }: Way): number => {
  held.arena = share === undefined ? Arena.attachProcess(name) : Arena.attach(share);
  held.pool = Mempool.find(held.arena, 'pool');
  held.burst = new Burst(held.arena, 256);
  return held.arena.lcore;
};

function way(arena: Arena, party: Party): Way {
  return { name: NAME, share: party.kind === 'thread' ? arena.share() : undefined };
}

for (const kind of KINDS) {
  t.test(`what a ${kind} held when it was killed comes back: mbufs, cache, shared holds, burst vectors and its id`, async t => {
    const arena = Arena.create({ size: MIN_ARENA, name: NAME });
    const pool = Mempool.create(arena, 'pool', { count: 1024, cache: 64 });
    const ring = Ring.create(arena, 'ring', { size: 64, holds: 'mbufs' });
    const party = new Party(t, { kind });
    const lcore = await party.run(join, way(arena, party));
    const shared = await party.run(({ Ring, held }) => {
      const { pool, burst } = held;
      pool.alloc(burst, 200);
      pool.free(burst, 150, 200);
      pool.mbufs.hold(burst.handles[0]!);
      Ring.find(held.arena, 'ring').enqueueBulk(burst, 10);
      return burst.handles[0]!;
    });
    t.match(pool.audit(), { app: 140, ring: 10, free: 874 });
    t.same(recoverDead(arena), [], 'nothing while it lives');
    await party.kill();
    await until(() => arena.deadLcores().length === 1);
    t.ok(pool.audit().cached > 0);
    t.same(recoverDead(arena), [{ lcore, claims: 0, held: 140, stray: 0, queues: [], complete: true, waitsFor: -1 }]);
    t.equal(pool.stats().reclaimed, 140);
    const burst = new Burst(arena, 32);
    t.match(pool.audit(), { app: 0, ring: 10, cached: 0, free: 1014, stray: 0, twice: 0 });
    t.equal(ring.dequeueBurst(burst), 10);
    t.equal(burst.handles[0], shared);
    pool.free(burst, 0, 10);
    t.match(pool.audit(), { app: 1, free: 1023, twice: 0 }, 'one hold of the shared one was the dead program\'s');
    pool.free(burst, 0, 1);
    t.match(pool.audit(), { app: 0, free: 1024, twice: 0 });
    t.equal(arena.lcores().length, 1);
    t.notOk(arena.zones().some(({ name }) => name.startsWith(`burst/${lcore}/`)));
    t.same(recoverDead(arena), []);
    pool.close();
    arena.close();
  });
}

for (const kind of KINDS) {
  for (const work of ['alloc', 'free'] as const) {
    for (const point of [1, 2]) {
      t.test(`a ${kind} dies inside mbuf${work}, with the pool's ring claimed (point ${point}): afterwards every mbuf is in one place`, async t => {
        const arena = Arena.create({ size: MIN_ARENA, name: NAME });
        const pool = Mempool.create(arena, 'pool', { count: 512, cache: 32 });
        const flag = arena.reserve('flag', 64).offset >> 2;
        const party = new Party(t, { kind });
        const lcore = await party.run(join, way(arena, party));
        const ending = party.runToDeath(({ held, instantiate }, { isThread, work, point, flag }) => {
          const { arena, pool, burst } = held;
          let armed = false;
          const functions = instantiate(arena.memory, 'checking', { fault: at => {
            if (!armed || at !== point) return;
            if (!isThread) process.kill(process.pid, 'SIGKILL');
            Atomics.store(arena.i32, flag, 1);
            for (;;) Atomics.wait(arena.i32, flag, 1);
          } });
          if (work === 'free') functions.mbufAlloc(pool.offset, arena.lcore, burst.offset, 100);
          armed = true;
          if (work === 'alloc') functions.mbufAlloc(pool.offset, arena.lcore, burst.offset, 20);
          else functions.mbufFree(pool.offset, arena.lcore, burst.offset, 100);
        }, { isThread: kind === 'thread', work, point, flag });
        if (kind === 'thread') await until(() => Atomics.load(arena.i32, flag) === 1).then(() => party.kill());
        await ending;
        await until(() => arena.deadLcores().length === 1);
        const [back, ...others] = recoverDead(arena);
        t.same(others, []);
        t.match(back, { lcore, claims: 1, complete: true });
        t.match(pool.audit(), { free: 512, cached: 0, twice: 0, stray: 0, app: 0 });
        const burst = new Burst(arena, 512);
        t.equal(pool.alloc(burst, 512), 512, 'all of them, each once');
        t.equal(new Set(burst.handles).size, 512);
        pool.free(burst, 0, 512);
        pool.close();
        arena.close();
      });
    }
  }
}

t.test('threads are terminated in full work, again and again, while others go on: the pool stays exact', async t => {
  const deaths = process.env['POLLMODE_LONG'] === '1' ? 200 : 10;
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 2048, cache: 32 });
  const stop = arena.reserve('stop', 64).offset >> 2;
  // Allocates, holds, puts into a ring, takes from it, and frees; bursts of every size; nothing else.
  const work = async ({ Ring, held }: Tools, { stop, started }: { stop: number; started: number }): Promise<number> => {
    const { arena, pool, burst } = held;
    const ring = Ring.find(arena, 'ring');
    let moved = 0;
    Atomics.add(arena.i32, started, 1);
    for (let count = 1; Atomics.load(arena.i32, stop) === 0; count = 1 + (count * 37 + 11) % 64) {
      const got = pool.alloc(burst, count);
      const put = ring.enqueueBurst(burst, got);
      if (put < got) pool.free(burst, put, got);
      const taken = ring.dequeueBurst(burst, count);
      if (taken > 0) pool.free(burst, 0, taken);
      if (got === 0) Atomics.wait(arena.i32, burst.offset >> 2, arena.i32[burst.offset >> 2]!, 0.05);
      moved += taken;
    }
    return moved;
  };
  const ring = Ring.create(arena, 'ring', { size: 256, holds: 'mbufs' });
  const survivor = new Party(t, { kind: 'thread' });
  const survivorId = await survivor.run(join, { name: '', share: arena.share() });
  const surviving = survivor.run(work, { stop, started: stop + 1 });
  await until(() => Atomics.load(arena.i32, stop + 1) === 1);
  let held = 0;
  for (let death = 0; death < deaths; death++) {
    const victim = new Party(t, { kind: 'thread' });
    await victim.run(join, { name: '', share: arena.share() });
    const before = Atomics.load(arena.i32, stop + 1);
    victim.run(work, { stop, started: stop + 1 }).catch(() => {});
    await until(() => Atomics.load(arena.i32, stop + 1) > before);
    await new Promise(resolve => { setTimeout(resolve, 1 + death % 7); });
    await victim.kill();
    await until(() => arena.deadLcores().length === 1);
    // The survivor goes on meanwhile: it polls by itself, so it cannot be asked to rest, and strays have to wait.
    const [recovery] = recoverDead(arena);
    t.match(recovery, { complete: false, stray: 0, waitsFor: survivorId });
    held += recovery!.held;
  }
  Atomics.store(arena.i32, stop, 1);
  const moved = await surviving;
  await survivor.run(({ held }) => { held.arena.close(); });
  t.ok(moved > 1000, `the survivor moved ${moved}; ${held} mbufs were held by the dead`);
  const burst = new Burst(arena, 256);
  const left = ring.dequeueBurst(burst);
  if (left > 0) pool.free(burst, 0, left);
  const { free, stray, ring: between, twice, app } = pool.audit();
  t.equal(twice, 0, 'none is in two places');
  t.equal(app, 0);
  t.equal(free + stray + between, 2048, `${stray} stray and ${between} between two places wait for a quiet moment`);
  t.equal(pool.reclaimStray(), stray + between);
  t.match(pool.audit(), { free: 2048, stray: 0, ring: 0, twice: 0 });
  t.equal(arena.lcores().length, 1);
  pool.close();
  arena.close();
});

t.test('a reclaimer that dies while it is at it holds nobody up, and two at a time take turns', async t => {
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  const pool = Mempool.create(arena, 'pool', { count: 256, cache: 0 });
  const victims = [0, 1, 2].map(() => new Party(t));
  for (const victim of victims) {
    await victim.run(join, way(arena, victim));
    await victim.run(({ held }) => held.pool.alloc(held.burst, 60));
    await victim.kill();
  }
  await until(() => arena.deadLcores().length === 3);
  const reclaimer = new Party(t);
  await reclaimer.run(join, way(arena, reclaimer));
  await reclaimer.runToDeath(({ held }) => held.arena.reclaiming(() => process.kill(process.pid, 'SIGKILL')));
  await until(() => arena.deadLcores().length === 4);
  const other = new Party(t);
  await other.run(join, way(arena, other));
  const theirs = other.run(({ held, recoverDead }) => recoverDead(held.arena));
  const back = [...recoverDead(arena), ...await theirs];
  t.equal(back.length, 4);
  t.equal(back.reduce((sum, { held }) => sum + held, 0), 180);
  t.match(pool.audit(), { free: 256, app: 0, twice: 0 });
  t.equal(arena.lcores().length, 2);
  await other.kill();
  arena.close();
});

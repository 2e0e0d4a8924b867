import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { LCORE_PID, LCORE_STARTED, LCORE_TABLE, LCORE_TID } from '../../lib/arena/layout.js';
import { Burst } from '../../lib/burst/burst.js';
import { Party, until } from './party_helper.js';

t.test('each thread has an lcore of its own, says who it is, and gives it back at close', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  t.match(arena.lcores(), [{ lcore: 0, pid: process.pid, tid: process.pid, worker: 0, life: 'alive' }]);
  const second = Arena.attach(arena.share());
  t.equal(second.lcore, 1);
  const thread = new Party(t, { kind: 'thread' });
  const theirs = await thread.run(({ Arena, held }, share) => {
    held.arena = Arena.attach(share);
    return { lcore: held.arena.lcore, all: held.arena.lcores() };
  }, arena.share());
  t.equal(theirs.lcore, 2);
  t.same(theirs.all, arena.lcores());
  const { tid, life } = arena.lcores()[2]!;
  t.ok(tid !== process.pid && tid > 0 && life === 'alive');
  second.close();
  second.close();
  t.same(arena.lcores().map(({ lcore }) => lcore), [0, 2]);
  const third = Arena.attach(arena.share());
  t.equal(third.lcore, 1, 'the lowest free one');
  third.close();
  await thread.run(({ held }) => { held.arena.close(); });
  t.equal(arena.lcores().length, 1);
  arena.close();
});

t.test('64 lcores, and the 65th is refused', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const others = Array.from({ length: 63 }, () => Arena.attach(arena.share()));
  t.throws(() => Arena.attach(arena.share()), { code: 'EARENAFULL', message: /All 64 lcores .* 0 of them by threads that died/ });
  others[41]!.close();
  const again = Arena.attach(arena.share());
  t.equal(again.lcore, 42);
  for (const other of [...others, again, arena]) other.close();
});

t.test('threads that died are found, counted, and their lcores used again', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const endings = {
    terminated: (party: Party) => party.kill(),
    exited: (party: Party) => party.runToDeath(() => { process.exit(); }),
    threw: (party: Party) => party.runToDeath(() => new Promise(() => { setImmediate(() => { throw new Error('of a test'); }); })),
  };
  const others = Array.from({ length: 60 }, () => Arena.attach(arena.share()));
  for (const [how, end] of Object.entries(endings)) {
    const thread = new Party(t, { kind: 'thread' });
    const { lcore, worker } = await thread.run(async ({ Arena, Burst, held }, share) => {
      held.arena = Arena.attach(share);
      held.burst = new Burst(held.arena, 32);
      held.zone = held.arena.reserve(`of ${held.arena.lcore}`, 64);
      return { lcore: held.arena.lcore, worker: (await import('node:worker_threads')).threadId };
    }, arena.share());
    t.same(arena.deadLcores().includes(lcore), false);
    if (how === 'threw') thread.ignoreError();
    await end(thread);
    await until(() => arena.deadLcores().includes(lcore));
    t.match(arena.lcores().find(holder => holder.lcore === lcore), { pid: process.pid, worker, life: 'dead' }, how);
  }
  const dead = arena.deadLcores();
  t.same(dead, [61, 62, 63]);
  t.throws(() => Arena.attach(arena.share()), { code: 'EARENAFULL', message: /3 of them by threads that died.*recoverDead/ });
  for (const lcore of dead) arena.freeLcore(lcore);
  t.same(arena.deadLcores(), []);
  t.same(arena.zones().map(({ name }) => name), ['of 61', 'of 62', 'of 63'], 'burst vectors went, named zones stayed');
  const again = Arena.attach(arena.share());
  t.equal(again.lcore, 61);
  new Burst(again, 32).close();
  for (const other of [...others, again, arena]) other.close();
});

t.test('processes that died are found, and one that lives is not taken for dead', async t => {
  const name = `test-lcores-${process.pid}`;
  const arena = Arena.create({ size: MIN_ARENA, name });
  const parties = [new Party(t), new Party(t)];
  const held = await Promise.all(parties.map(party => party.run(({ Arena, held }, name) => {
    held.arena = Arena.attachProcess(name);
    return { lcore: held.arena.lcore, all: held.arena.lcores() };
  }, name)));
  t.same(new Set(held.map(({ lcore }) => lcore)), new Set([1, 2]));
  t.same(arena.lcores().map(({ pid }) => pid).sort(), [process.pid, ...parties.map(({ pid }) => pid)].sort());
  t.ok(held.every(({ all }) => all.every(({ life }) => life === 'alive')), 'they see each other and us alive');
  await parties[0]!.kill();
  await until(() => arena.deadLcores().length > 0);
  t.same(arena.deadLcores(), [held[0]!.lcore]);
  t.same(await parties[1]!.run(({ held }) => held.arena.deadLcores()), [held[0]!.lcore], 'any process sees it');
  t.throws(() => { arena.freeLcore(held[1]!.lcore); }, { code: 'ETHREAD', message: /lives/ });
  await parties[1]!.run(({ held }, lcore) => { held.arena.freeLcore(lcore); }, held[0]!.lcore);
  t.same(arena.deadLcores(), []);
  await parties[1]!.kill();
  arena.close();
});

t.test('a number that was used again is not taken for the same thread', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const second = Arena.attach(arena.share());
  const field = (which: number): number => (LCORE_TABLE + second.lcore * 32 + which) >> 2;
  const started = arena.i32[field(LCORE_STARTED)]!;
  t.same(arena.deadLcores(), []);
  arena.i32[field(LCORE_STARTED)] = started - 1;
  t.same(arena.deadLcores(), [second.lcore], 'a thread of that number that started at another time');
  arena.i32[field(LCORE_STARTED)] = started;
  arena.i32[field(LCORE_TID)] = 0;
  t.same(arena.lcores()[1]!.life, 'unknown', 'a claim that is being filled in, of a living process');
  arena.i32[field(LCORE_PID)] = 2 ** 22 + 1;
  t.same(arena.lcores()[1]!.life, 'dead', 'and of one that is gone: above PID_MAX_LIMIT there is none');
  arena.freeLcore(second.lcore);
  arena.close();
});

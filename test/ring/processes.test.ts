import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { burstFunctions } from '../../lib/burst/module.js';
import { RING_CONS, RING_PROD } from '../../lib/ring/layout.js';
import { Ring } from '../../lib/ring/ring.js';
import { Party, until } from '../arena/party_helper.js';

const TOTAL = process.env['POLLMODE_LONG'] === '1' ? 10_000_000 : 100_000;
t.setTimeout(600_000);

for (const single of [true, false]) {
  t.test(`${TOTAL} numbers from one process to another through ${single ? 'an SP/SC' : 'an MP/MC'} ring, in order`, async t => {
    const name = `test-ring-${process.pid}`;
    const arena = Arena.create({ size: MIN_ARENA, name });
    const ring = Ring.create(arena, 'ring', { size: 1024, singleProducer: single, singleConsumer: single });
    // So that the indices wrap through 2^32 on the way.
    for (const field of [RING_PROD, RING_CONS]) arena.u32[(ring.offset + field) >>> 2] = 0xffff0000;
    const sender = new Party(t);
    const sent = sender.run(({ Arena, Ring, Burst }, { name, total }) => {
      const arena = Arena.attachProcess(name);
      const ring = Ring.find(arena, 'ring');
      const burst = new Burst(arena, 32);
      for (let next = 0; next < total;) {
        const count = Math.min(1 + next % 32, total - next);
        for (let i = 0; i < count; i++) burst.handles[i] = next + i;
        const put = ring.enqueueBurst(burst, count);
        // The other side may need this core.
        if (put === 0) Atomics.wait(arena.i32, burst.offset >> 2, arena.i32[burst.offset >> 2]!, 0.05);
        next += put;
      }
      const busy = ring.stats().enqueueBusy;
      arena.close();
      return busy;
    }, { name, total: TOTAL });
    const burst = new Burst(arena, 32);
    let [next, wrong] = [0, 0];
    await until(() => {
      for (let calls = 0; calls < 5000 && next < TOTAL; calls++) {
        const got = ring.dequeueBurst(burst, 1 + next % 32);
        for (let i = 0; i < got; i++) if (burst.handles[i] !== next++) wrong++;
      }
      return next >= TOTAL;
    });
    t.equal(wrong, 0);
    t.equal(await sent, 0, 'and no claim stood too long');
    t.equal(ring.count, 0);
    t.equal(arena.lcores().length, 1, 'the other process gave its lcore back');
    arena.close();
  });
}

t.test('two processes and a thread share both sides of an MP/MC ring: each number once', async t => {
  const name = `test-ring-${process.pid}`;
  const arena = Arena.create({ size: MIN_ARENA, name });
  const [ring, back] = ['there', 'back'].map(each => Ring.create(arena, each, { size: 256 })) as [Ring, Ring];
  const parties = [new Party(t), new Party(t), new Party(t, { kind: 'thread' })];
  // Each takes from one ring and puts into the other, until it sees the number that says stop.
  const working = parties.map(party => party.run(({ Arena, Ring, Burst }, { name, share }) => {
    const arena = share === undefined ? Arena.attachProcess(name) : Arena.attach(share);
    const [from, to] = [Ring.find(arena, 'there'), Ring.find(arena, 'back')];
    const burst = new Burst(arena, 16);
    for (let moved = 0; ;) {
      const got = from.dequeueBurst(burst);
      if (got === 0) Atomics.wait(arena.i32, burst.offset >> 2, arena.i32[burst.offset >> 2]!, 0.05);
      const stop = burst.handles.subarray(0, got).indexOf(0xffffffff);
      const count = stop < 0 ? got : stop;
      for (let put = 0; put < count;) put += to.enqueueBurst(burst, count - put, put);
      moved += count;
      if (stop < 0) continue;
      // Stops that were another's, and what came behind the stop, go back.
      for (let put = stop + 1; put < got;) put += from.enqueueBurst(burst, got - put, put);
      arena.close();
      return moved;
    }
  }, party.kind === 'thread' ? { name, share: arena.share() } : { name, share: undefined }));
  const total = TOTAL / 2;
  const burst = new Burst(arena, 32);
  const times = new Uint8Array(total);
  let [next, received] = [0, 0];
  await until(() => {
    for (let calls = 0; calls < 2000 && received < total; calls++) {
      for (let i = 0; i < 32; i++) burst.handles[i] = next + i;
      next += ring.enqueueBurst(burst, Math.min(32, total - next));
      const got = back.dequeueBurst(burst);
      for (let i = 0; i < got; i++) times[burst.handles[i]!]!++;
      received += got;
    }
    return received >= total;
  });
  burst.handles.fill(0xffffffff, 0, 3);
  t.equal(ring.enqueueBulk(burst, 3), 3);
  const moved = await Promise.all(working);
  t.ok(times.every(count => count === 1));
  t.equal(moved.reduce((sum, count) => sum + count), total);
  t.same(arena.deadLcores(), []);
  arena.close();
});

const POINTS = [['after the claim', 1], ['before the publish', 2]] as const;

for (const kind of ['thread', 'process'] as const) {
  for (const side of ['Enqueue', 'Dequeue'] as const) {
    for (const [where, point] of POINTS) {
      t.test(`a ${kind} dies in an ${side.toLowerCase()}, ${where}: nothing is lost or doubled among the survivors`, async t => {
        const name = `test-ring-${process.pid}`;
        const arena = Arena.create({ size: MIN_ARENA, name });
        const ring = Ring.create(arena, 'ring', { size: 16 });
        const flag = arena.reserve('flag', 64).offset >> 2;
        const burst = new Burst(arena, 8);
        burst.handles.set([1, 2, 3, 4, 5]);
        ring.enqueueBulk(burst, 5);

        const party = new Party(t, { kind });
        const ending = party.runToDeath(({ Arena, Ring, Burst, instantiate }, { name, share, side, point, flag }) => {
          const arena = share === undefined ? Arena.attachProcess(name) : Arena.attach(share);
          const { offset } = Ring.find(arena, 'ring');
          const burst = new Burst(arena, 8);
          burst.handles.set([101, 102, 103]);
          const functions = instantiate(arena.memory, 'checking', { fault: at => {
            if (at !== point) return;
            if (share === undefined) process.kill(process.pid, 'SIGKILL');
            Atomics.store(arena.i32, flag, 1);
            for (;;) Atomics.wait(arena.i32, flag, 1);
          } });
          if (side === 'Enqueue') functions.ringEnqueueMp(offset, burst.offset, 3, 1, arena.lcore);
          else functions.ringDequeueMc(offset, burst.offset, 3, 1, arena.lcore);
        }, { name, share: kind === 'thread' ? arena.share() : undefined, side, point, flag });
        if (kind === 'thread') {
          await until(() => Atomics.load(arena.i32, flag) === 1);
          t.equal(arena.deadLcores().length, 0, 'while it lives, its claim is its own');
          await party.kill();
        }
        await ending;
        await until(() => arena.deadLcores().length === 1);

        const [dead] = arena.deadLcores();
        const move = (): number => side === 'Enqueue' ? ring.enqueueBurst(burst, 1) : ring.dequeueBurst(burst, 1);
        t.equal(move(), 0, 'the claim of the dead stands');
        t.equal(side === 'Enqueue' ? ring.dequeueBurst(burst, 1) : ring.enqueueBurst(burst, 1), 1, 'the other side goes on');
        t.match(ring.stats(), side === 'Enqueue' ? { enqueueBusy: 1, dequeueBusy: 0 } : { enqueueBusy: 0, dequeueBusy: 1 });
        t.equal(ring.recover(dead!), 1);
        t.equal(ring.recover(dead!), 0);
        const rest = side === 'Enqueue' ? [2, 3, 4, 5] : [1, 2, 3, 4, 5, 1];
        t.equal(ring.dequeueBurst(burst), rest.length);
        t.same([...burst.handles.subarray(0, rest.length)], rest, 'what was published, and only that');
        burst.handles.fill(7);
        t.equal(ring.enqueueBurst(burst, 8), 8);
        t.equal(ring.enqueueBurst(burst, 8), 8, 'all slots are good');
        t.equal(ring.free, 0);
        arena.freeLcore(dead!);
        arena.close();
      });
    }
  }
}

t.test('in TypeScript too: the twin\'s claim is voided as the module\'s is', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const ring = Ring.create(arena, 'ring', { size: 16 });
  const worker = new Party(t, { kind: 'thread' });
  await worker.run(({ Arena, Ring, Burst, instantiate }, share) => {
    const arena = Arena.attach(share);
    const twin = instantiate(arena.memory, 'twin', { fault: () => { throw new Error('of a test'); } });
    try {
      twin.ringEnqueueMp(Ring.find(arena, 'ring').offset, new Burst(arena, 8).offset, 3, 1, arena.lcore);
    } catch {
      // the thread ends below
    }
  }, arena.share());
  await worker.kill();
  await until(() => arena.deadLcores().length === 1);
  t.equal(burstFunctions(arena).ringRecover(ring.offset, arena.deadLcores()[0]!), 1);
  t.equal(ring.count, 0);
  arena.close();
});

import fc from 'fast-check';
import t from 'tap';
import { Arena, MAX_ARENA, MIN_ARENA } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Chains } from '../../lib/mbuf/chains.js';
import * as layout from '../../lib/mbuf/layout.js';
import { Mempool, type MempoolOptions } from '../../lib/mbuf/mempool.js';
import { open } from '../../lib/port/host.js';
import { Ring } from '../../lib/ring/ring.js';

const PLACES = [['fast', false], ['checking', false], ['twin', false], ['fast', true], ['twin', true]] as const;

function arenaOf(build: string, high: boolean): Arena {
  process.env['POLLMODE_BURST'] = build;
  const arena = Arena.create({ size: high ? MAX_ARENA : MIN_ARENA });
  if (high) arena.reserve('below', 2 ** 31);
  Ring.create(arena, 'first', { size: 2 }).close();
  delete process.env['POLLMODE_BURST'];
  return arena;
}

/** How often each value is there. */
function groups(values: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

const shapes = fc.record({ count: fc.integer({ min: 32, max: 700 }), bufferSize: fc.constantFrom(2048, 4096) }).chain(shape =>
  fc.record({ count: fc.constant(shape.count), bufferSize: fc.constant(shape.bufferSize), cache: fc.nat(Math.floor(shape.count / 3)) }));
const commands = fc.array(fc.record({ do: fc.constantFrom('alloc' as const, 'alloc' as const, 'free' as const), count: fc.integer({ min: 1, max: 512 }), from: fc.nat(1000) }), { maxLength: 40, size: 'max' });

for (const [build, high] of PLACES) {
  t.test(`a pool of the ${build} build${high ? ' above 2 GiB' : ''} against a set: no mbuf is handed out twice, all or none, and all come back`, async t => {
    const arena = arenaOf(build, high);
    const burst = new Burst(arena, 512);
    const tally = { got: 0, dry: 0 };
    fc.assert(fc.property(shapes, commands, (shape, list) => {
      const pool = Mempool.create(arena, 'pool', shape);
      const held = new Set<number>();
      let dry = 0;
      for (const { do: call, count, from } of list) {
        if (call === 'alloc') {
          const got = pool.alloc(burst, count);
          // One lcore: its cache and the ring together are all that is free.
          if (got !== (count <= shape.count - held.size ? count : 0)) throw new Error(`${got} of ${count} with ${shape.count - held.size} free`);
          if (got === 0) dry++;
          for (const handle of burst.handles.subarray(0, got)) {
            const at = handle * 2048 - pool.buffers.offset;
            if (held.has(handle) || at < 0 || at >= shape.count * shape.bufferSize || at % shape.bufferSize !== 0) throw new Error(`${handle} is no free mbuf of the pool`);
            held.add(handle);
          }
          tally[got > 0 ? 'got' : 'dry']++;
        } else {
          const some = [...held].slice(from % (held.size + 1)).slice(0, count);
          if (some.length === 0) continue;
          burst.handles.set(some);
          pool.free(burst, 0, some.length);
          for (const handle of some) held.delete(handle);
        }
        const { free, app, twice, stray, total } = pool.audit();
        if (free !== total - held.size || app !== held.size || twice !== 0 || stray !== 0) throw new Error(`${free} free, ${app} held, ${twice} twice, ${stray} stray`);
      }
      if (pool.stats().dry !== dry) throw new Error(`${pool.stats().dry} dry counted of ${dry}`);
      burst.handles.set([...held].slice(0, 512));
      pool.free(burst, 0, Math.min(held.size, 512));
      burst.handles.set([...held].slice(512));
      pool.free(burst, 0, Math.max(held.size - 512, 0));
      pool.close();
      if (arena.zones().some(({ name }) => name.startsWith('pool'))) throw new Error('zones are left');
    }), { numRuns: 40 });
    t.ok(tally.got > 30 && tally.dry > 30, `${tally.got} allocations, ${tally.dry} dry`);
    arena.close();
  });

  t.test(`one at a time, ${build}${high ? ' above 2 GiB' : ''}: the same pool, its holds and its chains; dry is 0`, async t => {
    const arena = arenaOf(build, high);
    const pool = Mempool.create(arena, 'pool', { count: 32, bufferSize: 2048 });
    const handles = Array.from({ length: 33 }, () => pool.allocOne());
    t.equal(handles[32], 0);
    t.equal(new Set(handles).size, 33, 'no mbuf twice');
    t.match(pool.stats(), { dry: 1 });
    t.match(pool.audit(), { free: 0, app: 32 });
    const [first, second, third] = handles as [number, number, number];
    t.same([pool.mbufs.refcnt(first), pool.mbufs.pktLen(first), pool.mbufs.headroom(first)], [1, 0, 256]);
    pool.mbufs.hold(first);
    pool.freeOne(first);
    t.match(pool.audit(), { free: 0 }, 'another holds it still');
    pool.freeOne(first);
    t.match(pool.audit(), { free: 1 });
    const chains = new Chains(pool);
    t.ok(chains.chain(second, third));
    pool.freeOne(second);
    t.match(pool.audit(), { free: 3 }, 'with its chain');
    pool.freeOne((pool.buffers.offset >>> 11) - 1);
    t.match(pool.stats(), { foreign: 1 });
    t.not(pool.allocOne(), 0);
    for (const handle of handles.slice(3, 32)) pool.freeOne(handle);
    pool.freeOne([first, second, third].find(handle => pool.mbufs.owner(handle) >>> 24 === layout.OWNER_APP)!);
    t.match(pool.audit(), { free: 32, twice: 0, stray: 0 });
    chains.close();
    pool.close();
    pool.freeOne(second);
    t.equal(pool.allocOne(), 0, 'closed');
    arena.close();
  });

  t.test(`frees of what is no mbuf of the pool are counted and harm nothing, ${build}${high ? ' above 2 GiB' : ''}`, async t => {
    const arena = arenaOf(build, high);
    const [pool, other] = ['pool', 'other'].map(name => Mempool.create(arena, name, { count: 64, bufferSize: 4096 })) as [Mempool, Mempool];
    const burst = new Burst(arena, 16);
    other.alloc(burst, 1);
    const [foreign] = burst.handles as unknown as [number];
    const wrong = [foreign, 1, 0x1fffff, 0xffffffff, 0x80000000, (pool.buffers.offset >>> 11) + 1, (pool.buffers.offset >>> 11) - 1, (pool.buffers.offset >>> 11) + 128];
    pool.alloc(burst, 3);
    burst.handles.set(wrong, 1);
    const mine = burst.handles[0]!;
    pool.free(burst, 0, 1 + wrong.length);
    t.match(pool.stats(), { foreign: wrong.length });
    t.match(pool.audit(), { free: 62, app: 2, twice: 0, stray: 0 });
    t.equal(pool.mbufs.owner(mine), 0);
    t.match(other.audit(), { free: 63, app: 1, twice: 0 });
    burst.handles[0] = 0;
    pool.free(burst, 0, 1);
    t.match(pool.stats(), { foreign: wrong.length }, 'handle 0 is no mbuf, and no mistake');
    arena.close();
  });
}

t.test('options that will not do', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const refused: Partial<Record<keyof MempoolOptions, unknown>>[] = [
    ...[0, 31, -64, 64.5, NaN, 2 ** 20 + 1, '64', undefined].map(count => ({ count })),
    ...[0, 1024, 2047, 8192, '2048', NaN].map(bufferSize => ({ count: 64, bufferSize })),
    ...[-1, 22, 513, 1.5, NaN, '8'].map(cache => ({ count: 64, cache })),
    { count: 4096, cache: 513 },
  ];
  for (const options of refused) t.throws(() => Mempool.create(arena, 'pool', options as MempoolOptions), { name: 'PollmodeError', code: 'EOPTION' }, JSON.stringify(options));
  for (const name of ['', 'x'.repeat(64), 'x'.repeat(60), 'a\0']) t.throws(() => Mempool.create(arena, name, { count: 64 }), { code: 'EOPTION' }, `"${name}"`);
  t.same(arena.zones(), []);
  const pool = Mempool.create(arena, 'pool', { count: 64 });
  const before = arena.zones();
  t.throws(() => Mempool.create(arena, 'pool', { count: 64 }), { code: 'EEXISTS' });
  arena.reserve('b/free', 64);
  t.throws(() => Mempool.create(arena, 'b', { count: 64 }), { code: 'EEXISTS' }, 'a name that it needs is taken');
  t.throws(() => Mempool.create(arena, 'large', { count: 16384 }), { code: 'EARENAFULL' });
  t.same(arena.zones().filter(({ name }) => name !== 'b/free'), before, 'a pool that cannot be made leaves nothing');
  t.throws(() => Mempool.find(arena, 'b/free'), { code: 'ENOTFOUND', message: /no mempool/ });
  t.throws(() => Mempool.find(arena, 'pool/buffers'), { code: 'ENOTFOUND' });
  t.throws(() => Mempool.find(arena, 'nothing'), { code: 'ENOTFOUND' });
  t.equal(Mempool.find(arena, 'pool').offset, pool.offset);
  arena.close();
});

t.test('a pool that does not fit leaves nothing, whichever part of it has no room', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  Mempool.create(arena, 'pool', { count: 1024 }).close();
  let [made, refused] = [0, 0];
  const { offset } = arena.reserve('where', 64);
  arena.release(arena.find('where'));
  for (let room = 2048 * 1024 - 4096; room < 2048 * 1024 + 290_000; room += 1536) {
    const filler = arena.reserve('filler', arena.size - offset - room);
    const before = arena.zones();
    try {
      Mempool.create(arena, 'pool', { count: 1024 }).close();
      made++;
    } catch (error) {
      t.match(error, { code: 'EARENAFULL' });
      refused++;
    }
    if (JSON.stringify(arena.zones()) !== JSON.stringify(before)) t.fail(`with ${room} bytes of room`);
    arena.release(filler);
  }
  t.ok(made > 0 && refused > 100, `${refused} refused, ${made} made`);
  arena.close();
});

t.test('a pool that spreads its frames: each place as often as the next, whole frames in each, and the port that makes frames keeps to it', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  for (const [bufferSize, spread, front, room] of [[2048, 1, 256, 1792], [2048, 4, 256, 1600], [2048, 8, 64, 1536], [4096, 1, 256, 3840]] as const) {
    const host = open(['null:'], { arena, mbufs: 256, bufferSize, spread });
    const { pool } = host;
    const burst = pool.burst(256);
    t.equal(pool.room, room);
    for (const take of [() => pool.alloc(burst, 256), () => host.ports[0]!.rx[0]!.rxBurst(burst)]) {
      t.equal(take(), 256);
      const places = groups([...burst.handles].map(handle => pool.mbufs.headroom(handle)));
      t.same([...places.keys()].sort((a, b) => a - b), Array.from({ length: spread }, (_, i) => front + i * 64), `${spread} places`);
      t.ok([...places.values()].every(count => count === 256 / spread), 'each as often');
      pool.mbufs.trim(burst.handles[0]!, pool.mbufs.dataLen(burst.handles[0]!));
      t.ok([...burst.handles].every(handle => pool.mbufs.tailroom(handle) + pool.mbufs.dataLen(handle) >= pool.room), 'with room for a frame');
      pool.free(burst, 0, 256);
    }
    host.close();
    burst.close();
  }
  t.throws(() => open(['null:size=1700'], { arena, mbufs: 64, spread: 8 }), { code: 'EPOOL' }, 'a frame that the last place has no room for');
  const host = open(['null:'], { arena, mbufs: 1100, spread: 8 });
  t.equal(host.ports[0]!.capabilities.mtu, 1522, 'a port that takes what there is');
  t.throws(() => host.add('null:size=1700'), { code: 'EPOOL' });
  host.close();
  for (const options of [{ spread: 0 }, { spread: 3 }, { spread: 16 }, { spread: 2, bufferSize: 4096 }, { spread: NaN }]) t.throws(() => Mempool.create(arena, 'pool', { count: 64, ...options }), { code: 'EOPTION' }, JSON.stringify(options));
});

t.test('close: EPOOL while mbufs are out, then once; afterwards nothing moves', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 64 });
  const burst = pool.burst(8);
  pool.alloc(burst, 8);
  t.throws(() => { pool.close(); }, { code: 'EPOOL', message: /8 mbufs out/ });
  pool.free(burst, 0, 8);
  pool.close();
  pool.close();
  t.equal(pool.alloc(burst, 1), 0);
  pool.free(burst, 0, 1);
  t.match(pool.audit(), { free: 64, total: 64, app: 0 }, 'the last audit stays readable');
  t.same(pool.stats(), { dry: 0, foreign: 0, stray: 0, reclaimed: 0 });
  t.throws(() => pool.reclaim(1), { code: 'ECLOSED' });
  t.throws(() => pool.reclaimStray(), { code: 'ECLOSED' });
  t.throws(() => Mempool.find(arena, 'pool'), { code: 'ENOTFOUND' });
  burst.close();
  t.same(arena.zones(), []);
  for (const count of [0, -1, 9, NaN]) t.equal(Mempool.create(arena, `pool ${count}`, { count: 64 }).alloc(new Burst(arena, 8), count), 0);
  arena.close();
});

t.test('each lcore has its cache: what one keeps another finds dry, and the audit tells', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 96, cache: 32 });
  const second = Arena.attach(arena.share());
  const theirs = Mempool.find(second, 'pool');
  const burst = pool.burst(64);
  const other = new Burst(second, 96);
  pool.alloc(burst, 1);
  pool.free(burst, 0, 1);
  t.match(pool.audit(), { free: 96, cached: 33 });
  t.equal(theirs.alloc(other, 64), 0, '63 are in the ring');
  t.equal(theirs.alloc(other, 63), 63);
  t.match(pool.audit(), { free: 33, cached: 33, app: 63 });
  t.same(Object.fromEntries(pool.audit().owners), { 'lcore 1': 63, pool: 33 });
  t.match(pool.stats(), { dry: 1 });
  theirs.free(other, 0, 63);
  second.close();
  t.match(pool.audit(), { free: 96 }, 'a cache stays with its lcore id');
  const third = Arena.attach(arena.share());
  t.equal(third.lcore, 1);
  t.equal(Mempool.find(third, 'pool').alloc(new Burst(third, 32), 32), 32, 'and the next holder of the id has it');
  third.close();
  arena.close();
});

t.test('a pool without caches, and one with a file of its own', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const bare = Mempool.create(arena, 'bare', { count: 64, cache: 0 });
  const burst = new Burst(arena, 64);
  for (let round = 0; round < 10; round++) {
    t.equal(bare.alloc(burst, 64), 64);
    bare.free(burst, 0, 64);
    t.match(bare.audit(), { free: 64, cached: 0, twice: 0 });
  }
  const own = Mempool.create(arena, 'own', { count: 65, file: 'own' });
  t.ok(own.buffers.fd >= 0);
  t.equal(own.buffers.offset % 4096, 0);
  own.close();
  bare.close();
  arena.close();
});

t.test('the audit finds every mbuf and names who has it', async t => {
  const host = open(['ring:wire,tx=other', 'null:'], { mbufs: 256, cache: 16 });
  const { pool, ports: [wire] } = host;
  const burst = host.burst(64);
  pool.alloc(burst, 50);
  t.equal(wire!.tx[0]!.txBurst(burst, 30), 30);
  pool.mbufs.hold(burst.handles[40]!);
  const plain = Ring.create(pool.arena, 'mine', { size: 16, holds: 'mbufs' });
  t.equal(plain.enqueueBurst(burst, 5, 45), 5);
  const { owners, free, app, ring, rx, tx, stray, total, twice } = pool.audit();
  t.same({ free, app, ring, rx, tx, stray, total, twice }, { free: 206, app: 15, ring: 35, rx: 0, tx: 0, stray: 0, total: 256, twice: 0 });
  t.same(Object.fromEntries(owners), { 'lcore 0': 14, 'several lcores': 1, 'ring ring/other': 30, 'ring mine': 5, pool: 206 });
  pool.free(burst, 30, 45);
  burst.handles[0] = burst.handles[40]!;
  pool.free(burst, 0, 1);
  plain.dequeueBurst(burst);
  pool.free(burst, 0, 5);
  plain.close();
  host.close();
});

import fc from 'fast-check';
import t from 'tap';
import { Arena, MAX_ARENA, MIN_ARENA } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { RING_CONS, RING_PROD, RING_PROD_CLAIM } from '../../lib/ring/layout.js';
import { Ring, type RingOptions } from '../../lib/ring/ring.js';

const PLACES = [['fast', false], ['checking', false], ['twin', false], ['fast', true], ['twin', true]] as const;

/** An arena whose thread uses that build, and whose next zones lie above 2^31 where `high`. */
function arenaOf(build: string, high: boolean): Arena {
  process.env['POLLMODE_BURST'] = build;
  const arena = Arena.create({ size: high ? MAX_ARENA : MIN_ARENA });
  if (high) arena.reserve('below', 2 ** 31);
  new Burst(arena, 1).close();
  Ring.create(arena, 'first', { size: 2 }).close();
  delete process.env['POLLMODE_BURST'];
  return arena;
}

/** As if so many had gone through before. */
function startAt(arena: Arena, ring: Ring, index: number): void {
  for (const field of [RING_PROD, RING_CONS]) arena.u32[(ring.offset + field) >>> 2] = index;
}

const options = fc.record({
  size: fc.integer({ min: 1, max: 9 }).map(power => 2 ** power), singleProducer: fc.boolean(), singleConsumer: fc.boolean(),
}) satisfies fc.Arbitrary<RingOptions>;
const commands = fc.array(fc.record({
  do: fc.constantFrom('enqueueBulk' as const, 'enqueueBurst' as const, 'dequeueBulk' as const, 'dequeueBurst' as const),
  count: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 600 })), from: fc.nat(20),
}), { minLength: 1, maxLength: 50, size: 'max' });
const edges = fc.tuple(fc.constantFrom(0, 2 ** 31, 2 ** 32), fc.nat(700)).map(([edge, before]) => (edge - before) >>> 0);

for (const [build, high] of PLACES) {
  t.test(`ring of the ${build} build${high ? ' above 2 GiB' : ''}: against a plain array, bulk and burst, single and multi, across the wrap`, async t => {
    const arena = arenaOf(build, high);
    const burst = new Burst(arena, 512);
    let serial = 0;
    const tally = { moved: 0, refused: 0 };
    fc.assert(fc.property(options, edges, commands, (shape, start, list) => {
      const ring = Ring.create(arena, 'ring', shape);
      try {
        startAt(arena, ring, start);
        const model: number[] = [];
        for (const { do: call, count, from } of list) {
          const enqueue = call.startsWith('enqueue');
          const at = call === 'enqueueBurst' ? from : 0;
          const possible = Math.min(count, enqueue ? shape.size - model.length : model.length);
          const wanted = at + count > 512 || (call.endsWith('Bulk') && possible < count) ? 0 : possible;
          if (enqueue) for (let i = 0; i < 512; i++) burst.handles[i] = serial = (serial + 0x9e3779b1) >>> 0;
          const before = [...burst.handles];
          const moved = call === 'enqueueBurst' ? ring.enqueueBurst(burst, count, from) : ring[call](burst, count);
          if (moved !== wanted) throw new Error(`${call} of ${count} at ${at} moved ${moved}, wanted ${wanted}`);
          if (enqueue) model.push(...before.slice(at, at + moved));
          else if (String([...burst.handles.subarray(0, moved)]) !== String(model.splice(0, moved))) throw new Error('others came out');
          if (ring.count !== model.length || ring.free !== shape.size - model.length) throw new Error(`count ${ring.count} and free ${ring.free} of ${model.length}`);
          tally[moved > 0 ? 'moved' : 'refused']++;
        }
      } finally {
        ring.close();
      }
    }), { numRuns: 100 });
    t.ok(tally.moved > 300 && tally.refused > 100, `${tally.moved} calls moved something, ${tally.refused} nothing`);
    t.same(arena.zones().map(({ name }) => name).filter(name => name === 'ring'), []);
    arena.close();
  });

  t.test(`ring of mbufs, ${build}${high ? ' above 2 GiB' : ''}: the owner word follows every mbuf`, async t => {
    const arena = arenaOf(build, high);
    const pool = Mempool.create(arena, 'pool', { count: 64, cache: 8 });
    const burst = new Burst(arena, 32);
    for (const single of [false, true]) {
      const ring = Ring.create(arena, `ring ${single}`, { size: 8, holds: 'mbufs', singleProducer: single, singleConsumer: single });
      t.equal(pool.alloc(burst, 12), 12);
      t.equal(ring.enqueueBulk(burst, 12), 0);
      t.equal(pool.audit().owners.get('lcore 0'), 12, 'what was refused is the caller\'s still');
      t.equal(ring.enqueueBurst(burst, 12), 8);
      t.same(Object.fromEntries(pool.audit().owners), { 'lcore 0': 4, [`ring ring ${single}`]: 8, pool: 52 });
      pool.free(burst, 8, 12);
      t.equal(ring.dequeueBurst(burst, 5), 5);
      t.equal(pool.audit().owners.get('lcore 0'), 5);
      pool.free(burst, 0, 5);
      t.equal(ring.dequeueBurst(burst), 3);
      pool.free(burst, 0, 3);
      t.equal(pool.audit().free, 64);
      ring.close();
    }
    pool.close();
    arena.close();
  });
}

t.test('sizes and names that will not do, and what is no ring', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  for (const size of [0, 1, 3, 1000, 2 ** 25, -2, 2.5, NaN, Infinity, '64', null, 2 ** 32 + 64] as unknown as number[]) {
    t.throws(() => Ring.create(arena, 'x', { size }), { code: 'EOPTION', message: /power of two/ }, String(size));
  }
  t.throws(() => Ring.create(arena, '', { size: 2 }), { code: 'EOPTION' });
  t.throws(() => Ring.create(arena, 'x', { size: 2 ** 24 }), { code: 'EARENAFULL' });
  t.same(arena.zones(), []);
  arena.reserve('plain', 4096);
  t.throws(() => Ring.find(arena, 'plain'), { code: 'ENOTFOUND', message: /no ring/ });
  t.throws(() => Ring.find(arena, 'nothing'), { code: 'ENOTFOUND' });
  const ring = Ring.create(arena, 'ring', { size: 2 });
  t.throws(() => Ring.create(arena, 'ring', { size: 4 }), { code: 'EEXISTS' });
  t.equal(Ring.find(arena, 'ring').size, 2);
  ring.close();
  arena.close();
});

t.test('counts out of range move nothing, and neither does a closed ring or burst', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const ring = Ring.create(arena, 'ring', { size: 64 });
  const burst = new Burst(arena, 8);
  for (const count of [0, -1, 9, NaN, Infinity, 2 ** 32 + 1, -(2 ** 31)]) {
    t.equal(ring.enqueueBulk(burst, count), 0, `${count}`);
    t.equal(ring.enqueueBurst(burst, count), 0);
    t.equal(ring.dequeueBulk(burst, count), 0);
    t.equal(ring.dequeueBurst(burst, count), 0);
  }
  for (const from of [-1, 8, 2 ** 32, NaN]) t.equal(ring.enqueueBurst(burst, 1, from), 0, `from ${from}`);
  t.equal(ring.enqueueBurst(burst, 8), 8);
  const other = new Burst(arena, 8);
  burst.close();
  t.equal(ring.dequeueBurst(burst, 8), 0);
  t.equal(ring.dequeueBurst(other), 8);
  ring.close();
  ring.close();
  t.equal(ring.enqueueBurst(other, 8), 0);
  t.equal(ring.dequeueBurst(other), 0);
  for (const call of [() => ring.count, () => ring.free, () => ring.stats(), () => ring.recover(1)]) t.throws(call, { code: 'ECLOSED' });
  arena.close();
});

t.test('a claim of a living party is waited for and then left alone; the ring is whole when it goes on', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const ring = Ring.create(arena, 'ring', { size: 8 });
  const burst = new Burst(arena, 8);
  const claim = (ring.offset + RING_PROD_CLAIM) >>> 2;
  arena.u32[claim] = 5 + 1;
  t.equal(ring.enqueueBurst(burst, 1), 0);
  t.equal(ring.recover(4), 0);
  t.equal(arena.u32[claim], 6);
  t.match(ring.stats(), { enqueueBusy: 1, dequeueBusy: 0 });
  t.equal(ring.recover(5), 1);
  t.equal(ring.enqueueBurst(burst, 8), 8);
  ring.close();
  arena.close();
});

import fc from 'fast-check';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { instantiate } from '../../lib/burst/module.js';
import { MAGLEV_NONE } from '../../lib/lookup/maglev_layout.js';
import { populate, type Backend } from '../../lib/lookup/maglev_population.js';
import { Maglev } from '../../lib/lookup/maglev.js';
import { Vector } from '../../lib/lookup/vector.js';
import { codeThrown } from '../kernel/rights.js';

const SIZE = 4093;

function backends(count: number, from = 0): Backend[] {
  return Array.from({ length: count }, (_, i) => ({ name: `10.0.${(from + i) >> 8}.${(from + i) & 255}`, value: from + i }));
}

/** Places of each backend. */
function shares(list: readonly Backend[], size = SIZE): number[] {
  const counts = list.map(() => 0);
  for (const index of populate(list, size)) counts[index]++;
  return counts;
}

t.test('the paper\'s properties', async t => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(1000), (count, from) => {
    const list = backends(count, from);
    const even = shares(list);
    if (Math.max(...even) - Math.min(...even) > 1) throw new Error(`shares from ${Math.min(...even)} to ${Math.max(...even)}`);
    const names = (of: readonly Backend[]): string[] => Array.from(populate(of, SIZE), index => of[index].name);
    const all = names(list);
    if (all.join() !== names([...list].reverse()).join()) throw new Error('the order in the list matters');
    // One goes: its places change, and few of the others'.
    const gone = list[from % count];
    const less = names(list.filter(each => each !== gone));
    const moved = all.filter((name, place) => name !== gone.name && less[place] !== name).length;
    if (moved > SIZE * 0.2) throw new Error(`${moved} places of the others changed`);
  }), { numRuns: 60 });
  t.pass('even to one place; the order in the list is nothing; minimal disruption');
  // The figure of the paper: with M at least 100 N, less than 1 or 2 % of the others' flows move.
  const list = backends(100);
  const [before, after] = [populate(list, 65537), populate(list.slice(1), 65537)];
  const moved = before.filter((index, place) => index !== 0 && after[place] !== index - 1).length;
  t.ok(moved / 65537 < 0.04, `one of 100 goes: ${(moved / 655.37).toFixed(2)} % of the places move beside its own 1 %`);
});

t.test('weights', async t => {
  fc.assert(fc.property(fc.array(fc.nat(20), { minLength: 2, maxLength: 20 }).filter(weights => weights.some(weight => weight > 0)), weights => {
    const list = backends(weights.length).map((backend, i) => ({ ...backend, weight: weights[i] }));
    const sum = weights.reduce((all, weight) => all + weight, 0);
    shares(list).forEach((count, i) => {
      if (Math.abs(count - SIZE * weights[i] / sum) > 2 + SIZE * 0.005) throw new Error(`weight ${weights[i]} of ${sum}: ${count} places`);
    });
  }), { numRuns: 60 });
  t.same(shares([{ name: 'a', value: 0, weight: 65535 }, { name: 'b', value: 1, weight: 0 }]), [SIZE, 0]);
  t.ok(populate([{ name: 'a', value: 0, weight: 0 }], SIZE).every(index => index === -1), 'all drained');
});

t.test('every build looks up the same; a table from elsewhere is the same', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const maglev = Maglev.create(arena, 'lb', { size: SIZE });
  const [hashes, values] = [new Vector(arena, 64), new Vector(arena, 64)];
  maglev.lookupBulk(hashes, values, 3);
  t.equal(values.u32[0], MAGLEV_NONE, 'no backends yet');
  t.equal(maglev.build(backends(10)), SIZE);
  const places = populate(backends(10), SIZE);
  const zone = arena.find('lb');
  fc.assert(fc.property(fc.array(fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0xffffffff, 0x80000000)), { minLength: 1, maxLength: 64 }), list => {
    hashes.u32.set(list);
    const before = Buffer.from(arena.u8.slice(zone.offset, zone.offset + zone.length));
    for (const build of ['fast', 'portable', 'checking', 'twin'] as const) {
      instantiate(arena.memory, build).maglevLookup(maglev.offset, hashes.offset, values.offset, list.length);
      list.forEach((hash, i) => {
        const wanted = places[Number(BigInt(hash) * BigInt(SIZE) >> 32n)];
        if (values.u32[i] !== wanted) throw new Error(`${build}: hash ${hash}: ${values.u32[i]}, not ${wanted}`);
      });
    }
    if (!before.equals(arena.u8.subarray(zone.offset, zone.offset + zone.length))) throw new Error('the table changed');
  }), { numRuns: 50 });
  const other = Maglev.create(arena, 'machine two', { size: SIZE });
  other.build(backends(10).reverse());
  t.same(other.shares(), maglev.shares());
  const moved = maglev.build(backends(9));
  t.ok(moved < SIZE * 0.25, `${moved} of ${SIZE} places changed when one of ten went`);
  t.match(maglev.toJSON(), { kind: 'maglev', size: SIZE, backends: 9, builds: 2, changed: moved, bytes: 64 + SIZE * 8 });
});

t.test('a call\'s answers are all of one set, whatever another thread builds', { timeout: 60_000 }, async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const maglev = Maglev.create(arena, 'lb', { size: 251 });
  const stop = arena.reserve('stop', 64).offset;
  maglev.build([{ name: 'a', value: 0 }]);
  const worker = new Worker(new URL('./maglev_worker.js', import.meta.url), { workerData: { share: arena.share(), stop } });
  const gone = once(worker, 'exit');
  const report = once(worker, 'message');
  await once(worker, 'online');
  let builds = 0;
  // On a busy machine the reader may have the CPU late.
  const isEnough = (): boolean => builds > 100 && Atomics.load(arena.u32, (stop >>> 2) + 1) > 100;
  for (const start = Date.now(); Date.now() < start + 1000 || (!isEnough() && Date.now() < start + 40_000);) maglev.build([{ name: 'a', value: ++builds }]);
  Atomics.store(arena.u32, stop >>> 2, 1);
  const [{ calls, mixed }] = await report as [{ calls: number; mixed: number }];
  t.ok(calls > 100 && builds > 100, `${calls} calls beside ${builds} builds`);
  t.equal(mixed, 0);
  await gone;
});

t.test('bad sets leave those that there were', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const maglev = Maglev.create(arena, 'lb', { size: 5 });
  maglev.build(backends(1));
  for (const bad of [backends(6), [...backends(1), ...backends(1)], [{ name: 'a', value: -1 }], [{ name: 'a', value: MAGLEV_NONE }], [{ name: 'a', value: 1, weight: -1 }], [{ name: 'a', value: 1, weight: 0.5 }], [{ name: 'a', value: 1, weight: 65536 }]]) {
    t.equal(codeThrown(() => maglev.build(bad)), 'EOPTION');
  }
  t.same([...maglev.shares()], [[0, 5]]);
  for (const size of [0, 1, 4, 65536, 2 ** 21, 1.5]) t.equal(codeThrown(() => Maglev.create(arena, 'bad', { size })), 'EOPTION', String(size));
  t.equal(codeThrown(() => Maglev.find(arena, 'bad')), 'ENOTFOUND');
  const other = Arena.attach(arena.share());
  t.equal(codeThrown(() => Maglev.find(other, 'lb').build([])), 'ETHREAD');
  other.close();
});

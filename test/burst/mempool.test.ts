import fc from 'fast-check';
import t from 'tap';
import { DEATH_AFTER_CLAIM, DEATH_BEFORE_PUBLISH, MISUSE_DOUBLE_FREE, MISUSE_FOREIGN, MISUSE_NOT_OWNED } from '../../lib/burst/codes.js';
import { HEADER_BYTES, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../lib/mbuf/layout.js';
import { CACHE_CAPACITY, POOL_DRY, POOL_FOREIGN, POOL_STRAY } from '../../lib/mbuf/pool_layout.js';
import { RING_PROD_CLAIM } from '../../lib/ring/layout.js';
import {
  CHECKING, HIGH_BASE, IMPLEMENTATIONS, dieAt, expectEqual, get, get64, makeLab, makePool, readVector, reserve, reset, ringContents, set,
  writeVector, type Lab, type Pool,
} from './layout_helper.js';
import {
  RING_PORT_OWNER, apply, cacheContents, caches, checkWorld, commandLists, headerOf, makeWorld, shapes, stateOf, type World,
} from './world_helper.js';

for (const options of [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const]) {
  const lab = makeLab(options);

  t.test(`mempool and memory ports, ${lab.name}: every mbuf is in one place, every packet in one counter`, async t => {
    let packets = 0;
    fc.assert(fc.property(shapes, commandLists, (shape, commands) => {
      const world = makeWorld(lab, shape);
      lab.hooks.misuse = () => { throw new Error('a misuse was told of where there was none'); };
      for (const command of commands) {
        packets += apply(world, command);
        checkWorld(world);
      }
    }), { numRuns: 150 });
    t.ok(packets > 1000, `after each command that moved one of ${packets} packets`);
  });
}

for (const options of IMPLEMENTATIONS) {
  const lab = makeLab(options);

  t.test(`mempool, ${lab.name}: a foreign handle is counted and harms nothing`, async t => {
    const foreign = fc.oneof(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1000 + 3200, max: 0xffffffff }), fc.constantFrom(0x03ffffff, 0x04000000, 0xffffffff));
    fc.assert(fc.property(shapes, commandLists, fc.array(foreign, { minLength: 1, maxLength: 20 }), fc.boolean(), (shape, commands, handles, odd) => {
      const world = makeWorld(lab, shape);
      for (const command of commands) apply(world, command);
      // In a pool of 4096-byte buffers, a handle between two of them is foreign too.
      if (odd && shape.units === 2) handles.push(1001);
      writeVector(lab, world.vector, handles);
      lab.burst.mbufFree(world.pool.offset, 0, world.vector, handles.length);
      expectEqual(get64(lab, world.pool.offset, POOL_FOREIGN), handles.length);
      lab.u64[(world.pool.offset + POOL_FOREIGN) / 8] = 0n;
      checkWorld(world);
    }), { numRuns: 100 });
    t.pass('the pool was as before');
  });

  t.test(`mempool, ${lab.name}: a chain that runs in a circle is freed once, and counted`, async t => {
    for (const back of [0, 1, 2]) {
      reset(lab);
      const pool = makePool(lab, { count: 40, cache: 8, lcores: 2 });
      const vector = reserve(lab, 64 * 4);
      let told = 0;
      lab.hooks.misuse = code => { if (code === MISUSE_DOUBLE_FREE) told++; };
      t.equal(lab.burst.mbufAlloc(pool.offset, 0, vector, 3), 3);
      const chain = readVector(lab, vector, 3);
      lab.u16[(pool.table + chain[0]! * HEADER_BYTES + MBUF_NB_SEGS) >>> 1] = 3;
      chain.forEach((handle, i) => { set(lab, pool.table + handle * HEADER_BYTES, MBUF_NEXT, chain[i + 1] ?? chain[back]!); });
      lab.burst.mbufFree(pool.offset, 0, vector, 1);
      t.equal(told + get64(lab, pool.offset, POOL_FOREIGN), 1, `back to number ${back}`);
      t.equal(lab.burst.mbufAlloc(pool.offset, 0, vector, 40), 40);
      t.equal(new Set(readVector(lab, vector, 40)).size, 40, 'all are there, each once');
    }
  });

  t.test(`mempool, ${lab.name}: a dry pool says so, and comes back`, async t => {
    reset(lab);
    const pool = makePool(lab, { count: 40, cache: 8, lcores: 2 });
    const vector = reserve(lab, 64 * 4);
    t.equal(lab.burst.mbufAlloc(pool.offset, 0, vector, 41), 0);
    t.equal(lab.burst.mbufAlloc(pool.offset, 0, vector, 40), 40);
    t.equal(lab.burst.mbufAlloc(pool.offset, 1, vector + 256, 1), 0);
    t.equal(get64(lab, pool.offset, POOL_DRY), 2);
    lab.burst.mbufFree(pool.offset, 1, vector, 40);
    t.equal(lab.burst.mbufAlloc(pool.offset, 0, vector, 40), 40);
    t.same(readVector(lab, vector, 40).sort((a, b) => a - b), pool.handles);
  });

  t.test(`mempool, ${lab.name}: while a dead party's claim stands, frees stay in the cache, then stray, and are counted`, async t => {
    reset(lab);
    const pool = makePool(lab, { count: 1300, cache: 32, lcores: 1 });
    const vector = reserve(lab, 1300 * 4);
    t.equal(lab.burst.mbufAlloc(pool.offset, 0, vector, 1300), 1300);
    set(lab, pool.ring, RING_PROD_CLAIM, 9);
    for (let done = 0; done < 1300; done += 100) lab.burst.mbufFree(pool.offset, 0, vector + done * 4, 100);
    const stray = get64(lab, pool.offset, POOL_STRAY);
    const cached = cacheContents({ lab, pool } as World, 0).length;
    t.ok(cached <= CACHE_CAPACITY && cached > CACHE_CAPACITY - 100, `${cached} in the cache`);
    t.equal(cached + stray, 1300);
    t.equal(lab.burst.ringRecover(pool.ring, 8), 1);
    t.same(owners(lab, pool), new Array(1300).fill(0), 'all are the pool\'s');
  });
}

for (const options of CHECKING) {
  const lab = makeLab(options);

  t.test(`mempool, ${lab.name}: each misuse is told of once, and harms nothing`, async t => {
    const told: number[][] = [];
    fc.assert(fc.property(shapes, commandLists, fc.array(fc.nat({ max: 9999 }), { minLength: 1, maxLength: 30 }), fc.boolean(), (shape, commands, picks, twice) => {
      const world = makeWorld(lab, shape);
      for (const command of commands) apply(world, command);
      const mine = world.held.find(({ holds, handles }) => holds === 1 && handles.length === 1);
      const reports: number[][] = [];
      lab.hooks.misuse = (...report) => { reports.push(report); };
      const { handles, wanted } = misuses(world, picks);
      // A good one in front, and the same again behind: a double free within one burst.
      if (mine !== undefined) {
        handles.unshift(mine.handles[0]!);
        if (twice) handles.push(mine.handles[0]!), wanted.push([MISUSE_DOUBLE_FREE, mine.handles[0]!, 0]);
        world.held = world.held.filter(packet => packet !== mine);
      }
      writeVector(lab, world.vector, handles);
      lab.burst.mbufFree(world.pool.offset, 0, world.vector, handles.length);
      expectEqual(reports, wanted);
      lab.u64[(world.pool.offset + POOL_FOREIGN) / 8] = 0n;
      checkWorld(world);
      told.push(...reports);
    }), { numRuns: 200 });
    for (const code of [MISUSE_DOUBLE_FREE, MISUSE_NOT_OWNED, MISUSE_FOREIGN]) {
      t.ok(told.some(report => report[0] === code), `misuse ${code} was among the ${told.length}`);
    }
  });

  t.test(`mempool, ${lab.name}: what died with a party is found by its owner word, and nothing is in two places`, async t => {
    let died = 0;
    const points = fc.constantFrom(DEATH_AFTER_CLAIM, DEATH_BEFORE_PUBLISH);
    const deadly = fc.constantFrom('alloc', 'free', 'nullRx', 'nullTx', 'ringRx', 'ringTx');
    fc.assert(fc.property(shapes, commandLists, deadly, fc.integer({ min: 1, max: 600 }), points, (shape, commands, kind, count, point) => {
      const world = makeWorld(lab, { ...shape, lcores: Math.max(2, shape.lcores), single: false });
      for (const command of commands) apply(world, command);
      if (!dieAt(lab, point, () => apply(world, { kind, lcore: 1, count, pick: 0 }))) return;
      died++;
      lab.burst.ringRecover(world.pool.ring, 1);
      lab.burst.ringRecover(world.ring, 1);
      checkReclaimable(world, 1);
    }), { numRuns: 600 });
    t.ok(died > 50, `${died} parties died`);
  });
}

function owners(lab: Lab, pool: Pool): number[] {
  return pool.handles.map(handle => get(lab, pool.table + handle * 64, MBUF_OWNER));
}

/** Handles that lcore 0 may not free, and what must be told of each. */
function misuses(world: World, picks: readonly number[]): { handles: number[]; wanted: number[][] } {
  const free = [...ringContents(world.lab, world.pool.ring), ...caches(world).flat()];
  const sent = world.sent.flatMap(({ handles }) => handles[0]!);
  const found = picks.map(pick => {
    if (pick % 3 === 0 && free.length > 0) return [MISUSE_DOUBLE_FREE, free[pick % free.length]!, 0];
    if (pick % 3 === 1 && sent.length > 0) return [MISUSE_NOT_OWNED, sent[pick % sent.length]!, RING_PORT_OWNER];
    return [MISUSE_FOREIGN, 50000 + pick, 0];
  });
  return { handles: found.map(([, handle]) => handle!), wanted: found };
}

/**
 * What a reclaim relies on: of the rings, the living lcores' caches and what is in the port's ring no two name the same
 * mbuf, and each mbuf that none of them names says that it is the pool's or a program's.
 */
function checkReclaimable(world: World, dead: number): void {
  const { lab, pool } = world;
  const listed = [
    ...ringContents(lab, pool.ring), ...ringContents(lab, world.ring),
    ...caches(world).flatMap((contents, lcore) => lcore === dead ? [] : contents),
  ];
  expectEqual(new Set(listed).size, listed.length);
  for (const handle of ringContents(lab, pool.ring)) expectEqual(stateOf(world, handle), [1, 1, 0, 0]);
  const lost = pool.handles.filter(handle => !listed.includes(handle));
  for (const handle of lost) {
    const owner = get(lab, headerOf(world, handle), MBUF_OWNER);
    const known = owner === 0 || owner >>> OWNER_SHIFT === OWNER_APP || owner === RING_PORT_OWNER;
    expectEqual([handle, owner, known], [handle, owner, true]);
  }
}

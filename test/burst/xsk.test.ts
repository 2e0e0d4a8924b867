/** AF_XDP's bursts over rings in plain memory: by the rules, against a kernel that breaks them, and twin against double. */
import fc from 'fast-check';
import t from 'tap';
import { MBUF_OWNER, OWNER_APP, OWNER_RX, OWNER_SHIFT } from '../../lib/mbuf/layout.js';
import { XSK_BAD_DESCRIPTOR, XSK_HELD, XSK_RING_A, XSK_CONSUMER } from '../../lib/port/drivers/af_xdp/layout.js';
import { expectSameBytes, HIGH_BASE, IMPLEMENTATIONS, expectEqual, get, get64, makeLab, readVector, set } from './layout_helper.js';
import { applyXsk } from './xsk_commands_helper.js';
import { checkXsk, headerOf, makeXskWorld, produce, xskCommands, xskShapes } from './xsk_world_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 150;
const ALL = [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const];

for (const options of ALL) {
  const lab = makeLab(options);

  t.test(`xsk, ${lab.name}: every mbuf is in one place, every descriptor in one counter`, async t => {
    let commands = 0;
    fc.assert(fc.property(xskShapes, xskCommands, (shape, list) => {
      const world = makeXskWorld(lab, shape);
      checkXsk(world);
      for (const command of list) {
        applyXsk(world, command);
        checkXsk(world);
        commands++;
      }
    }), { numRuns: RUNS });
    t.ok(commands > RUNS, `after each of ${commands} commands`);
  });

  t.test(`xsk, ${lab.name}: a producer that is nowhere costs nothing but counters`, async t => {
    fc.assert(fc.property(xskShapes, fc.array(fc.tuple(fc.constantFrom('rx', 'completion'), fc.integer(), fc.integer({ min: 1, max: 128 })), { minLength: 1, maxLength: 10 }), fc.array(fc.integer(), { minLength: 512, maxLength: 512 }), (shape, jumps, noise) => {
      const world = makeXskWorld(lab, shape);
      // Old descriptors, or anything at all.
      for (const ring of [world.rings.rx, world.rings.completion]) lab.u32.set(noise.slice(0, shape.ring * ring.entry / 4), (ring.at + 256) >>> 2);
      for (const [name, jump, max] of jumps) {
        set(lab, world.rings[name as 'rx'].at, 0, get(lab, world.rings[name as 'rx'].at) + jump);
        const got = lab.burst.xskRx(world.rx, world.vector, max, 1);
        lab.burst.xskTx(world.tx, world.vector, 0, 1);
        const handles = readVector(lab, world.vector, got);
        expectEqual(new Set(handles).size, got);
        for (const handle of handles) expectEqual(get(lab, headerOf(world, handle), MBUF_OWNER), (OWNER_APP << OWNER_SHIFT) | 1);
      }
      const held = world.pool.handles.filter(handle => get(lab, headerOf(world, handle), MBUF_OWNER) === OWNER_RX << OWNER_SHIFT);
      expectEqual(get(lab, world.rx, XSK_HELD), held.length);
    }), { numRuns: RUNS });
    t.pass('no mbuf twice, none lost');
  });

  t.test(`xsk, ${lab.name}: a descriptor that is told twice is a frame once`, async t => {
    const world = makeXskWorld(lab, { count: 200, units: 1, first: 1000, ring: 64, start: 0, most: 1 });
    const address = (world.empty[0]! - 1000) * 2048 + 256;
    for (let i = 0; i < 3; i++) produce(world, world.rings.rx, [address, 0, 60, 0]);
    t.equal(lab.burst.xskRx(world.rx, world.vector, 32, 1), 1);
    t.same(readVector(lab, world.vector, 1), [world.empty[0]]);
    t.equal(get64(lab, world.rx, XSK_BAD_DESCRIPTOR), 2);
    t.equal(get(lab, get(lab, world.rx, XSK_RING_A + XSK_CONSUMER)), 3, 'and the ring goes on');
  });
}

const PAIRS = [
  [makeLab({ build: 'fast' }), makeLab({ build: 'twin' })],
  [makeLab({ build: 'checking', checks: true }), makeLab({ build: 'twin', checks: true })],
  [makeLab({ build: 'fast', base: HIGH_BASE }), makeLab({ build: 'twin', base: HIGH_BASE })],
] as const;

for (const [left, right] of PAIRS) {
  t.test(`xsk, lockstep: ${left.name} and ${right.name} leave the same bytes`, async t => {
    let commands = 0;
    fc.assert(fc.property(xskShapes, xskCommands, (shape, list) => {
      const worlds = [makeXskWorld(left, shape), makeXskWorld(right, shape)] as const;
      expectSameBytes(left, right);
      for (const command of list) {
        for (const world of worlds) applyXsk(world, command);
        expectSameBytes(left, right);
        commands++;
      }
    }), { numRuns: RUNS });
    t.pass(`the whole zone, after each of ${commands} commands`);
  });
}

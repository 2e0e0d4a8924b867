import fc from 'fast-check';
import t from 'tap';
import { DEATH_AFTER_CLAIM, DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH } from '../../lib/burst/codes.js';
import { RING_CONS_BUSY, RING_CONS_CLAIM, RING_PROD_BUSY, RING_PROD_CLAIM } from '../../lib/ring/layout.js';
import {
  CHECKING, HIGH_BASE, IMPLEMENTATIONS, dieAt, expectEqual, get, get64, makeLab, makeRing, readVector, reserve, reset, ringContents, set, writeVector, type Lab,
} from './layout_helper.js';

/** Longest vector of a command, so that it can be more than the ring holds. */
const VECTOR = 1100;

/** Every value that goes in is another one. */
let serial = 0;

interface Command { readonly enqueue: boolean; readonly count: number; readonly fixed: number }
interface Plan { readonly size: number; readonly start: number; readonly multi: boolean; readonly lcore: number; readonly commands: readonly Command[] }

const sizes = fc.integer({ min: 1, max: 10 }).map(power => 2 ** power);
/** Near 0, near 2^31 and near 2^32, at most two rings' sizes before each. */
const starts = fc.tuple(fc.constantFrom(0, 2 ** 31, 2 ** 32), fc.integer({ min: 0, max: 2048 })).map(([edge, before]) => (edge - before) >>> 0);

const plans: fc.Arbitrary<Plan> = sizes.chain(size => fc.record({
  size: fc.constant(size),
  start: starts,
  multi: fc.boolean(),
  lcore: fc.integer({ min: 0, max: 63 }),
  commands: fc.array(fc.record({
    enqueue: fc.boolean(),
    count: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: size + 8 })),
    fixed: fc.constantFrom(0, 1, 2),
  }), { minLength: 1, maxLength: 40 }),
}));

/** What a queue of at most `size` would do. */
function modelCount(queue: readonly number[], size: number, { enqueue, count, fixed }: Command): number {
  const possible = Math.min(count, enqueue ? size - queue.length : queue.length);
  return fixed !== 0 && possible < count ? 0 : possible;
}

for (const options of [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const]) {
  const lab = makeLab(options);

  t.test(`ring, ${lab.name}: is a queue of a plain array`, async t => {
    fc.assert(fc.property(plans, plan => { runPlan(lab, plan); }), { numRuns: 300 });
    t.pass('after every command the ring held what the array held');
  });

  t.test(`ring, ${lab.name}: gives up on a claim that stands, and counts it`, async t => {
    reset(lab);
    const ring = makeRing(lab, { size: 8, start: 0xfffffffe });
    const vector = reserve(lab, 64);
    writeVector(lab, vector, [1, 2, 3]);
    t.equal(lab.burst.ringEnqueueMp(ring, vector, 3, 1, 0), 3);
    set(lab, ring, RING_PROD_CLAIM, 7 + 1);
    set(lab, ring, RING_CONS_CLAIM, 7 + 1);
    t.equal(lab.burst.ringEnqueueMp(ring, vector, 1, 0, 3), 0);
    t.equal(lab.burst.ringDequeueMc(ring, vector, 1, 0, 3), 0);
    t.equal(get64(lab, ring, RING_PROD_BUSY), 1);
    t.equal(get64(lab, ring, RING_CONS_BUSY), 1);
    t.equal(lab.burst.ringRecover(ring, 3), 0, 'another one\'s claim is left alone');
    t.equal(lab.burst.ringRecover(ring, 7), 2);
    t.equal(lab.burst.ringRecover(ring, 7), 0);
    t.equal(lab.burst.ringEnqueueMp(ring, vector, 1, 0, 3), 1);
    t.same(ringContents(lab, ring), [1, 2, 3, 1]);
  });
}

for (const options of CHECKING) {
  const lab = makeLab(options);

  t.test(`ring, ${lab.name}: a party that died was never there`, async t => {
    const deaths = fc.record({
      plan: plans, enqueue: fc.boolean(), count: fc.integer({ min: 1, max: 16 }),
      point: fc.constantFrom(DEATH_AFTER_CLAIM, DEATH_BEFORE_PUBLISH),
    });
    let died = 0;
    fc.assert(fc.property(deaths, ({ plan, enqueue, count, point }) => {
      const { ring, vector, queue } = runPlan(lab, plan);
      const dead = (plan.lcore + 1) % 64;
      const call = side(lab, ring, vector, dead, enqueue, true);
      const possible = modelCount(queue, plan.size, { enqueue, count, fixed: 0 });
      const isDead = dieAt(lab, point, () => call(count, 0));
      // Where there was nothing to do, it never came to the point.
      expectEqual(isDead, possible > 0);
      expectEqual(ringContents(lab, ring), queue);
      expectEqual(lab.burst.ringRecover(ring, dead), isDead ? 1 : 0);
      expectEqual([get(lab, ring, RING_PROD_CLAIM), get(lab, ring, RING_CONS_CLAIM)], [0, 0]);
      if (isDead) died++;
      // A survivor goes on, with both sides.
      const survivor = { ...plan, multi: true, commands: [...plan.commands].reverse() };
      runCommands(lab, survivor, ring, vector, queue);
    }), { numRuns: 300 });
    t.ok(died > 50, `${died} parties died`);
  });

  t.test(`ring, ${lab.name}: a single producer or consumer that died, and the next one, whatever its lcore`, async t => {
    const deaths = fc.record({
      plan: plans.map(plan => ({ ...plan, multi: false })), enqueue: fc.boolean(), count: fc.integer({ min: 1, max: 16 }),
      point: fc.constantFrom(DEATH_BEFORE_PUBLISH, DEATH_AFTER_PUBLISH), next: fc.nat({ max: 1 }),
    });
    const died = new Map([[DEATH_BEFORE_PUBLISH, 0], [DEATH_AFTER_PUBLISH, 0]]);
    fc.assert(fc.property(deaths, ({ plan, enqueue, count, point, next }) => {
      const { ring, vector, queue } = runPlan(lab, plan);
      const possible = modelCount(queue, plan.size, { enqueue, count, fixed: 0 });
      const values = Array.from({ length: count }, () => (serial = (serial + 0x9e3779b1) >>> 0));
      if (enqueue) writeVector(lab, vector, values);
      const isDead = dieAt(lab, point, () => side(lab, ring, vector, plan.lcore, enqueue, false)(count, 0));
      expectEqual(isDead, possible > 0);
      // Before the publish it was never there; after it all of it was.
      if (isDead && point === DEATH_AFTER_PUBLISH) {
        if (enqueue) queue.push(...values.slice(0, possible));
        else queue.splice(0, possible);
      }
      expectEqual(ringContents(lab, ring), queue);
      expectEqual(lab.burst.ringRecover(ring, plan.lcore), 0);
      if (isDead) died.set(point, died.get(point)! + 1);
      runCommands(lab, { ...plan, lcore: (plan.lcore + next) % 64, commands: [...plan.commands].reverse() }, ring, vector, queue);
    }), { numRuns: 300 });
    t.ok([...died.values()].every(count => count > 30), `${[...died.values()].join(' and ')} died`);
  });

  t.test(`ring, ${lab.name}: single producers and consumers that follow one another`, async t => {
    fc.assert(fc.property(plans, fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 12 }), (plan, lcores) => {
      const { ring, vector, queue } = runPlan(lab, { ...plan, multi: false });
      for (const lcore of lcores) runCommands(lab, { ...plan, lcore, multi: false }, ring, vector, queue);
    }), { numRuns: 100 });
    t.pass('each went on where the one before had stopped');
  });
}

function runPlan(lab: Lab, plan: Plan): { ring: number; vector: number; queue: number[] } {
  reset(lab);
  const ring = makeRing(lab, plan);
  const vector = reserve(lab, VECTOR * 4);
  return runCommands(lab, plan, ring, vector, []);
}

function runCommands(lab: Lab, plan: Plan, ring: number, vector: number, queue: number[]): { ring: number; vector: number; queue: number[] } {
  for (const command of plan.commands) {
    const { enqueue, count, fixed } = command;
    const expected = modelCount(queue, plan.size, command);
    const values = Array.from({ length: count }, () => (serial = (serial + 0x9e3779b1) >>> 0));
    if (enqueue) writeVector(lab, vector, values);
    expectEqual(side(lab, ring, vector, plan.lcore, enqueue, plan.multi)(count, fixed), expected);
    if (enqueue) queue.push(...values.slice(0, expected));
    else expectEqual(readVector(lab, vector, expected), queue.splice(0, expected));
    expectEqual(ringContents(lab, ring), queue);
  }
  return { ring, vector, queue };
}

/** One of the four functions, with the two arguments that a command gives. */
function side({ burst }: Lab, ring: number, vector: number, lcore: number, enqueue: boolean, multi: boolean): (count: number, fixed: number) => number {
  if (multi) {
    const call = enqueue ? burst.ringEnqueueMp : burst.ringDequeueMc;
    return (count, fixed) => call(ring, vector, count, fixed, lcore);
  }
  const call = enqueue ? burst.ringEnqueueSp : burst.ringDequeueSc;
  return (count, fixed) => call(ring, vector, count, fixed, lcore);
}

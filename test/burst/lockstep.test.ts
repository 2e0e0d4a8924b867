import fc from 'fast-check';
import t from 'tap';
import { DEATH_AFTER_CLAIM, DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH } from '../../lib/burst/codes.js';
import { expectSameBytes, HIGH_BASE, dieAt, expectEqual, makeLab, makeRing, reserve, reset, writeVector, type Lab } from './layout_helper.js';
import { apply, commandLists, makeWorld, shapes } from './world_helper.js';

const PAIRS = [
  [makeLab({ build: 'fast' }), makeLab({ build: 'twin' })],
  [makeLab({ build: 'portable' }), makeLab({ build: 'twin' })],
  [makeLab({ build: 'checking', checks: true }), makeLab({ build: 'twin', checks: true })],
  [makeLab({ build: 'fast', base: HIGH_BASE }), makeLab({ build: 'twin', base: HIGH_BASE })],
] as const;

for (const [left, right] of PAIRS) {
  t.test(`lockstep: ${left.name} and ${right.name} leave the same bytes`, async t => {
    let commandCount = 0;
    fc.assert(fc.property(shapes, commandLists, (shape, commands) => {
      const worlds = [makeWorld(left, shape), makeWorld(right, shape)] as const;
      for (const command of commands) {
        expectEqual(apply(worlds[0], command), apply(worlds[1], command));
        expectSameBytes(left, right);
        commandCount++;
      }
    }), { numRuns: 300 });
    t.pass(`the whole zone, after each of ${commandCount} commands`);
  });
}

interface Step { readonly call: 'ringEnqueue' | 'ringDequeue' | 'ringRecover'; readonly count: number; readonly fixed: number; readonly lcore: number; readonly death: number }

const steps: fc.Arbitrary<Step> = fc.record({
  call: fc.constantFrom('ringEnqueue', 'ringEnqueue', 'ringDequeue', 'ringDequeue', 'ringRecover'),
  count: fc.integer({ min: 1, max: 40 }), fixed: fc.constantFrom(0, 1), lcore: fc.nat({ max: 2 }),
  death: fc.constantFrom(0, 0, 0, 0, 0, DEATH_AFTER_CLAIM, DEATH_BEFORE_PUBLISH, DEATH_AFTER_PUBLISH),
});
const rings = fc.record({
  size: fc.integer({ min: 1, max: 10 }).map(power => 2 ** power), start: fc.constantFrom(0, 0x7ffffff0, 0xfffffff0, 0xffffffff),
});

t.test('lockstep: rings whose users die leave the same bytes', async t => {
  const [left, right] = PAIRS[2]; // where parties die
  fc.assert(fc.property(rings, fc.boolean(), fc.array(steps, { minLength: 1, maxLength: 40 }), (shape, multi, list) => {
    const places = [left, right].map(lab => {
      reset(lab);
      return { lab, ring: makeRing(lab, shape), vector: reserve(lab, 64 * 4) };
    });
    list.forEach((step, i) => {
      const results = places.map(({ lab, ring, vector }) => {
        if (step.call === 'ringEnqueue') writeVector(lab, vector, Array.from({ length: step.count }, (_, j) => (i << 16) + j));
        let result = -1;
        const dead = dieAt(lab, step.death, () => { result = take(lab, ring, vector, step, multi); });
        // Nobody waits out a dead party's claim in this test.
        return [result, dead, dead ? lab.burst.ringRecover(ring, step.lcore) : 0];
      });
      expectEqual(results[0], results[1]);
      expectSameBytes(left, right);
    });
  }), { numRuns: 300 });
  t.pass('the whole zone, after every step');
});

for (const [left, right] of PAIRS) {
  t.test(`lockstep: ${left.name} and ${right.name} leave the same bytes when a program frees anything at all`, async t => {
    const vectors = fc.array(fc.oneof(fc.integer({ min: 1000, max: 1100 }), fc.integer({ min: 0, max: 0xffffffff })), { minLength: 1, maxLength: 60 });
    fc.assert(fc.property(shapes, commandLists, fc.array(vectors, { maxLength: 6 }), (shape, commands, lists) => {
      const told = [left, right].map(lab => {
        const world = makeWorld(lab, shape);
        for (const command of commands) apply(world, command);
        const reports: number[][] = [];
        lab.hooks.misuse = (...report) => { reports.push(report.map(word => word >>> 0)); };
        for (const list of lists) {
          writeVector(lab, world.vector, list);
          lab.burst.mbufFree(world.pool.offset, 0, world.vector, list.length);
        }
        return reports;
      });
      expectEqual(told[0], told[1]);
      expectSameBytes(left, right);
    }), { numRuns: 200 });
    t.pass('and told of the same misuses');
  });
}

function take({ burst }: Lab, ring: number, vector: number, { call, count, fixed, lcore }: Step, multi: boolean): number {
  if (call === 'ringRecover') return burst.ringRecover(ring, lcore);
  if (call === 'ringEnqueue') return multi ? burst.ringEnqueueMp(ring, vector, count, fixed, lcore) : burst.ringEnqueueSp(ring, vector, count, fixed, lcore);
  return multi ? burst.ringDequeueMc(ring, vector, count, fixed, lcore) : burst.ringDequeueSc(ring, vector, count, fixed, lcore);
}

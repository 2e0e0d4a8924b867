import fc from 'fast-check';
import t from 'tap';
import { HIGH_BASE, expectEqual, makeLab, type Lab } from './layout_helper.js';
import { apply, commandLists, makeWorld, shapes } from './world_helper.js';

const PAIRS = [
  [makeLab({ build: 'fast' }), makeLab({ build: 'twin' })],
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

function expectSameBytes(left: Lab, right: Lab): void {
  if (left.zone.equals(right.zone)) return;
  const at = left.zone.findIndex((byte, i) => byte !== right.zone[i]) & ~3;
  throw new Error(`at ${at} of the zone: ${left.zone.readUInt32LE(at)} and ${right.zone.readUInt32LE(at)}`);
}

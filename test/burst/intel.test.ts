/** Intel's burst functions over rings laid out by hand, with a device that the test plays. */
import fc from 'fast-check';
import t from 'tap';
import { INTEL_BAD_LENGTH, INTEL_ERRORED, INTEL_SPLIT_FRAMES } from '../../lib/port/drivers/vfio/intel/layout.js';
import { QUEUE_PACKETS } from '../../lib/port/layout.js';
import { checkPacket, checkSend, checkSent, expected } from './intel_model_helper.js';
import {
  apply, arrive, commands, free, freeCount, makeWorld, ownedBy, receive, RX_OWNER, shapes, TX_OWNER, type World,
} from './intel_world_helper.js';
import { expectEqual, get64, HIGH_BASE, IMPLEMENTATIONS, makeLab } from './layout_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 200;

for (const implementation of [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const]) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: frames in order, each in the buffers that it was written to, and every mbuf accounted for`, async t => {
    const seen = { received: 0, transmitted: 0, chains: 0, sentChains: 0, contexts: 0 };
    fc.assert(fc.property(shapes, commands(false), (shape, list) => {
      const world = makeWorld(lab, shape);
      for (const command of list) {
        if (command.kind === 'arrive') arrive(world, command.pieces);
        if (command.kind === 'sent') checkSent(world, command.count, seen);
        if (command.kind === 'free') free(world, command.count, command.lcore);
        if (command.kind === 'rx') {
          const wanted = expected(world, command.max);
          const got = receive(world, command.max, command.lcore);
          expectEqual(got, wanted.map(([first]) => first!.handle));
          wanted.forEach(packet => { checkPacket(world, packet, command.lcore); });
          seen.chains += wanted.filter(packet => packet.length > 1).length;
        }
        if (command.kind === 'tx') checkSend(world, command.frames, command.lcore);
        expectEqual(freeCount(world) + world.held.length + ownedBy(world, RX_OWNER) + ownedBy(world, TX_OWNER), shape.count);
      }
      const { bad, errored, split } = world.counts;
      expectEqual([get64(lab, world.rx, INTEL_BAD_LENGTH), get64(lab, world.rx, INTEL_ERRORED), get64(lab, world.rx, INTEL_SPLIT_FRAMES)], [bad, errored, split]);
      checkSent(world, shape.size, seen);
      lab.burst.intelClean(world.tx, 0);
      expectEqual(ownedBy(world, TX_OWNER), 0);
      seen.received += get64(lab, world.rx, QUEUE_PACKETS);
      seen.transmitted += get64(lab, world.tx, QUEUE_PACKETS);
    }), { numRuns: RUNS });
    t.ok(seen.received > RUNS && seen.transmitted > RUNS / 4 && seen.chains > RUNS / 100 && seen.sentChains > RUNS / 100 && seen.contexts > RUNS / 100, JSON.stringify(seen));
  });
}

t.test('every implementation leaves the same bytes, also with a device that scribbles into its descriptors', async t => {
  const labs = IMPLEMENTATIONS.map(makeLab);
  let scribbled = 0;
  fc.assert(fc.property(shapes, commands(true), (shape, list) => {
    const worlds = labs.map(lab => makeWorld(lab, shape));
    for (const command of list) {
      const results = worlds.map(world => apply(world, command));
      for (const result of results) expectEqual(result, results[0]!);
      for (const { lab } of worlds) if (lab.zone.compare(labs[0]!.zone) !== 0) throw new Error(`${lab.name} leaves other bytes after ${command.kind}`);
      const [world] = worlds as [World];
      expectEqual(freeCount(world) + world.held.length + ownedBy(world, RX_OWNER) + ownedBy(world, TX_OWNER), shape.count);
      expectEqual(new Set(world.held).size, world.held.length);
      if (command.kind === 'scribble') scribbled++;
    }
  }), { numRuns: RUNS });
  t.ok(scribbled > RUNS, `${scribbled} words overwritten`);
});

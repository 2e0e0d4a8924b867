/** The commands of the model of an AF_XDP port, in any order. */
import { setPlain, writeVector } from './layout_helper.js';
import { deliver, deliverChain, forge, forgeChain, receive } from './xsk_receive_helper.js';
import { complete, consume, lie, send, sendChain } from './xsk_send_helper.js';
import { headerOf, LCORE, loosePackets, VECTOR, type XskCommand, type XskWorld } from './xsk_world_helper.js';

export function applyXsk(world: XskWorld, { kind, count, pick }: XskCommand): void {
  switch (kind) {
    case 'rx': return receive(world, count);
    case 'deliver': return deliver(world, count, pick);
    case 'deliverChain': return deliverChain(world, count, pick);
    case 'forge': return forge(world, pick);
    case 'forgeChain': return forgeChain(world, count, pick);
    case 'free': return free(world, count);
    case 'send': return send(world, count, pick);
    case 'sendChain': return sendChain(world, count, pick);
    case 'consume': return consume(world, count);
    case 'complete': return complete(world, count, pick);
    case 'lie': return lie(world, pick);
  }
}

function free(world: XskWorld, count: number): void {
  const chosen = loosePackets(world).slice(0, Math.min(count, VECTOR));
  const gone = new Set(chosen.flat());
  world.app = world.app.filter(handle => !gone.has(handle));
  for (const segments of chosen) {
    if (segments.length === 1) setPlain(world.lab, headerOf(world, segments[0]!));
    world.chains.delete(segments[0]!);
  }
  writeVector(world.lab, world.vector, chosen.map(([first]) => first!));
  world.lab.burst.mbufFree(world.pool.offset, LCORE, world.vector, chosen.length);
}

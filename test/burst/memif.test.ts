/** Both ends of memif rings over each other, the client sharing its pool or copying: frames whole and in order, every mbuf accounted for, and nothing but counters where one end lies. */
import fc from 'fast-check';
import t from 'tap';
import { MBUF_OWNER } from '../../lib/mbuf/layout.js';
import { MEMIF_NEXT, MEMIF_POSTED, MEMIF_RING, MEMIF_THEIRS, RING_FLAGS, RING_MASK_INT } from '../../lib/port/drivers/memif/layout.js';
import { QUEUE_BYTES_TOTAL, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS } from '../../lib/port/layout.js';
import {
  DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX, DEVICE_TOO_SMALL, VQ_LOCK, VQ_NOTIFY, VQ_READY, VQ_STATE_END,
} from '../../lib/virtqueue/layout.js';
import { expectEqual, get, get64, HIGH_BASE, IMPLEMENTATIONS, makeLab, set } from './layout_helper.js';
import { accounted, apply, bytesOf, free, guardsStand, headerOf, LCORE, LONGEST, makeMemifWorld, memifCommands, memifShapes, receive, ROOM, send, type MemifShape, type MemifWorld, type Outgoing, type Side } from './memif_world_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 4000 : 120;
const EVERYWHERE = [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const];
const MINE = 0x01000000 | LCORE;
const COUNTERS = { DEVICE_BAD_INDEX, DEVICE_BAD_CHAIN, DEVICE_BAD_ADDRESS, DEVICE_BAD_FRAME, DEVICE_TOO_SMALL };

const lengthOf = ({ parts }: Outgoing): number => parts.reduce((sum, part) => sum + part, 0);
const isFrame = (frame: Outgoing): boolean => lengthOf(frame) >= 14 && lengthOf(frame) <= LONGEST;

/** What of the frames that were taken will arrive: those that the whole ring has room for. */
function arriving({ shape, client }: MemifWorld, from: Side, { offered, taken }: ReturnType<typeof send>): Buffer[] {
  const size = 1 << shape.log2;
  const fits = (frame: Outgoing): boolean => {
    if (!shape.zeroCopy) return lengthOf(frame) <= size * shape.bufferBytes;
    return from === client ? frame.parts.length <= size : lengthOf(frame) <= size * ROOM;
  };
  return offered.slice(0, taken).filter(({ frame }) => isFrame(frame) && fits(frame)).map(({ bytes }) => bytes);
}

t.test('a queue\'s state has room for both kinds', async t => {
  t.ok(MEMIF_RING >= VQ_STATE_END && MEMIF_POSTED + 4 <= QUEUE_BYTES_TOTAL);
});

for (const implementation of EVERYWHERE) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: frames arrive whole and in order, both ways, and every mbuf is accounted for`, async t => {
    let arrived = 0;
    fc.assert(fc.property(memifShapes, memifCommands(false), (shape, commands) => {
      const world = makeMemifWorld(lab, shape);
      const [up, down]: [Buffer[], Buffer[]] = [[], []];
      for (const command of commands) {
        world.seed += 13;
        if (command.kind === 'clientSend') up.push(...arriving(world, world.client, send(world, world.client, command.frames)));
        if (command.kind === 'serverSend') down.push(...arriving(world, world.server, send(world, world.server, command.frames)));
        if (command.kind === 'serverReceive') arrived += expectFrames(world, world.server, command.count, up);
        if (command.kind === 'clientReceive') arrived += expectFrames(world, world.client, command.count, down);
        if (command.kind === 'clientFree') free(world, world.client, command.count);
        if (command.kind === 'serverFree') free(world, world.server, command.count);
        if (!guardsStand(world)) throw new Error('a byte beside the region was written');
      }
      drain(world, up, down);
    }), { numRuns: RUNS });
    t.ok(arrived > RUNS, `${arrived} frames`);
  });
}

function expectFrames(world: MemifWorld, side: Side, count: number, waiting: Buffer[]): number {
  const got = receive(world, side, count);
  for (const handle of got) {
    const [bytes, wanted] = [bytesOf(world, side, handle), waiting.shift()];
    if (wanted === undefined || !bytes.equals(wanted)) throw new Error(`a frame of ${bytes.length} bytes, and one of ${wanted?.length ?? 'none'} was sent`);
    expectEqual(get(world.lab, headerOf(side, handle), MBUF_OWNER), MINE);
  }
  return got.length;
}

/** Everything that is under way arrives, and at the end nothing is out but the client's empty buffers. */
function drain(world: MemifWorld, up: Buffer[], down: Buffer[]): void {
  const { lab, client, server, shape } = world;
  const clean = (): unknown => shape.zeroCopy && lab.burst.memifZcClean(client.tx, LCORE);
  // Who sends by copying has nothing of it afterwards.
  server.held.push(...server.shared.splice(0));
  if (!shape.zeroCopy) client.held.push(...client.shared.splice(0));
  for (let i = 0; i < 40 && (up.length > 0 || down.length > 0); i++) {
    for (const side of [client, server]) free(world, side, 100);
    expectFrames(world, server, 5, up);
    clean();
    expectFrames(world, client, 5, down);
  }
  clean();
  for (const side of [client, server]) {
    side.held.push(...side.shared);
    free(world, side, 100);
  }
  expectEqual([up.length, down.length], [0, 0]);
  expectEqual(accounted(world, client, get(lab, client.rx, QUEUE_OWNER)), shape.clientBuffers);
  expectEqual(accounted(world, server), shape.serverBuffers);
  for (const queue of [client.rx, client.tx, server.rx, server.tx]) expectEqual([DEVICE_BAD_INDEX, DEVICE_BAD_CHAIN, DEVICE_BAD_ADDRESS].map(counter => get64(lab, queue, counter)), [0, 0, 0]);
}

t.test('every implementation leaves the same bytes, also where an end scribbles into the rings; no mbuf is lost or twice', async t => {
  const labs = IMPLEMENTATIONS.map(makeLab);
  const bad = new Map<string, number>();
  fc.assert(fc.property(memifShapes, memifCommands(true), (shape, commands) => {
    const worlds = labs.map(lab => makeMemifWorld(lab, shape));
    for (const command of commands) {
      const results = worlds.map(world => apply(world, command));
      for (const result of results) expectEqual(result ?? null, results[0] ?? null);
      for (const { lab } of worlds) if (lab.zone.compare(labs[0]!.zone) !== 0) throw new Error(`${lab.name} leaves other bytes after ${JSON.stringify(command)} at ${lab.zone.findIndex((byte, i) => byte !== labs[0]!.zone[i])}`);
      const [world] = worlds as [MemifWorld];
      if (!guardsStand(world)) throw new Error('a byte beside the region was written');
      for (const side of [world.client, world.server]) expectEqual(new Set(side.held).size, side.held.length);
    }
    const { lab, server, client } = worlds[0]!;
    for (const [name, field] of Object.entries(COUNTERS)) bad.set(name, [server.rx, server.tx, client.rx, client.tx].reduce((sum, queue) => sum + get64(lab, queue, field), bad.get(name) ?? 0));
  }), { numRuns: RUNS * 3 });
  for (const [name, count] of bad) t.ok(count > 0, `${name}: ${count}`);
});

const PLAIN: MemifShape = { log2: 3, start: 0, zeroCopy: true, bufferBytes: 2048, clientBuffers: 14, serverBuffers: 14, cache: 0 };
const FRAME: Outgoing = { parts: [60], shift: 0, held: false };

for (const implementation of IMPLEMENTATIONS) {
  const lab = makeLab(implementation);
  for (const zeroCopy of [true, false]) {
    const kind = `${lab.name}, ${zeroCopy ? 'sharing' : 'copying'} client`;
    t.test(`${kind}: who receives is told when it wants to be`, async t => {
      const world = makeMemifWorld(lab, { ...PLAIN, zeroCopy });
      const { client, server } = world;
      for (const [from, to] of [[client, server], [server, client]] as const) {
        const flags = (get(lab, to.rx, MEMIF_RING) + RING_FLAGS) >>> 1;
        const told = (): number => {
          set(lab, from.tx, VQ_NOTIFY, 0);
          send(world, from, [FRAME]);
          return get(lab, from.tx, VQ_NOTIFY);
        };
        t.equal(told(), 0, 'it polls');
        lab.u16[flags] = 0;
        t.equal(told(), 1);
        lab.u16[flags] = RING_MASK_INT;
        t.equal(told(), 0);
      }
    });
    t.test(`${kind}: nothing happens in a queue that is not ready, or that set-up has`, async t => {
      const world = makeMemifWorld(lab, { ...PLAIN, zeroCopy });
      const { client, server } = world;
      t.equal(send(world, client, [FRAME]).taken, 1);
      for (const [field, value] of [[VQ_READY, 0], [VQ_LOCK, 99]] as const) {
        const before = get(lab, server.rx, field);
        for (const queue of [client.tx, server.rx]) set(lab, queue, field, value);
        t.same([receive(world, server, 4).length, send(world, client, [FRAME]).taken], [0, 0]);
        for (const queue of [client.tx, server.rx]) set(lab, queue, field, before);
      }
      t.equal(get64(lab, client.tx, QUEUE_NOMBUF), 2, 'and what was offered is counted');
      t.equal(receive(world, server, 4).length, 1);
      t.equal(get64(lab, server.rx, QUEUE_PACKETS), 1);
    });
    t.test(`${kind}: an index that jumps moves nothing, and is counted, until it is right again`, async t => {
      const world = makeMemifWorld(lab, { ...PLAIN, zeroCopy });
      for (const queue of [world.client.rx, world.client.tx, world.server.rx, world.server.tx]) {
        const theirs = get(lab, queue, MEMIF_THEIRS) >>> 1;
        const before = lab.u16[theirs]!;
        lab.u16[theirs] = get(lab, queue, MEMIF_NEXT) + 9;
        const side = [world.client, world.server].find(({ rx, tx }) => rx === queue || tx === queue)!;
        if (side.rx === queue) t.equal(receive(world, side, 4).length, 0);
        else send(world, side, [FRAME]);
        t.equal(get64(lab, queue, DEVICE_BAD_INDEX), 1);
        lab.u16[theirs] = before;
      }
      t.equal(guardsStand(world), true);
    });
  }
}

/** Both sides of virtqueues over each other, split and packed: frames whole and in order, every mbuf accounted for, and nothing but counters where one side lies. */
import fc from 'fast-check';
import t from 'tap';
import { MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER } from '../../lib/mbuf/layout.js';
import { QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS } from '../../lib/port/layout.js';
import {
  DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX, DEVICE_BAD_OFFLOAD, DEVICE_TOO_SMALL, DRIVER_BAD_FRAME, DRIVER_BAD_LENGTH, DRIVER_BAD_USED, DRIVER_FOREIGN,
  CHUNK, NO_EVENTS, VECTOR, VQ_AVAIL, VQ_DESC, VQ_LOCK, VQ_LONGEST, VQ_NEXT_AVAIL, VQ_NOTIFY, VQ_READY, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_UNFINISHED, VQ_USED,
} from '../../lib/virtqueue/layout.js';
import { expectEqual, get, get64, HIGH_BASE, IMPLEMENTATIONS, makeLab, readVector, set, writeVector } from './layout_helper.js';
import { LONGEST, ROOM, vqCommands, vqShapes, type Outgoing, type VqShape } from './virtqueue_commands_helper.js';
import { bytesOf, headerOf, type Side } from './virtqueue_packets_helper.js';
import { accounted, apply, guardsStand, LCORE, makeVqWorld, receive, send, free, type VqWorld } from './virtqueue_world_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 4000 : 120;
const EVERYWHERE = [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const];
const MINE = 0x01000000 | LCORE;

const lengthOf = ({ parts }: Outgoing): number => parts.reduce((sum, part) => sum + part, 0);
const isFrame = (frame: Outgoing): boolean => lengthOf(frame) >= 14 && lengthOf(frame) <= LONGEST;

/** What of the frames that were taken will arrive. */
function arriving(world: VqWorld, from: Side, { offered, taken }: ReturnType<typeof send>): Buffer[] {
  const { mergeable } = world.shape;
  const chain = (frame: Outgoing): number => frame.parts.length + 1;
  const fits = (frame: Outgoing): boolean => from === world.host ? mergeable || lengthOf(frame) <= ROOM
    : world.shape.indirect || isAlone(frame, world.shape.header) || chain(frame) <= world.shape.size;
  return offered.slice(0, taken).filter(({ frame }) => isFrame(frame) && fits(frame)).map(({ bytes }) => bytes);
}

const isAlone = ({ parts, shift, held }: Outgoing, header: number): boolean => parts.length === 1 && !held && 256 + shift >= header;

for (const implementation of EVERYWHERE) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: frames arrive whole and in order, both ways, and every mbuf is accounted for`, async t => {
    let arrived = 0;
    fc.assert(fc.property(vqShapes, vqCommands(false, false), (shape, commands) => {
      const world = makeVqWorld(lab, { ...shape, offloads: 0 });
      const [up, down]: [Buffer[], Buffer[]] = [[], []];
      for (const command of commands) {
        world.seed += 13;
        if (command.kind === 'guestSend') up.push(...arriving(world, world.guest, send(world, world.guest, command.frames)));
        if (command.kind === 'hostSend') down.push(...arriving(world, world.host, send(world, world.host, command.frames)));
        if (command.kind === 'hostReceive') arrived += expectFrames(world, world.host, command.count, up);
        if (command.kind === 'guestReceive') arrived += expectFrames(world, world.guest, command.count, down);
        if (command.kind === 'guestFree') free(world, world.guest, command.count);
        if (command.kind === 'hostFree') free(world, world.host, command.count);
        if (!guardsStand(world)) throw new Error('a byte beside the rings was written');
      }
      drain(world, up, down);
    }), { numRuns: RUNS });
    t.ok(arrived > RUNS, `${arrived} frames`);
  });
}

function expectFrames(world: VqWorld, side: Side, count: number, waiting: Buffer[]): number {
  const got = receive(world, side, count);
  for (const handle of got) {
    const [bytes, wanted] = [bytesOf(world, side, handle), waiting.shift()];
    if (wanted === undefined || !bytes.equals(wanted)) throw new Error(`a frame of ${bytes.length} bytes, and one of ${wanted?.length ?? 'none'} was sent`);
    expectEqual(get(world.lab, headerOf(side, handle), MBUF_OWNER), MINE);
  }
  return got.length;
}

/** Everything that is under way arrives, and at the end nothing is out but the guest's empty buffers. */
function drain(world: VqWorld, up: Buffer[], down: Buffer[]): void {
  const { lab, guest, host, shape } = world;
  // Who sends by copying has nothing of it afterwards.
  host.held.push(...host.shared.splice(0));
  for (let i = 0; i < 40 && (up.length > 0 || down.length > 0); i++) {
    for (const side of [guest, host]) free(world, side, 100);
    expectFrames(world, host, 5, up);
    lab.burst.virtioClean(guest.tx, LCORE);
    expectFrames(world, guest, 5, down);
  }
  lab.burst.virtioClean(guest.tx, LCORE);
  for (const side of [guest, host]) {
    side.held.push(...side.shared);
    free(world, side, 100);
  }
  expectEqual([up.length, down.length], [0, 0]);
  expectEqual(accounted(world, guest, get(lab, guest.rx, QUEUE_OWNER)), shape.guestBuffers);
  expectEqual(accounted(world, host), shape.hostBuffers);
  for (const counter of [DEVICE_BAD_INDEX, DEVICE_BAD_CHAIN, DEVICE_BAD_ADDRESS]) expectEqual([get64(lab, host.rx, counter), get64(lab, host.tx, counter)], [0, 0]);
  for (const counter of [DRIVER_BAD_USED, DRIVER_BAD_LENGTH]) expectEqual([get64(lab, guest.rx, counter), get64(lab, guest.tx, counter)], [0, 0]);
}

t.test('every implementation leaves the same bytes, also where a side scribbles into the rings; no mbuf is lost or twice', async t => {
  const labs = IMPLEMENTATIONS.map(makeLab);
  const bad = new Map<string, number>();
  fc.assert(fc.property(vqShapes, vqCommands(true, true), (shape, commands) => {
    const worlds = labs.map(lab => makeVqWorld(lab, shape));
    for (const command of commands) {
      const results = worlds.map(world => apply(world, command));
      for (const result of results) expectEqual(result ?? null, results[0] ?? null);
      for (const { lab } of worlds) if (lab.zone.compare(labs[0]!.zone) !== 0) throw new Error(`${lab.name} leaves other bytes after ${JSON.stringify(command)} at ${firstDifference(lab.zone, labs[0]!.zone)}`);
      const [world] = worlds as [VqWorld];
      if (!guardsStand(world)) throw new Error('a byte beside the rings was written');
      for (const side of [world.guest, world.host]) expectEqual(new Set(side.held).size, side.held.filter((handle, i, all) => all.indexOf(handle) === i).length);
    }
    const { lab, host, guest } = worlds[0]!;
    for (const [name, field] of Object.entries({ DEVICE_BAD_INDEX, DEVICE_BAD_CHAIN, DEVICE_BAD_ADDRESS, DEVICE_BAD_FRAME })) bad.set(name, (bad.get(name) ?? 0) + get64(lab, host.rx, field) + get64(lab, host.tx, field));
    bad.set('DEVICE_TOO_SMALL', (bad.get('DEVICE_TOO_SMALL') ?? 0) + get64(lab, host.tx, DEVICE_TOO_SMALL));
    bad.set('DEVICE_BAD_OFFLOAD', (bad.get('DEVICE_BAD_OFFLOAD') ?? 0) + get64(lab, host.rx, DEVICE_BAD_OFFLOAD));
    bad.set('VQ_UNFINISHED', (bad.get('VQ_UNFINISHED') ?? 0) + get(lab, host.rx, VQ_UNFINISHED) + get(lab, host.tx, VQ_UNFINISHED));
    for (const [name, field] of Object.entries({ DRIVER_BAD_USED, DRIVER_BAD_LENGTH, DRIVER_BAD_FRAME })) bad.set(name, (bad.get(name) ?? 0) + get64(lab, guest.rx, field) + get64(lab, guest.tx, field));
  }), { numRuns: RUNS * 3 });
  for (const [name, count] of bad) t.ok(count > 0, `${name}: ${count}`);
});

function firstDifference(a: Buffer, b: Buffer): number {
  return a.findIndex((byte, i) => byte !== b[i]);
}

const PLAIN: VqShape = { packed: false, size: 8, start: 0, mergeable: true, indirect: true, eventIdx: false, inOrder: false, header: 12, outside: false, guestBuffers: 14, hostBuffers: 14, cache: 0, offloads: 0 };
/** So that four are side by side. */
const LONG = { size: 16, guestBuffers: 28 };
const FRAME: Outgoing = { parts: [60], shift: 0, held: false };
const four = Array<Outgoing>(4).fill(FRAME);

for (const implementation of IMPLEMENTATIONS) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: a driver takes no more back at once than it has room to list`, t => {
    for (const inOrder of [false, true]) {
      const world = makeVqWorld(lab, { ...PLAIN, packed: true, size: 68, start: 0x8000, inOrder, guestBuffers: 72 });
      const { guest, host, vector } = world;
      // What comes in goes out again, until the pool has nothing more to receive into.
      for (let sent = 0, i = 0; i < 12; i++, sent += 6) {
        send(world, host, Array<Outgoing>(6).fill(FRAME));
        const got = lab.burst.virtioRx(guest.rx, vector, 6, LCORE);
        expectEqual(lab.burst.virtioTx(guest.tx, vector, got, LCORE), sent < 66 ? 6 : 2);
      }
      for (let taken = 0; taken < 68; taken += 14) free(world, host, receive(world, host, 14).length);
      t.equal(lab.burst.virtioClean(guest.tx, LCORE), 68);
      t.equal(get(lab, get(lab, guest.tx, VQ_SCRATCH) + VECTOR, CHUNK * 4), 0, 'behind the list');
    }
    t.end();
  });
  for (const packed of [false, true]) {
    const kind = `${lab.name}, ${packed ? 'packed' : 'split'}`;
    t.test(`${kind}: the other side is told when it wants to be`, async t => {
      const world = makeVqWorld(lab, { ...PLAIN, packed });
      const { guest, host } = world;
      const said = (queue: number): number => {
        const value = get(lab, queue, VQ_NOTIFY);
        set(lab, queue, VQ_NOTIFY, 0);
        return value;
      };
      t.equal(said(guest.rx), 1, 'of the buffers at the start');
      send(world, guest, [FRAME]);
      t.equal(said(guest.tx), 1);
      set(lab, get(lab, guest.tx, VQ_USED), 0, packed ? NO_EVENTS << 16 : NO_EVENTS);
      send(world, guest, [FRAME]);
      t.equal(said(guest.tx), 0, 'no kicks, please');
      receive(world, host, 1);
      t.equal(said(host.rx), 1, 'interrupts are wanted');
      set(lab, get(lab, guest.tx, VQ_AVAIL), 0, get(lab, get(lab, guest.tx, VQ_AVAIL)) | (packed ? NO_EVENTS << 16 : NO_EVENTS));
      receive(world, host, 1);
      t.equal(said(host.rx), 0);
    });
    t.test(`${kind}: and with event indices, when it has come so far`, async t => {
      const world = makeVqWorld(lab, { ...PLAIN, packed, eventIdx: true });
      const { guest } = world;
      const used = get(lab, guest.tx, VQ_USED);
      const next = get(lab, guest.tx, VQ_NEXT_AVAIL);
      // Not before the third from now on.
      if (packed) set(lab, used, 0, ((next & 0x8000) | 2) | 2 << 16);
      else lab.u16[(used + 4 + 8 * 8) >>> 1] = 2;
      const told: number[] = [];
      for (let i = 0; i < 5; i++) {
        set(lab, guest.tx, VQ_NOTIFY, 0);
        send(world, guest, [FRAME]);
        told.push(get(lab, guest.tx, VQ_NOTIFY));
      }
      // A packed ring's driver tells whoever has not said that he is at work: see tellUnlessDisabled.
      t.same(told, packed ? [1, 1, 1, 1, 1] : [0, 0, 1, 0, 0]);
    });
    if (packed) t.test('packed: a device that named a place many turns ago and sleeps is woken', async t => {
      const world = makeVqWorld(lab, { ...PLAIN, packed, eventIdx: true });
      const { guest, host } = world;
      const used = get(lab, guest.tx, VQ_USED);
      const named = ((get(lab, guest.tx, VQ_NEXT_AVAIL) & 0x8000) | 5) | 2 << 16;
      const told = new Set<number>();
      for (let i = 0; i < 5 * get(lab, guest.tx, VQ_SIZE); i++) {
        set(lab, used, 0, named);
        set(lab, guest.tx, VQ_NOTIFY, 0);
        t.equal(send(world, guest, [FRAME]).taken, 1);
        told.add(get(lab, guest.tx, VQ_NOTIFY));
        t.equal(receive(world, host, 1).length, 1);
        host.held.push(...host.shared.splice(0));
        free(world, host, 1);
        lab.burst.virtioClean(guest.tx, LCORE);
      }
      t.same([...told], [1]);
    });
    t.test(`${kind}: nothing happens in a queue that is not ready, or that set-up has`, async t => {
      const world = makeVqWorld(lab, { ...PLAIN, packed });
      const { guest, host } = world;
      t.equal(send(world, guest, [FRAME]).taken, 1);
      for (const [field, value] of [[VQ_READY, 0], [VQ_LOCK, 99]] as const) {
        const before = get(lab, host.rx, field);
        for (const queue of [guest.tx, host.rx]) set(lab, queue, field, value);
        t.same([receive(world, host, 4).length, send(world, guest, [FRAME]).taken], [0, 0]);
        for (const queue of [guest.tx, host.rx]) set(lab, queue, field, before);
      }
      t.equal(get64(lab, guest.tx, QUEUE_NOMBUF), 2, 'and what was offered is counted');
      t.equal(receive(world, host, 4).length, 1);
      t.equal(get64(lab, host.rx, QUEUE_PACKETS), 1);
    });
    t.test(`${kind}: places, ids and what is free of them each begin anew in the middle of a burst`, async t => {
      for (const start of [0, 3, 6]) for (let firstId = 0; firstId < LONG.size; firstId++) {
        const world = makeVqWorld(lab, { ...PLAIN, ...LONG, packed, start: packed ? 0x8000 | start : start, firstId });
        const { guest, host } = world;
        for (let i = 0; i < 6; i++) {
          const [up, down] = [guest, host].map(side => send(world, side, Array<Outgoing>(9).fill(FRAME)).offered.map(({ bytes }) => bytes)) as [Buffer[], Buffer[]];
          if (expectFrames(world, host, 9, up) + expectFrames(world, guest, 9, down) !== 18) throw new Error(`not all came in round ${i} from id ${firstId}, place ${start}`);
          for (const side of [guest, host]) free(world, side, 9);
          world.seed += 29;
        }
        drain(world, [], []);
      }
      t.pass();
    });
    t.test(`${kind}: a length that cannot be is of one frame, whatever stands beside it`, async t => {
      for (const [written, longest] of [[12 + 13, LONGEST], [11, LONGEST], [0, LONGEST], [12 + ROOM + 1, LONGEST], [0xffffffff, LONGEST], [12 + 1001, 1000]] as const) {
        const world = makeVqWorld(lab, { ...PLAIN, ...LONG, packed, start: packed ? 0x8000 : 0 });
        const { guest, host } = world;
        set(lab, guest.rx, VQ_LONGEST, longest);
        const { offered } = send(world, host, four);
        set(lab, packed ? get(lab, guest.rx, VQ_DESC) + 2 * 16 : get(lab, guest.rx, VQ_USED) + 2 * 8, 8, written);
        t.same(receive(world, guest, 4).map(handle => bytesOf(world, guest, handle)), [0, 1, 3].map(i => offered[i]!.bytes), `${written} bytes, of ${longest} at most`);
        t.equal(get64(lab, guest.rx, DRIVER_BAD_LENGTH), 1);
      }
    });
    t.test(`${kind}: the rest of a frame in several buffers is none by itself, whatever it looks like`, async t => {
      const world = makeVqWorld(lab, { ...PLAIN, ...LONG, packed });
      const { guest, host } = world;
      const large: Outgoing = { parts: [ROOM, ROOM, 400], shift: 0, held: false };
      // Its third buffer begins as the header of a frame in one does.
      const { offered } = send(world, host, [large, large, FRAME, FRAME, FRAME], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], 2 * ROOM + 12);
      t.same(receive(world, guest, 5).map(handle => bytesOf(world, guest, handle)), offered.map(({ bytes }) => bytes));
    });
    t.test(`${kind}: a send stops before an mbuf of another pool, and drops one that ends beyond its buffer`, async t => {
      const world = makeVqWorld(lab, { ...PLAIN, ...LONG, packed });
      const { guest, host, vector } = world;
      lab.burst.mbufAlloc(guest.pool.offset, LCORE, vector, 6);
      const handles = readVector(lab, vector, 6);
      for (const handle of handles) lab.u16[(headerOf(guest, handle) + MBUF_DATA_LEN) >>> 1] = 60;
      lab.u16[(headerOf(guest, handles[1]!) + MBUF_DATA_OFF) >>> 1] = 2048 - 59;
      for (const foreign of [host.pool.handles[0]!, handles[4]! + 0x100000, 1]) {
        writeVector(lab, vector, [...handles.splice(0, 2), foreign]);
        t.equal(lab.burst.virtioTx(guest.tx, vector, 3, LCORE), 2);
      }
      t.same([get64(lab, guest.tx, DRIVER_FOREIGN), get64(lab, guest.tx, DRIVER_BAD_FRAME), get64(lab, guest.tx, QUEUE_PACKETS)], [3, 1, 5]);
    });
    t.test(`${kind}: what is made up is none, also where it stands side by side as honest ones do`, async t => {
      // Behind the end of the side table there is what looks like entries of it.
      for (const [name, ids, counted] of [['again', [0, 1, 2, 3], 4], ['beyond', [13, 14, 15, 16], 1], ['far beyond', [24, 25, 26, 27], 4]] as const) {
        const world = makeVqWorld(lab, { ...PLAIN, ...LONG, packed, start: packed ? 0x8000 : 0 });
        const { guest, host } = world;
        const ring = guest.tx;
        send(world, guest, Array<Outgoing>(4).fill(FRAME));
        receive(world, host, 4);
        t.equal(lab.burst.virtioClean(ring, LCORE), 4);
        if (name !== 'again') send(world, guest, Array<Outgoing>(12).fill(FRAME));
        for (const id of ids.filter(each => each >= 16)) {
          set(lab, get(lab, ring, VQ_SIDE) + id * 8, 0, guest.pool.handles[0]!);
          set(lab, get(lab, ring, VQ_SIDE) + id * 8, 4, 1);
        }
        const freed = () => guest.pool.handles.filter(handle => get(lab, headerOf(guest, handle), MBUF_OWNER) === 0).length;
        const before = freed();
        ids.forEach((id, i) => giveBack(world, ring, 4 + i, id));
        t.equal(lab.burst.virtioClean(ring, LCORE), 4 - counted, name);
        t.equal(get64(lab, ring, DRIVER_BAD_USED), counted);
        t.equal(freed() - before, 4 - counted);
        t.ok(guardsStand(world));
      }
    });
  }
}

/** A device's used entry at a place of its first turn. */
function giveBack({ lab, shape }: VqWorld, ring: number, place: number, id: number): void {
  if (shape.packed) {
    set(lab, get(lab, ring, VQ_DESC) + place * 16, 8, 0);
    set(lab, get(lab, ring, VQ_DESC) + place * 16, 12, id | 0x8080 << 16);
    return;
  }
  const used = get(lab, ring, VQ_USED);
  set(lab, used + 4 + place * 8, 0, id);
  lab.u16[(used + 2) >>> 1] = place + 1;
}

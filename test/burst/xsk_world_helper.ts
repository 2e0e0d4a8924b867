/**
 * An AF_XDP port without a kernel: two queues over four rings in plain memory, and a model that plays the kernel's part,
 * keeps to its rules or breaks them, and knows where every mbuf is and what every counter says.
 */
import fc from 'fast-check';
import { HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_RX, OWNER_SHIFT, OWNER_TX } from '../../lib/mbuf/layout.js';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS,
  XSK_DESCRIPTOR_BYTES, XSK_FLAGS, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_MULTI_BUFFER, XSK_NOT_IN_UMEM, XSK_PRODUCER, XSK_RING_A,
  XSK_RING_B, XSK_RING_FULL, XSK_SEEN, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../lib/port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { expectEqual, get, get64, makePool, makeQueue, readVector, reserve, reset, set, setPlain, writeVector, type Lab, type Pool } from './layout_helper.js';

export interface XskShape { readonly count: number; readonly units: 1 | 2; readonly first: number; readonly ring: number; readonly start: number }

/** Pools smaller and larger than the rings; buffers below 2 GiB and above; indices that wrap around. */
export const xskShapes: fc.Arbitrary<XskShape> = fc.record({
  count: fc.constantFrom(40, 200, 500), units: fc.constantFrom(1, 2), first: fc.constantFrom(1000, 1_100_000),
  ring: fc.constantFrom(64, 128), start: fc.constantFrom(0, 0x7ffffff0, 0xffffffe0),
});

export interface XskCommand {
  readonly kind: 'rx' | 'deliver' | 'forge' | 'free' | 'send' | 'consume' | 'complete' | 'lie';
  readonly count: number;
  readonly pick: number;
}

export const xskCommands: fc.Arbitrary<XskCommand[]> = fc.array(fc.record({
  kind: fc.constantFrom('rx', 'rx', 'deliver', 'deliver', 'forge', 'free', 'send', 'send', 'consume', 'complete', 'lie'),
  count: fc.integer({ min: 1, max: 80 }), pick: fc.nat(),
}), { minLength: 1, maxLength: 60 });

interface Frame { readonly handle: number; readonly offset: number; readonly length: number }
/** What must come of a descriptor in the RX ring. `named` is the program's mbuf that a forged one names. */
interface Incoming { readonly frame?: Frame; readonly bad?: true; readonly multi?: number; readonly named?: number }
interface FakeRing { readonly at: number; readonly entry: number }
type Counter = 'packets' | 'bytes' | 'refused' | 'badDescriptor' | 'multiBuffer' | 'notInUmem' | 'badFrame' | 'badCompletion' | 'ringFull';
type Tally = Record<Counter, number>;

export interface XskWorld {
  readonly lab: Lab;
  readonly shape: XskShape;
  readonly pool: Pool;
  readonly rx: number;
  readonly tx: number;
  readonly rings: Readonly<Record<'rx' | 'fill' | 'tx' | 'completion', FakeRing>>;
  readonly vector: number;
  /** The program's mbufs; the kernel's empty ones. */
  app: number[];
  readonly empty: number[];
  readonly incoming: Incoming[];
  /** Sent: in the TX ring, on their way, in the completion ring; and entries there that are lies. */
  readonly queued: number[];
  readonly flying: number[];
  done: number[];
  lies: number;
  readonly tally: Readonly<Record<'rx' | 'tx', Tally>>;
}

const LCORE = 1;
const MINE = (OWNER_APP << OWNER_SHIFT) | LCORE;
const RX_OWNER = OWNER_RX << OWNER_SHIFT;
const TX_OWNER = OWNER_TX << OWNER_SHIFT;
const LONGEST = 1518;
const VECTOR = 128;

export function makeXskWorld(lab: Lab, shape: XskShape): XskWorld {
  reset(lab);
  const pool = makePool(lab, { count: shape.count, cache: 8, lcores: 2, units: shape.units, first: shape.first });
  const ring = (entry: number): FakeRing => fakeRing(lab, shape, entry);
  const rings = { rx: ring(XSK_DESCRIPTOR_BYTES), fill: ring(8), tx: ring(XSK_DESCRIPTOR_BYTES), completion: ring(8) };
  const [rx, tx] = [makeQueue(lab, pool, { owner: RX_OWNER }), makeQueue(lab, pool, { owner: TX_OWNER })];
  describe(lab, shape, rx, rings.rx, rings.fill);
  describe(lab, shape, tx, rings.tx, rings.completion);
  set(lab, rx, XSK_AIM, shape.ring);
  set(lab, tx, XSK_LONGEST, LONGEST);
  const none = (): Tally => ({ packets: 0, bytes: 0, refused: 0, badDescriptor: 0, multiBuffer: 0, notInUmem: 0, badFrame: 0, badCompletion: 0, ringFull: 0 });
  const world: XskWorld = {
    lab, shape, pool, rx, tx, rings, vector: reserve(lab, VECTOR * 4),
    app: [], empty: [], incoming: [], queued: [], flying: [], done: [], lies: 0, tally: { rx: none(), tx: none() },
  };
  expectEqual(lab.burst.xskFill(rx, LCORE), Math.min(shape.count, shape.ring));
  if (shape.count < shape.ring) world.tally.rx.refused++;
  takeFilled(world);
  return world;
}

function fakeRing(lab: Lab, { ring, start }: XskShape, entry: number): FakeRing {
  const at = reserve(lab, 256 + ring * entry);
  for (const word of [0, 64]) set(lab, at, word, start);
  return { at, entry };
}

function describe(lab: Lab, shape: XskShape, queue: number, a: FakeRing, b: FakeRing): void {
  for (const [base, { at }] of [[XSK_RING_A, a], [XSK_RING_B, b]] as const) {
    const fields = [[XSK_PRODUCER, at], [XSK_CONSUMER, at + 64], [XSK_FLAGS, at + 128], [XSK_DESCRIPTORS, at + 256], [XSK_MASK, shape.ring - 1], [XSK_SEEN, shape.start]] as const;
    for (const [field, value] of fields) set(lab, queue, base + field, value);
  }
  set(lab, queue, XSK_UMEM, shape.first * 2048);
  set(lab, queue, XSK_UMEM_BYTES, shape.count * shape.units * 2048);
  set(lab, queue, XSK_BUFFER_MASK, shape.units * 2048 - 1);
}

export function applyXsk(world: XskWorld, { kind, count, pick }: XskCommand): void {
  switch (kind) {
    case 'rx': return receive(world, count);
    case 'deliver': return deliver(world, count, pick);
    case 'forge': return forge(world, pick);
    case 'free': return free(world, count);
    case 'send': return send(world, count, pick);
    case 'consume': return consume(world, count);
    case 'complete': return complete(world, count, pick);
    case 'lie': return lie(world, pick);
  }
}

/** Each mbuf in one place, by its owner word; the kernel has as many as the queues say; every counter as it must be. */
export function checkXsk(world: XskWorld): void {
  const { lab, app, empty, incoming, queued, flying, done, tally } = world;
  const filled = [...empty, ...incoming.flatMap(({ frame, multi }) => frame?.handle ?? multi ?? [])];
  const sent = [...queued, ...flying, ...done];
  for (const [owner, handles] of [[MINE, app], [RX_OWNER, filled], [TX_OWNER, sent]] as const) {
    expectEqual(world.pool.handles.filter(handle => get(lab, headerOf(world, handle), MBUF_OWNER) === owner), [...handles].sort((a, b) => a - b));
  }
  expectEqual([get(lab, world.rx, XSK_HELD), get(lab, world.tx, XSK_HELD)], [filled.length, sent.length]);
  const counters = (queue: number, names: readonly (readonly [Counter, number])[]): number[] => names.map(([, field]) => get64(lab, queue, field));
  const usual = [['packets', QUEUE_PACKETS], ['bytes', QUEUE_BYTES], ['refused', QUEUE_NOMBUF]] as const;
  const ofRx = [...usual, ['badDescriptor', XSK_BAD_DESCRIPTOR], ['multiBuffer', XSK_MULTI_BUFFER]] as const;
  const ofTx = [...usual, ['notInUmem', XSK_NOT_IN_UMEM], ['badFrame', XSK_BAD_FRAME], ['badCompletion', XSK_BAD_COMPLETION], ['ringFull', XSK_RING_FULL]] as const;
  expectEqual(counters(world.rx, ofRx), ofRx.map(([name]) => tally.rx[name]));
  expectEqual(counters(world.tx, ofTx), ofTx.map(([name]) => tally.tx[name]));
}

export const headerOf = ({ pool }: XskWorld, handle: number): number => pool.table + handle * HEADER_BYTES;
const bufferBytes = ({ shape }: XskWorld): number => shape.units * 2048;
const addressOf = ({ shape }: XskWorld, handle: number): number => (handle - shape.first) * 2048;
const handleAt = ({ shape }: XskWorld, address: number): number => shape.first + address / 2048;

/** The kernel's side of a ring that it fills. */
export function produce({ lab, shape }: XskWorld, ring: FakeRing, words: readonly number[]): void {
  const index = get(lab, ring.at);
  words.forEach((word, i) => { set(lab, ring.at + 256 + (index & (shape.ring - 1)) * ring.entry, i * 4, word); });
  set(lab, ring.at, 0, index + 1);
}

/** And of one that it empties. */
function take({ lab, shape }: XskWorld, ring: FakeRing): number[] | undefined {
  const index = get(lab, ring.at, 64);
  if (index === get(lab, ring.at)) return undefined;
  set(lab, ring.at, 64, index + 1);
  return readVector(lab, ring.at + 256 + (index & (shape.ring - 1)) * ring.entry, ring.entry / 4);
}

/** Takes all that the program put into the fill ring. */
function takeFilled(world: XskWorld): void {
  for (let entry = take(world, world.rings.fill); entry !== undefined; entry = take(world, world.rings.fill)) {
    expectEqual([entry[1], entry[0]! % bufferBytes(world)], [0, 0]);
    world.empty.push(handleAt(world, entry[0]!));
  }
}

function deliver(world: XskWorld, count: number, pick: number): void {
  for (let i = 0; i < count && world.incoming.length < world.shape.ring && world.empty.length > 0; i++) {
    const handle = world.empty.shift()!;
    const offset = HEADROOM + (pick + i) % 3 * 7;
    const length = 14 + (pick + i * 97) % (bufferBytes(world) - offset - 13);
    world.incoming.push({ frame: { handle, offset, length } });
    produce(world, world.rings.rx, [addressOf(world, handle) + offset, 0, length, 0]);
  }
}

/** One descriptor that breaks a rule. */
function forge(world: XskWorld, pick: number): void {
  const { app, empty, incoming, shape } = world;
  if (incoming.length === shape.ring) return;
  const put = (what: Incoming, ...words: number[]): void => {
    incoming.push(what);
    produce(world, world.rings.rx, words);
  };
  const at = pick % 6;
  if (at === 0) return put({ bad: true }, shape.count * bufferBytes(world) + pick % 4096, 0, 60, 0);
  if (at === 1) return put({ bad: true }, 0xffffffff - pick % 4096, 0, 60, 0);
  if (at === 2) {
    const named = app[pick % Math.max(1, app.length)];
    return named === undefined ? undefined : put({ bad: true, named }, addressOf(world, named) + HEADROOM, 0, 60, 0);
  }
  const given = empty[pick % Math.max(1, empty.length)];
  if (given === undefined) return;
  const start = addressOf(world, given) + HEADROOM;
  if (at === 3) return put({ bad: true }, start, 1 + pick % 0xffff, 60, 0);
  if (at === 4) return put({ bad: true }, start, 0, bufferBytes(world) - HEADROOM + 1 + pick, 0);
  empty.splice(empty.indexOf(given), 1);
  put({ multi: given }, start, 0, 60, XDP_PKT_CONTD | pick % 1000 << 1);
}

function receive(world: XskWorld, max: number): void {
  const { lab, tally: { rx: tally } } = world;
  const read = world.incoming.splice(0, max);
  const frames = read.flatMap(({ frame }) => frame ?? []);
  const got = lab.burst.xskRx(world.rx, world.vector, max, LCORE);
  expectEqual(readVector(lab, world.vector, got), frames.map(({ handle }) => handle));
  for (const { handle, offset, length } of frames) {
    const header = headerOf(world, handle);
    const half = (field: number): number => lab.u16[(header + field) >>> 1]!;
    expectEqual([half(MBUF_DATA_OFF), half(MBUF_DATA_LEN), get(lab, header, MBUF_PKT_LEN), half(MBUF_NB_SEGS)], [offset, length, length, 1]);
    world.app.push(handle);
    tally.bytes += length;
  }
  tally.packets += got;
  tally.badDescriptor += read.filter(({ bad }) => bad === true).length;
  tally.multiBuffer += read.filter(({ multi }) => multi !== undefined).length;
  const lack = world.shape.ring - world.empty.length - world.incoming.filter(({ bad }) => bad !== true).length;
  const free = freeCount(world);
  if (lack >= Math.min(64, world.shape.ring / 2) && free < lack) tally.refused++;
  takeFilled(world);
}

function freeCount({ shape, app, empty, incoming, queued, flying, done }: XskWorld): number {
  return shape.count - app.length - empty.length - incoming.filter(({ bad }) => bad !== true).length - queued.length - flying.length - done.length;
}

/** The program's mbufs but those that a forged descriptor names: it is forged only as long as the program has them. */
function loose(world: XskWorld, count: number): number[] {
  const named = new Set(world.incoming.map(one => one.named));
  return world.app.filter(handle => !named.has(handle)).slice(0, Math.min(count, VECTOR));
}

function free(world: XskWorld, count: number): void {
  const chosen = loose(world, count);
  world.app = world.app.filter(handle => !chosen.includes(handle));
  for (const handle of chosen) setPlain(world.lab, headerOf(world, handle));
  writeVector(world.lab, world.vector, chosen);
  world.lab.burst.mbufFree(world.pool.offset, LCORE, world.vector, chosen.length);
}

/** What is wrong with an mbuf that is offered, one in eight. */
const FAULTS = ['beyond', 'before', 'between', 'chain', 'short', 'long', 'past the end'] as const;
type Fault = (typeof FAULTS)[number] | 'none';
/** The handle is of no mbuf in the UMEM: the port stops there. The others it takes and drops. */
const ELSEWHERE: readonly Fault[] = ['beyond', 'before', 'between'];

function send(world: XskWorld, count: number, pick: number): void {
  const { lab, tally: { tx: tally } } = world;
  const offered = loose(world, count).map((handle, i) => prepare(world, handle, pick + i * 7919));
  writeVector(lab, world.vector, offered.map(({ said }) => said));
  takeDone(world);
  const room = world.shape.ring - world.queued.length - world.flying.length;
  const sent: Offered[] = [];
  let taken = 0;
  for (; taken < offered.length && sent.length < room && !ELSEWHERE.includes(offered[taken]!.fault); taken++) {
    if (offered[taken]!.fault === 'none') sent.push(offered[taken]!);
    else tally.badFrame++;
  }
  expectEqual(lab.burst.xskTx(world.tx, world.vector, offered.length, LCORE), taken);
  tally.packets += sent.length;
  tally.bytes += sent.reduce((sum, { length }) => sum + length, 0);
  tally.refused += offered.length - taken;
  if (taken < offered.length) tally[sent.length === room ? 'ringFull' : 'notInUmem']++;
  world.queued.push(...sent.map(({ handle }) => handle));
  world.app = world.app.filter(handle => !offered.slice(0, taken).some(each => each.handle === handle));
  expectSent(world, sent);
}

interface Offered { readonly handle: number; readonly said: number; readonly offset: number; readonly length: number; readonly fault: Fault }

function prepare(world: XskWorld, handle: number, pick: number): Offered {
  const { lab, shape } = world;
  const wish: Fault = pick % 8 === 0 ? FAULTS[(pick >>> 3) % FAULTS.length]! : 'none';
  const fault = wish === 'between' && shape.units === 1 ? 'none' : wish;
  const size = bufferBytes(world);
  const lengths: Partial<Record<Fault, number>> = { short: pick % 14, long: LONGEST + 1 + pick % 100, 'past the end': 1 + LONGEST };
  const length = lengths[fault] ?? 14 + pick % (LONGEST - 13);
  const offset = fault === 'past the end' ? size - LONGEST + 1 : (pick >>> 5) % (size - LONGEST + 1);
  const header = headerOf(world, handle);
  for (const [field, value] of [[MBUF_DATA_OFF, offset], [MBUF_DATA_LEN, fault === 'past the end' ? LONGEST : length], [MBUF_NB_SEGS, fault === 'chain' ? 2 : 1]] as const) lab.u16[(header + field) >>> 1] = value;
  const elsewhere: Partial<Record<Fault, number>> = { beyond: shape.first + shape.count * shape.units + pick % 100, before: shape.first - 1 - pick % 100, between: handle + 1 };
  return { handle, said: elsewhere[fault] ?? handle, offset, length, fault };
}

/** The last entries of the TX ring are these frames. */
function expectSent(world: XskWorld, sent: readonly Offered[]): void {
  const { lab, shape, rings: { tx } } = world;
  const end = get(lab, tx.at);
  sent.forEach(({ handle, offset, length }, i) => {
    const entry = readVector(lab, tx.at + 256 + ((end - sent.length + i) & (shape.ring - 1)) * tx.entry, 4);
    expectEqual(entry, [addressOf(world, handle) + offset, 0, length, 0]);
  });
}

/** What a send does first: the done are free again, the lies are counted. */
function takeDone(world: XskWorld): void {
  world.tally.tx.badCompletion += world.lies;
  world.lies = 0;
  world.done = [];
}

function consume(world: XskWorld, count: number): void {
  for (let i = 0; i < count; i++) {
    const entry = take(world, world.rings.tx);
    if (entry === undefined) return;
    const handle = world.queued.shift()!;
    expectEqual(entry[0]! - entry[0]! % bufferBytes(world), addressOf(world, handle));
    world.flying.push(handle);
  }
}

/** In any order, and with any address inside the buffer. */
function complete(world: XskWorld, count: number, pick: number): void {
  for (let i = 0; i < count && world.flying.length > 0 && world.done.length + world.lies < world.shape.ring; i++) {
    const [handle] = world.flying.splice((pick + i * 13) % world.flying.length, 1);
    world.done.push(handle!);
    produce(world, world.rings.completion, [addressOf(world, handle!) + (pick + i) % bufferBytes(world), 0]);
  }
}

/** A completion of what was not sent. */
function lie(world: XskWorld, pick: number): void {
  const { app, empty, flying, shape } = world;
  if (world.done.length + world.lies === shape.ring) return;
  const others = [...app, ...empty];
  const handle = others[pick % Math.max(1, others.length)];
  const tell = (address: number, high = 0): void => {
    world.lies++;
    produce(world, world.rings.completion, [address, high]);
  };
  if (pick % 3 === 0) tell(shape.count * bufferBytes(world) + pick % 0x10000);
  else if (pick % 3 === 1 && flying.length > 0) tell(addressOf(world, flying[0]!), 1 + pick % 99);
  else if (handle !== undefined) tell(addressOf(world, handle));
}

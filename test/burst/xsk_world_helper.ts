/**
 * An AF_XDP port without a kernel: two queues over four rings in plain memory, and a model that plays the kernel's part,
 * keeps to its rules or breaks them, and knows where every mbuf is and what every counter says.
 */
import fc from 'fast-check';
import {
  HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_REFCNT, OWNER_APP, OWNER_RX, OWNER_SHIFT,
  OWNER_TX,
} from '../../lib/mbuf/layout.js';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BROKEN_CHAIN, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_COPIED,
  XSK_COPY_NOMBUF, XSK_DESCRIPTORS, XSK_DESCRIPTOR_BYTES, XSK_FLAGS, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_MOST_SEGMENTS, XSK_NOT_IN_UMEM,
  XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_RING_FULL, XSK_RX_TOO_MANY_SEGMENTS, XSK_SEEN, XSK_TX_TOO_MANY_SEGMENTS, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../lib/port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { expectEqual, get, get64, makePool, makeQueue, readVector, reserve, reset, set, setPlain, writeVector, type Lab, type Pool } from './layout_helper.js';

export interface XskShape {
  readonly count: number;
  readonly units: 1 | 2;
  /** First handle of buffers that are nowhere; 0: they are in the zone, where chains can be copied into them. */
  readonly first: number;
  readonly ring: number;
  readonly start: number;
  /** Buffers of a frame at most; 0 and 1: no frame in several. */
  readonly most: number;
}

/** Pools smaller and larger than the rings; buffers below 2 GiB and above; indices that wrap around. */
export const xskShapes: fc.Arbitrary<XskShape> = fc.oneof(
  fc.record({
    count: fc.constantFrom(40, 200, 500), units: fc.constantFrom(1, 2), first: fc.constantFrom(1000, 1_100_000),
    ring: fc.constantFrom(64, 128), start: fc.constantFrom(0, 0x7ffffff0, 0xffffffe0), most: fc.constantFrom(0, 1, 5, 17),
  }),
  fc.tuple(fc.constantFrom({ count: 70, units: 1, ring: 32 } as const, { count: 34, units: 2, ring: 16 } as const), fc.constantFrom(0, 0xffffffe0), fc.constantFrom(1, 2, 5, 17))
    .map(([shape, start, most]) => ({ ...shape, first: 0, start, most })),
);

export interface XskCommand {
  readonly kind: 'rx' | 'deliver' | 'deliverChain' | 'forge' | 'forgeChain' | 'free' | 'send' | 'sendChain' | 'consume' | 'complete' | 'lie';
  readonly count: number;
  readonly pick: number;
}

export const xskCommands: fc.Arbitrary<XskCommand[]> = fc.array(fc.record({
  kind: fc.constantFrom('rx', 'rx', 'deliver', 'deliver', 'deliverChain', 'forge', 'forgeChain', 'free', 'send', 'send', 'sendChain', 'sendChain', 'consume', 'complete', 'lie'),
  count: fc.integer({ min: 1, max: 80 }), pick: fc.nat(),
}), { minLength: 1, maxLength: 60 });

interface Frame { readonly handle: number; readonly offset: number; readonly length: number }
/** A descriptor in the RX ring: a buffer that the kernel had, or a bad one. `named` is the program's mbuf that a forged one names. `ends`: no XDP_PKT_CONTD. */
interface Incoming { readonly frame?: Frame; readonly named?: number; readonly ends: boolean }
interface FakeRing { readonly at: number; readonly entry: number }
type Counter = 'packets' | 'bytes' | 'refused' | 'badDescriptor' | 'tooMany' | 'broken' | 'notInUmem' | 'badFrame' | 'badCompletion' | 'ringFull' | 'copied' | 'copyNoMbuf';
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
  /** Descriptors are passed over up to the next that ends a frame. */
  skipping: boolean;
  /** Entries of the RX ring that the port knows of: it looks for more only when a burst could take more. */
  seen: number;
  /** Chains that the program has: all segments of each, with their first. */
  readonly chains: Map<number, readonly number[]>;
  readonly tally: Readonly<Record<'rx' | 'tx', Tally>>;
}

const LCORE = 1;
const MINE = (OWNER_APP << OWNER_SHIFT) | LCORE;
const RX_OWNER = OWNER_RX << OWNER_SHIFT;
const TX_OWNER = OWNER_TX << OWNER_SHIFT;
const LONGEST = 9018;
/** Of a frame that is in one buffer, whatever its size. */
const LONGEST_PLAIN = 1518;
const VECTOR = 128;

export function makeXskWorld(lab: Lab, shape: XskShape): XskWorld {
  reset(lab);
  const pool = makePool(lab, { count: shape.count, cache: 8, lcores: 2, units: shape.units, first: shape.first, buffers: shape.first === 0 });
  shape = { ...shape, first: pool.handles[0]! };
  const ring = (entry: number): FakeRing => fakeRing(lab, shape, entry);
  const rings = { rx: ring(XSK_DESCRIPTOR_BYTES), fill: ring(8), tx: ring(XSK_DESCRIPTOR_BYTES), completion: ring(8) };
  const [rx, tx] = [makeQueue(lab, pool, { owner: RX_OWNER }), makeQueue(lab, pool, { owner: TX_OWNER })];
  describe(lab, shape, rx, rings.rx, rings.fill);
  describe(lab, shape, tx, rings.tx, rings.completion);
  set(lab, rx, XSK_AIM, shape.ring);
  set(lab, tx, XSK_LONGEST, LONGEST);
  for (const queue of [rx, tx]) set(lab, queue, XSK_MOST_SEGMENTS, shape.most);
  const none = (): Tally => ({ packets: 0, bytes: 0, refused: 0, badDescriptor: 0, tooMany: 0, broken: 0, notInUmem: 0, badFrame: 0, badCompletion: 0, ringFull: 0, copied: 0, copyNoMbuf: 0 });
  const world: XskWorld = {
    lab, shape, pool, rx, tx, rings, vector: reserve(lab, VECTOR * 4),
    app: [], empty: [], incoming: [], queued: [], flying: [], done: [], lies: 0, skipping: false, seen: 0, chains: new Map(), tally: { rx: none(), tx: none() },
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

/** Each mbuf in one place, by its owner word; the kernel has as many as the queues say; every counter as it must be. */
export function checkXsk(world: XskWorld): void {
  const { lab, app, empty, incoming, queued, flying, done, tally } = world;
  const filled = [...empty, ...incoming.flatMap(({ frame }) => frame?.handle ?? [])];
  const sent = [...queued, ...flying, ...done];
  for (const [owner, handles] of [[MINE, app], [RX_OWNER, filled], [TX_OWNER, sent]] as const) {
    expectEqual(world.pool.handles.filter(handle => get(lab, headerOf(world, handle), MBUF_OWNER) === owner), [...handles].sort((a, b) => a - b));
  }
  expectEqual([get(lab, world.rx, XSK_HELD), get(lab, world.tx, XSK_HELD)], [filled.length, sent.length]);
  const counters = (queue: number, names: readonly (readonly [Counter, number])[]): number[] => names.map(([, field]) => get64(lab, queue, field));
  const usual = [['packets', QUEUE_PACKETS], ['bytes', QUEUE_BYTES], ['refused', QUEUE_NOMBUF]] as const;
  const ofRx = [...usual, ['badDescriptor', XSK_BAD_DESCRIPTOR], ['tooMany', XSK_RX_TOO_MANY_SEGMENTS], ['broken', XSK_BROKEN_CHAIN]] as const;
  const ofTx = [...usual, ['notInUmem', XSK_NOT_IN_UMEM], ['badFrame', XSK_BAD_FRAME], ['badCompletion', XSK_BAD_COMPLETION], ['ringFull', XSK_RING_FULL], ['tooMany', XSK_TX_TOO_MANY_SEGMENTS], ['copied', XSK_COPIED], ['copyNoMbuf', XSK_COPY_NOMBUF]] as const;
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
    put(world, { handle, offset, length }, true);
  }
}

/** Into the RX ring, as the kernel does. */
function put(world: XskWorld, frame: Frame, ends: boolean): void {
  world.incoming.push({ frame, ends });
  produce(world, world.rings.rx, [addressOf(world, frame.handle) + frame.offset, 0, frame.length, ends ? 0 : XDP_PKT_CONTD]);
}

/** A frame of up to seven buffers; now and then its end is missing, or comes with the next. */
function deliverChain(world: XskWorld, count: number, pick: number): void {
  const pieces = 2 + pick % 6;
  for (let i = 0; i < pieces && world.incoming.length < world.shape.ring && world.empty.length > 0; i++) {
    const handle = world.empty.shift()!;
    put(world, { handle, offset: HEADROOM + i % 2, length: (pick + i * 131) % (bufferBytes(world) - HEADROOM - 1) }, i + 1 === pieces && count % 5 !== 0);
  }
}

/** A frame of several buffers whose first, last or middle one is forged. */
function forgeChain(world: XskWorld, count: number, pick: number): void {
  if (world.incoming.length + 4 > world.shape.ring || world.empty.length < 3) return;
  const forged = count % 3;
  for (let i = 0; i < 3; i++) {
    if (i === forged) forge(world, pick, i === 2);
    else put(world, { handle: world.empty.shift()!, offset: HEADROOM, length: 100 }, i === 2);
  }
}

/** One descriptor that breaks a rule. */
function forge(world: XskWorld, pick: number, ends = true): void {
  const { app, empty, incoming, shape } = world;
  if (incoming.length === shape.ring) return;
  const tell = (what: { readonly named?: number }, address: number, high: number, length: number): void => {
    incoming.push({ ...what, ends });
    produce(world, world.rings.rx, [address, high, length, ends ? 0 : XDP_PKT_CONTD | pick % 1000 << 1]);
  };
  const at = pick % 5;
  if (at === 0) return tell({}, shape.count * bufferBytes(world) + pick % 4096, 0, 60);
  if (at === 1) return tell({}, 0xffffffff - pick % 4096, 0, 60);
  if (at === 2) {
    const named = app[pick % Math.max(1, app.length)];
    return named === undefined ? undefined : tell({ named }, addressOf(world, named) + HEADROOM, 0, 60);
  }
  const given = empty[pick % Math.max(1, empty.length)];
  if (given === undefined) return;
  const start = addressOf(world, given) + HEADROOM;
  if (at === 3) return tell({}, start, 1 + pick % 0xffff, 60);
  tell({}, start, 0, bufferBytes(world) - HEADROOM + 1 + pick);
}

/** What one receive must make of the ring: the frames, whole ones only. */
function receive(world: XskWorld, max: number): void {
  const { lab, incoming, shape, tally: { rx: tally } } = world;
  const most = Math.max(1, shape.most);
  const frames: Frame[][] = [];
  if (world.seen < max) world.seen = incoming.length;
  const take = (count: number): Incoming[] => {
    const taken = incoming.splice(0, Math.min(count, world.seen));
    world.seen -= taken.length;
    return taken;
  };
  while (world.seen > 0 && frames.length < max) {
    const whole = incoming.slice(0, world.seen).findIndex(({ ends }) => ends) + 1 || Infinity;
    if (world.skipping) {
      const passed = take(whole);
      tally.badDescriptor += passed.filter(({ frame }) => frame === undefined).length;
      world.skipping = whole === Infinity;
      continue;
    }
    if (whole === Infinity && world.seen < most) {
      world.seen = 0; // its end has still to come, and is looked for anew
      break;
    }
    const pieces = take(Math.min(whole, most));
    const good = pieces.flatMap(({ frame }) => frame ?? []);
    tally.badDescriptor += pieces.length - good.length;
    world.skipping = !pieces.at(-1)!.ends;
    if (good.length < pieces.length && (pieces.length > 1 || world.skipping)) tally.broken++;
    else if (world.skipping) tally.tooMany++;
    else if (good.length === pieces.length) frames.push(good);
  }
  const got = lab.burst.xskRx(world.rx, world.vector, max, LCORE);
  expectEqual(readVector(lab, world.vector, got), frames.map(([first]) => first!.handle));
  for (const frame of frames) takeFrame(world, frame);
  tally.packets += got;
  const lack = world.shape.ring - world.empty.length - heldIncoming(world);
  const free = freeCount(world);
  if (lack >= Math.min(64, world.shape.ring / 2) && free < lack) tally.refused++;
  takeFilled(world);
}

/** The program's now: as many mbufs as it has buffers, linked in their order, each with its own place and length. */
function takeFrame(world: XskWorld, frame: readonly Frame[]): void {
  const { lab } = world;
  const total = frame.reduce((sum, { length }) => sum + length, 0);
  frame.forEach(({ handle, offset, length }, i) => {
    const header = headerOf(world, handle);
    const half = (field: number): number => lab.u16[(header + field) >>> 1]!;
    expectEqual([half(MBUF_DATA_OFF), half(MBUF_DATA_LEN), half(MBUF_NB_SEGS)], [offset, length, i === 0 ? frame.length : 1]);
    expectEqual([get(lab, header, MBUF_PKT_LEN), get(lab, header, MBUF_NEXT)], [i === 0 ? total : length, frame[i + 1]?.handle ?? 0]);
    world.app.push(handle);
  });
  if (frame.length > 1) world.chains.set(frame[0]!.handle, frame.map(({ handle }) => handle));
  world.tally.rx.bytes += total;
}

function heldIncoming({ incoming }: XskWorld): number {
  return incoming.filter(({ frame }) => frame !== undefined).length;
}

function freeCount(world: XskWorld): number {
  const { shape, app, empty, queued, flying, done } = world;
  return shape.count - app.length - empty.length - heldIncoming(world) - queued.length - flying.length - done.length;
}

/** The program's packets but those that a forged descriptor names: it is forged only as long as the program has them. Each as its mbufs. */
function loosePackets(world: XskWorld): (readonly number[])[] {
  const named = new Set(world.incoming.map(one => one.named));
  const tails = new Set([...world.chains.values()].flatMap(([, ...tail]) => tail));
  return world.app.filter(handle => !tails.has(handle)).map(handle => world.chains.get(handle) ?? [handle]).filter(segments => !segments.some(handle => named.has(handle)));
}

/** Those in one mbuf. */
function loose(world: XskWorld, count: number): number[] {
  return loosePackets(world).filter(({ length }) => length === 1).map(([handle]) => handle!).slice(0, Math.min(count, VECTOR));
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

/** What is wrong with an mbuf that is offered, or out of the ordinary, one in eight. */
const FAULTS = ['beyond', 'before', 'between', 'chain', 'none at all', 'short', 'long', 'past the end', 'shared'] as const;
type Fault = (typeof FAULTS)[number] | 'none';

/** A packet that is offered: its mbufs, what the vector says of it, the places and lengths of its segments, and what must come of it. */
interface Offered {
  readonly segments: readonly number[];
  readonly said: number;
  readonly pieces: readonly { readonly offset: number; readonly length: number }[];
  readonly fate: 'whole' | 'copy' | 'badFrame' | 'tooMany' | 'elsewhere';
  /** mbufs that are freed with it besides its own, and those of its own that another holds too. */
  readonly besides?: readonly number[];
  readonly shared?: number;
}

const lengthOf = ({ pieces }: Offered): number => pieces.reduce((sum, { length }) => sum + length, 0);
const copyRoom = (world: XskWorld): number => bufferBytes(world) - HEADROOM;
const most = ({ shape }: XskWorld): number => Math.max(1, shape.most);

function send(world: XskWorld, count: number, pick: number): void {
  offerCopyable(world, loose(world, count).map((handle, i) => prepare(world, handle, pick + i * 7919)));
}

function offer(world: XskWorld, offered: readonly Offered[]): void {
  const { lab, tally: { tx: tally } } = world;
  const contents = offered.map(packet => readPacket(world, packet));
  writeVector(lab, world.vector, offered.map(({ said }) => said));
  takeDone(world);
  let room = world.shape.ring - world.queued.length - world.flying.length;
  let free = freeCount(world);
  let stop: Counter | undefined;
  const taken: Offered[] = [];
  for (const packet of offered) {
    const used = packet.fate === 'copy' ? Math.ceil(lengthOf(packet) / copyRoom(world)) : packet.segments.length;
    const goes = packet.fate === 'whole' || packet.fate === 'copy';
    if (room === 0 || (goes && used > room)) stop = 'ringFull';
    else if (packet.fate === 'elsewhere') stop = 'notInUmem';
    else if (packet.fate === 'copy' && used > free) stop = 'copyNoMbuf';
    if (stop !== undefined) break;
    taken.push(packet);
    if (goes) room -= used;
    else tally[packet.fate as 'badFrame' | 'tooMany']++;
    if (packet.fate === 'copy') free -= used;
    if (packet.fate !== 'whole') free += packet.segments.length + (packet.besides?.length ?? 0) - (packet.shared === undefined ? 0 : 1);
  }
  const before = get(lab, world.rings.tx.at);
  expectEqual(lab.burst.xskTx(world.tx, world.vector, offered.length, LCORE), taken.length);
  const sent = taken.filter(({ fate }) => fate === 'whole' || fate === 'copy');
  tally.packets += sent.length;
  tally.bytes += sent.reduce((sum, packet) => sum + lengthOf(packet), 0);
  tally.copied += sent.filter(({ fate }) => fate === 'copy').length;
  tally.refused += offered.length - taken.length;
  if (stop !== undefined) tally[stop]++;
  const gone = new Set(taken.flatMap(({ segments, besides = [] }) => [...segments, ...besides]));
  world.app = world.app.filter(handle => !gone.has(handle));
  for (const { segments: [first] } of taken) world.chains.delete(first!);
  expectSent(world, before, sent.map(packet => ({ packet, bytes: contents[offered.indexOf(packet)] })));
  for (const packet of offered) letGo(world, packet, taken.includes(packet));
}

/** Who sent has given up his hold, once; then the other holder of a shared segment gives it to the program. */
function letGo(world: XskWorld, { segments, shared }: Offered, taken: boolean): void {
  if (shared === undefined) return;
  const header = headerOf(world, shared);
  expectEqual(world.lab.u16[(header + MBUF_REFCNT) >>> 1], taken ? 1 : 2);
  world.lab.u16[(header + MBUF_REFCNT) >>> 1] = 1;
  if (!taken) return;
  setPlain(world.lab, header);
  set(world.lab, header, MBUF_NEXT, 0);
  set(world.lab, header, MBUF_OWNER, MINE);
  if (!segments.includes(shared)) throw new Error('the test is wrong');
  world.app.push(shared);
}

function prepare(world: XskWorld, handle: number, pick: number): Offered {
  const { lab, shape } = world;
  const wish: Fault = pick % 8 === 0 ? FAULTS[(pick >>> 3) % FAULTS.length]! : 'none';
  const fault = wish === 'between' && shape.units === 1 ? 'none' : wish;
  const size = bufferBytes(world);
  const lengths: Partial<Record<Fault, number>> = { short: pick % 14, long: LONGEST + 1 + pick % 100, 'past the end': LONGEST_PLAIN };
  const length = lengths[fault] ?? 14 + pick % (LONGEST_PLAIN - 13);
  const offset = fault === 'past the end' ? size - LONGEST_PLAIN + 1 : (pick >>> 5) % (size - LONGEST_PLAIN + 1);
  writeSegment(world, handle, { offset, length }, 0);
  lab.u16[(headerOf(world, handle) + MBUF_NB_SEGS) >>> 1] = { chain: 2, 'none at all': 0 }[fault as string] ?? 1;
  const elsewhere: Partial<Record<Fault, number>> = { beyond: shape.first + shape.count * shape.units + pick % 100, before: shape.first - 1 - pick % 100, between: handle + 1 };
  const shared = fault === 'shared' ? { shared: handle } : {};
  if (fault === 'shared') lab.u16[(headerOf(world, handle) + MBUF_REFCNT) >>> 1] = 2;
  const fate = fault === 'none' ? 'whole' : fault === 'shared' ? 'copy' : fault in elsewhere ? 'elsewhere' : 'badFrame';
  return { segments: [handle], said: elsewhere[fault] ?? handle, pieces: [{ offset, length }], fate, ...shared };
}

/** What is wrong with a chain, one in two. */
const CHAIN_FAULTS = ['an empty segment', 'past the end', 'leads elsewhere', 'goes on', 'goes back', 'short', 'long', 'shared'] as const;

/** Chains of the program's mbufs, good and bad, and those that it received, between frames in one mbuf. */
function sendChain(world: XskWorld, count: number, pick: number): void {
  const free = loose(world, VECTOR);
  const offered: Offered[] = [];
  for (const [, segments] of [...world.chains].slice(0, count % 3)) if (loosePackets(world).includes(segments)) offered.push(asItIs(world, segments));
  for (let i = 0; i <= count % 6; i++) {
    const segments = free.splice(0, i % 2 === 1 ? 1 : (pick + i) % 29 === 0 && free.length > 66 ? 66 : 2 + (pick + i * 31) % 9);
    if (segments.length === 0) break;
    offered.push(segments.length === 1 ? prepare(world, segments[0]!, pick + i) : prepareChain(world, segments, pick + i * 7919, free));
  }
  offerCopyable(world, offered);
}

/** Buffers that are nowhere cannot be copied. */
function offerCopyable(world: XskWorld, offered: readonly Offered[]): void {
  offer(world, offered.filter(({ fate }) => fate !== 'copy' || isInZone(world)));
  for (const { segments, shared } of offered) if (shared !== undefined && world.app.includes(segments[0]!)) world.lab.u16[(headerOf(world, shared) + MBUF_REFCNT) >>> 1] = 1;
}

function isInZone({ lab, shape }: XskWorld): boolean {
  return shape.first * 2048 >= lab.base && shape.first * 2048 < lab.base + lab.zone.length;
}

function prepareChain(world: XskWorld, segments: readonly number[], pick: number, others: number[]): Offered {
  const fault = pick % 2 === 0 ? CHAIN_FAULTS[(pick >>> 1) % CHAIN_FAULTS.length]! : 'none';
  const size = bufferBytes(world);
  const at = pick % segments.length;
  const pieces = segments.map((_, i) => {
    const usual = { offset: (pick >>> 4) % 300, length: 14 + (pick + i * 977) % 1000 };
    if (fault === 'short') return { ...usual, length: i < 2 ? 1 + pick % 6 : 1 };
    if (fault === 'long') return { ...usual, length: Math.ceil((LONGEST + 1) / segments.length) };
    if (i !== at) return usual;
    return { offset: fault === 'past the end' ? size - usual.length + 1 : usual.offset, length: fault === 'an empty segment' ? 0 : usual.length };
  });
  const bad = ['an empty segment', 'past the end', 'leads elsewhere', 'goes on', 'goes back'].includes(fault);
  const besides = fault === 'goes on' ? others.splice(0, 1) : [];
  for (const handle of besides) writeSegment(world, handle, { offset: 0, length: 60 }, 0);
  const tail = fault === 'leads elsewhere' ? world.shape.first + world.shape.count * world.shape.units + 7 : fault === 'goes back' ? segments[at]! : besides[0] ?? 0;
  link(world, segments, pieces, tail, fault === 'leads elsewhere' ? segments.length + 1 : segments.length);
  const shared = fault === 'shared' ? segments[at] : undefined;
  if (shared !== undefined) world.lab.u16[(headerOf(world, shared) + MBUF_REFCNT) >>> 1] = 2;
  const packet = { segments, said: segments[0]!, pieces, besides, ...(shared === undefined ? {} : { shared }) };
  return { ...packet, fate: fateOf(world, pieces, shared !== undefined, bad && (fault !== 'goes on' || besides.length > 0)) };
}

function fateOf(world: XskWorld, pieces: Offered['pieces'], shared: boolean, bad: boolean): Offered['fate'] {
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  if (pieces.length > 64) return 'tooMany';
  if (bad || total < 14 || total > LONGEST || pieces.some(({ offset, length }) => length === 0 || offset + length > bufferBytes(world))) return 'badFrame';
  if (!shared && pieces.length <= most(world)) return 'whole';
  return Math.ceil(total / copyRoom(world)) > most(world) ? 'tooMany' : 'copy';
}

/** A chain that was received. */
function asItIs(world: XskWorld, segments: readonly number[]): Offered {
  const half = (handle: number, field: number): number => world.lab.u16[(headerOf(world, handle) + field) >>> 1]!;
  const pieces = segments.map(handle => ({ offset: half(handle, MBUF_DATA_OFF), length: half(handle, MBUF_DATA_LEN) }));
  return { segments, said: segments[0]!, pieces, fate: fateOf(world, pieces, false, false) };
}

function link(world: XskWorld, segments: readonly number[], pieces: Offered['pieces'], tail: number, said: number): void {
  segments.forEach((handle, i) => writeSegment(world, handle, pieces[i]!, segments[i + 1] ?? tail));
  world.lab.u16[(headerOf(world, segments[0]!) + MBUF_NB_SEGS) >>> 1] = said;
  // What was a packet's first is not always told that it is one no more.
  if (segments.length > 2) world.lab.u16[(headerOf(world, segments[2]!) + MBUF_NB_SEGS) >>> 1] = 3;
}

function writeSegment(world: XskWorld, handle: number, { offset, length }: { offset: number; length: number }, next: number): void {
  const { lab } = world;
  const header = headerOf(world, handle);
  for (const [field, value] of [[MBUF_DATA_OFF, offset], [MBUF_DATA_LEN, length], [MBUF_REFCNT, 1], [MBUF_NB_SEGS, 1]] as const) lab.u16[(header + field) >>> 1] = value;
  set(lab, header, MBUF_NEXT, next);
  if (!isInZone(world)) return;
  for (let i = 0; i < length && offset + i < bufferBytes(world); i++) lab.zone[(handle << HANDLE_SHIFT) - lab.base + offset + i] = handle * 31 + i * 7;
}

function readPacket(world: XskWorld, { segments, pieces }: Offered): string | undefined {
  if (!isInZone(world)) return undefined;
  return Buffer.concat(segments.map((handle, i) => readBytes(world, addressOf(world, handle) + pieces[i]!.offset, pieces[i]!.length))).toString('hex');
}

function readBytes({ lab, shape }: XskWorld, address: number, length: number): Buffer {
  const at = shape.first * 2048 + address - lab.base;
  return lab.zone.subarray(at, at + length);
}

/** The entries of the TX ring from `start` on are these packets. The kernel has their buffers. */
function expectSent(world: XskWorld, start: number, sent: readonly { readonly packet: Offered; readonly bytes: string | undefined }[]): void {
  const { lab, shape, rings: { tx } } = world;
  let index = start;
  const entry = (): number[] => readVector(lab, tx.at + 256 + (index++ & (shape.ring - 1)) * tx.entry, 4);
  for (const { packet, bytes } of sent) {
    if (packet.fate === 'whole') {
      packet.segments.forEach((handle, i) => {
        const { offset, length } = packet.pieces[i]!;
        expectEqual(entry(), [addressOf(world, handle) + offset, 0, length, i + 1 < packet.segments.length ? XDP_PKT_CONTD : 0]);
        world.queued.push(handle);
      });
      continue;
    }
    const copied: Buffer[] = [];
    for (let left = lengthOf(packet); left > 0; left -= copyRoom(world)) {
      const [address, high, length, options] = entry();
      expectEqual([address! % bufferBytes(world), high, length, options], [HEADROOM, 0, Math.min(left, copyRoom(world)), left > copyRoom(world) ? XDP_PKT_CONTD : 0]);
      copied.push(readBytes(world, address!, length!));
      world.queued.push(handleAt(world, address! - HEADROOM));
    }
    expectEqual(Buffer.concat(copied).toString('hex'), bytes);
  }
  expectEqual(index >>> 0, get(lab, tx.at));
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

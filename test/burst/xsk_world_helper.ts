/**
 * An AF_XDP port without a kernel: two queues over four rings in plain memory, and a model that plays the kernel's part,
 * keeps to its rules or breaks them, and knows where every mbuf is and what every counter says.
 */
import fc from 'fast-check';
import { HEADER_BYTES, MBUF_OWNER, OWNER_APP, OWNER_RX, OWNER_SHIFT, OWNER_TX } from '../../lib/mbuf/layout.js';
import {
  XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BROKEN_CHAIN, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_COPIED, XSK_COPY_NOMBUF,
  XSK_DESCRIPTOR_BYTES, XSK_DESCRIPTORS, XSK_FLAGS, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_MOST_SEGMENTS, XSK_NOT_IN_UMEM, XSK_PRODUCER, XSK_RING_A,
  XSK_RING_B, XSK_RING_FULL, XSK_RX_TOO_MANY_SEGMENTS, XSK_SEEN, XSK_TX_TOO_MANY_SEGMENTS, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../lib/port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { expectEqual, get, get64, type Lab, makePool, makeQueue, type Pool, readVector, reserve, reset, set } from './layout_helper.js';

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

export interface Frame { readonly handle: number; readonly offset: number; readonly length: number }
/** A descriptor in the RX ring: a buffer that the kernel had, or a bad one. `named` is the program's mbuf that a forged one names. `ends`: no XDP_PKT_CONTD. */
export interface Incoming { readonly frame?: Frame; readonly named?: number; readonly ends: boolean }
export interface FakeRing { readonly at: number; readonly entry: number }
export type Counter = 'packets' | 'bytes' | 'refused' | 'badDescriptor' | 'tooMany' | 'broken' | 'notInUmem' | 'badFrame' | 'badCompletion' | 'ringFull' | 'copied' | 'copyNoMbuf';
export type Tally = Record<Counter, number>;

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

export const LCORE = 1;
export const MINE = (OWNER_APP << OWNER_SHIFT) | LCORE;
const RX_OWNER = OWNER_RX << OWNER_SHIFT;
const TX_OWNER = OWNER_TX << OWNER_SHIFT;
export const LONGEST = 9018;
/** Of a frame that is in one buffer, whatever its size. */
export const LONGEST_PLAIN = 1518;
export const VECTOR = 128;

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
export const bufferBytes = ({ shape }: XskWorld): number => shape.units * 2048;
export const addressOf = ({ shape }: XskWorld, handle: number): number => (handle - shape.first) * 2048;
export const handleAt = ({ shape }: XskWorld, address: number): number => shape.first + address / 2048;

/** The kernel's side of a ring that it fills. */
export function produce({ lab, shape }: XskWorld, ring: FakeRing, words: readonly number[]): void {
  const index = get(lab, ring.at);
  words.forEach((word, i) => { set(lab, ring.at + 256 + (index & (shape.ring - 1)) * ring.entry, i * 4, word); });
  set(lab, ring.at, 0, index + 1);
}

/** And of one that it empties. */
export function take({ lab, shape }: XskWorld, ring: FakeRing): number[] | undefined {
  const index = get(lab, ring.at, 64);
  if (index === get(lab, ring.at)) return undefined;
  set(lab, ring.at, 64, index + 1);
  return readVector(lab, ring.at + 256 + (index & (shape.ring - 1)) * ring.entry, ring.entry / 4);
}

/** Takes all that the program put into the fill ring. */
export function takeFilled(world: XskWorld): void {
  for (let entry = take(world, world.rings.fill); entry !== undefined; entry = take(world, world.rings.fill)) {
    expectEqual([entry[1], entry[0]! % bufferBytes(world)], [0, 0]);
    world.empty.push(handleAt(world, entry[0]!));
  }
}
export function heldIncoming({ incoming }: XskWorld): number {
  return incoming.filter(({ frame }) => frame !== undefined).length;
}

export function freeCount(world: XskWorld): number {
  const { shape, app, empty, queued, flying, done } = world;
  return shape.count - app.length - empty.length - heldIncoming(world) - queued.length - flying.length - done.length;
}

/** The program's packets but those that a forged descriptor names: it is forged only as long as the program has them. Each as its mbufs. */
export function loosePackets(world: XskWorld): (readonly number[])[] {
  const named = new Set(world.incoming.map(one => one.named));
  const tails = new Set([...world.chains.values()].flatMap(([, ...tail]) => tail));
  return world.app.filter(handle => !tails.has(handle)).map(handle => world.chains.get(handle) ?? [handle]).filter(segments => !segments.some(handle => named.has(handle)));
}

/** Those in one mbuf. */
export function loose(world: XskWorld, count: number): number[] {
  return loosePackets(world).filter(({ length }) => length === 1).map(([handle]) => handle!).slice(0, Math.min(count, VECTOR));
}

/**
 * Rings of an Intel NIC laid out by hand, what may happen to them, and a device that the test plays: well-behaved, and one
 * that writes what it likes into its descriptors. Both kinds of descriptors: the 82574's, and the 82576's.
 */
import fc from 'fast-check';
import {
  HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_TX_OFFLOAD, MBUF_VLAN_TCI, TX_IPV6, TX_IP_CKSUM, TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES } from '../../lib/mbuf/pool_layout.js';
import {
  INTEL_82574, INTEL_82576, INTEL_BUFFER_MASK, INTEL_COMMAND, INTEL_CONTEXT_KIND, INTEL_ERRORS, INTEL_HEAD, INTEL_IOVA_HIGH,
  INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_LASTS, INTEL_MASK, INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_NEXT, INTEL_OFFERS, INTEL_PAYLOAD,
  INTEL_POOL, INTEL_POOL_BYTES, INTEL_REPORTS, INTEL_RING, INTEL_SEGMENT, INTEL_SIDE, INTEL_TAIL, RXD_DD, RXD_EOP, RXD_ERRORS, RXD_HASH,
  RXD_IP_BAD, RXD_IPCS, RXD_IXSM, RXD_L4_BAD, RXD_L4CS, RXD_LENGTH, RXD_MRQ, RXD_STATUS, RXD_VP, TXD_DATA_82576, TXD_DD, TXD_DEXT, TXD_EOP,
  TXD_IFCS, TXD_RS, TXD_STATUS, TXD_VLE,
} from '../../lib/port/drivers/vfio/intel/layout.js';
import { get, makePool, makeQueue, readVector, reserve, reset, ringContents, set, writeVector, type Lab, type Pool } from './layout_helper.js';

export const IOVA_HIGH = 3;
export const MOST = 1518;
/** Where frames may come in several buffers. */
export const SEGMENT = 1024;
export const MOST_SEGMENTS = 3;
const OFFERS = TX_VLAN | TX_IP_CKSUM | TX_TCP_CKSUM;
export const RX_OWNER = 0x02000000;
export const TX_OWNER = 0x03000000;

export interface Shape { readonly count: number; readonly cache: number; readonly size: number; readonly start: number; readonly kind: number; readonly jumbo: boolean; readonly reports: number }
/** One descriptor that the device writes back. */
export interface Piece { readonly length: number; readonly errors: number; readonly ends: boolean; readonly hash: number; readonly checks: number; readonly tag: number }
export interface Outgoing { readonly offset: number; readonly lengths: readonly number[]; readonly flags: number; readonly l2: number; readonly l3: number; readonly tag: number }
type Command =
  | { readonly kind: 'arrive'; readonly pieces: readonly Piece[] }
  | { readonly kind: 'rx'; readonly max: number; readonly lcore: number }
  | { readonly kind: 'free'; readonly count: number; readonly lcore: number }
  | { readonly kind: 'tx'; readonly frames: readonly Outgoing[]; readonly lcore: number }
  | { readonly kind: 'sent'; readonly count: number }
  | { readonly kind: 'scribble'; readonly ring: 'rx' | 'tx'; readonly word: number; readonly value: number };

/** A frame as the device sends it: where its bytes are, and what it does to them. */
export interface Sent { readonly parts: readonly (readonly [address: number, length: number])[]; readonly tag: number; readonly options: number; readonly context: string }

export interface World {
  readonly lab: Lab;
  readonly pool: Pool;
  readonly shape: Shape;
  readonly rx: number;
  readonly tx: number;
  readonly vector: number;
  held: number[];
  /** The device's own heads. */
  filled: number;
  fetched: number;
  /** What a receive will look at, in order. */
  readonly waiting: { readonly handle: number; readonly piece: Piece }[];
  /** The model's frame that has come in part. */
  partial: { readonly handle: number; readonly piece: Piece }[];
  split: number;
  readonly counts: { bad: number; errored: number; split: number };
  /** What the device will send. */
  readonly accepted: Sent[];
  /** The context that the device has. */
  context: string;
  /** Descriptors since the last that reported. */
  silent: number;
}

export const shapes: fc.Arbitrary<Shape> = fc.record({
  count: fc.constantFrom(8, 16, 24), cache: fc.constantFrom(0, 2, 5), size: fc.constantFrom(8, 16), start: fc.constantFrom(0, 0xfffffffa),
  kind: fc.constantFrom(INTEL_82574, INTEL_82576), jumbo: fc.boolean(), reports: fc.constantFrom(0, MOST_SEGMENTS + 1, MOST_SEGMENTS + 3),
}).map(shape => ({ ...shape, cache: Math.min(shape.cache, Math.floor(shape.count / 3)) }));
const lcore = fc.nat({ max: 1 });
const usually = <T>(often: fc.Arbitrary<T>, ...seldom: fc.Arbitrary<T>[]): fc.Arbitrary<T> => fc.oneof({ weight: 6, arbitrary: often }, ...seldom.map(arbitrary => ({ weight: 1, arbitrary })));
const pieces: fc.Arbitrary<Piece> = fc.record({
  length: usually(fc.integer({ min: 14, max: SEGMENT }), fc.integer({ min: SEGMENT, max: MOST }), fc.constantFrom(0, 13, MOST + 1, 0xffff)),
  errors: usually(fc.constant(0), fc.constantFrom(0x01000000, 0x80000000)), ends: usually(fc.constant(true), fc.constant(false)), hash: fc.constantFrom(0, 0xdeadbeef),
  checks: fc.constantFrom(0, RXD_IPCS, RXD_IPCS | RXD_L4CS, RXD_IPCS | RXD_IP_BAD, RXD_IPCS | RXD_L4CS | RXD_L4_BAD, RXD_IXSM | RXD_IPCS | RXD_IP_BAD), tag: fc.constantFrom(0, 0, 0xe123),
});
const outgoing: fc.Arbitrary<Outgoing> = fc.record({
  offset: fc.constantFrom(HEADROOM, 0, 300),
  lengths: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 17, max: MOST }).map(length => [length]) },
    { weight: 1, arbitrary: fc.constantFrom<number[]>([0], [16], [MOST + 1], [65535], [9, 0, 60]) },
    { weight: 3, arbitrary: fc.array(fc.integer({ min: 8, max: 600 }), { minLength: 2, maxLength: MOST_SEGMENTS + 1 }) },
  ),
  flags: fc.oneof(fc.constant(0), fc.constantFrom(TX_VLAN, TX_IP_CKSUM, TX_TCP_CKSUM | TX_IP_CKSUM, TX_TCP_CKSUM | TX_IPV6 | TX_VLAN, TX_UDP_CKSUM)),
  l2: fc.constantFrom(14, 18), l3: fc.constantFrom(20, 40, 300), tag: fc.constantFrom(0, 5, 0xe123),
});

export function commands(hostile: boolean): fc.Arbitrary<Command[]> {
  const word = fc.oneof(fc.constantFrom(0, 1, 3, 0x7fffffff, 0x80000001, 0xffffffff), fc.nat({ max: 0xffffffff }));
  const usual = [
    fc.record({ kind: fc.constant('arrive' as const), pieces: fc.array(pieces, { maxLength: 10 }) }),
    fc.record({ kind: fc.constant('rx' as const), max: fc.integer({ min: 1, max: 12 }), lcore }),
    fc.record({ kind: fc.constant('free' as const), count: fc.nat({ max: 12 }), lcore }),
    fc.record({ kind: fc.constant('tx' as const), frames: fc.array(outgoing, { minLength: 1, maxLength: 8 }), lcore }),
    fc.record({ kind: fc.constant('sent' as const), count: fc.nat({ max: 12 }) }),
  ];
  const scribble = fc.record({ kind: fc.constant('scribble' as const), ring: fc.constantFrom('rx' as const, 'tx' as const), word: fc.nat({ max: 63 }), value: word });
  return fc.array(fc.oneof(...usual, ...(hostile ? [scribble, scribble] : [])), { minLength: 1, maxLength: 40, size: 'max' }) as fc.Arbitrary<Command[]>;
}

export function makeWorld(lab: Lab, shape: Shape): World {
  reset(lab);
  const pool = makePool(lab, { count: shape.count, cache: shape.cache, lcores: 2, buffers: true });
  const queue = (owner: number, own: readonly (readonly [number, number])[]): number => {
    const offset = makeQueue(lab, pool, { owner });
    const fields = [
      [INTEL_RING, reserve(lab, shape.size * 16)], [INTEL_SIDE, reserve(lab, shape.size * 4)],
      [INTEL_TAIL, reserve(lab, 4)], [INTEL_MASK, shape.size - 1], [INTEL_HEAD, shape.start], [INTEL_NEXT, shape.start],
      [INTEL_IOVA_HIGH, IOVA_HIGH], [INTEL_POOL, lab.base], [INTEL_POOL_BYTES, shape.count * 2048], [INTEL_BUFFER_MASK, 2047], [INTEL_MOST, MOST], ...own,
    ] as const;
    for (const [field, value] of fields) set(lab, offset, field, value);
    set(lab, get(lab, offset, INTEL_TAIL), 0, shape.start & (shape.size - 1));
    return offset;
  };
  const start = shape.start & (shape.size - 1);
  const advanced = shape.kind === INTEL_82576;
  const world: World = {
    lab, pool, shape,
    rx: queue(RX_OWNER, [[INTEL_SEGMENT, shape.jumbo ? SEGMENT : MOST], [INTEL_ERRORS, RXD_ERRORS], [INTEL_IP_BAD_SHIFT, 28], [INTEL_L4_BAD_SHIFT, 26]]),
    tx: queue(TX_OWNER, [
      [INTEL_LASTS, reserve(lab, shape.size * 4)], [INTEL_COMMAND, advanced ? TXD_IFCS | TXD_DEXT | TXD_DATA_82576 : TXD_IFCS], [INTEL_PAYLOAD, advanced ? 1 << 14 : 0],
      [INTEL_CONTEXT_KIND, shape.kind], [INTEL_MOST_SEGMENTS, MOST_SEGMENTS], [INTEL_OFFERS, OFFERS], [INTEL_REPORTS, shape.reports],
    ]),
    vector: reserve(lab, 256), held: [], filled: start, fetched: start, waiting: [], partial: [], split: 0, counts: { bad: 0, errored: 0, split: 0 }, accepted: [], context: '', silent: 0,
  };
  lab.burst.intelFill(world.rx, 0);
  return world;
}

const next = ({ shape }: World, index: number): number => (index + 1) & (shape.size - 1);
const tailOf = ({ lab }: World, queue: number): number => get(lab, get(lab, queue, INTEL_TAIL));
export const descriptor = ({ lab }: World, queue: number, index: number): number => get(lab, queue, INTEL_RING) + index * 16;
export const headerOf = ({ pool }: World, handle: number): number => pool.table + handle * HEADER_BYTES;
const statusOf = ({ errors, ends, checks, tag }: Piece): number => (errors | checks | RXD_DD | (ends ? RXD_EOP : 0) | (tag === 0 ? 0 : RXD_VP)) >>> 0;

/** The device writes descriptors back, as far as it has some: into the buffers whose addresses stand in them. */
export function arrive(world: World, list: readonly Piece[]): void {
  const { lab } = world;
  for (const piece of list) {
    if (world.filled === tailOf(world, world.rx)) return;
    const at = descriptor(world, world.rx, world.filled);
    world.waiting.push({ handle: (get(lab, at) - HEADROOM) >>> HANDLE_SHIFT, piece });
    set(lab, at, RXD_MRQ, piece.hash === 0 ? 0 : 1);
    set(lab, at, RXD_HASH, piece.hash);
    set(lab, at, RXD_LENGTH, (piece.length | piece.tag << 16) >>> 0);
    set(lab, at, RXD_STATUS, statusOf(piece));
    world.filled = next(world, world.filled);
  }
}

/** The device sends up to `count` frames, and reports where it was told to. What it sees of each. */
export function sent(world: World, count: number): Sent[] {
  const { lab, shape } = world;
  const list: Sent[] = [];
  const end = tailOf(world, world.tx);
  let parts: [number, number][] = [];
  while (list.length < count && world.fetched !== end) {
    const at = descriptor(world, world.tx, world.fetched);
    const words = [0, 4, 8, 12].map(offset => get(lab, at, offset));
    const [third, fourth] = [words[2]!, words[3]!];
    world.silent = (third & TXD_RS) === 0 ? world.silent + 1 : 0;
    if (shape.reports > 0 && world.silent >= shape.reports) throw new Error(`${world.silent} descriptors in a row that do not report`);
    if ((third & TXD_RS) !== 0 && (third & TXD_EOP) === 0) throw new Error('a report in the middle of a frame');
    if ((third & TXD_RS) !== 0) set(lab, at, TXD_STATUS, (fourth | TXD_DD) >>> 0);
    world.fetched = next(world, world.fetched);
    const kind = (third & TXD_DEXT) === 0 ? 1 : (third >>> 20) & 15;
    if (kind === (shape.kind === INTEL_82576 ? 2 : 0)) {
      world.context = words.join();
      continue;
    }
    if (![1, 3].includes(kind)) throw new Error(`a descriptor of kind ${kind}`);
    parts.push([words[0]! + words[1]! * 2 ** 32, third & 0xffff]);
    if ((third & TXD_EOP) === 0) continue;
    const tag = (third & TXD_VLE) === 0 ? -1 : shape.kind === INTEL_82576 ? Number(world.context.split(',')[0]) >>> 16 : fourth >>> 16;
    const total = parts.reduce((sum, [, length]) => sum + length, 0);
    if (shape.kind === INTEL_82576 && fourth >>> 14 !== total) throw new Error(`PAYLEN ${fourth >>> 14} of ${total}`);
    list.push({ parts, tag, options: (fourth >>> 8) & 3, context: ((fourth >>> 8) & 3) === 0 ? '' : world.context });
    parts = [];
  }
  if (parts.length > 0) throw new Error('the ring ends in the middle of a frame');
  return list;
}

export function receive(world: World, max: number, core: number): number[] {
  const got = world.lab.burst.intelRx(world.rx, world.vector, max, core);
  const handles = readVector(world.lab, world.vector, got);
  world.held.push(...handles.flatMap(handle => segmentsOf(world, handle)));
  return handles;
}

/** The mbufs of a packet, in order. */
function segmentsOf(world: World, handle: number): number[] {
  const list = [handle];
  while (list.length < world.lab.u16[(headerOf(world, handle) + MBUF_NB_SEGS) >>> 1]!) list.push(get(world.lab, headerOf(world, list.at(-1)!), MBUF_NEXT));
  return list;
}

/** Each alone again. */
function unlink(world: World, handles: readonly number[]): void {
  for (const handle of handles) {
    world.lab.u16[(headerOf(world, handle) + MBUF_NB_SEGS) >>> 1] = 1;
    set(world.lab, headerOf(world, handle), MBUF_NEXT, 0);
  }
}

/** Makes as many of the frames as there are mbufs for. */
export function make(world: World, list: readonly Outgoing[]): { readonly frame: Outgoing; readonly handles: number[] }[] {
  const { lab } = world;
  unlink(world, world.held);
  let used = 0;
  return list.flatMap(frame => {
    const handles = world.held.slice(used, used + frame.lengths.length);
    if (handles.length < frame.lengths.length) return [];
    used += handles.length;
    handles.forEach((handle, i) => {
      const header = headerOf(world, handle);
      lab.u16[(header + MBUF_DATA_OFF) >>> 1] = frame.offset;
      lab.u16[(header + MBUF_DATA_LEN) >>> 1] = frame.lengths[i]!;
      set(lab, header, MBUF_NEXT, handles[i + 1] ?? 0);
      set(lab, header, MBUF_OL_FLAGS, frame.flags);
    });
    const head = headerOf(world, handles[0]!);
    lab.u16[(head + MBUF_NB_SEGS) >>> 1] = handles.length;
    lab.u16[(head + MBUF_VLAN_TCI) >>> 1] = frame.tag;
    set(lab, head, MBUF_PKT_LEN, totalOf(frame));
    set(lab, head, MBUF_TX_OFFLOAD, frame.l2 | frame.l3 << 7);
    return [{ frame, handles }];
  });
}

export const totalOf = ({ lengths }: Outgoing): number => lengths.reduce((sum, length) => sum + length, 0);

/** Offers them all. Returns how many were taken; what was taken is held no more. */
export function send(world: World, list: readonly Outgoing[], core: number): number {
  const offered = make(world, list);
  writeVector(world.lab, world.vector, offered.map(({ handles }) => handles[0]!));
  const count = world.lab.burst.intelTx(world.tx, world.vector, offered.length, core);
  world.held.splice(0, offered.slice(0, count).reduce((sum, { handles }) => sum + handles.length, 0));
  unlink(world, world.held);
  return count;
}

export function free(world: World, count: number, core: number): void {
  const chosen = world.held.splice(0, count);
  unlink(world, [...chosen, ...world.held]);
  writeVector(world.lab, world.vector, chosen);
  world.lab.burst.mbufFree(world.pool.offset, core, world.vector, chosen.length);
}

/** Mbufs that are free: in the ring and in the two caches. */
export function freeCount({ lab, pool }: World): number {
  const cached = [0, 1].map(core => get(lab, pool.offset, POOL_CACHES + core * CACHE_STRIDE + CACHE_LENGTH));
  return ringContents(lab, pool.ring).length + cached[0]! + cached[1]!;
}

export function ownedBy(world: World, owner: number): number {
  return world.pool.handles.filter(handle => get(world.lab, headerOf(world, handle), MBUF_OWNER) === owner).length;
}

/** As `sent`, whatever stands in the descriptors. */
function sendBlindly(world: World, count: number): void {
  for (let done = 0; done < count && world.fetched !== tailOf(world, world.tx); done++) {
    const at = descriptor(world, world.tx, world.fetched);
    if ((get(world.lab, at, 8) & TXD_RS) !== 0) set(world.lab, at, TXD_STATUS, TXD_DD);
    world.fetched = next(world, world.fetched);
  }
}

export function apply(world: World, command: Command): unknown {
  switch (command.kind) {
    case 'arrive': return arrive(world, command.pieces);
    case 'rx': return receive(world, command.max, command.lcore);
    case 'free': return free(world, command.count, command.lcore);
    case 'tx': return send(world, command.frames, command.lcore);
    case 'sent': return void sendBlindly(world, command.count);
    case 'scribble': return set(world.lab, get(world.lab, world[command.ring], INTEL_RING), 4 * (command.word % (world.shape.size * 4)), command.value);
  }
}

/**
 * Intel's burst functions over rings laid out by hand, with a device that the test plays: well-behaved, and one that
 * writes what it likes into its descriptors. Both kinds of descriptors: the 82574's, and the 82576's.
 */
import fc from 'fast-check';
import t from 'tap';
import {
  HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_TX_OFFLOAD, MBUF_VLAN_TCI, OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH,
  RX_VLAN_STRIPPED, TX_IPV6, TX_IP_CKSUM, TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES } from '../../lib/mbuf/pool_layout.js';
import {
  INTEL_82574, INTEL_82576, INTEL_BAD_FRAME, INTEL_BAD_LENGTH, INTEL_BUFFER_MASK, INTEL_COMMAND, INTEL_CONTEXT_KIND, INTEL_ERRORED, INTEL_ERRORS,
  INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_LASTS, INTEL_MASK, INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_NEXT,
  INTEL_OFFERS, INTEL_PAYLOAD, INTEL_POOL, INTEL_POOL_BYTES, INTEL_REPORTS, INTEL_RING, INTEL_RING_FULL, INTEL_SEGMENT, INTEL_SIDE, INTEL_SPLIT_FRAMES,
  INTEL_TAIL, RXD_DD, RXD_EOP, RXD_ERRORS, RXD_HASH, RXD_IP_BAD, RXD_IPCS, RXD_IXSM, RXD_L4_BAD, RXD_L4CS, RXD_LENGTH, RXD_MRQ, RXD_STATUS,
  RXD_VP, TXD_DATA_82576, TXD_DD, TXD_DEXT, TXD_EOP, TXD_IFCS, TXD_RS, TXD_STATUS, TXD_VLE,
} from '../../lib/port/drivers/vfio/intel/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { expectEqual, get, get64, HIGH_BASE, IMPLEMENTATIONS, makeLab, makePool, makeQueue, readVector, reserve, reset, ringContents, set, writeVector, type Lab, type Pool } from './layout_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 200;
const IOVA_HIGH = 3;
const MOST = 1518;
/** Where frames may come in several buffers. */
const SEGMENT = 1024;
const MOST_SEGMENTS = 3;
const OFFERS = TX_VLAN | TX_IP_CKSUM | TX_TCP_CKSUM;
const [RX_OWNER, TX_OWNER] = [0x02000000, 0x03000000];

interface Shape { readonly count: number; readonly cache: number; readonly size: number; readonly start: number; readonly kind: number; readonly jumbo: boolean; readonly reports: number }
/** One descriptor that the device writes back. */
interface Piece { readonly length: number; readonly errors: number; readonly ends: boolean; readonly hash: number; readonly checks: number; readonly tag: number }
interface Outgoing { readonly offset: number; readonly lengths: readonly number[]; readonly flags: number; readonly l2: number; readonly l3: number; readonly tag: number }
type Command =
  | { readonly kind: 'arrive'; readonly pieces: readonly Piece[] }
  | { readonly kind: 'rx'; readonly max: number; readonly lcore: number }
  | { readonly kind: 'free'; readonly count: number; readonly lcore: number }
  | { readonly kind: 'tx'; readonly frames: readonly Outgoing[]; readonly lcore: number }
  | { readonly kind: 'sent'; readonly count: number }
  | { readonly kind: 'scribble'; readonly ring: 'rx' | 'tx'; readonly word: number; readonly value: number };

/** A frame as the device sends it: where its bytes are, and what it does to them. */
interface Sent { readonly parts: readonly (readonly [address: number, length: number])[]; readonly tag: number; readonly options: number; readonly context: string }

interface World {
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

/** The context that the device has been given last, as the driver tells them apart. */
const lastContext = new WeakMap<World, string>();

const shapes: fc.Arbitrary<Shape> = fc.record({
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

function commands(hostile: boolean): fc.Arbitrary<Command[]> {
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

function makeWorld(lab: Lab, shape: Shape): World {
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
const descriptor = ({ lab }: World, queue: number, index: number): number => get(lab, queue, INTEL_RING) + index * 16;
const headerOf = ({ pool }: World, handle: number): number => pool.table + handle * HEADER_BYTES;
const statusOf = ({ errors, ends, checks, tag }: Piece): number => (errors | checks | RXD_DD | (ends ? RXD_EOP : 0) | (tag === 0 ? 0 : RXD_VP)) >>> 0;

/** The device writes descriptors back, as far as it has some: into the buffers whose addresses stand in them. */
function arrive(world: World, list: readonly Piece[]): void {
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
function sent(world: World, count: number): Sent[] {
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

function receive(world: World, max: number, core: number): number[] {
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
function make(world: World, list: readonly Outgoing[]): { readonly frame: Outgoing; readonly handles: number[] }[] {
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

const totalOf = ({ lengths }: Outgoing): number => lengths.reduce((sum, length) => sum + length, 0);

/** Offers them all. Returns how many were taken; what was taken is held no more. */
function send(world: World, list: readonly Outgoing[], core: number): number {
  const offered = make(world, list);
  writeVector(world.lab, world.vector, offered.map(({ handles }) => handles[0]!));
  const count = world.lab.burst.intelTx(world.tx, world.vector, offered.length, core);
  world.held.splice(0, offered.slice(0, count).reduce((sum, { handles }) => sum + handles.length, 0));
  unlink(world, world.held);
  return count;
}

function free(world: World, count: number, core: number): void {
  const chosen = world.held.splice(0, count);
  unlink(world, [...chosen, ...world.held]);
  writeVector(world.lab, world.vector, chosen);
  world.lab.burst.mbufFree(world.pool.offset, core, world.vector, chosen.length);
}

/** Mbufs that are free: in the ring and in the two caches. */
function freeCount({ lab, pool }: World): number {
  const cached = [0, 1].map(core => get(lab, pool.offset, POOL_CACHES + core * CACHE_STRIDE + CACHE_LENGTH));
  return ringContents(lab, pool.ring).length + cached[0]! + cached[1]!;
}

function ownedBy(world: World, owner: number): number {
  return world.pool.handles.filter(handle => get(world.lab, headerOf(world, handle), MBUF_OWNER) === owner).length;
}

/** What the next receive of `max` descriptors must give: the pieces of each packet. */
function expected(world: World, max: number): { readonly handle: number; readonly piece: Piece }[][] {
  const packets: { readonly handle: number; readonly piece: Piece }[][] = [];
  const segment = world.shape.jumbo ? SEGMENT : MOST;
  for (const each of world.waiting.splice(0, max)) {
    const { length, errors, ends } = each.piece;
    if (world.split !== 0 || (!ends && !world.shape.jumbo)) {
      if (ends && world.split === 1) world.counts.split++;
      world.split = ends ? 0 : world.split || 1;
      continue;
    }
    const total = world.partial.reduce((sum, { piece }) => sum + piece.length, length);
    const errored = ends && errors !== 0;
    if (errored || length === 0 || length > segment || total > MOST || (ends && total < 14)) {
      world.counts[errored ? 'errored' : 'bad']++;
      world.partial = [];
      world.split = ends ? 0 : 2;
      continue;
    }
    world.partial.push(each);
    if (!ends) continue;
    packets.push(world.partial);
    world.partial = [];
  }
  return packets;
}

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
    t.ok(seen.received > RUNS * 2 && seen.transmitted > RUNS / 2 && seen.chains > RUNS / 40 && seen.sentChains > RUNS / 40 && seen.contexts > RUNS / 40, JSON.stringify(seen));
  });
}

function checkPacket(world: World, packet: readonly { readonly handle: number; readonly piece: Piece }[], core: number): void {
  const { lab } = world;
  const { hash, tag, checks } = packet.at(-1)!.piece;
  const head = headerOf(world, packet[0]!.handle);
  const badIp = (checks & RXD_IP_BAD) !== 0;
  const badL4 = (checks & RXD_L4_BAD) !== 0;
  const sums = (checks & RXD_IXSM) !== 0 ? 0 : (badIp ? RX_IP_CKSUM_BAD : (checks & RXD_IPCS) !== 0 ? RX_IP_CKSUM_GOOD : 0) | (badL4 ? RX_L4_CKSUM_BAD : (checks & RXD_L4CS) !== 0 ? RX_L4_CKSUM_GOOD : 0);
  expectEqual([get(lab, head, MBUF_PKT_LEN), lab.u16[(head + MBUF_NB_SEGS) >>> 1]], [packet.reduce((sum, { piece }) => sum + piece.length, 0), packet.length]);
  expectEqual([get(lab, head, MBUF_HASH), get(lab, head, MBUF_OL_FLAGS)], [hash, (hash === 0 ? 0 : RX_RSS_HASH) | (tag === 0 ? 0 : RX_VLAN_STRIPPED) | sums]);
  expectEqual(lab.u16[(head + MBUF_VLAN_TCI) >>> 1], tag);
  packet.forEach(({ handle, piece }, i) => {
    const header = headerOf(world, handle);
    expectEqual([lab.u16[(header + MBUF_DATA_LEN) >>> 1], lab.u16[(header + MBUF_DATA_OFF) >>> 1]], [piece.length, HEADROOM]);
    expectEqual([get(lab, header, MBUF_NEXT), get(lab, header, MBUF_OWNER)], [packet[i + 1]?.handle ?? 0, ((OWNER_APP << OWNER_SHIFT) | core) >>> 0]);
  });
}

/** The device sends what was accepted, in order, as it was asked to. */
function checkSent(world: World, count: number, seen: { sentChains: number; contexts: number }): void {
  const out = sent(world, count);
  expectEqual(out.map(({ parts, tag, options, context }) => ({ parts, tag, options, context })), world.accepted.splice(0, out.length));
  seen.sentChains += out.filter(({ parts }) => parts.length > 1).length;
  seen.contexts += out.filter(({ context }) => context !== '').length;
}

/** Can it be sent at all? */
function isSendable({ kind }: Shape, frame: Outgoing): boolean {
  const { lengths, offset, flags, l2, l3 } = frame;
  const total = totalOf(frame);
  const wantsSum = (flags & (TX_IP_CKSUM | TX_TCP_CKSUM)) !== 0;
  const described = !wantsSum || (l2 + l3 + ((flags & TX_TCP_CKSUM) !== 0 ? 18 : 0) <= total && (kind === INTEL_82576 || l2 + l3 + 16 < 256));
  return lengths.length <= MOST_SEGMENTS && lengths.every(length => length > 0 && offset + length <= 2048) && total >= 17 && total <= MOST && (flags & TX_UDP_CKSUM) === 0 && described;
}

/** The context that a frame needs, as the datasheets have it; '' for none. */
function contextOf({ kind }: Shape, { flags, l2, l3, tag }: Outgoing): string {
  const [tcp, ipv4, sums] = [(flags & TX_TCP_CKSUM) !== 0, (flags & TX_IPV6) === 0, (flags & (TX_IP_CKSUM | TX_TCP_CKSUM)) !== 0];
  if (!sums && (kind === INTEL_82574 || (flags & TX_VLAN) === 0)) return '';
  if (kind === INTEL_82576) return [(l3 | l2 << 9 | tag << 16) >>> 0, 0, 0x20200000 | (ipv4 ? 0x400 : 0) | (tcp ? 0x800 : 0), 0].join();
  const start = l2 + l3;
  return [(l2 | l2 + 10 << 8 | start - 1 << 16) >>> 0, (start & 255) | (start + (tcp ? 16 : 6) & 255) << 8, 0x20000000 | (ipv4 ? 0x02000000 : 0) | (tcp ? 0x01000000 : 0), 0].join();
}

function checkSend(world: World, list: readonly Outgoing[], core: number): void {
  const { lab, tx, shape } = world;
  const counters = (): number[] => [INTEL_BAD_FRAME, QUEUE_NOMBUF, QUEUE_BYTES, QUEUE_PACKETS].map(field => get64(lab, tx, field));
  const before = counters();
  lab.burst.intelClean(tx, core);
  const start = get(lab, tx, INTEL_NEXT);
  let room = shape.size - 1 - ((start - get(lab, tx, INTEL_HEAD)) >>> 0);
  const offered = make(world, list);
  let [taken, bad, bytes] = [0, 0, 0];
  let context = lastContext.get(world) ?? '';
  /** Descriptors of each frame; the number of the first frame of those that report together; how many each such group has. */
  const takes: number[] = [];
  let reported = 0;
  const groups: number[] = [];
  for (const { frame, handles } of offered) {
    if (room === 0) break;
    if (!isSendable(shape, frame)) { bad++; taken++; continue; }
    const wanted = contextOf(shape, frame);
    const key = wanted === '' ? '' : `${frame.l2} ${frame.l3} ${frame.flags} ${shape.kind === INTEL_82576 ? frame.tag : 0}`;
    const needs = handles.length + (key === '' || key === context ? 0 : 1);
    if (needs > room) break;
    room -= needs;
    // What would be too long without a report is reported up to the frame before.
    const all = takes.slice(reported).reduce((sum, each) => sum + each, needs);
    if (shape.reports > 0 && all > shape.reports) reported = takes.length;
    groups[reported] = (groups[reported] ?? 0) + needs;
    takes.push(needs);
    if (key !== '') context = key;
    taken++;
    bytes += totalOf(frame);
    const options = ((frame.flags & TX_IP_CKSUM) !== 0 ? 1 : 0) | ((frame.flags & TX_TCP_CKSUM) !== 0 ? 2 : 0);
    world.accepted.push({
      parts: handles.map((handle, i) => [((handle << HANDLE_SHIFT) + frame.offset >>> 0) + IOVA_HIGH * 2 ** 32, frame.lengths[i]!]),
      tag: (frame.flags & TX_VLAN) !== 0 ? frame.tag : -1, options, context: options === 0 ? '' : wanted,
    });
  }
  lastContext.set(world, context);
  const full = get64(lab, tx, INTEL_RING_FULL);
  expectEqual(send(world, list, core), taken);
  const after = counters();
  expectEqual(after.map((value, i) => value - before[i]!), [bad, offered.length - taken, bytes, taken - bad]);
  expectEqual(get64(lab, tx, INTEL_RING_FULL) - full, taken < offered.length ? 1 : 0);
  // The last descriptor of the burst reports, or of each group of it, and no other.
  const reporting = groups.flatMap(length => [...Array<boolean>(length - 1).fill(false), true]);
  expectEqual(reporting.map((_, i) => (get(lab, descriptor(world, tx, (start + i) & (shape.size - 1)), 8) & TXD_RS) !== 0), reporting);
  expectEqual((get(lab, tx, INTEL_NEXT) - start) >>> 0, reporting.length);
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

/** As `sent`, whatever stands in the descriptors. */
function sendBlindly(world: World, count: number): void {
  for (let done = 0; done < count && world.fetched !== tailOf(world, world.tx); done++) {
    const at = descriptor(world, world.tx, world.fetched);
    if ((get(world.lab, at, 8) & TXD_RS) !== 0) set(world.lab, at, TXD_STATUS, TXD_DD);
    world.fetched = next(world, world.fetched);
  }
}

function apply(world: World, command: Command): unknown {
  switch (command.kind) {
    case 'arrive': return arrive(world, command.pieces);
    case 'rx': return receive(world, command.max, command.lcore);
    case 'free': return free(world, command.count, command.lcore);
    case 'tx': return send(world, command.frames, command.lcore);
    case 'sent': return void sendBlindly(world, command.count);
    case 'scribble': return set(world.lab, get(world.lab, world[command.ring], INTEL_RING), 4 * (command.word % (world.shape.size * 4)), command.value);
  }
}

/**
 * The 82574L's burst functions over rings laid out by hand, with a device that the test plays: well-behaved, and one
 * that writes what it likes into its descriptors.
 */
import fc from 'fast-check';
import t from 'tap';
import { HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT, RX_RSS_HASH } from '../../lib/mbuf/layout.js';
import {
  E1000E_BAD_FRAME, E1000E_BAD_LENGTH, E1000E_BUFFER_MASK, E1000E_ERRORED, E1000E_HEAD, E1000E_IOVA_HIGH, E1000E_LASTS, E1000E_MASK,
  E1000E_MOST, E1000E_NEXT, E1000E_POOL, E1000E_POOL_BYTES, E1000E_RING, E1000E_SIDE, E1000E_SPLIT_FRAMES, E1000E_TAIL,
  RXD_DD, RXD_EOP, RXD_HASH, RXD_LENGTH, RXD_MRQ, RXD_STATUS, TXD_DD, TXD_RS, TXD_STATUS,
} from '../../lib/port/drivers/vfio/e1000e/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { expectEqual, get, get64, HIGH_BASE, IMPLEMENTATIONS, makeLab, makePool, makeQueue, readVector, reserve, reset, ringContents, set, writeVector, type Lab, type Pool } from './layout_helper.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES } from '../../lib/mbuf/pool_layout.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 200;
const IOVA_HIGH = 3;
const MOST = 1518;
const [RX_OWNER, TX_OWNER] = [0x02000000, 0x03000000];

interface Shape { readonly count: number; readonly cache: number; readonly size: number; readonly start: number }
interface Frame { readonly length: number; readonly errors: number; readonly ends: boolean; readonly hash: number }
interface Outgoing { readonly offset: number; readonly length: number; readonly segments: number }
type Command =
  | { readonly kind: 'arrive'; readonly frames: readonly Frame[] }
  | { readonly kind: 'rx'; readonly max: number; readonly lcore: number }
  | { readonly kind: 'free'; readonly count: number; readonly lcore: number }
  | { readonly kind: 'tx'; readonly frames: readonly Outgoing[]; readonly lcore: number }
  | { readonly kind: 'sent'; readonly count: number }
  | { readonly kind: 'scribble'; readonly ring: 'rx' | 'tx'; readonly word: number; readonly value: number };

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
  /** What a receive will give, in order: handle and length; undefined for what is dropped. */
  readonly waiting: { readonly handle: number; readonly frame: Frame }[];
  /** What the device will send. */
  readonly out: { readonly address: number; readonly length: number; readonly reports: boolean }[];
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  count: fc.constantFrom(8, 16, 24), cache: fc.constantFrom(0, 2, 5), size: fc.constantFrom(8, 16), start: fc.constantFrom(0, 0xfffffffa),
}).map(shape => ({ ...shape, cache: Math.min(shape.cache, Math.floor(shape.count / 3)) }));
const lcore = fc.nat({ max: 1 });
const frames = fc.record({
  length: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 14, max: MOST }) }, { weight: 1, arbitrary: fc.constantFrom(0, 13, MOST + 1, 0xffff) }),
  errors: fc.constantFrom(0, 0, 0, 0, 0, 0x01000000, 0x80000000), ends: fc.constantFrom(true, true, true, true, true, false), hash: fc.constantFrom(0, 0xdeadbeef),
});
const outgoing = fc.record({ offset: fc.constantFrom(HEADROOM, 0, 300), length: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 17, max: MOST }) }, { weight: 1, arbitrary: fc.constantFrom(0, 16, MOST + 1, 65535) }), segments: fc.constantFrom(1, 1, 1, 1, 1, 1, 2) });

function commands(hostile: boolean): fc.Arbitrary<Command[]> {
  const word = fc.oneof(fc.constantFrom(0, 1, 3, 0x7fffffff, 0x80000001, 0xffffffff), fc.nat({ max: 0xffffffff }));
  const usual = [
    fc.record({ kind: fc.constant('arrive' as const), frames: fc.array(frames, { maxLength: 10 }) }),
    fc.record({ kind: fc.constant('rx' as const), max: fc.integer({ min: 1, max: 12 }), lcore }),
    fc.record({ kind: fc.constant('free' as const), count: fc.nat({ max: 12 }), lcore }),
    fc.record({ kind: fc.constant('tx' as const), frames: fc.array(outgoing, { minLength: 1, maxLength: 10 }), lcore }),
    fc.record({ kind: fc.constant('sent' as const), count: fc.nat({ max: 12 }) }),
  ];
  const scribble = fc.record({ kind: fc.constant('scribble' as const), ring: fc.constantFrom('rx' as const, 'tx' as const), word: fc.nat({ max: 63 }), value: word });
  return fc.array(fc.oneof(...usual, ...(hostile ? [scribble, scribble] : [])), { minLength: 1, maxLength: 40, size: 'max' }) as fc.Arbitrary<Command[]>;
}

function makeWorld(lab: Lab, shape: Shape): World {
  reset(lab);
  const pool = makePool(lab, { count: shape.count, cache: shape.cache, lcores: 2, buffers: true });
  const queue = (owner: number): number => {
    const offset = makeQueue(lab, pool, { owner });
    const fields = [
      [E1000E_RING, reserve(lab, shape.size * 16)], [E1000E_SIDE, reserve(lab, shape.size * 4)], [E1000E_LASTS, reserve(lab, shape.size * 4)],
      [E1000E_TAIL, reserve(lab, 4)], [E1000E_MASK, shape.size - 1], [E1000E_HEAD, shape.start], [E1000E_NEXT, shape.start],
      [E1000E_IOVA_HIGH, IOVA_HIGH], [E1000E_POOL, lab.base], [E1000E_POOL_BYTES, shape.count * 2048], [E1000E_BUFFER_MASK, 2047], [E1000E_MOST, MOST],
    ] as const;
    for (const [field, value] of fields) set(lab, offset, field, value);
    set(lab, get(lab, offset, E1000E_TAIL), 0, shape.start & (shape.size - 1));
    return offset;
  };
  const start = shape.start & (shape.size - 1);
  const world = { lab, pool, shape, rx: queue(RX_OWNER), tx: queue(TX_OWNER), vector: reserve(lab, 256), held: [], filled: start, fetched: start, waiting: [], out: [] };
  lab.burst.e1000eFill(world.rx, 0);
  return world;
}

const next = ({ shape }: World, index: number): number => (index + 1) & (shape.size - 1);
const tailOf = ({ lab }: World, queue: number): number => get(lab, get(lab, queue, E1000E_TAIL));
const descriptor = ({ lab }: World, queue: number, index: number): number => get(lab, queue, E1000E_RING) + index * 16;

/** The device writes frames back, as far as it has descriptors: into the buffers whose addresses stand in them. */
function arrive(world: World, list: readonly Frame[]): void {
  const { lab } = world;
  for (const frame of list) {
    if (world.filled === tailOf(world, world.rx)) return;
    const at = descriptor(world, world.rx, world.filled);
    world.waiting.push({ handle: (get(lab, at) - HEADROOM) >>> HANDLE_SHIFT, frame });
    set(lab, at, RXD_MRQ, frame.hash === 0 ? 0 : 1);
    set(lab, at, RXD_HASH, frame.hash);
    lab.u16[(at + RXD_LENGTH) >>> 1] = frame.length;
    set(lab, at, RXD_STATUS, (frame.errors | RXD_DD | (frame.ends ? RXD_EOP : 0)) >>> 0);
    world.filled = next(world, world.filled);
  }
}

/** The device fetches and sends up to `count` frames, and reports where it was told to. */
function sent(world: World, count: number): number {
  const { lab } = world;
  let done = 0;
  for (; done < count && world.fetched !== tailOf(world, world.tx); done++) {
    const at = descriptor(world, world.tx, world.fetched);
    const command = get(lab, at, 8);
    world.out.push({ address: get(lab, at) + get(lab, at, 4) * 2 ** 32, length: command & 0xffff, reports: (command & TXD_RS) !== 0 });
    if ((command & TXD_RS) !== 0) set(lab, at, TXD_STATUS, TXD_DD);
    world.fetched = next(world, world.fetched);
  }
  return done;
}

function receive(world: World, max: number, core: number): number[] {
  const got = world.lab.burst.e1000eRx(world.rx, world.vector, max, core);
  const handles = readVector(world.lab, world.vector, got);
  world.held.push(...handles);
  return handles;
}

function send(world: World, list: readonly Outgoing[], core: number): number {
  const { lab, pool } = world;
  const chosen = world.held.slice(0, list.length);
  chosen.forEach((handle, i) => {
    const header = pool.table + handle * HEADER_BYTES;
    const { offset, length, segments } = list[i]!;
    lab.u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
    lab.u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    lab.u16[(header + MBUF_NB_SEGS) >>> 1] = segments;
    set(lab, header, MBUF_PKT_LEN, length);
  });
  writeVector(lab, world.vector, chosen);
  const count = lab.burst.e1000eTx(world.tx, world.vector, chosen.length, core);
  // What is refused stays whole, or the program could not free it.
  for (const handle of chosen.slice(count)) lab.u16[(pool.table + handle * HEADER_BYTES + MBUF_NB_SEGS) >>> 1] = 1;
  world.held.splice(0, count);
  return count;
}

function free(world: World, count: number, core: number): void {
  const chosen = world.held.splice(0, count);
  writeVector(world.lab, world.vector, chosen);
  world.lab.burst.mbufFree(world.pool.offset, core, world.vector, chosen.length);
}

/** Mbufs that are free: in the ring and in the two caches. */
function freeCount({ lab, pool }: World): number {
  const cached = [0, 1].map(core => get(lab, pool.offset, POOL_CACHES + core * CACHE_STRIDE + CACHE_LENGTH));
  return ringContents(lab, pool.ring).length + cached[0]! + cached[1]!;
}

function ownedBy({ lab, pool }: World, owner: number): number {
  return pool.handles.filter(handle => get(lab, pool.table + handle * HEADER_BYTES, MBUF_OWNER) === owner).length;
}

const isGood = ({ length, errors }: Frame): boolean => errors === 0 && length >= 14 && length <= MOST;

/** What the next receive of `max` descriptors must give, and what it counts. */
function expected(world: World, max: number, state: { split: boolean }, counts: Record<string, number>): number[] {
  const handles: number[] = [];
  for (const { handle, frame } of world.waiting.splice(0, max)) {
    const split = state.split || !frame.ends;
    state.split = split && !frame.ends;
    if (!split && isGood(frame)) handles.push(handle);
    else if (split) counts['split']! += frame.ends ? 1 : 0;
    else counts[frame.errors !== 0 ? 'errored' : 'bad']! += 1;
  }
  return handles;
}

for (const implementation of [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const]) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: frames in order, each in the buffer that it was written to, and every mbuf accounted for`, async t => {
    let [received, transmitted] = [0, 0];
    fc.assert(fc.property(shapes, commands(false), (shape, list) => {
      const world = makeWorld(lab, shape);
      const [state, counts] = [{ split: false }, { bad: 0, errored: 0, split: 0 }];
      for (const command of list) {
        if (command.kind === 'arrive') arrive(world, command.frames);
        if (command.kind === 'sent') sent(world, command.count);
        if (command.kind === 'free') free(world, command.count, command.lcore);
        if (command.kind === 'rx') {
          const lengths = world.waiting.slice(0, command.max);
          const wanted = expected(world, command.max, state, counts);
          const got = receive(world, command.max, command.lcore);
          expectEqual(got, wanted);
          for (const handle of got) checkHeader(world, handle, lengths.find(each => each.handle === handle)!.frame, command.lcore);
        }
        if (command.kind === 'tx') checkSend(world, command.frames, command.lcore);
        expectEqual(freeCount(world) + world.held.length + ownedBy(world, RX_OWNER) + ownedBy(world, TX_OWNER), shape.count);
      }
      expectEqual([get64(lab, world.rx, E1000E_BAD_LENGTH), get64(lab, world.rx, E1000E_ERRORED), get64(lab, world.rx, E1000E_SPLIT_FRAMES)], [counts.bad, counts.errored, counts.split]);
      sent(world, shape.size);
      lab.burst.e1000eClean(world.tx, 0);
      expectEqual(ownedBy(world, TX_OWNER), 0);
      received += get64(lab, world.rx, QUEUE_PACKETS);
      transmitted += get64(lab, world.tx, QUEUE_PACKETS);
    }), { numRuns: RUNS });
    t.ok(received > RUNS * 2 && transmitted > RUNS / 2, `${received} received, ${transmitted} sent`);
  });
}

function checkHeader({ lab, pool }: World, handle: number, frame: Frame, core: number): void {
  const header = pool.table + handle * HEADER_BYTES;
  expectEqual([get(lab, header, MBUF_PKT_LEN), lab.u16[(header + MBUF_DATA_LEN) >>> 1], lab.u16[(header + MBUF_DATA_OFF) >>> 1]], [frame.length, frame.length, HEADROOM]);
  expectEqual([get(lab, header, MBUF_HASH), get(lab, header, MBUF_OL_FLAGS)], [frame.hash, frame.hash === 0 ? 0 : RX_RSS_HASH]);
  expectEqual(get(lab, header, MBUF_OWNER), ((OWNER_APP << OWNER_SHIFT) | core) >>> 0);
}

function checkSend(world: World, list: readonly Outgoing[], core: number): void {
  const { lab, tx, shape } = world;
  const offered = world.held.slice(0, list.length);
  const before = { bad: get64(lab, tx, E1000E_BAD_FRAME), refused: get64(lab, tx, QUEUE_NOMBUF), bytes: get64(lab, tx, QUEUE_BYTES) };
  lab.burst.e1000eClean(tx, core);
  const room = shape.size - 1 - ((get(lab, tx, E1000E_NEXT) - get(lab, tx, E1000E_HEAD)) >>> 0);
  const isWhole = ({ offset, length, segments }: Outgoing): boolean => segments === 1 && length >= 17 && length <= MOST && offset + length <= 2048;
  const good: number[] = [];
  let wanted = 0;
  for (; wanted < offered.length && good.length < room; wanted++) if (isWhole(list[wanted]!)) good.push(wanted);
  const count = send(world, list, core);
  expectEqual(count, wanted);
  expectEqual(get64(lab, tx, E1000E_BAD_FRAME) - before.bad, wanted - good.length);
  expectEqual(get64(lab, tx, QUEUE_NOMBUF) - before.refused, offered.length - count);
  expectEqual(get64(lab, tx, QUEUE_BYTES) - before.bytes, good.reduce((sum, i) => sum + list[i]!.length, 0));
  const index = (get(lab, tx, E1000E_NEXT) - good.length) >>> 0;
  good.forEach((i, nth) => {
    const at = descriptor(world, tx, (index + nth) & (shape.size - 1));
    expectEqual([get(lab, at), get(lab, at, 4)], [((offered[i]! << HANDLE_SHIFT) + list[i]!.offset) >>> 0, IOVA_HIGH]);
    expectEqual((get(lab, at, 8) & TXD_RS) !== 0, nth === good.length - 1);
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

function apply(world: World, command: Command): unknown {
  switch (command.kind) {
    case 'arrive': return arrive(world, command.frames);
    case 'rx': return receive(world, command.max, command.lcore);
    case 'free': return free(world, command.count, command.lcore);
    case 'tx': return send(world, command.frames, command.lcore);
    case 'sent': return sent(world, command.count);
    case 'scribble': return set(world.lab, get(world.lab, world[command.ring], E1000E_RING), 4 * (command.word % (world.shape.size * 4)), command.value);
  }
}

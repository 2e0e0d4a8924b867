/**
 * A small world of one pool, a ring port and a null port, with several lcores, and a model of it: who holds which mbuf,
 * and what every counter must say. Random commands are applied to both, and `checkWorld` holds one against the other.
 */
import fc from 'fast-check';
import {
  HEADER_BYTES, HEADROOM, MBUF_BUF_LEN, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_POOL, MBUF_REFCNT,
  MBUF_TIMESTAMP, MBUF_TX_OFFLOAD, MBUF_USER, OWNER_APP, OWNER_RING, OWNER_SHIFT,
} from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE, POOL_CACHES, POOL_DRY, POOL_FOREIGN, POOL_STRAY } from '../../lib/mbuf/pool_layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_TEMPLATE } from '../../lib/port/layout.js';
import { RING_SC, RING_SP } from '../../lib/ring/layout.js';
import {
  expectEqual, get, get64, makePool, makeQueue, makeRing, readVector, reserve, reset, ringContents, set, writeVector, type Lab, type Pool,
} from './layout_helper.js';

/** A chain of mbufs; each of its holders has one hold on each segment. */
export interface Packet { handles: number[]; holds: number }
interface Counters { packets: number; bytes: number; refused: number }
export type QueueName = 'nullRx' | 'nullTx' | 'ringRx' | 'ringTx';

export interface World {
  readonly lab: Lab;
  readonly shape: Shape;
  readonly pool: Pool;
  readonly ring: number;
  readonly queues: Readonly<Record<QueueName, number>>;
  readonly vector: number;
  /** What the programs hold, and what is in the port's ring. */
  held: Packet[];
  readonly sent: Packet[];
  readonly counters: Readonly<Record<QueueName, Counters>>;
  dry: number;
}

export interface Shape {
  readonly count: number; readonly cache: number; readonly lcores: number; readonly units: 1 | 2; readonly start: number;
  readonly front: number; readonly spread: number; readonly ringSize: number; readonly single: boolean; readonly bytes: boolean; readonly frame: number;
}

export interface Command {
  readonly kind: 'alloc' | 'free' | 'share' | 'chain' | 'dirty' | QueueName;
  readonly lcore: number;
  readonly count: number;
  /** Chooses among what is held. */
  readonly pick: number;
}

/** Longest vector, so that one can be more than a cache aims at. */
const VECTOR = 600;
export const RING_PORT_OWNER = (OWNER_RING << OWNER_SHIFT) | 5;

export const shapes: fc.Arbitrary<Shape> = fc.record({
  count: fc.constantFrom(32, 33, 100, 512, 1600), cache: fc.constantFrom(0, 1, 7, 32, 256, 512), lcores: fc.integer({ min: 1, max: 4 }),
  units: fc.constantFrom(1, 2), front: fc.constantFrom(HEADROOM, 64), spread: fc.constantFrom(0, 0, 64, 192, 448, 1984), start: fc.constantFrom(0, 0x7ffffff0, 0xfffffff0), ringSize: fc.constantFrom(2, 16, 256),
  single: fc.boolean(), bytes: fc.boolean(), frame: fc.constantFrom(60, 1514),
}).map(shape => ({ ...shape, units: shape.count > 800 ? 1 : shape.units, cache: Math.min(shape.cache, Math.floor(shape.count / 3)) }));

export const commandLists: fc.Arbitrary<Command[]> = fc.array(fc.record({
  kind: fc.constantFrom('alloc', 'alloc', 'free', 'free', 'share', 'chain', 'dirty', 'nullRx', 'nullTx', 'ringRx', 'ringTx'),
  lcore: fc.nat({ max: 3 }),
  count: fc.oneof(fc.integer({ min: 1, max: 33 }), fc.integer({ min: 1, max: VECTOR })),
  pick: fc.nat({ max: 9999 }),
}), { minLength: 1, maxLength: 50 });

export function makeWorld(lab: Lab, shape: Shape): World {
  reset(lab);
  const pool = makePool(lab, shape);
  const ring = makeRing(lab, { size: shape.ringSize, start: shape.start, flags: shape.single ? RING_SP | RING_SC : 0, owner: RING_PORT_OWNER, table: pool.table });
  const none = (): Counters => ({ packets: 0, bytes: 0, refused: 0 });
  return {
    lab, shape, pool, ring,
    queues: {
      nullRx: makeQueue(lab, pool, { frame: shape.frame }), nullTx: makeQueue(lab, pool, { frame: shape.frame }),
      ringRx: makeQueue(lab, pool, { ring, bytes: shape.bytes }), ringTx: makeQueue(lab, pool, { ring, bytes: shape.bytes }),
    },
    vector: reserve(lab, VECTOR * 4),
    held: [], sent: [], dry: 0,
    counters: { nullRx: none(), nullTx: none(), ringRx: none(), ringTx: none() },
  };
}

/** Does a command in the arena and in the model. Returns what the burst function returned. */
export function apply(world: World, command: Command): number {
  const lcore = command.lcore % world.shape.lcores;
  switch (command.kind) {
    case 'alloc': return alloc(world, lcore, command.count);
    case 'free': return free(world, lcore, command);
    case 'share': return share(world, command);
    case 'chain': return chain(world, command);
    case 'dirty': return dirty(world, command);
    case 'nullRx': return nullRx(world, lcore, command.count);
    case 'nullTx': return nullTx(world, lcore, command);
    case 'ringRx': return ringRx(world, lcore, command.count);
    case 'ringTx': return ringTx(world, lcore, command);
  }
}

export function headerOf({ pool }: World, handle: number): number {
  return pool.table + handle * HEADER_BYTES;
}

export function cacheContents({ lab, pool }: World, lcore: number): number[] {
  const cache = pool.offset + POOL_CACHES + lcore * CACHE_STRIDE;
  return readVector(lab, cache + CACHE_SLOTS, get(lab, cache, CACHE_LENGTH));
}

export function caches(world: World): number[][] {
  return Array.from({ length: world.shape.lcores }, (_, lcore) => cacheContents(world, lcore));
}

/** Each mbuf in exactly one place, free ones in order, the ring in order, and every counter as it must be. */
export function checkWorld(world: World): void {
  const { lab, pool, held, sent, shape } = world;
  const free = [...ringContents(lab, pool.ring), ...caches(world).flat()];
  const out = [...held, ...sent].flatMap(({ handles }) => handles);
  expectEqual([...free, ...out].sort((a, b) => a - b), pool.handles);
  for (const handle of free) expectEqual(stateOf(world, handle), [1, 1, 0, 0]);
  for (const contents of caches(world)) expectEqual(contents.length <= shape.cache + (shape.cache >>> 1), true);
  expectEqual(ringContents(lab, world.ring), sent.map(({ handles }) => handles[0]));
  // The checking build says that they are in a ring; otherwise the word still names the sender, whoever that was.
  for (const { handles } of sent) expectEqual(get(lab, headerOf(world, handles[0]!), MBUF_OWNER) >>> OWNER_SHIFT, lab.checks ? OWNER_RING : OWNER_APP);
  expectEqual([get64(lab, pool.offset, POOL_DRY), get64(lab, pool.offset, POOL_FOREIGN), get64(lab, pool.offset, POOL_STRAY)], [world.dry, 0, 0]);
  for (const [name, queue] of Object.entries(world.queues)) {
    const counters = [get64(lab, queue, QUEUE_PACKETS), get64(lab, queue, QUEUE_BYTES), get64(lab, queue, QUEUE_NOMBUF)];
    const { packets, bytes, refused } = world.counters[name as QueueName];
    expectEqual([name, ...counters], [name, packets, bytes, refused]);
  }
}

/** refcnt, nb_segs, next and owner. */
export function stateOf(world: World, handle: number): number[] {
  const header = headerOf(world, handle);
  const half = (field: number): number => world.lab.u16[(header + field) >>> 1];
  return [half(MBUF_REFCNT), half(MBUF_NB_SEGS), get(world.lab, header, MBUF_NEXT), get(world.lab, header, MBUF_OWNER)];
}

/** Can so many be had? A cache and the ring, never another lcore's cache. */
function canTake(world: World, lcore: number, count: number): boolean {
  return cacheContents(world, lcore).length + ringContents(world.lab, world.pool.ring).length >= count;
}

function received(world: World, lcore: number, count: number): number[] {
  const handles = readVector(world.lab, world.vector, count);
  for (const handle of handles) expectEqual(get(world.lab, headerOf(world, handle), MBUF_OWNER), (OWNER_APP << OWNER_SHIFT) | lcore);
  return handles;
}

function alloc(world: World, lcore: number, count: number): number {
  const possible = canTake(world, lcore, count);
  const got = world.lab.burst.mbufAlloc(world.pool.offset, lcore, world.vector, count);
  expectEqual(got, possible ? count : 0);
  if (!possible) world.dry++;
  for (const handle of received(world, lcore, got)) {
    expectFresh(world, handle);
    world.held.push({ handles: [handle], holds: 1 });
  }
  return got;
}

/** Frames begin 64 bytes apart, where the pool spreads them: mbuf after mbuf, or two after two where they stand 2 KiB apart. */
function placeOf({ shape }: World, handle: number): number {
  return shape.front + (Math.floor(handle / 2) % (shape.spread / 64 + 1)) * 64;
}

/** An empty frame behind the headroom, of no port; the constant fields are there. */
function expectFresh(world: World, handle: number): void {
  const header = headerOf(world, handle);
  const words = readVector(world.lab, header, MBUF_USER / 4);
  const wanted = new Array<number>(MBUF_USER / 4).fill(0);
  wanted[0] = ((1 << 16) | placeOf(world, handle)) >>> 0;
  wanted[MBUF_NB_SEGS / 4] = 0xffff0001;
  wanted[MBUF_OWNER / 4] = words[MBUF_OWNER / 4]!;
  wanted[MBUF_POOL / 4] = world.pool.offset;
  wanted[MBUF_BUF_LEN / 4] = 2048 * world.shape.units;
  expectEqual(words, wanted);
}

/** Up to `count` of what is held, from `pick` on, into the vector. */
function choose(world: World, { pick, count }: Command, fits: (packet: Packet) => boolean = () => true): Packet[] {
  const from = pick % (world.held.length + 1);
  const chosen = world.held.slice(from, from + Math.min(count, VECTOR)).filter(fits);
  writeVector(world.lab, world.vector, chosen.map(({ handles }) => handles[0]!));
  return chosen;
}

function letGo(world: World, packets: readonly Packet[]): void {
  for (const packet of packets) packet.holds--;
  world.held = world.held.filter(({ holds }) => holds > 0);
}

function free(world: World, lcore: number, command: Command): number {
  const chosen = choose(world, command);
  world.lab.burst.mbufFree(world.pool.offset, lcore, world.vector, chosen.length);
  letGo(world, chosen);
  return chosen.length;
}

function share(world: World, command: Command): number {
  const chosen = choose(world, { ...command, count: 2 });
  for (const packet of chosen) {
    packet.holds++;
    for (const handle of packet.handles) world.lab.u16[(headerOf(world, handle) + MBUF_REFCNT) >>> 1]++;
  }
  return chosen.length;
}

/** Joins up to four packets that nobody shares into one. */
function chain(world: World, command: Command): number {
  const chosen = choose(world, { ...command, count: 4 }, ({ holds }) => holds === 1);
  const [first, ...others] = chosen;
  if (first === undefined) return 0;
  for (const other of others) {
    set(world.lab, headerOf(world, first.handles.at(-1)!), MBUF_NEXT, other.handles[0]!);
    first.handles.push(...other.handles);
  }
  world.lab.u16[(headerOf(world, first.handles[0]!) + MBUF_NB_SEGS) >>> 1] = first.handles.length;
  for (const handle of first.handles.slice(1)) world.lab.u16[(headerOf(world, handle) + MBUF_NB_SEGS) >>> 1] = 1;
  world.held = world.held.filter(packet => !others.includes(packet));
  return others.length;
}

/** What a program may write into a header. */
function dirty(world: World, command: Command): number {
  const chosen = choose(world, { ...command, count: 8 });
  chosen.forEach(({ handles }, i) => {
    const header = headerOf(world, handles[0]!);
    for (const field of [MBUF_PKT_LEN, MBUF_TIMESTAMP, MBUF_TX_OFFLOAD, MBUF_USER]) set(world.lab, header, field, command.pick + i + field);
  });
  return chosen.length;
}

function count(world: World, name: QueueName, packets: number, bytes: number, refused: number): void {
  const counters = world.counters[name];
  counters.packets += packets;
  if (world.shape.bytes || name.startsWith('null')) counters.bytes += bytes;
  counters.refused += refused;
}

function bytesOf(world: World, packets: readonly Packet[]): number {
  return packets.reduce((sum, { handles }) => sum + get(world.lab, headerOf(world, handles[0]!), MBUF_PKT_LEN), 0);
}

function nullRx(world: World, lcore: number, max: number): number {
  const possible = canTake(world, lcore, max);
  const got = world.lab.burst.nullRx(world.queues.nullRx, world.vector, max, lcore);
  expectEqual(got, possible ? max : 0);
  if (!possible) world.dry++;
  count(world, 'nullRx', got, got * world.shape.frame, max - got);
  const template = readVector(world.lab, world.queues.nullRx + QUEUE_TEMPLATE, 8);
  for (const handle of received(world, lcore, got)) {
    expectEqual(readVector(world.lab, headerOf(world, handle), 8), world.shape.spread === 0 ? template : [((template[0]! & 0xffff0000) | placeOf(world, handle)) >>> 0, ...template.slice(1)]);
    world.held.push({ handles: [handle], holds: 1 });
  }
  return got;
}

function nullTx(world: World, lcore: number, command: Command): number {
  const chosen = choose(world, command);
  count(world, 'nullTx', chosen.length, bytesOf(world, chosen), 0);
  const sent = world.lab.burst.nullTx(world.queues.nullTx, world.vector, chosen.length, lcore);
  expectEqual(sent, chosen.length);
  letGo(world, chosen);
  return sent;
}

function ringRx(world: World, lcore: number, max: number): number {
  const expected = world.sent.splice(0, max);
  count(world, 'ringRx', expected.length, bytesOf(world, expected), 0);
  const got = world.lab.burst.ringRx(world.queues.ringRx, world.vector, max, lcore);
  const handles = received(world, lcore, got);
  expectEqual(handles, expected.map(packet => packet.handles[0]));
  world.held.push(...expected);
  return got;
}

/** A shared mbuf has one owner word for all its holders, so only what one alone holds is sent to another thread; and by that one. */
function ringTx(world: World, lcore: number, command: Command): number {
  const mine = (OWNER_APP << OWNER_SHIFT) | lcore;
  const chosen = choose(world, command, ({ handles, holds }) => holds === 1 && get(world.lab, headerOf(world, handles[0]!), MBUF_OWNER) === mine);
  const taken = chosen.slice(0, world.shape.ringSize - world.sent.length);
  const refused = chosen.slice(taken.length);
  count(world, 'ringTx', taken.length, bytesOf(world, taken), refused.length);
  expectEqual(world.lab.burst.ringTx(world.queues.ringTx, world.vector, chosen.length, lcore), taken.length);
  for (const { handles } of refused) expectEqual(get(world.lab, headerOf(world, handles[0]!), MBUF_OWNER), mine);
  world.held = world.held.filter(packet => !taken.includes(packet));
  world.sent.push(...taken);
  return taken.length;
}


/**
 * A guest and a host in one memory, without a kernel: the driver's and the device's burst functions at the two ends of a
 * pair of virtqueues, each end with a pool of its own. The host knows the guest's buffers and rings and nothing else of it.
 */
import fc from 'fast-check';
import { QUEUE_ROOM, QUEUE_TABLE } from '../../lib/port/layout.js';
import {
  EXTRA_BYTES, MEMORY_BYTES, REGIONS, REGION_BYTES, REGION_OFFSET, REGION_SHIFT, REGION_START, SCRATCH_BYTES, VQ_AVAIL, VQ_BUFFER_MASK, VQ_DESC,
  VQ_EVENT_IDX, VQ_EXTRA, VQ_FLAGS, VQ_FREE, VQ_HEADER, VQ_IN_ORDER, VQ_INDIRECT, VQ_INFLIGHT, VQ_IOVA, VQ_LONGEST, VQ_MEMORY, VQ_MERGEABLE, VQ_NEXT_AVAIL, VQ_NEXT_USED,
  VQ_PACKED, VQ_POOL, VQ_POOL_BYTES, VQ_READY, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_TELL, VQ_USED,
} from '../../lib/virtqueue/layout.js';
import { align, guard, LCORE, LONGEST, outgoing, ROOM, stageFrames, type Outgoing, type Sent, type Side, type Stage } from './frames_helper.js';
import { makePool, makeQueue, readVector, reserve, reset, set, writeVector, type Lab, type Pool } from './layout_helper.js';

export { accounted, bytesOf, guardsStand, headerOf, LCORE, LONGEST, ROOM, type Outgoing, type Side } from './frames_helper.js';

/** What the guest's addresses are: its offset in the arena and this. */
const IOVA = 0x1_0000_0000n;
/** Of the guest's send queue. */
const TX_OWNER = 0x03000001;

export interface VqShape {
  readonly packed: boolean; readonly size: number; readonly start: number; readonly mergeable: boolean; readonly indirect: boolean;
  readonly eventIdx: boolean; readonly inOrder: boolean; readonly header: number; readonly guestBuffers: number; readonly hostBuffers: number; readonly cache: number;
}

export const vqShapes: fc.Arbitrary<VqShape> = fc.record({
  packed: fc.boolean(), power: fc.constantFrom(4, 8, 16), odd: fc.constantFrom(4, 5, 7, 8, 16), start: fc.constantFrom(0, 3, 0xfffd, 0x7ffe),
  mergeable: fc.boolean(), indirect: fc.boolean(), eventIdx: fc.boolean(), inOrder: fc.boolean(), header: fc.constantFrom(12, 12, 10),
  guestBuffers: fc.constantFrom(6, 14), hostBuffers: fc.constantFrom(4, 14), cache: fc.constantFrom(0, 1, 4),
}).map(({ power, odd, start, ...shape }) => ({
  ...shape,
  size: shape.packed ? odd : power,
  start: shape.packed ? start & 0x8000 | (start % odd) : start,
  header: shape.mergeable ? 12 : shape.header,
  cache: Math.min(shape.cache, Math.floor(Math.min(shape.guestBuffers, shape.hostBuffers) / 3)),
}));

export type VqCommand =
  | { readonly kind: 'guestSend' | 'hostSend'; readonly frames: readonly Outgoing[] }
  | { readonly kind: 'guestReceive' | 'hostReceive' | 'guestFree' | 'hostFree'; readonly count: number }
  | { readonly kind: 'scribble'; readonly place: 'desc' | 'avail' | 'used' | 'extra'; readonly at: number; readonly value: number };

export function vqCommands(hostile: boolean): fc.Arbitrary<VqCommand[]> {
  const count = fc.integer({ min: 1, max: 14 });
  const usual = [
    ...(['guestSend', 'hostSend'] as const).map(kind => fc.record({ kind: fc.constant(kind), frames: fc.array(outgoing, { minLength: 1, maxLength: 6 }) })),
    ...(['guestReceive', 'hostReceive', 'guestFree', 'hostFree'] as const).map(kind => fc.record({ kind: fc.constant(kind), count })),
  ];
  const value = fc.oneof(fc.constantFrom(0, 1, 2, 4, 0x8000, 0x00010003, 0xffff, 0x7fffffff, 0xffffffff), fc.nat({ max: 0xffffffff }));
  const scribble = fc.record({ kind: fc.constant('scribble' as const), place: fc.constantFrom('desc' as const, 'desc' as const, 'avail' as const, 'used' as const, 'extra' as const), at: fc.nat(), value });
  return fc.array(fc.oneof(...usual, ...(hostile ? [scribble, scribble, scribble] : [])), { minLength: 1, maxLength: 50, size: 'max' }) as fc.Arbitrary<VqCommand[]>;
}

export interface VqWorld extends Stage {
  readonly shape: VqShape;
  readonly guest: Side;
  readonly host: Side;
  /** The two rings' memory, that both sides write. */
  readonly shared: readonly Rings[];
}

export function makeVqWorld(lab: Lab, shape: VqShape): VqWorld {
  reset(lab);
  const guests = makePool(lab, { count: shape.guestBuffers, cache: shape.cache, lcores: 2, buffers: true });
  const guards = [guard(lab)];
  align(lab, 2048);
  const hosts = makePool(lab, { count: shape.hostBuffers, cache: shape.cache, lcores: 2, buffers: true });
  const memory = reserve(lab, MEMORY_BYTES);
  const ring = (): Rings => makeRings(lab, shape);
  const [up, down] = [ring(), ring()];
  guards.push(guard(lab));
  const bufferBytes = shape.guestBuffers * 2048;
  writeMemory(lab, memory, [{ at: lab.base, bytes: bufferBytes }, up, down]);
  const world: VqWorld = {
    lab, shape, seed: 1, vector: reserve(lab, 256), shared: [up, down], guards,
    guest: { pool: guests, tx: makeDriver(lab, guests, shape, up, TX_OWNER, bufferBytes), rx: makeDriver(lab, guests, shape, down, 0x02000001, bufferBytes), held: [], shared: [] },
    host: { pool: hosts, rx: makeDevice(lab, hosts, shape, up, memory, 0x02000002), tx: makeDevice(lab, hosts, shape, down, memory, 0x03000002), held: [], shared: [] },
  };
  lab.burst.virtioFill(world.guest.rx, LCORE);
  return world;
}

interface Rings { readonly at: number; readonly bytes: number; readonly desc: number; readonly avail: number; readonly used: number; readonly extra: number }

function makeRings(lab: Lab, { packed, size, start }: VqShape): Rings {
  const at = reserve(lab, 0);
  const desc = reserve(lab, size * 16);
  const avail = reserve(lab, packed ? 4 : 6 + size * 2);
  const used = reserve(lab, packed ? 4 : 6 + size * 8);
  const extra = reserve(lab, size * EXTRA_BYTES);
  if (!packed) for (const ring of [avail, used]) lab.u16[(ring + 2) >>> 1] = start;
  // A packed ring begins in the turn whose counter is 1; one that starts with 0 has been there.
  for (let i = 0; packed && i < size; i++) lab.u16[(desc + i * 16 + 14) >>> 1] = ((start & 0x8000) !== 0) === (i >= (start & 0x7fff)) ? 0 : 0x8080;
  return { at, bytes: lab.next - at, desc, avail, used, extra };
}

function makeDriver(lab: Lab, pool: Pool, shape: VqShape, rings: Rings, owner: number, bufferBytes: number): number {
  const queue = makeVirtqueue(lab, pool, { ...shape, inOrder: shape.inOrder && owner === TX_OWNER }, rings, owner);
  const [side, free] = [reserve(lab, shape.size * 8), reserve(lab, shape.size * 2)];
  for (let id = 0; id < shape.size; id++) lab.u16[(free >>> 1) + id] = id;
  const fields = [
    [VQ_POOL, lab.base], [VQ_POOL_BYTES, bufferBytes], [VQ_BUFFER_MASK, 2047], [VQ_SIDE, side], [VQ_FREE, free],
    [VQ_ROOM, shape.size], [VQ_EXTRA, rings.extra],
  ] as const;
  for (const [field, value] of fields) set(lab, queue, field, value);
  lab.u64[(queue + VQ_IOVA) / 8] = IOVA;
  return queue;
}

function makeDevice(lab: Lab, pool: Pool, shape: VqShape, rings: Rings, memory: number, owner: number): number {
  const queue = makeVirtqueue(lab, pool, shape, rings, owner);
  set(lab, queue, VQ_MEMORY, memory);
  set(lab, queue, VQ_INFLIGHT, reserve(lab, 64));
  return queue;
}

function makeVirtqueue(lab: Lab, pool: Pool, shape: VqShape, rings: Rings, owner: number): number {
  const queue = makeQueue(lab, pool, { owner });
  const flags = (shape.packed ? VQ_PACKED : 0) | (shape.eventIdx ? VQ_EVENT_IDX : 0) | (shape.mergeable ? VQ_MERGEABLE : 0) | (shape.indirect ? VQ_INDIRECT : 0) | (shape.inOrder ? VQ_IN_ORDER : 0);
  const fields = [
    [QUEUE_TABLE, pool.table], [QUEUE_ROOM, ROOM], [VQ_FLAGS, flags], [VQ_READY, 1], [VQ_SIZE, shape.size], [VQ_HEADER, shape.header], [VQ_DESC, rings.desc],
    [VQ_AVAIL, rings.avail], [VQ_USED, rings.used], [VQ_NEXT_AVAIL, shape.start], [VQ_NEXT_USED, shape.start], [VQ_LONGEST, LONGEST],
    [VQ_SCRATCH, reserve(lab, SCRATCH_BYTES)], [VQ_TELL, 7],
  ] as const;
  for (const [field, value] of fields) set(lab, queue, field, value);
  return queue;
}

function writeMemory(lab: Lab, memory: number, regions: readonly { at: number; bytes: number }[]): void {
  set(lab, memory, 0, regions.length);
  regions.forEach(({ at, bytes }, i) => {
    const region = memory + REGIONS + (i << REGION_SHIFT);
    lab.u64[(region + REGION_START) / 8] = BigInt(at) + IOVA;
    lab.u64[(region + REGION_BYTES) / 8] = BigInt(bytes);
    set(lab, region, REGION_OFFSET, at);
  });
}

/** Frames of new mbufs, offered. Returns what was offered and how many were taken; the rest is freed. */
export function send(world: VqWorld, side: Side, frames: readonly Outgoing[]): { offered: Sent[]; taken: number } {
  const { lab, vector } = world;
  const offered = stageFrames(world, side, frames);
  writeVector(lab, vector, offered.map(({ handle }) => handle));
  const taken = side === world.guest ? lab.burst.virtioTx(side.tx, vector, offered.length, LCORE) : lab.burst.vhostTx(side.tx, vector, offered.length, LCORE);
  writeVector(lab, vector, offered.slice(taken).map(({ handle }) => handle));
  lab.burst.mbufFree(side.pool.offset, LCORE, vector, offered.length - taken);
  return { offered, taken };
}

export function receive(world: VqWorld, side: Side, count: number): number[] {
  const { lab, vector } = world;
  const got = side === world.guest ? lab.burst.virtioRx(side.rx, vector, count, LCORE) : lab.burst.vhostRx(side.rx, vector, count, LCORE);
  const handles = readVector(lab, vector, got);
  side.held.push(...handles);
  return handles;
}

export function free(world: VqWorld, side: Side, count: number): void {
  const chosen = side.held.splice(0, count);
  writeVector(world.lab, world.vector, chosen);
  world.lab.burst.mbufFree(side.pool.offset, LCORE, world.vector, chosen.length);
}

export function apply(world: VqWorld, command: VqCommand): unknown {
  world.seed++;
  switch (command.kind) {
    case 'guestSend': return send(world, world.guest, command.frames).taken;
    case 'hostSend': return send(world, world.host, command.frames).taken;
    case 'guestReceive': return receive(world, world.guest, command.count);
    case 'hostReceive': return receive(world, world.host, command.count);
    case 'guestFree': return free(world, world.guest, command.count);
    case 'hostFree': return free(world, world.host, command.count);
    case 'scribble': return scribble(world, command);
  }
}

/** A word of the rings' memory, as either side could write it at any moment. */
function scribble({ lab, shared, shape }: VqWorld, { place, at, value }: VqCommand & { kind: 'scribble' }): void {
  const rings = shared[at & 1]!;
  const words = { desc: shape.size * 4, avail: shape.packed ? 1 : 2, used: shape.packed ? 1 : 4, extra: shape.size * EXTRA_BYTES / 4 }[place];
  set(lab, rings[place], ((at >>> 1) % words) * 4, value);
}

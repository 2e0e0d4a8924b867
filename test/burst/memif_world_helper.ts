/**
 * A client and a server in one memory, without a kernel: the burst functions at the two ends of a pair of memif rings, each
 * end with a pool of its own. The client shares its pool, or copies from and to buffers beside its rings.
 */
import fc from 'fast-check';
import { HANDLE_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import {
  MEMIF_DESC_NEXT, MEMIF_AHEAD, MEMIF_BUFFERS, MEMIF_BUFFER_BYTES, MEMIF_COOKIE, MEMIF_LEAD, MEMIF_NEXT, MEMIF_ORIGIN, MEMIF_OURS, MEMIF_POSTED, MEMIF_REGIONS, MEMIF_RING, MEMIF_SIDE,
  MEMIF_TABLE, MEMIF_TABLE_BYTES, MEMIF_THEIRS, RING_COOKIE, RING_DESCS, RING_FLAGS, RING_HEAD, RING_MASK_INT, RING_TAIL,
} from '../../lib/port/drivers/memif/layout.js';
import { QUEUE_ROOM, QUEUE_TABLE } from '../../lib/port/layout.js';
import {
  SCRATCH_BYTES, VQ_BUFFER_MASK, VQ_FLAGS, VQ_LONGEST, VQ_MERGEABLE, VQ_POOL, VQ_POOL_BYTES, VQ_READY, VQ_SCRATCH, VQ_SIZE, VQ_TELL,
} from '../../lib/virtqueue/layout.js';
import { makePool, makeQueue, readVector, reserve, reset, set, writeVector, type Lab, type Pool } from './layout_helper.js';
import { LONGEST, plain, ROOM, type Outgoing } from './virtqueue_commands_helper.js';
import { bytesOf, headerOf, type Side } from './virtqueue_packets_helper.js';
import { align, guard, LCORE } from './virtqueue_world_helper.js';

export { LONGEST, ROOM, type Outgoing } from './virtqueue_commands_helper.js';
export { bytesOf, headerOf, type Side } from './virtqueue_packets_helper.js';
export { accounted, guardsStand, LCORE } from './virtqueue_world_helper.js';

export interface MemifShape {
  readonly log2: number; readonly start: number; readonly zeroCopy: boolean; readonly bufferBytes: number;
  readonly clientBuffers: number; readonly serverBuffers: number; readonly cache: number;
}

export const memifShapes: fc.Arbitrary<MemifShape> = fc.record({
  log2: fc.constantFrom(0, 1, 2, 3, 4), start: fc.constantFrom(0, 3, 0xfffd, 0x7ffe), zeroCopy: fc.boolean(), bufferBytes: fc.constantFrom(64, 300, 2048),
  clientBuffers: fc.constantFrom(6, 14), serverBuffers: fc.constantFrom(4, 14), cache: fc.constantFrom(0, 1, 4),
}).map(shape => ({ ...shape, bufferBytes: Math.min(shape.bufferBytes, 16384 >> shape.log2), cache: Math.min(shape.cache, Math.floor(Math.min(shape.clientBuffers, shape.serverBuffers) / 3)) }));

export type MemifCommand =
  | { readonly kind: 'clientSend' | 'serverSend'; readonly frames: readonly Outgoing[] }
  | { readonly kind: 'clientReceive' | 'serverReceive' | 'clientFree' | 'serverFree'; readonly count: number }
  | { readonly kind: 'scribble'; readonly at: number; readonly value: number };

export function memifCommands(hostile: boolean): fc.Arbitrary<MemifCommand[]> {
  const count = fc.integer({ min: 1, max: 14 });
  const usual = [
    ...(['clientSend', 'serverSend'] as const).map(kind => fc.record({ kind: fc.constant(kind), frames: fc.array(plain, { minLength: 1, maxLength: 6 }) })),
    ...(['clientReceive', 'serverReceive', 'clientFree', 'serverFree'] as const).map(kind => fc.record({ kind: fc.constant(kind), count })),
  ];
  const value = fc.oneof(fc.constantFrom(0, 1, 2, 4, 0x8000, 0x00010001, 0xffff, 0x7fffffff, 0xffffffff, 0x3e31f20), fc.integer({ min: 0, max: 0x20001 }), fc.nat({ max: 0xffffffff }));
  const scribble = fc.record({ kind: fc.constant('scribble' as const), at: fc.nat(), value });
  // A descriptor that says it goes on: of random words hardly any leaves a chain without an end.
  const endless = fc.tuple(fc.nat(1), fc.nat(15)).map(([ring, index]) => ({ kind: 'scribble' as const, at: index * 8 + ring, value: MEMIF_DESC_NEXT }));
  return fc.array(fc.oneof(...usual, ...(hostile ? [scribble, scribble, scribble, endless] : [])), { minLength: 1, maxLength: 50, size: 'max' }) as fc.Arbitrary<MemifCommand[]>;
}

export interface MemifWorld {
  readonly lab: Lab;
  readonly vector: number;
  readonly guards: readonly number[];
  /** Changes the frames' contents. */
  seed: number;
  readonly shape: MemifShape;
  readonly client: Side;
  readonly server: Side;
  /** From client to server, and back. */
  readonly rings: readonly [number, number];
}

export function makeMemifWorld(lab: Lab, shape: MemifShape): MemifWorld {
  reset(lab);
  const clients = makePool(lab, { count: shape.clientBuffers, cache: shape.cache, lcores: 2, buffers: true });
  const guards = [guard(lab)];
  align(lab, 2048);
  const servers = makePool(lab, { count: shape.serverBuffers, cache: shape.cache, lcores: 2, buffers: true });
  const size = 1 << shape.log2;
  guards.push(guard(lab));
  const region = reserve(lab, 0);
  const rings = [reserve(lab, RING_DESCS + size * 16), reserve(lab, RING_DESCS + size * 16)] as const;
  const buffers = [0, 1].map(() => shape.zeroCopy ? 0 : reserve(lab, size * shape.bufferBytes));
  const regionBytes = lab.next - region;
  guards.push(guard(lab));
  for (const ring of rings) {
    set(lab, ring, RING_COOKIE, MEMIF_COOKIE);
    lab.u16[(ring + RING_FLAGS) >>> 1] = RING_MASK_INT;
    for (const index of [RING_HEAD, RING_TAIL]) lab.u16[(ring + index) >>> 1] = shape.start;
  }
  const table = reserve(lab, MEMIF_TABLE_BYTES);
  const known = [[region, regionBytes], [lab.base, shape.clientBuffers * 2048]].slice(0, shape.zeroCopy ? 2 : 1);
  set(lab, table, 0, known.length);
  known.forEach(([at, bytes], i) => {
    set(lab, table, MEMIF_TABLE + i * 8, at!);
    set(lab, table, MEMIF_TABLE + i * 8 + 4, bytes!);
  });
  const end = (pool: Pool, ring: number, owner: number, fields: readonly (readonly [number, number])[]): number => makeEnd(lab, pool, shape, ring, owner, fields);
  const server = (ring: number, owner: number): number => end(servers, ring, owner, [[MEMIF_THEIRS, ring + RING_HEAD], [MEMIF_OURS, ring + RING_TAIL], [MEMIF_REGIONS, table]]);
  const client = (ring: number, direction: 'rx' | 'tx', buffer: number): number => end(clients, ring, direction === 'tx' ? 0x03000001 : 0x02000001, [
    [MEMIF_THEIRS, ring + RING_TAIL], [MEMIF_OURS, ring + RING_HEAD], [MEMIF_POSTED, shape.start], [MEMIF_ORIGIN, region],
    [MEMIF_SIDE, shape.zeroCopy ? reserve(lab, size * 4) : 0], [VQ_POOL, lab.base], [VQ_POOL_BYTES, shape.clientBuffers * 2048], [VQ_BUFFER_MASK, 2047],
    [MEMIF_BUFFERS, buffer], [MEMIF_BUFFER_BYTES, shape.bufferBytes], [MEMIF_LEAD, direction === 'tx' ? size : 0], [MEMIF_AHEAD, direction === 'rx' ? size : 0],
  ]);
  const world: MemifWorld = {
    lab, shape, seed: 1, vector: reserve(lab, 256), rings, guards,
    client: { pool: clients, tx: client(rings[0], 'tx', buffers[0]!), rx: client(rings[1], 'rx', buffers[1]!), held: [], shared: [] },
    server: { pool: servers, rx: server(rings[0], 0x02000002), tx: server(rings[1], 0x03000002), held: [], shared: [] },
  };
  handOut(world);
  return world;
}

/** The client's empty buffers, at the beginning. */
function handOut({ lab, shape, client, rings }: MemifWorld): void {
  if (shape.zeroCopy) return void lab.burst.memifZcFill(client.rx, LCORE);
  const size = 1 << shape.log2;
  for (let i = 0; i < size; i++) {
    const at = rings[1] + RING_DESCS + ((shape.start + i) & (size - 1)) * 16;
    set(lab, at, 4, shape.bufferBytes);
    set(lab, at, 8, lab.u32[(client.rx + MEMIF_BUFFERS) >>> 2]! + ((shape.start + i) & (size - 1)) * shape.bufferBytes - lab.u32[(client.rx + MEMIF_ORIGIN) >>> 2]!);
  }
  lab.u16[(rings[1] + RING_HEAD) >>> 1] = shape.start + size;
}

function makeEnd(lab: Lab, pool: Pool, shape: MemifShape, ring: number, owner: number, more: readonly (readonly [number, number])[]): number {
  const queue = makeQueue(lab, pool, { owner });
  const fields = [
    [QUEUE_TABLE, pool.table], [QUEUE_ROOM, ROOM], [VQ_FLAGS, VQ_MERGEABLE], [VQ_READY, 1], [VQ_SIZE, 1 << shape.log2], [VQ_LONGEST, LONGEST],
    [VQ_SCRATCH, reserve(lab, SCRATCH_BYTES)], [VQ_TELL, 7], [MEMIF_RING, ring], [MEMIF_NEXT, shape.start], ...more,
  ] as const;
  for (const [field, value] of fields) set(lab, queue, field, value);
  return queue;
}

export interface Sent { readonly bytes: Buffer; readonly frame: Outgoing; readonly handle: number }

/** Builds frames of new mbufs, as many as the pool has. A second holder of some is noted in the side. */
function stageFrames(stage: MemifWorld, side: Side, frames: readonly Outgoing[]): Sent[] {
  const { lab, vector } = stage;
  const staged: Sent[] = [];
  for (const frame of frames) {
    const count = frame.parts.length;
    if (lab.burst.mbufAlloc(side.pool.offset, LCORE, vector, count) === 0) break;
    const handles = readVector(lab, vector, count);
    handles.forEach((handle, i) => fillPart(stage, side, handle, frame, i, handles[i + 1] ?? 0));
    const head = headerOf(side, handles[0]!);
    lab.u16[(head + MBUF_NB_SEGS) >>> 1] = count;
    set(lab, head, MBUF_PKT_LEN, frame.parts.reduce((sum, part) => sum + part, 0));
    staged.push({ bytes: bytesOf(stage, side, handles[0]!), frame, handle: handles[0]! });
    if (frame.held) {
      lab.u16[(head + 2) >>> 1] = 2;
      side.shared.push(handles[0]!);
    }
  }
  return staged;
}

function fillPart({ lab, seed }: MemifWorld, side: Side, handle: number, { parts, shift }: Outgoing, i: number, next: number): void {
  const header = headerOf(side, handle);
  const offset = HEADROOM + (i === 0 ? shift : 0);
  lab.u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
  lab.u16[(header + MBUF_DATA_LEN) >>> 1] = parts[i]!;
  set(lab, header, MBUF_PKT_LEN, parts[i]!);
  set(lab, header, MBUF_NEXT, next);
  const at = (handle << HANDLE_SHIFT >>> 0) + offset - lab.base;
  for (let byte = 0; byte < parts[i]!; byte++) lab.zone[at + byte] = (seed + i * 31 + byte * 7) & 0xff;
}

/** Frames of new mbufs, offered. */
export function send(world: MemifWorld, side: Side, frames: readonly Outgoing[]): { offered: Sent[]; taken: number } {
  const { lab, vector } = world;
  const offered = stageFrames(world, side, frames);
  writeVector(lab, vector, offered.map(({ handle }) => handle));
  const name = side === world.client && world.shape.zeroCopy ? 'memifZcTx' : 'memifTx';
  const taken = lab.burst[name](side.tx, vector, offered.length, LCORE);
  writeVector(lab, vector, offered.slice(taken).map(({ handle }) => handle));
  lab.burst.mbufFree(side.pool.offset, LCORE, vector, offered.length - taken);
  return { offered, taken };
}

export function receive(world: MemifWorld, side: Side, count: number): number[] {
  const { lab, vector } = world;
  const name = side === world.client && world.shape.zeroCopy ? 'memifZcRx' : 'memifRx';
  const handles = readVector(lab, vector, lab.burst[name](side.rx, vector, count, LCORE));
  side.held.push(...handles);
  return handles;
}

export function free(world: MemifWorld, side: Side, count: number): void {
  const chosen = side.held.splice(0, count);
  writeVector(world.lab, world.vector, chosen);
  world.lab.burst.mbufFree(side.pool.offset, LCORE, world.vector, chosen.length);
}

export function apply(world: MemifWorld, command: MemifCommand): unknown {
  world.seed++;
  switch (command.kind) {
    case 'clientSend': return send(world, world.client, command.frames).taken;
    case 'serverSend': return send(world, world.server, command.frames).taken;
    case 'clientReceive': return receive(world, world.client, command.count);
    case 'serverReceive': return receive(world, world.server, command.count);
    case 'clientFree': return free(world, world.client, command.count);
    case 'serverFree': return free(world, world.server, command.count);
    case 'scribble': return scribble(world, command);
  }
}

/** A word of a ring, as either end could write it at any moment. */
function scribble({ lab, rings, shape }: MemifWorld, { at, value }: MemifCommand & { kind: 'scribble' }): void {
  const ring = rings[at & 1]!;
  const descs = (1 << shape.log2) * 4;
  const word = (at >>> 1) % (descs + 4);
  if (word < descs) set(lab, ring, RING_DESCS + word * 4, value);
  else if (word === descs) lab.u16[(ring + RING_HEAD) >>> 1] = value;
  else if (word === descs + 1) lab.u16[(ring + RING_TAIL) >>> 1] = value;
  else lab.u16[(ring + RING_FLAGS) >>> 1] = value;
}

/**
 * A guest and a host in one memory, without a kernel: the driver's and the device's burst functions at the two ends of a
 * pair of virtqueues, each end with a pool of its own. The host knows the guest's buffers and rings and nothing else of it.
 */
import fc from 'fast-check';
import { HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES } from '../../lib/mbuf/pool_layout.js';
import { QUEUE_ROOM, QUEUE_TABLE } from '../../lib/port/layout.js';
import {
  EXTRA_BYTES, MEMORY_BYTES, OUTSIDE_AREA, OUTSIDE_AREA_BYTES, OUTSIDE_BYTES, OUTSIDE_CHAIN, OUTSIDE_REGIONS, REGIONS, REGION_BYTES, REGION_OFFSET, REGION_OUTSIDE, REGION_SHIFT, REGION_START, SCRATCH_BYTES, VQ_AVAIL, VQ_BUFFER_MASK, VQ_DESC,
  VQ_EVENT_IDX, VQ_EXTRA, VQ_FLAGS, VQ_FREE, VQ_HEADER, VQ_IN_ORDER, VQ_INDIRECT, VQ_INFLIGHT, VQ_IOVA, VQ_LONGEST, VQ_MEMORY, VQ_MERGEABLE, VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_OUTSIDE,
  VQ_PACKED, VQ_POOL, VQ_POOL_BYTES, VQ_READY, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_TELL, VQ_USED,
} from '../../lib/virtqueue/layout.js';
import { ELSEWHERE, get, makePool, makeQueue, readVector, reserve, reset, ringContents, set, writeVector, type Lab, type Pool } from './layout_helper.js';

export const LCORE = 1;
export const ROOM = 2048 - HEADROOM;
export const LONGEST = 4000;
/** What the guest's addresses are: its offset in the arena and this. */
const IOVA = 0x1_0000_0000n;
const GUARD = 0xa5;
/** Of the guest's send queue. */
const TX_OWNER = 0x03000001;

export interface VqShape {
  readonly packed: boolean; readonly size: number; readonly start: number; readonly mergeable: boolean; readonly indirect: boolean;
  readonly eventIdx: boolean; readonly inOrder: boolean; readonly header: number; readonly outside: boolean; readonly guestBuffers: number; readonly hostBuffers: number; readonly cache: number;
}

export const vqShapes: fc.Arbitrary<VqShape> = fc.record({
  packed: fc.boolean(), power: fc.constantFrom(4, 8, 16), odd: fc.constantFrom(4, 5, 7, 8, 16), start: fc.constantFrom(0, 3, 0xfffd, 0x7ffe),
  mergeable: fc.boolean(), indirect: fc.boolean(), eventIdx: fc.boolean(), inOrder: fc.boolean(), header: fc.constantFrom(12, 12, 10), outside: fc.boolean(),
  guestBuffers: fc.constantFrom(6, 14), hostBuffers: fc.constantFrom(4, 14), cache: fc.constantFrom(0, 1, 4),
}).map(({ power, odd, start, ...shape }) => ({
  ...shape,
  size: shape.packed ? odd : power,
  start: shape.packed ? start & 0x8000 | (start % odd) : start,
  header: shape.mergeable ? 12 : shape.header,
  cache: Math.min(shape.cache, Math.floor(Math.min(shape.guestBuffers, shape.hostBuffers) / 3)),
}));

/** The lengths of its segments, at least one; `shift` moves its front into the headroom or away from it; `held` gives it a second holder. */
export interface Outgoing { readonly parts: readonly number[]; readonly shift: number; readonly held: boolean }
export type VqCommand =
  | { readonly kind: 'guestSend' | 'hostSend'; readonly frames: readonly Outgoing[] }
  | { readonly kind: 'guestReceive' | 'hostReceive' | 'guestFree' | 'hostFree'; readonly count: number }
  | { readonly kind: 'scribble'; readonly place: 'desc' | 'avail' | 'used' | 'extra'; readonly at: number; readonly value: number };

const outgoing: fc.Arbitrary<Outgoing> = fc.record({
  parts: fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.integer({ min: 14, max: ROOM })) },
    { weight: 2, arbitrary: fc.array(fc.integer({ min: 1, max: ROOM }), { minLength: 2, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(0, 13)) },
  ),
  shift: fc.constantFrom(0, 0, 0, -200, -250, 40), held: fc.constantFrom(false, false, false, false, true),
}).map(({ parts, shift, held }) => ({ parts: (parts as number[]).map(part => shift > 0 ? Math.min(part, ROOM - shift) : part), shift, held: held && parts.length === 1 }));

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

export interface Side {
  readonly pool: Pool;
  readonly rx: number;
  readonly tx: number;
  /** The program's mbufs; and those that it has a second hold on, which it may give up once they were sent. */
  readonly held: number[];
  readonly shared: number[];
}

export interface VqWorld {
  readonly lab: Lab;
  readonly shape: VqShape;
  readonly guest: Side;
  readonly host: Side;
  readonly vector: number;
  /** The two rings' memory, that both sides write. */
  readonly shared: readonly Rings[];
  readonly guards: readonly number[];
  seed: number;
}

const align = (lab: Lab, to: number): void => { lab.next = Math.ceil(lab.next / to) * to; };

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
  if (shape.outside) set(lab, memory, 0, 0);
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
  if (shape.outside) set(lab, queue, VQ_OUTSIDE, makeOutside(lab, memory));
  return queue;
}

/** All that the guest shares is elsewhere, as far as the host knows: what was in its memory table is in another, at addresses that only `copy` knows. */
function makeOutside(lab: Lab, memory: number): number {
  const [outside, regions] = [reserve(lab, OUTSIDE_BYTES), reserve(lab, MEMORY_BYTES)];
  const [chain, count] = [LONGEST + 12, get(lab, memory, 0)];
  const area = reserve(lab, 3 * chain);
  lab.zone.copy(lab.zone, regions - lab.base, memory - lab.base, memory - lab.base + MEMORY_BYTES);
  for (let i = 0; i < count; i++) lab.u64[(regions + REGIONS + (i << REGION_SHIFT) + REGION_OUTSIDE) / 8] = ELSEWHERE + BigInt(get(lab, regions + REGIONS + (i << REGION_SHIFT), REGION_OFFSET));
  for (const [field, value] of [[OUTSIDE_REGIONS, regions], [OUTSIDE_AREA, area], [OUTSIDE_AREA_BYTES, 3 * chain], [OUTSIDE_CHAIN, chain]] as const) set(lab, outside, field, value);
  return outside;
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

/** Bytes beside what the guest shares, which nobody may ever write. */
function guard(lab: Lab): number {
  const at = reserve(lab, 256);
  lab.zone.fill(GUARD, at - lab.base, at - lab.base + 256);
  return at;
}

export function guardsStand({ lab, guards }: VqWorld): boolean {
  return guards.every(at => lab.zone.subarray(at - lab.base, at - lab.base + 256).every(byte => byte === GUARD));
}

export const headerOf = ({ pool }: Side, handle: number): number => (pool.table + handle * HEADER_BYTES) >>> 0;

/** A frame's bytes over all its segments. */
export function bytesOf({ lab }: VqWorld, side: Side, first: number): Buffer {
  const parts: Buffer[] = [];
  let handle = first;
  for (let left = lab.u16[(headerOf(side, first) + MBUF_NB_SEGS) >>> 1]!; left > 0; left--) {
    const header = headerOf(side, handle);
    const at = (handle << HANDLE_SHIFT >>> 0) + lab.u16[(header + MBUF_DATA_OFF) >>> 1]! - lab.base;
    parts.push(lab.zone.subarray(at, at + lab.u16[(header + MBUF_DATA_LEN) >>> 1]!));
    handle = get(lab, header, MBUF_NEXT);
  }
  return Buffer.concat(parts);
}

export interface Sent { readonly bytes: Buffer; readonly frame: Outgoing }

/** Builds frames of new mbufs and offers them. Returns what was offered and how many were taken; the rest is freed. */
export function send(world: VqWorld, side: Side, frames: readonly Outgoing[]): { offered: Sent[]; taken: number } {
  const { lab, vector } = world;
  const [offered, heads]: [Sent[], number[]] = [[], []];
  for (const frame of frames) {
    const count = frame.parts.length;
    if (lab.burst.mbufAlloc(side.pool.offset, LCORE, vector, count) === 0) break;
    const handles = readVector(lab, vector, count);
    handles.forEach((handle, i) => fillPart(world, side, handle, frame, i, handles[i + 1] ?? 0));
    const head = headerOf(side, handles[0]!);
    lab.u16[(head + MBUF_NB_SEGS) >>> 1] = count;
    set(lab, head, MBUF_PKT_LEN, frame.parts.reduce((sum, part) => sum + part, 0));
    offered.push({ bytes: bytesOf(world, side, handles[0]!), frame });
    if (frame.held) {
      lab.u16[(head + 2) >>> 1] = 2;
      side.shared.push(handles[0]!);
    }
    heads.push(handles[0]!);
  }
  writeVector(lab, vector, heads);
  const taken = side === world.guest ? lab.burst.virtioTx(side.tx, vector, heads.length, LCORE) : lab.burst.vhostTx(side.tx, vector, heads.length, LCORE);
  writeVector(lab, vector, heads.slice(taken));
  lab.burst.mbufFree(side.pool.offset, LCORE, vector, heads.length - taken);
  return { offered, taken };
}

function fillPart({ lab, ...world }: VqWorld, side: Side, handle: number, { parts, shift }: Outgoing, i: number, next: number): void {
  const header = headerOf(side, handle);
  const offset = HEADROOM + (i === 0 ? shift : 0);
  lab.u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
  lab.u16[(header + MBUF_DATA_LEN) >>> 1] = parts[i]!;
  set(lab, header, MBUF_PKT_LEN, parts[i]!);
  set(lab, header, MBUF_NEXT, next);
  const at = (handle << HANDLE_SHIFT >>> 0) + offset - lab.base;
  for (let byte = 0; byte < parts[i]!; byte++) lab.zone[at + byte] = (world.seed + i * 31 + byte * 7) & 0xff;
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

/** Whatever the program holds, and whatever is in the rings, counted by mbufs: the whole pool. */
export function accounted({ lab }: VqWorld, side: Side, ...owners: readonly number[]): number {
  const cached = [0, 1].map(core => get(lab, side.pool.offset, POOL_CACHES + core * CACHE_STRIDE + CACHE_LENGTH));
  const listed = ringContents(lab, side.pool.ring).length + cached[0]! + cached[1]!;
  const out = side.pool.handles.filter(handle => owners.includes(get(lab, headerOf(side, handle), MBUF_OWNER))).length;
  return listed + out;
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

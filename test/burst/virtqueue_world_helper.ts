/**
 * A guest and a host in one memory, without a kernel: the driver's and the device's burst functions at the two ends of a
 * pair of virtqueues, each end with a pool of its own. The host knows the guest's buffers and rings and nothing else of it.
 */
import { HANDLE_SHIFT, HEADROOM, MBUF_NB_SEGS, MBUF_OWNER, MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES } from '../../lib/mbuf/pool_layout.js';
import { QUEUE_ROOM, QUEUE_TABLE } from '../../lib/port/layout.js';
import {
  EXTRA_BYTES, MEMORY_BYTES, OFFLOAD_CSUM, OFFLOAD_FINISH, OFFLOAD_HASH, OUTSIDE_AREA, OUTSIDE_AREA_BYTES, OUTSIDE_BYTES, OUTSIDE_CHAIN,
  OUTSIDE_REGIONS, REGIONS, REGION_BYTES, REGION_OFFSET, REGION_OUTSIDE, REGION_SHIFT, REGION_START, SCRATCH_BYTES, VQ_AVAIL,
  VQ_BUFFER_MASK, VQ_DESC, VQ_EVENT_IDX, VQ_EXTRA, VQ_FLAGS, VQ_FREE, VQ_HEADER, VQ_IN_ORDER, VQ_INDIRECT, VQ_INFLIGHT, VQ_IOVA, VQ_LONGEST,
  VQ_MEMORY, VQ_MERGEABLE, VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_OFFLOADS, VQ_OUTSIDE, VQ_PACKED, VQ_POOL, VQ_POOL_BYTES, VQ_READY, VQ_ROOM,
  VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_TELL, VQ_USED,
} from '../../lib/virtqueue/layout.js';
import {
  ELSEWHERE, get, makePool, makeQueue, readVector, reserve, reset, ringContents, set, writeVector, type Lab, type Pool,
} from './layout_helper.js';
import { LONGEST, LONGEST_UNCUT, ROOM, type Outgoing, type VqCommand, type VqShape } from './virtqueue_commands_helper.js';
import { askFor, bytesOf, fillPart, headerOf, writePacket, type Side } from './virtqueue_packets_helper.js';

export const LCORE = 1;
/** What the guest's addresses are: its offset in the arena and this. */
const IOVA = 0x1_0000_0000n;
const GUARD = 0xa5;
/** Of the guest's send queue. */
const TX_OWNER = 0x03000001;

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

export const align = (lab: Lab, to: number): void => { lab.next = Math.ceil(lab.next / to) * to; };

export function makeVqWorld(lab: Lab, shape: VqShape): VqWorld {
  reset(lab);
  const guests = makePool(lab, { count: shape.guestBuffers, cache: shape.cache, lcores: 2, buffers: true });
  const guards = [guard(lab)];
  align(lab, 2048);
  const hosts = makePool(lab, { count: shape.hostBuffers, cache: shape.cache, lcores: 2, buffers: true });
  const memory = reserve(lab, MEMORY_BYTES);
  const finishes = shape.finish === true && (shape.offloads & OFFLOAD_CSUM) !== 0;
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
  if (finishes) {
    set(lab, world.guest.rx, VQ_OFFLOADS, OFFLOAD_CSUM | OFFLOAD_FINISH);
    set(lab, world.host.tx, VQ_OFFLOADS, OFFLOAD_CSUM);
  }
  if (shape.header === 20) set(lab, world.guest.rx, VQ_OFFLOADS, get(lab, world.guest.rx, VQ_OFFLOADS) | OFFLOAD_HASH);
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
  for (let i = 0; i < shape.size; i++) lab.u16[(free >>> 1) + i] = (i + (shape.firstId ?? 0)) % shape.size;
  const fields = [
    [VQ_POOL, lab.base], [VQ_POOL_BYTES, bufferBytes], [VQ_BUFFER_MASK, 2047], [VQ_SIDE, side], [VQ_FREE, free],
    [VQ_ROOM, shape.size], [VQ_EXTRA, rings.extra], [VQ_LONGEST, shape.offloads === 0 || owner !== TX_OWNER ? LONGEST : LONGEST_UNCUT],
  ] as const;
  for (const [field, value] of fields) set(lab, queue, field, value);
  lab.u64[(queue + VQ_IOVA) / 8] = IOVA;
  return queue;
}

function makeDevice(lab: Lab, pool: Pool, shape: VqShape, rings: Rings, memory: number, owner: number): number {
  const queue = makeVirtqueue(lab, pool, shape, rings, owner);
  set(lab, queue, VQ_MEMORY, memory);
  set(lab, queue, VQ_INFLIGHT, reserve(lab, 64));
  if (shape.outside) set(lab, queue, VQ_OUTSIDE, makeOutside(lab, memory, shape.offloads === 0 ? LONGEST : LONGEST_UNCUT));
  return queue;
}

/** All that the guest shares is elsewhere, as far as the host knows: what was in its memory table is in another, at addresses that only `copy` knows. */
function makeOutside(lab: Lab, memory: number, longest: number): number {
  const [outside, regions] = [reserve(lab, OUTSIDE_BYTES), reserve(lab, MEMORY_BYTES)];
  const [chain, count] = [longest + 20, get(lab, memory, 0)];
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
    [VQ_SCRATCH, reserve(lab, SCRATCH_BYTES)], [VQ_TELL, 7], [VQ_OFFLOADS, shape.offloads],
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
export function guard(lab: Lab): number {
  const at = reserve(lab, 256);
  lab.zone.fill(GUARD, at - lab.base, at - lab.base + 256);
  return at;
}

export function guardsStand({ lab, guards }: Pick<VqWorld, 'lab' | 'guards'>): boolean {
  return guards.every(at => lab.zone.subarray(at - lab.base, at - lab.base + 256).every(byte => byte === GUARD));
}

export interface Sent { readonly bytes: Buffer; readonly frame: Outgoing }

/** Builds frames of new mbufs and offers them, with `written` at byte `where` of those that are so long. Returns what was offered and how many were taken; the rest is freed. */
export function send(world: VqWorld, side: Side, frames: readonly Outgoing[], written: readonly number[] = [], where = 0): { offered: Sent[]; taken: number } {
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
    if (frame.packet !== undefined) writePacket(world, side, handles[0]!, frame, frame.packet);
    const part = Math.floor(where / ROOM);
    if (part < count) lab.zone.set(written, (handles[part]! << HANDLE_SHIFT >>> 0) + HEADROOM + where % ROOM - lab.base);
    offered.push({ bytes: bytesOf(world, side, handles[0]!), frame });
    if (frame.held) {
      lab.u16[(head + 2) >>> 1] = 2;
      side.shared.push(handles[0]!);
    }
    heads.push(handles[0]!);
  }
  writeVector(lab, vector, heads);
  const taken = side === world.guest ? lab.burst.virtioTx(side.tx, vector, heads.length, LCORE) : lab.burst.vhostTx(side.tx, vector, heads.length, LCORE);
  // Where no flag says it, the guest writes over the headers.
  if (side === world.guest) heads.slice(0, taken).forEach((head, i) => askFor(world, side, head, offered[i]!.frame));
  writeVector(lab, vector, heads.slice(taken));
  lab.burst.mbufFree(side.pool.offset, LCORE, vector, heads.length - taken);
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

/** Whatever the program holds, and whatever is in the rings, counted by mbufs: the whole pool. */
export function accounted({ lab }: Pick<VqWorld, 'lab'>, side: Side, ...owners: readonly number[]): number {
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
    case 'header': return overwrite(world, command);
    case 'scribble': return scribble(world, command);
  }
}

/** A word of the rings' memory, as either side could write it at any moment. */
function scribble({ lab, shared, shape }: VqWorld, { place, at, value }: VqCommand & { kind: 'scribble' }): void {
  const rings = shared[at & 1]!;
  const words = { desc: shape.size * 4, avail: shape.packed ? 1 : 2, used: shape.packed ? 1 : 4, extra: shape.size * EXTRA_BYTES / 4 }[place];
  set(lab, rings[place], ((at >>> 1) % words) * 4, value);
}

/** A word of the header of a frame that the guest has not looked at yet, as a device could write it. */
function overwrite({ lab, shape, guest }: VqWorld, { at, value }: VqCommand & { kind: 'header' }): void {
  const handle = get(lab, get(lab, guest.rx, VQ_SIDE) + (at % shape.size) * 8);
  const field = (Math.floor(at / shape.size) % 5) * 4;
  const to = (handle << HANDLE_SHIFT >>> 0) + HEADROOM - shape.header + field - lab.base;
  for (let byte = 0; handle !== 0 && byte < Math.min(4, shape.header - field); byte++) lab.zone[to + byte] = (value >>> 8 * byte) & 0xff;
}

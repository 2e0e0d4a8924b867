/**
 * A laboratory for the burst functions: a raw memory with rings, pools and queues laid out by hand from the layout
 * constants. It knows nothing of Arena, Ring and Mempool, so that a mistake in those cannot hide one in these.
 */
import { wasm, type WasmMemory } from '../../lib/arena/webassembly.js';
import type { BurstFunctions, BurstHooks } from '../../lib/burst/functions.js';
import { instantiate, type BurstBuild } from '../../lib/burst/module.js';
import { BUFFER_UNIT, HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_BUF_LEN, MBUF_PKT_LEN, MBUF_PLAIN, MBUF_POOL, MBUF_REFCNT } from '../../lib/mbuf/layout.js';
import {
  CACHE_STRIDE, POOL_BUF_LEN, POOL_CACHE, POOL_CACHES, POOL_COUNT, POOL_FIRST, POOL_FRONT, POOL_KIND, POOL_MAGIC, POOL_RING, POOL_ROOM, POOL_SPAN, POOL_SPREAD,
  POOL_STEP_MASK, POOL_TABLE,
} from '../../lib/mbuf/pool_layout.js';
import { NULL_FRAME, RING_PORT_BYTES, RING_PORT_RING } from '../../lib/port/drivers/memory_layout.js';
import { QUEUE_BYTES_TOTAL, QUEUE_KIND, QUEUE_MAGIC, QUEUE_OWNER, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../lib/port/layout.js';
import { RING_CONS, RING_FLAGS, RING_KIND, RING_MAGIC, RING_OWNER, RING_PROD, RING_SIZE, RING_SLOTS, RING_TABLE } from '../../lib/ring/layout.js';

/** Everything that a test lays out stands in here; it is compared whole. */
export const ZONE_BYTES = 256 * 1024;
export const LOW_BASE = 0x10000;
/** Above 2^31, where an offset is no small integer any more and bit operators make it negative. */
export const HIGH_BASE = 0x90000000;

export interface Hooks { fault: NonNullable<BurstHooks['fault']>; misuse: NonNullable<BurstHooks['misuse']> }

export interface Lab {
  readonly name: string;
  readonly memory: WasmMemory;
  readonly burst: BurstFunctions;
  readonly checks: boolean;
  /** What the hooks do now; only where `checks`. */
  readonly hooks: Hooks;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  /** The zone as bytes. */
  readonly zone: Buffer;
  readonly base: number;
  /** Where the next thing will stand. */
  next: number;
}

export interface LabOptions { readonly build: BurstBuild; readonly checks?: boolean; readonly base?: number }

/** All the implementations that a property runs on. */
export const IMPLEMENTATIONS: readonly LabOptions[] = [
  { build: 'fast' }, { build: 'portable' }, { build: 'checking', checks: true }, { build: 'twin' }, { build: 'twin', checks: true },
];
/** Those that tell of misuse and can be made to die. */
export const CHECKING = IMPLEMENTATIONS.filter(({ checks }) => checks === true);

/** What a test calls memory that is not in the arena: this, and an offset in it. */
export const ELSEWHERE = 0x7e00_0000_0000n;

/** In place of the native call that copies lists of pieces (virtqueue/layout.ts, OUTSIDE_LIST). */
function copierOf(buffer: SharedArrayBuffer): (list: number, count: number, out: number) => void {
  const [u8, u32, u64] = [new Uint8Array(buffer), new Uint32Array(buffer), new BigUint64Array(buffer)];
  return (list, count, out) => {
    for (let at = list >>> 0; count > 0; count--, at += 16) {
      const [there, here, bytes] = [Number(u64[at / 8]! - ELSEWHERE), u32[(at + 8) >>> 2]!, u32[(at + 12) >>> 2]!];
      u8.copyWithin(out === 0 ? here : there, out === 0 ? there : here, (out === 0 ? there : here) + bytes);
    }
  };
}

export function makeLab({ build, checks = false, base = LOW_BASE }: LabOptions): Lab {
  const pages = Math.ceil((base + ZONE_BYTES) / 65536);
  const memory = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
  const hooks: Hooks = { fault: () => {}, misuse: () => {} };
  // The hooks in use can be changed afterwards, so what is handed over looks them up.
  const copy = copierOf(memory.buffer);
  const forward: BurstHooks = checks ? { copy, fault: point => hooks.fault(point), misuse: (...of) => hooks.misuse(...of) } : { copy };
  const high = base >= 2 ** 31 ? ', above 2 GiB' : '';
  return {
    name: `${build}${checks && build === 'twin' ? ' with hooks' : ''}${high}`,
    memory, checks, hooks, base, next: base,
    burst: instantiate(memory, build, forward),
    u16: new Uint16Array(memory.buffer), u32: new Uint32Array(memory.buffer), u64: new BigUint64Array(memory.buffer),
    zone: Buffer.from(memory.buffer, base, ZONE_BYTES),
  };
}

/** Empties the zone; hooks do nothing again. */
export function reset(lab: Lab): void {
  lab.zone.fill(0);
  lab.next = lab.base;
  lab.hooks.fault = () => {};
  lab.hooks.misuse = () => {};
}

/** A piece of the zone, on a line of its own. */
export function reserve(lab: Lab, bytes: number): number {
  const offset = lab.next;
  lab.next += Math.ceil(bytes / 128) * 128;
  if (lab.next > lab.base + ZONE_BYTES) throw new RangeError('the test asks for more than its zone has');
  return offset;
}

export function get(lab: Lab, at: number, field = 0): number {
  return lab.u32[(at + field) >>> 2];
}

export function set(lab: Lab, at: number, field: number, value: number): void {
  lab.u32[(at + field) >>> 2] = value;
}

export function get64(lab: Lab, at: number, field: number): number {
  return Number(lab.u64[(at + field) / 8]);
}

export interface RingShape { readonly size: number; readonly start?: number; readonly flags?: number; readonly owner?: number; readonly table?: number }

/** An empty ring whose indices both stand at `start`. */
export function makeRing(lab: Lab, { size, start = 0, flags = 0, owner = 0, table = 0 }: RingShape): number {
  const ring = reserve(lab, RING_SLOTS + size * 4);
  const fields = [
    [RING_KIND, RING_MAGIC], [RING_SIZE, size], [RING_FLAGS, flags], [RING_OWNER, owner], [RING_TABLE, table],
    [RING_PROD, start], [RING_CONS, start],
  ] as const;
  for (const [field, value] of fields) set(lab, ring, field, value);
  return ring;
}

/** What stands in a ring, first to last. */
export function ringContents(lab: Lab, ring: number): number[] {
  const [first, size] = [get(lab, ring, RING_CONS), get(lab, ring, RING_SIZE)];
  const count = (get(lab, ring, RING_PROD) - first) >>> 0;
  return Array.from({ length: count }, (_, i) => get(lab, ring, RING_SLOTS + ((first + i) & (size - 1)) * 4));
}

export interface Pool {
  readonly offset: number;
  readonly ring: number;
  readonly table: number;
  readonly handles: readonly number[];
}

export interface PoolShape {
  readonly count: number; readonly cache: number; readonly lcores: number; readonly units?: 1 | 2; readonly start?: number; readonly front?: number; readonly spread?: number;
  /** The buffers are in the zone too, for functions that touch contents. */
  readonly buffers?: boolean;
  /** The first handle of buffers that are nowhere. Default 1000. */
  readonly first?: number;
}

/** A pool with all its mbufs in its ring. Its buffers are nowhere unless asked for: most functions never touch contents. */
export function makePool(lab: Lab, { count, cache, lcores, units = 1, start = 0, front = HEADROOM, spread = 0, buffers = false, first: nowhere = 1000 }: PoolShape): Pool {
  // The zone starts at a multiple of a buffer, and buffers come first in it.
  const first = buffers ? reserve(lab, count * units * BUFFER_UNIT) >>> HANDLE_SHIFT : nowhere;
  const offset = reserve(lab, POOL_CACHES + lcores * CACHE_STRIDE);
  const ring = makeRing(lab, { size: 2 ** Math.ceil(Math.log2(Math.max(count, 2))), start });
  // The table has a header for each handle from 0 on; only the pool's own are in the zone.
  const table = reserve(lab, count * units * HEADER_BYTES) - first * HEADER_BYTES;
  const fields = [
    [POOL_KIND, POOL_MAGIC], [POOL_COUNT, count], [POOL_RING, ring], [POOL_FIRST, first], [POOL_SPAN, count * units],
    [POOL_CACHE, cache], [POOL_TABLE, table], [POOL_STEP_MASK, units - 1], [POOL_BUF_LEN, 2048 * units], [POOL_ROOM, 2048 * units - HEADROOM - spread], [POOL_FRONT, front], [POOL_SPREAD, spread],
  ] as const;
  for (const [field, value] of fields) set(lab, offset, field, value);
  const handles = Array.from({ length: count }, (_, i) => first + i * units);
  handles.forEach((handle, i) => {
    setPlain(lab, table + handle * HEADER_BYTES);
    set(lab, table + handle * HEADER_BYTES, MBUF_POOL, offset);
    set(lab, table + handle * HEADER_BYTES, MBUF_BUF_LEN, 2048 * units);
    set(lab, ring, RING_SLOTS + ((start + i) & (get(lab, ring, RING_SIZE) - 1)) * 4, handle);
  });
  set(lab, ring, RING_PROD, start + count);
  return { offset, ring, table, handles };
}

/** One holder, one segment. */
export function setPlain(lab: Lab, header: number): void {
  lab.u16[(header + MBUF_REFCNT) >>> 1] = MBUF_PLAIN & 0xffff;
  lab.u16[(header + MBUF_REFCNT + 2) >>> 1] = MBUF_PLAIN >>> 16;
}

export interface QueueShape { readonly owner?: number; readonly frame?: number; readonly ring?: number; readonly bytes?: boolean }

export function makeQueue(lab: Lab, pool: Pool, { owner = 0, frame = 0, ring = 0, bytes = true }: QueueShape): number {
  const queue = reserve(lab, QUEUE_BYTES_TOTAL);
  const fields = [[QUEUE_KIND, QUEUE_MAGIC], [QUEUE_POOL, pool.offset], [QUEUE_TABLE, pool.table], [QUEUE_OWNER, owner]] as const;
  for (const [field, value] of fields) set(lab, queue, field, value);
  if (ring === 0) set(lab, queue, NULL_FRAME, frame);
  else for (const [field, value] of [[RING_PORT_RING, ring], [RING_PORT_BYTES, bytes ? 1 : 0]] as const) set(lab, queue, field, value);
  lab.u16[(queue + QUEUE_TEMPLATE) >>> 1] = HEADROOM;
  setPlain(lab, queue + QUEUE_TEMPLATE);
  set(lab, queue, QUEUE_TEMPLATE + MBUF_PKT_LEN, frame);
  lab.u16[(queue + QUEUE_TEMPLATE + MBUF_PKT_LEN + 4) >>> 1] = frame;
  return queue;
}

export function writeVector(lab: Lab, at: number, values: readonly number[]): void {
  lab.u32.set(values, at >>> 2);
}

export function readVector(lab: Lab, at: number, count: number): number[] {
  return Array.from(lab.u32.subarray(at >>> 2, (at >>> 2) + count));
}

/** What a test throws to kill a party. */
export class Death extends Error {}

/** Runs `work`, with the party's death at its first pass of `point`. True when it died. */
export function dieAt(lab: Lab, point: number, work: () => unknown): boolean {
  lab.hooks.fault = at => { if (at === point) throw new Death(); };
  try {
    work();
    return false;
  } catch (error) {
    if (error instanceof Death) return true;
    throw error;
  } finally {
    lab.hooks.fault = () => {};
  }
}

/** The whole zone, byte by byte. */
export function expectSameBytes(left: Lab, right: Lab): void {
  if (left.zone.equals(right.zone)) return;
  const at = left.zone.findIndex((byte, i) => byte !== right.zone[i]) & ~3;
  throw new Error(`at ${at} of the zone: ${left.zone.readUInt32LE(at)} and ${right.zone.readUInt32LE(at)}`);
}

/** Throws, so that fast-check can shrink. */
export function expectEqual(found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`found ${a}, wanted ${b}`);
}

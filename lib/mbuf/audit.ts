import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { LCORE_MAX, ZONE_RING } from '../arena/layout.js';
import { RING_CONS, RING_OWNER, RING_PROD, RING_SIZE, RING_SLOTS } from '../ring/layout.js';
import { HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_POOL, OWNER_RING, OWNER_RX, OWNER_SHARED, OWNER_SHIFT, OWNER_TX } from './layout.js';
import { CACHE_LENGTH, CACHE_SLOTS, CACHE_STRIDE, POOL_CACHES, POOL_COUNT, POOL_FIRST, POOL_RING, POOL_STEP_MASK } from './pool_layout.js';

/** Where each mbuf of a pool is. `free + app + rx + tx + ring + stray === total` always. */
export interface PoolAudit {
  readonly total: number;
  /** In the shared ring of free handles, or in an lcore's cache. */
  readonly free: number;
  readonly cached: number;
  /** Held by programs. */
  readonly app: number;
  /** Given to ports, to be filled or to be sent. */
  readonly rx: number;
  readonly tx: number;
  /** In rings between lcores. */
  readonly ring: number;
  /** Owned by the pool but listed nowhere: what a death or a double fault left. `reclaim` brings them back. */
  readonly stray: number;
  /** Listed as free twice, or listed and owned by somebody or in a ring: always 0 unless a program freed what was not its own. */
  readonly twice: number;
  /** The same by name: `lcore 3`, `port 0 rx 1`, `ring x`. */
  readonly owners: ReadonlyMap<string, number>;
}

export function auditPool(arena: Arena, pool: number): PoolAudit {
  const listed = listFree(arena, pool);
  const between = inRings(arena);
  const tally = { app: 0, rx: 0, tx: 0, ring: 0, stray: 0, free: 0 };
  const owners = new Map<string, number>();
  let twice = listed.twice;
  for (const handle of handles(arena, pool)) {
    const owner = arena.u32[(((arena.table + (handle << HEADER_SHIFT)) >>> 0) + MBUF_OWNER) >>> 2]!;
    const ring = between.get(handle);
    const where = listed.seen.has(handle) ? 'free' : ring !== undefined ? 'ring' : whereIs(owner >>> OWNER_SHIFT);
    if (where === 'free' && (owner >>> OWNER_SHIFT !== OWNER_POOL || ring !== undefined)) twice++;
    tally[where]++;
    const name = where === 'free' ? 'pool' : where === 'stray' ? 'stray' : ring !== undefined ? `ring ${ring.name}` : ownerName(arena, owner);
    owners.set(name, (owners.get(name) ?? 0) + 1);
  }
  return { total: arena.u32[(pool + POOL_COUNT) >>> 2]!, cached: listed.cached, ...tally, twice, owners };
}

/** Of what is neither listed as free nor in a ring. */
function whereIs(kind: number): 'stray' | 'app' | 'rx' | 'tx' | 'ring' {
  if (kind === OWNER_APP) return 'app';
  if (kind === OWNER_RX) return 'rx';
  if (kind === OWNER_TX) return 'tx';
  return kind === OWNER_RING ? 'ring' : 'stray';
}

/** Words for an owner word. */
export function ownerName(arena: Arena, owner: number): string {
  const which = owner & 0xffffff;
  switch (owner >>> OWNER_SHIFT) {
    case OWNER_POOL: return 'pool';
    case OWNER_APP: return owner === OWNER_SHARED ? 'several lcores' : `lcore ${which}`;
    case OWNER_RX: return `port ${which >>> 8} rx ${which & 0xff}`;
    case OWNER_TX: return `port ${which >>> 8} tx ${which & 0xff}`;
    case OWNER_RING: return `ring ${arena.zones().find(zone => zone.type === ZONE_RING && zone.index === which)?.name ?? which}`;
    default: return `unknown owner 0x${owner.toString(16)}`;
  }
}

/** Every handle of a pool, in order. */
export function* handles(arena: Arena, pool: number): Generator<number> {
  const first = arena.u32[(pool + POOL_FIRST) >>> 2]!;
  const step = arena.u32[(pool + POOL_STEP_MASK) >>> 2]! + 1;
  const count = arena.u32[(pool + POOL_COUNT) >>> 2]!;
  for (let i = 0; i < count; i++) yield first + i * step;
}

/** The free handles that the ring and the caches name. */
export function listFree(arena: Arena, pool: number): { seen: Set<number>; cached: number; twice: number } {
  const seen = new Set<number>();
  let twice = 0;
  const note = (handle: number): void => {
    if (seen.has(handle)) twice++;
    seen.add(handle);
  };
  for (const handle of ringHandles(arena, arena.u32[(pool + POOL_RING) >>> 2]!)) note(handle);
  let cached = 0;
  for (let lcore = 0; lcore < LCORE_MAX; lcore++) {
    const cache = pool + POOL_CACHES + lcore * CACHE_STRIDE;
    const length = arena.u32[(cache + CACHE_LENGTH) >>> 2]!;
    cached += length;
    for (let i = 0; i < length; i++) note(arena.u32[(cache + CACHE_SLOTS + i * 4) >>> 2]!);
  }
  return { seen, cached, twice };
}

/**
 * What lies in rings of mbufs, all segments, and in which ring; exact while nobody uses them. Beside traffic, what stays
 * in a ring for as long as this looks is found for certain.
 */
export function inRings(arena: Arena): Map<number, Memzone> {
  const found = new Map<number, Memzone>();
  for (const zone of arena.zones()) {
    if (zone.type !== ZONE_RING || arena.u32[(zone.offset + RING_OWNER) >>> 2] === 0) continue;
    for (const first of ringHandles(arena, zone.offset)) for (const handle of segments(arena, first)) found.set(handle, zone);
  }
  return found;
}

/** A packet's mbufs. Bounded, and within the arena, whatever the headers say. */
function* segments(arena: Arena, first: number): Generator<number> {
  const end = arena.u32.length / 512; // handles of buffers of 2048 bytes
  const header = (handle: number): number => (arena.table + (handle << HEADER_SHIFT)) >>> 0;
  if (first >= end) return;
  yield first;
  let handle = first;
  for (let left = arena.u16[(header(first) + MBUF_NB_SEGS) >>> 1]!; left > 1; left--) {
    handle = arena.u32[(header(handle) + MBUF_NEXT) >>> 2]!;
    if (handle === 0 || handle >= end) return;
    yield handle;
  }
}

/** What a ring holds, in order; exact while nobody uses it. */
export function* ringHandles(arena: Arena, ring: number): Generator<number> {
  const size = arena.u32[(ring + RING_SIZE) >>> 2]!;
  const start = Atomics.load(arena.u32, (ring + RING_CONS) >>> 2);
  const count = Math.min((Atomics.load(arena.u32, (ring + RING_PROD) >>> 2) - start) >>> 0, size);
  for (let i = 0; i < count; i++) yield arena.u32[((ring + RING_SLOTS) >>> 2) + ((start + i) & (size - 1))]!;
}

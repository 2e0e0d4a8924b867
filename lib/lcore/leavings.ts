/**
 * What a dead lcore had made for itself alone: a flow table or a tree of disciplines is run by the thread that made it, and
 * the rest of it was in that thread's heap. So its zones go, and what waited in a table's queues goes back to its pool. A
 * queue from which another lcore that lives takes (it found the ring by its name) is left to that one.
 */
import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_FLOW, ZONE_QDISC, ZONE_RING } from '../arena/layout.js';
import { lcoreHolder } from '../arena/lcores.js';
import { Burst } from '../burst/burst.js';
import { HEADER_SHIFT, MBUF_POOL } from '../mbuf/layout.js';
import type { Mempool } from '../mbuf/mempool.js';
import { RING_SC_LCORE, RING_SC_USER } from '../ring/layout.js';
import { Ring } from '../ring/ring.js';

const MADE_FOR_ITSELF: readonly number[] = [ZONE_FLOW, ZONE_QDISC];

/** Once the dead one's claims are void, and before its id is another's. Returns how many packets waited and came back. */
export function freeLeavings(arena: Arena, dead: number, pools: readonly Mempool[]): number {
  const zones = arena.zones();
  const owners = zones.filter(({ lcore, type }) => lcore === dead && MADE_FOR_ITSELF.includes(type));
  let packets = 0;
  for (const zone of owners) {
    for (const part of zones.filter(({ lcore, name }) => lcore === dead && name.startsWith(`${zone.name}/`))) {
      if (part.type === ZONE_RING) packets += empty(arena, part, dead, pools);
      else arena.release(part);
    }
    arena.release(zone);
  }
  return packets;
}

/** Frees what is in a ring, and the ring. */
function empty(arena: Arena, zone: Memzone, dead: number, pools: readonly Mempool[]): number {
  const word = (field: number): number => (zone.offset + field) >>> 2;
  const consumer = arena.u32[word(RING_SC_LCORE)]! - 1;
  if (consumer >= 0 && consumer !== dead && lcoreHolder(arena.i32, consumer)?.life === 'alive') return 0;
  arena.u32[word(RING_SC_USER)] = 0; // the checking build's: the dead one's thread may be on its way out still
  const ring = Ring.find(arena, zone.name);
  const burst = new Burst(arena, 64);
  let packets = 0;
  for (let got = ring.dequeueBurst(burst); got > 0; got = ring.dequeueBurst(burst)) {
    for (const handle of burst.handles.subarray(0, got)) poolOf(arena, handle, pools)?.freeOne(handle);
    packets += got;
  }
  burst.close();
  arena.u32[word(RING_SC_LCORE)] = 0; // should the release be refused, the next try finds it as this one did
  ring.close();
  return packets;
}

function poolOf(arena: Arena, handle: number, pools: readonly Mempool[]): Mempool | undefined {
  const pool = arena.u32[(((arena.table + (handle << HEADER_SHIFT)) >>> 0) + MBUF_POOL) >>> 2];
  return pools.find(({ offset }) => offset === pool);
}

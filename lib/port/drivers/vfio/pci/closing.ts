import type { Arena } from '../../../../arena/arena.js';
import type { BurstFunctions } from '../../../../burst/functions.js';
import { handles } from '../../../../mbuf/audit.js';
import { HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../../../mbuf/layout.js';
import type { Mempool } from '../../../../mbuf/mempool.js';
import type { QueueView } from '../../../queue_view.js';

/** Index of an mbuf's owner word. */
export function ownerWord({ arena }: QueueView, handle: number): number {
  return (arena.table + (handle << HEADER_SHIFT) + MBUF_OWNER) >>> 2;
}

/**
 * Every mbuf that the queues had goes back to the pool: its owner word says so. Only when the device can write to none
 * of them any more. `scratch` is a field of the first state with room for `room` handles: the arena may be full.
 */
export function takeBack(pool: Mempool, states: readonly QueueView[], functions: BurstFunctions, scratch: number, room: number): void {
  const { arena } = pool;
  const owners = new Set(states.map(state => state.owner));
  const held = [...handles(arena, pool.offset)].filter(handle => owners.has(arena.u32[ownerWord(states[0]!, handle)]!));
  for (const handle of held) arena.u32[ownerWord(states[0]!, handle)] = (OWNER_APP << OWNER_SHIFT) | arena.lcore;
  // The segments of a packet go with its first.
  const behind = new Set(held.flatMap(handle => segmentsBehind(arena, handle)));
  const vector = states[0]!.offset + scratch;
  const first = held.filter(handle => !behind.has(handle));
  for (let done = 0; done < first.length; done += room) {
    const some = first.slice(done, done + room);
    arena.u32.set(some, vector >>> 2);
    functions.mbufFree(pool.offset, arena.lcore, vector, some.length);
  }
}

/** None for an mbuf that is alone: what its `next` says is of a packet that was never whole. */
function segmentsBehind(arena: Arena, handle: number): number[] {
  const header = (arena.table + (handle << HEADER_SHIFT)) >>> 2;
  const count = arena.u16[2 * header + MBUF_NB_SEGS / 2]!;
  if (count <= 1) arena.u32[header + MBUF_NEXT / 4] = 0;
  const list: number[] = [];
  for (let next = arena.u32[header + MBUF_NEXT / 4]!; next !== 0 && list.length + 1 < count;) {
    list.push(next);
    next = arena.u32[((arena.table + (next << HEADER_SHIFT)) >>> 2) + MBUF_NEXT / 4] ?? 0;
  }
  return list;
}

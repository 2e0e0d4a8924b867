import type { BurstFunctions } from '../../../../burst/functions.js';
import { handles } from '../../../../mbuf/audit.js';
import { HEADER_SHIFT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../../../mbuf/layout.js';
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
  const vector = states[0]!.offset + scratch;
  let count = 0;
  const free = (): void => {
    functions.mbufFree(pool.offset, arena.lcore, vector, count);
    count = 0;
  };
  for (const handle of handles(arena, pool.offset)) {
    const owner = ownerWord(states[0]!, handle);
    if (!owners.has(arena.u32[owner]!)) continue;
    arena.u32[owner] = (OWNER_APP << OWNER_SHIFT) | arena.lcore;
    arena.u32[(vector >>> 2) + count++] = handle;
    if (count === room) free();
  }
  free();
}

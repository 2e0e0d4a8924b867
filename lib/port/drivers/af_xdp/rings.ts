/** What can be read from a queue's rings without moving anything. */
import { handles } from '../../../mbuf/audit.js';
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../../mbuf/layout.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { QUEUE_POOL } from '../../layout.js';
import type { QueueView } from '../../queue_view.js';
import {
  XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_MASK, XSK_PRODUCER, XSK_RING_A, XSK_SCRATCH, XSK_SCRATCH_COUNT, XSK_UMEM, XSK_UMEM_BYTES,
} from './layout.js';

/** Frames that the kernel has put into the RX ring and nobody has taken. */
export function unread(rx: QueueView): number {
  return ahead(rx, XSK_RING_A);
}

/** Entries of a ring between its consumer and its producer. */
export function ahead(state: QueueView, ring: number): number {
  const { u32 } = state.arena;
  const count = Atomics.load(u32, state.get(ring + XSK_PRODUCER) >>> 2) - Atomics.load(u32, state.get(ring + XSK_CONSUMER) >>> 2);
  return Math.min(count >>> 0, state.get(ring + XSK_MASK) + 1);
}

/** The UMEM address that a ring's entry begins with; its upper half is ours to have written as 0, and the kernel's likewise. */
export function addressAt(state: QueueView, ring: number, entryBytes: number, index: number): number {
  return state.arena.u32[(state.get(ring + XSK_DESCRIPTORS) + ((index & state.get(ring + XSK_MASK)) >>> 0) * entryBytes) >>> 2]!;
}

/** Is it an address in a buffer that the kernel has by this queue? */
export function isHeld(state: QueueView, address: number): boolean {
  return address < state.get(XSK_UMEM_BYTES) && state.arena.u32[ownerWord(state, handleOf(state, address))] === state.owner;
}

export function handleOf(state: QueueView, address: number): number {
  return ((state.get(XSK_UMEM) + ((address & ~state.get(XSK_BUFFER_MASK)) >>> 0)) >>> 0) >>> HANDLE_SHIFT;
}

/** How many mbufs of the pool carry the queue's owner word. */
export function countHeld(state: QueueView): number {
  const { arena, owner } = state;
  let held = 0;
  for (const handle of handles(arena, state.get(QUEUE_POOL))) if (arena.u32[ownerWord(state, handle)] === owner) held++;
  return held;
}

/** Every mbuf that the kernel had by this queue goes back to the pool: its owner word says so. Returns how many. Nothing is reserved for it: the arena may be full. */
export function takeBack(state: QueueView, functions: BurstFunctions): number {
  const { arena, owner } = state;
  return giveToPool(state, functions, function* held() {
    for (const handle of handles(arena, state.get(QUEUE_POOL))) if (arena.u32[ownerWord(state, handle)] === owner) yield handle;
  }());
}

/** Frees mbufs that are the queue's, a scratch vector at a time. Returns how many. */
export function giveToPool(state: QueueView, functions: BurstFunctions, given: Iterable<number>): number {
  const { arena } = state;
  const scratch = state.offset + XSK_SCRATCH;
  let [all, count] = [0, 0];
  const free = (): void => {
    functions.mbufFree(state.get(QUEUE_POOL), arena.lcore, scratch, count);
    all += count;
    count = 0;
  };
  for (const handle of given) {
    arena.u32[ownerWord(state, handle)] = (OWNER_APP << OWNER_SHIFT) | arena.lcore;
    arena.u32[(scratch >>> 2) + count++] = handle;
    if (count === XSK_SCRATCH_COUNT) free();
  }
  free();
  return all;
}

/** Index of the mbuf's owner word. */
export function ownerWord({ arena }: QueueView, handle: number): number {
  return (arena.table + (handle << HEADER_SHIFT) + MBUF_OWNER) >>> 2;
}

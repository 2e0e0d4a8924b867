/**
 * An AF_XDP queue whose lcore died, perhaps in the middle of a burst. What the kernel has heard of stays the kernel's;
 * what it has not comes back; and the counts are made anew.
 *
 * | it died                                                  | the mbufs are                                  | done here                       |
 * |----------------------------------------------------------|------------------------------------------------|---------------------------------|
 * | between taking descriptors and telling the kernel        | the dead program's: reclaimHeld takes them     | the descriptors are passed over |
 * | between stamping mbufs for the kernel and publishing     | nobody's, though they carry the queue's stamp  | to the pool                     |
 * | between publishing and writing how many the kernel has   | the kernel's                                   | counted                         |
 * | while the queue was moved to another socket (moving.ts)  | a gone interface's, or the pool's              | moved again, from the start     |
 */
import type { BurstFunctions } from '../../../burst/functions.js';
import { HANDLE_SHIFT } from '../../../mbuf/layout.js';
import type { QueueView } from '../../queue_view.js';
import {
  XDP_PKT_CONTD, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_DESCRIPTOR_BYTES, XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_MASK, XSK_MOVING, XSK_PRODUCER, XSK_RING_A, XSK_RING_B,
  XSK_SKIPPING, XSK_UMEM,
} from './layout.js';
import { move, phaseOf } from './moving.js';
import { addressAt, ahead, countHeld, giveToPool, isHeld, ownerWord } from './rings.js';

const ADDRESS_BYTES = 8;

/** Only once the lcore is gone for certain, and before its own mbufs are taken back (the order of recoverLcore). */
export function repair(state: QueueView, functions: BurstFunctions): void {
  if (phaseOf(state) === XSK_MOVING) {
    move(state, functions);
    return;
  }
  if (state.direction === 'rx') passOver(state, XSK_RING_A, XSK_DESCRIPTOR_BYTES);
  else passOver(state, XSK_RING_B, ADDRESS_BYTES);
  giveToPool(state, functions, unheardOf(state));
  state.set(XSK_GIVING, 0);
  state.set(XSK_HELD, countHeld(state));
}

/** Before such a buffer can come to the kernel again, and be taken for the frame of an old descriptor. */
function passOver(state: QueueView, ring: number, entryBytes: number): void {
  const consumer = state.get(ring + XSK_CONSUMER) >>> 2;
  let index = state.arena.u32[consumer]!;
  const end = (index + ahead(state, ring)) >>> 0;
  for (; index !== end && !isHeld(state, addressAt(state, ring, entryBytes, index)); index = (index + 1) >>> 0) {
    // In the middle of a frame: what is left of it is of no use.
    if (ring === XSK_RING_A) state.set(XSK_SKIPPING, goesOn(state, index) ? 1 : 0);
  }
  Atomics.store(state.arena.u32, consumer, index);
}

function goesOn(state: QueueView, index: number): boolean {
  const at = state.get(XSK_RING_A + XSK_DESCRIPTORS) + ((index & state.get(XSK_RING_A + XSK_MASK)) >>> 0) * XSK_DESCRIPTOR_BYTES;
  return (state.arena.u32[(at + 12) >>> 2]! & XDP_PKT_CONTD) !== 0;
}

/** Handles that are stamped for the kernel and not published. */
function unheardOf(state: QueueView): number[] {
  const { arena, owner } = state;
  const count = state.get(XSK_GIVING);
  const from = state.get(XSK_GIVING_FROM);
  const ring = state.direction === 'rx' ? XSK_RING_B : XSK_RING_A;
  if (count === 0 || arena.u32[state.get(ring + XSK_PRODUCER) >>> 2] !== from) return [];
  const vector = arena.u32.subarray(state.get(XSK_GIVING_VECTOR) >>> 2, (state.get(XSK_GIVING_VECTOR) >>> 2) + count);
  const stamped = [...new Set(vector)].filter(handle => arena.u32[ownerWord(state, handle)] === owner);
  if (state.direction === 'rx') return stamped; // they came from the pool in this very call
  // The vector is the program's. A handle of it that is not in the ring's next slots was given in another call, and is the kernel's.
  const written = new Set<number>();
  for (let i = 0; i < Math.min(count, state.get(ring + XSK_MASK) + 1); i++) written.add(startOf(state, addressAt(state, ring, XSK_DESCRIPTOR_BYTES, from + i)));
  return stamped.filter(handle => written.has(((handle << HANDLE_SHIFT) - state.get(XSK_UMEM)) >>> 0));
}

/** The buffer that an address is in. */
function startOf(state: QueueView, address: number): number {
  return (address & ~state.get(XSK_BUFFER_MASK)) >>> 0;
}

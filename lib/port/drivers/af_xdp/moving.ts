/**
 * How a queue comes from a socket whose interface is gone to one on the interface that came back, while any thread may
 * poll it. The port's thread makes the new socket and offers it (XSK_NEXT_*); the thread that polls the queue finds the
 * offer in its next burst and moves the queue itself, so no ring is ever changed under a burst.
 *
 *     XSK_LIVE -> XSK_GONE -> XSK_OFFERED -> XSK_MOVING -> XSK_LIVE, with the new serial
 *      port's thread ^------------^   ^------- polling thread (or the port's, where nobody holds the queue)
 *
 * An offer can be withdrawn (OFFERED -> GONE) until it is taken. Moving can be done again from its start, after a death
 * in the middle of it: the new rings hold nothing of ours before the queue is live.
 */
import { binding } from '../../../binding.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { QUEUE_FD } from '../../layout.js';
import type { QueueView } from '../../queue_view.js';
import {
  XSK_GIVING, XSK_GONE, XSK_HELD, XSK_LIFE, XSK_LIVE, XSK_LONGEST, XSK_LOST, XSK_MASK, XSK_MOST_SEGMENTS, XSK_MOVING, XSK_NEXT_A, XSK_NEXT_B, XSK_NEXT_FD, XSK_NEXT_LONGEST,
  XSK_NEXT_MOST_SEGMENTS, XSK_NEXT_SERIAL, XSK_OFFERED, XSK_RING_A, XSK_RING_B, XSK_SEEN, XSK_SKIPPING, XSK_STABLE_FD,
} from './layout.js';
import { takeBack, unread } from './rings.js';

/** Index in the arena's u32 of the word that each burst looks at. */
export function lifeWord(state: QueueView): number {
  return (state.offset + XSK_LIFE) >>> 2;
}

export function phaseOf(state: QueueView): number {
  return Atomics.load(state.arena.u32, lifeWord(state)) & 3;
}

/** Of the socket whose rings the queue's are. */
export function serialOf(state: QueueView): number {
  return Atomics.load(state.arena.u32, lifeWord(state)) >>> 2;
}

/** From one phase to another, if it is in that one. Returns whether it was. */
export function step(state: QueueView, from: number, to: number): boolean {
  const word = lifeWord(state);
  const now = Atomics.load(state.arena.u32, word);
  return (now & 3) === from && Atomics.compareExchange(state.arena.u32, word, now, (now & ~3) | to) === now;
}

/**
 * For the thread that polls the queue, when the life word is not what it was. Frames that came before the interface went
 * are received first. Returns whether there are rings to poll.
 */
export function attend(state: QueueView, functions: BurstFunctions): boolean {
  const phase = phaseOf(state);
  if (phase === XSK_LIVE) return true;
  if (phase !== XSK_MOVING && state.direction === 'rx' && unread(state) > 0) return true;
  if (phase === XSK_GONE) return false;
  if (phase === XSK_OFFERED) {
    if (state.direction === 'tx') functions.xskComplete(state.offset, state.arena.lcore);
    if (!step(state, XSK_OFFERED, XSK_MOVING)) return false; // withdrawn just now
  }
  move(state, functions);
  return true;
}

/** Only in XSK_MOVING, by who holds the queue. */
export function move(state: QueueView, functions: BurstFunctions): void {
  const { arena } = state;
  const left = takeBack(state, functions);
  if (state.direction === 'tx') state.add(XSK_LOST, left);
  const fd = state.get(XSK_NEXT_FD);
  // Whoever sleeps on the receive side's descriptor goes on doing so by the same number; an epoll begins anew (WakeSource.generation).
  if (state.direction === 'rx') binding().replace(state.get(XSK_STABLE_FD), fd);
  copyRing(state, XSK_RING_A, XSK_NEXT_A);
  copyRing(state, XSK_RING_B, XSK_NEXT_B);
  state.set(XSK_LONGEST, state.get(XSK_NEXT_LONGEST));
  state.set(XSK_MOST_SEGMENTS, state.get(XSK_NEXT_MOST_SEGMENTS));
  state.set(XSK_SKIPPING, 0);
  state.set(XSK_HELD, 0);
  state.set(XSK_GIVING, 0);
  state.set(QUEUE_FD, state.direction === 'rx' ? state.get(XSK_STABLE_FD) : fd);
  Atomics.store(arena.u32, lifeWord(state), (state.get(XSK_NEXT_SERIAL) << 2) | XSK_LIVE);
  if (state.direction === 'rx') functions.xskFill(state.offset, arena.lcore);
}

function copyRing(state: QueueView, to: number, from: number): void {
  for (let field = 0; field <= XSK_MASK; field += 4) state.set(to + field, state.get(from + field));
  state.set(to + XSK_SEEN, 0);
}

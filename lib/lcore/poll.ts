import { PollmodeError } from '../errors.js';
import { Idle, type IdleOptions } from './idle.js';

export interface PollOptions {
  /** Ends the loop when aborted. */
  readonly signal?: AbortSignal;
  /** Ends the loop after so long. */
  readonly seconds?: number;
  /** How long the loop keeps the thread before timers and I/O get a turn, in milliseconds. Default 10. */
  readonly turnMs?: number;
  /** What to do when there is nothing; the body must then return how many packets it found. Default: ask again at once. */
  readonly idle?: IdleOptions | Idle;
}

/** What a loop asks between bursts, of the lcore that it runs on. */
export interface PollGuest {
  /** At the start of a turn, and again after each `away`. */
  enter(): void;
  /** Between two bursts. Returns whether the loop shall end. */
  pass(): boolean;
  /** At the end of a turn: the event loop has the thread now. */
  leave(): void;
}

/** Calls between two looks at the clock: a look costs as much as a burst of small packets. */
const CALLS_PER_LOOK = 64;
const ALONE: PollGuest = { enter: () => undefined, pass: () => false, leave: () => undefined };

/**
 * A poll loop: calls `body` for as long as it returns anything but `false`, as fast as it can, and every few
 * milliseconds lets the event loop have a turn, so that timers, Ctrl-C and stdout go on beside it. Resolves when the
 * body returned false, at the signal, or after the time; rejects with what the body threw, and EOPTION for seconds that are no number. With `idle`, a loop that
 * found nothing (its body returned 0) may sleep; it wakes at the first packet, and otherwise in time for the event loop.
 */
export async function poll(body: () => unknown, options: PollOptions = {}, guest: PollGuest = ALONE): Promise<void> {
  const { signal, turnMs = 10 } = options;
  if (Number.isNaN(options.seconds)) throw new PollmodeError('EOPTION', 'poll: seconds is no number, and the loop would never end: give a number, or leave it out.');
  const idle = options.idle instanceof Idle || options.idle === undefined ? options.idle : new Idle(options.idle);
  const end = options.seconds === undefined ? Infinity : performance.now() + options.seconds * 1000;
  while (signal?.aborted !== true) {
    const until = Math.min(performance.now() + turnMs, end);
    guest.enter();
    try {
      if (idle === undefined ? turn(body, until, guest) : idlingTurn(body, until, guest, idle)) return;
    } finally {
      guest.leave();
    }
    if (performance.now() >= end) return;
    await new Promise<void>(resolve => { setImmediate(resolve); });
  }
}

/** One turn of the loop. Returns whether to stop. */
function turn(body: () => unknown, until: number, guest: PollGuest): boolean {
  do {
    for (let call = 0; call < CALLS_PER_LOOK; call++) {
      if (body() === false) return true;
    }
    if (guest.pass()) return true;
  } while (performance.now() < until);
  return false;
}

/** The same, with sleeps in it. */
function idlingTurn(body: () => unknown, until: number, guest: PollGuest, idle: Idle): boolean {
  idle.back();
  do {
    for (let call = 0; call < CALLS_PER_LOOK; call++) {
      const found = body();
      if (found === false) return true;
      if (found !== 0) idle.work();
      else if (idle.shouldSleep()) {
        guest.leave();
        idle.sleep();
        guest.enter();
        break;
      }
    }
    if (guest.pass()) return true;
  } while (performance.now() < until);
  return false;
}

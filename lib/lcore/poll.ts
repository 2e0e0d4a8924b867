export interface PollOptions {
  /** Ends the loop when aborted. */
  readonly signal?: AbortSignal;
  /** Ends the loop after so long. */
  readonly seconds?: number;
  /** How long the loop keeps the thread before timers and I/O get a turn, in milliseconds. Default 10. */
  readonly turnMs?: number;
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
 * body returned false, at the signal, or after the time; rejects with what the body threw.
 */
export async function poll(body: () => unknown, options: PollOptions = {}, guest: PollGuest = ALONE): Promise<void> {
  const { signal, turnMs = 10 } = options;
  const end = options.seconds === undefined ? Infinity : performance.now() + options.seconds * 1000;
  while (signal?.aborted !== true) {
    if (turn(body, Math.min(performance.now() + turnMs, end), guest)) return;
    if (performance.now() >= end) return;
    await new Promise<void>(resolve => { setImmediate(resolve); });
  }
}

/** One turn of the loop. Returns whether to stop. */
function turn(body: () => unknown, until: number, guest: PollGuest): boolean {
  guest.enter();
  try {
    do {
      for (let call = 0; call < CALLS_PER_LOOK; call++) {
        if (body() === false) return true;
      }
      if (guest.pass()) return true;
    } while (performance.now() < until);
    return false;
  } finally {
    guest.leave();
  }
}

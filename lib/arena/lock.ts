import { PollmodeError } from '../errors.js';
import { ARENA_HEADER } from './layout.js';
import { lcoreHolder } from './lcores.js';

/** Set-up is short: after so long its holder is stopped or stuck. */
const PATIENCE_MS = 1000;

/**
 * A lock in the arena's header, over all threads and processes, for set-up only.
 *
 * Its word is `sequence << 8 | holder`, the holder being an lcore id + 1, and 0 for nobody. A holder that died is found
 * out by its lcore and the lock taken from it. The sequence changes with each release, so that the word that a waiter saw
 * can never come back with another holder behind it. What the lock protects is written so that it is whole at any
 * moment at which its holder may die.
 */
export class ArenaLock {
  readonly #i32: Int32Array;
  readonly #at: number;
  readonly #lcore: number;
  readonly #what: string;
  readonly #patience: number;

  /** @param field of the header. @param what is locked, for the message. @param patience in milliseconds, with a living holder */
  constructor(i32: Int32Array, field: number, lcore: number, what: string, patience = PATIENCE_MS) {
    this.#i32 = i32;
    this.#at = (ARENA_HEADER + field) >> 2;
    this.#lcore = lcore;
    this.#what = what;
    this.#patience = patience;
  }

  /** Runs `change` alone. Not for calls within one another. Throws EBUSYQUEUE when a living holder keeps it. */
  run<T>(change: () => T): T {
    this.#take();
    try {
      return change();
    } finally {
      const next = (Atomics.load(this.#i32, this.#at) + 0x100) & ~0xff;
      Atomics.store(this.#i32, this.#at, next);
      Atomics.notify(this.#i32, this.#at, 1);
    }
  }

  #take(): void {
    const deadline = Date.now() + this.#patience;
    for (;;) {
      const seen = Atomics.load(this.#i32, this.#at);
      if ((seen & 0xff) === 0) {
        if (this.#swap(seen)) return;
        continue;
      }
      // Sleeps do not cross processes, so this one ends by itself.
      if (Atomics.wait(this.#i32, this.#at, seen, 1) !== 'timed-out') continue;
      if (this.#isDead(seen) && this.#swap(seen)) return;
      if (Date.now() > deadline) {
        throw new PollmodeError('EBUSYQUEUE', `${this.#what} is held by lcore ${(seen & 0xff) - 1}, which lives: try again when it goes on; if that thread is known to be dead, free its lcore first (arena.freeLcore).`);
      }
    }
  }

  #swap(seen: number): boolean {
    return Atomics.compareExchange(this.#i32, this.#at, seen, (seen & ~0xff) | (this.#lcore + 1)) === seen;
  }

  /** An id that nobody holds belonged to one who died and was given up by its survivors. */
  #isDead(seen: number): boolean {
    const holder = lcoreHolder(this.#i32, (seen & 0xff) - 1);
    return holder === undefined || holder.life === 'dead';
  }
}

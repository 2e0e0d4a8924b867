/**
 * Rest points: how one thread can ask all others of an arena to stop between two bursts for a moment, so that it may
 * look at who holds which buffer while none is on its way.
 *
 * The asker writes its name into HEADER_PAUSE, then reads what each lcore is doing; an lcore writes what it is doing,
 * then reads HEADER_PAUSE. Both are sequentially consistent, so at least one sees the other (Dekker's rule).
 */
import type { Arena } from '../arena/arena.js';
import { ARENA_HEADER, HEADER_PAUSE, LCORE_MAX, LCORE_PID, LCORE_REST, REST_ACTIVE, REST_RESTING } from '../arena/layout.js';
import { lcoreField, lcoreHolder } from '../arena/lcores.js';

const PAUSE = (ARENA_HEADER + HEADER_PAUSE) >> 2;

/** The calling lcore's side. */
export class RestPoint {
  readonly #i32: Int32Array;
  readonly #mine: number;

  constructor(arena: Arena) {
    this.#i32 = arena.i32;
    this.#mine = lcoreField(arena.lcore, LCORE_REST);
  }

  /** Before bursts: waits while somebody looks. */
  enter(): void {
    for (;;) {
      Atomics.store(this.#i32, this.#mine, REST_ACTIVE);
      const asker = Atomics.load(this.#i32, PAUSE);
      if (asker === 0) return;
      this.leave();
      if (Atomics.wait(this.#i32, PAUSE, asker, 100) === 'timed-out') liftDeadPause(this.#i32, asker);
    }
  }

  /** After bursts, before anything that may last. */
  leave(): void {
    Atomics.store(this.#i32, this.#mine, REST_RESTING);
  }

  /** Between two bursts of a loop: one load when nobody asks. */
  pass(): void {
    if (Atomics.load(this.#i32, PAUSE) !== 0) this.enter();
  }
}

/**
 * Asks every lcore but the calling one and those in `except` (dead ones) to rest. Returns what lets them go on, or
 * undefined when some would not within `timeoutMs`, or poll in a way that cannot be known. Never leaves a pause behind.
 */
export function pauseOthers(arena: Arena, except: readonly number[], timeoutMs = 1000): (() => void) | undefined {
  const { i32 } = arena;
  if (Atomics.compareExchange(i32, PAUSE, 0, arena.lcore + 1) !== 0) return undefined;
  const resume = (): void => {
    Atomics.store(i32, PAUSE, 0);
    Atomics.notify(i32, PAUSE);
  };
  const others = Array.from({ length: LCORE_MAX }, (_, lcore) => lcore)
    .filter(lcore => lcore !== arena.lcore && !except.includes(lcore) && Atomics.load(i32, lcoreField(lcore, LCORE_PID)) !== 0);
  const deadline = performance.now() + timeoutMs;
  for (const lcore of others) {
    if (waitForRest(i32, lcore, deadline)) continue;
    resume();
    return undefined;
  }
  return resume;
}

/** One who died while it looked would have all others rest for ever. */
function liftDeadPause(i32: Int32Array, asker: number): void {
  const holder = lcoreHolder(i32, asker - 1);
  if (holder === undefined || holder.life === 'dead') Atomics.compareExchange(i32, PAUSE, asker, 0);
}

function waitForRest(i32: Int32Array, lcore: number, deadline: number): boolean {
  const word = lcoreField(lcore, LCORE_REST);
  for (let doing = Atomics.load(i32, word); doing === REST_ACTIVE; doing = Atomics.load(i32, word)) {
    if (performance.now() > deadline) return false;
    Atomics.wait(i32, word, REST_ACTIVE, 0.2);
  }
  return Atomics.load(i32, word) === REST_RESTING || Atomics.load(i32, lcoreField(lcore, LCORE_PID)) === 0;
}

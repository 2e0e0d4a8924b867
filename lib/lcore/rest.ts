/**
 * Rest points: how one thread can ask all others of an arena to stop between two bursts for a moment, so that it may
 * look at who holds which buffer while none is on its way.
 *
 * The asker writes its name into HEADER_PAUSE, then reads what each lcore is doing; an lcore writes what it is doing,
 * then reads HEADER_PAUSE. Both are sequentially consistent, so at least one sees the other (Dekker's rule).
 */
import type { Arena } from '../arena/arena.js';
import { ARENA_HEADER, HEADER_PAUSE, LCORE_MAX, LCORE_PID, LCORE_REST, LCORE_TID, REST_ACTIVE, REST_RESTING, REST_UNKNOWN } from '../arena/layout.js';
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

/** What lets the others go on; or nobody rests, and this lcore is why. */
export type Pause = { readonly resume: () => void } | { readonly waitsFor: number };

/** Who does not rest within so long does something else than bursts. All others stand still meanwhile, so it is short. */
const PATIENCE_MS = 250;
/** Looks at a word between two at the kernel's list of threads. */
const LOOKS_PER_LIFE = 32;

/**
 * Asks every lcore but the calling one and those in `except` (dead ones) to rest. One that dies meanwhile rests too. Says
 * who would not within `timeoutMs`, or polls in a way that cannot be known. Never leaves a pause behind. For callers
 * that hold the arena's reclaim: there is one asker at a time.
 */
export function pauseOthers(arena: Arena, except: readonly number[], timeoutMs = PATIENCE_MS): Pause {
  const { i32 } = arena;
  const deadline = performance.now() + timeoutMs;
  const others = Array.from({ length: LCORE_MAX }, (_, lcore) => lcore).filter(lcore => lcore !== arena.lcore && !except.includes(lcore));
  const unknown = others.find(lcore => pollsByItself(i32, lcore));
  if (unknown !== undefined) return { waitsFor: unknown }; // before anybody stands still for nothing
  const asker = ask(i32, arena.lcore + 1);
  if (asker !== 0) return { waitsFor: asker - 1 };
  const resume = (): void => {
    Atomics.store(i32, PAUSE, 0);
    Atomics.notify(i32, PAUSE);
  };
  const restless = others.find(lcore => !waitForRest(i32, lcore, deadline));
  if (restless === undefined) return { resume };
  resume();
  return { waitsFor: restless };
}

/** Returns 0, or who asks already. */
function ask(i32: Int32Array, mine: number): number {
  const asker = Atomics.compareExchange(i32, PAUSE, 0, mine);
  if (asker !== 0) liftDeadPause(i32, asker);
  return asker === 0 ? 0 : Atomics.compareExchange(i32, PAUSE, 0, mine);
}

/** One who died while it looked would have all others rest for ever. */
function liftDeadPause(i32: Int32Array, asker: number): void {
  if (isGone(i32, asker - 1)) Atomics.compareExchange(i32, PAUSE, asker, 0);
}

function waitForRest(i32: Int32Array, lcore: number, deadline: number): boolean {
  const word = lcoreField(lcore, LCORE_REST);
  for (let look = 1; ; look++) {
    const doing = Atomics.load(i32, word);
    if (doing === REST_RESTING || Atomics.load(i32, lcoreField(lcore, LCORE_PID)) === 0) return true;
    const late = performance.now() > deadline;
    // It may have died in the middle of a burst; its starter, who waits here perhaps, cannot tell.
    if (late || look % LOOKS_PER_LIFE === 0) if (isGone(i32, lcore)) return true;
    if (late || pollsByItself(i32, lcore)) return false;
    Atomics.wait(i32, word, doing, 0.2);
  }
}

function isGone(i32: Int32Array, lcore: number): boolean {
  const holder = lcoreHolder(i32, lcore);
  return holder === undefined || holder.life === 'dead';
}

/** An entry without a tid is still being filled in. */
function pollsByItself(i32: Int32Array, lcore: number): boolean {
  return Atomics.load(i32, lcoreField(lcore, LCORE_TID)) !== 0 && Atomics.load(i32, lcoreField(lcore, LCORE_REST)) === REST_UNKNOWN && !isGone(i32, lcore);
}

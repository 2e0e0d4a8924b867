import type { Arena } from '../arena/arena.js';
import { HEADER_SHIFT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../mbuf/layout.js';
import { MISUSE_DOUBLE_FREE, MISUSE_FOREIGN, MISUSE_NOT_OWNED } from './codes.js';
import type { BurstFunctions } from './functions.js';

/** A misuse of an mbuf that the checking build found. */
export interface Misuse {
  readonly what: 'double free' | 'used while a port or a ring has it' | 'no mbuf of this pool';
  readonly handle: number;
  /** The owner word that stood in its header. */
  readonly owner: number;
  /** Where the misuse happened, and where the mbuf was last handed over ("unknown" when another thread did that). */
  readonly stack: string;
  readonly handedOver: string;
}

const WORDS = new Map<number, Misuse['what']>([
  [MISUSE_DOUBLE_FREE, 'double free'],
  [MISUSE_NOT_OWNED, 'used while a port or a ring has it'],
  [MISUSE_FOREIGN, 'no mbuf of this pool'],
]);

/** What tells about misuses; a process warning unless a program listens. */
export type MisuseListener = (misuse: Misuse) => void;

/**
 * POLLMODE_DEBUG=1: remembers where each mbuf was last handed over in this thread, and tells where and by whom a misuse
 * was made. Slow on purpose; it stands around the burst functions and never inside them.
 */
export class MisuseReporter {
  readonly #last = new Map<number, string>();
  readonly #arena: Arena;
  #listener: MisuseListener = warn;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  listen(listener: MisuseListener): void {
    this.#listener = listener;
  }

  /** The hook that the checking build calls. */
  report(code: number, handle: number, owner: number): void {
    const what = WORDS.get(code) ?? 'no mbuf of this pool';
    this.#listener({ what, handle, owner, stack: here(), handedOver: this.#last.get(handle) ?? 'unknown' });
  }

  /** The same functions, each hand-over noted and each send looked at first. */
  around(functions: BurstFunctions): BurstFunctions {
    const { mbufAlloc, mbufFree } = functions;
    const wrapped: BurstFunctions = {
      ...functions,
      mbufAlloc: (pool, lcore, to, count) => this.#note(mbufAlloc(pool, lcore, to, count), to, 'allocated'),
      mbufFree: (pool, lcore, from, count) => {
        const handles = this.#handles(from, count);
        mbufFree(pool, lcore, from, count);
        this.#remember(handles, 'freed');
      },
    };
    for (const name of Object.keys(functions) as (keyof BurstFunctions)[]) {
      if (name.endsWith('Rx')) this.#wrapRx(wrapped, name as 'nullRx');
      if (name.endsWith('Tx')) this.#wrapTx(wrapped, name as 'nullTx');
    }
    return wrapped;
  }

  /** For accessors: is the mbuf the program's own? */
  checkOwned(handle: number): void {
    const owner = this.#arena.u32[(((this.#arena.table + (handle << HEADER_SHIFT)) >>> 0) + MBUF_OWNER) >>> 2]!;
    if (owner >>> OWNER_SHIFT !== OWNER_APP) this.report(MISUSE_NOT_OWNED, handle, owner);
  }

  #wrapRx(set: BurstFunctions, name: 'nullRx'): void {
    const original = set[name];
    set[name] = (queue, burst, max, lcore) => this.#note(original(queue, burst, max, lcore), burst, 'received');
  }

  #wrapTx(set: BurstFunctions, name: 'nullTx'): void {
    const original = set[name];
    set[name] = (queue, burst, count, lcore) => {
      const handles = this.#handles(burst, count);
      for (const handle of handles) this.checkOwned(handle);
      const sent = original(queue, burst, count, lcore);
      this.#remember(handles.slice(0, sent), 'sent');
      return sent;
    };
  }

  #handles(from: number, count: number): number[] {
    return Array.from(this.#arena.u32.subarray(from >>> 2, (from >>> 2) + count));
  }

  #note(count: number, at: number, how: string): number {
    this.#remember(this.#handles(at, count), how);
    return count;
  }

  #remember(handles: readonly number[], how: string): void {
    const stack = `${how} ${here()}`;
    for (const handle of handles) this.#last.set(handle, stack);
  }
}

/** The caller's stack, without this file. */
function here(): string {
  const lines = (new Error().stack ?? '').split('\n').slice(1).filter(line => !line.includes('/burst/checking.'));
  return lines.map(line => line.trim()).join('\n    ');
}

function warn(misuse: Misuse): void {
  process.emitWarning(`mbuf ${misuse.handle}: ${misuse.what}.\n  here:\n    ${misuse.stack}\n  last ${misuse.handedOver}`, { type: 'PollmodeMisuse' });
}

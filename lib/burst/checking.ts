import type { Arena } from '../arena/arena.js';
import { HEADER_SHIFT, MBUF_OWNER, MBUF_POOL, OWNER_APP, OWNER_POOL, OWNER_SHIFT } from '../mbuf/layout.js';
import { RING_PORT_RING } from '../port/drivers/memory_layout.js';
import { RING_FLAGS, RING_OWNER, RING_SC, RING_SC_USER, RING_SP, RING_SP_USER } from '../ring/layout.js';
import { MISUSE_DOUBLE_FREE, MISUSE_FOREIGN, MISUSE_NOT_OWNED } from './codes.js';
import type { BurstFunctions } from './functions.js';

/** A misuse that the checking build found. */
export interface Misuse {
  readonly what: 'double free' | 'used while a port or a ring has it' | 'used after it went back to its pool' | 'no mbuf of this pool'
    | 'a second thread on a side that is for one';
  /** The mbuf's handle, or the ring's offset where it is a ring that was misused. */
  readonly handle: number;
  /** The owner word that stood in its header; for a ring, the lcore that was there first. */
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

type RingFunction = BurstFunctions['ringEnqueueMp'];

/** What tells about misuses; a process warning unless a program listens. */
export type MisuseListener = (misuse: Misuse) => void;

/**
 * POLLMODE_DEBUG=1: remembers where each mbuf was last handed over in this thread, and tells where and by whom a misuse
 * was made. Slow on purpose; it stands around the burst functions and never inside them.
 */
export class MisuseReporter {
  readonly #last = new Map<number, string>();
  /** Sides of rings that were told of. */
  readonly #told = new Set<number>();
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
    this.#tell(what, handle >>> 0, owner >>> 0); // WebAssembly's u32 come as signed numbers
  }

  /** The same functions, each hand-over noted and each send looked at first. */
  around(functions: BurstFunctions): BurstFunctions {
    const { mbufAlloc, mbufFree, ringEnqueueSp, ringEnqueueMp, ringDequeueSc, ringDequeueMc } = functions;
    const wrapped: BurstFunctions = {
      ...functions,
      mbufAlloc: (pool, lcore, to, count) => this.#note(mbufAlloc(pool, lcore, to, count), to, 'allocated'),
      mbufFree: (pool, lcore, from, count) => {
        const handles = this.#handles(from, count);
        mbufFree(pool, lcore, from, count);
        this.#remember(handles, 'freed');
      },
      ringEnqueueSp: (ring, ...rest) => {
        this.#checkSide(ring, RING_SP_USER);
        return this.#put(ringEnqueueSp, ring, ...rest);
      },
      ringEnqueueMp: (ring, ...rest) => this.#put(ringEnqueueMp, ring, ...rest),
      ringDequeueSc: (ring, ...rest) => {
        this.#checkSide(ring, RING_SC_USER);
        return this.#take(ringDequeueSc, ring, ...rest);
      },
      ringDequeueMc: (ring, ...rest) => this.#take(ringDequeueMc, ring, ...rest),
    };
    for (const name of Object.keys(functions) as (keyof BurstFunctions)[]) {
      if (name.endsWith('Rx')) this.#wrapRx(wrapped, name as 'nullRx');
      if (name.endsWith('Tx')) this.#wrapTx(wrapped, name as 'nullTx');
    }
    return wrapped;
  }

  /** For accessors: is the mbuf the program's own? */
  checkOwned(handle: number): void {
    const header = (this.#arena.table + (handle << HEADER_SHIFT)) >>> 2;
    const owner = this.#arena.u32[header + (MBUF_OWNER >>> 2)] ?? 0;
    if (owner >>> OWNER_SHIFT === OWNER_APP) return;
    if (!this.#arena.u32[header + (MBUF_POOL >>> 2)]) this.#tell('no mbuf of this pool', handle, owner);
    else this.#tell(owner >>> OWNER_SHIFT === OWNER_POOL ? 'used after it went back to its pool' : 'used while a port or a ring has it', handle, owner);
  }

  /** The first user of a single side has it for as long as it lives; another one is told of once in each thread. */
  #checkSide(ring: number, side: number): void {
    const at = (ring + side) >>> 2;
    const { u32, lcore } = this.#arena;
    const first = Atomics.compareExchange(u32, at, 0, lcore + 1);
    if (first === 0 || first === lcore + 1 || this.#told.has(at)) return;
    const lives = this.#arena.lcores().some(other => other.lcore === first - 1 && other.life !== 'dead');
    if (!lives) return void Atomics.store(u32, at, lcore + 1);
    this.#told.add(at);
    this.#tell('a second thread on a side that is for one', ring, first - 1, `used by lcore ${first - 1}`);
  }

  #tell(what: Misuse['what'], handle: number, owner: number, handedOver = this.#last.get(handle) ?? 'unknown'): void {
    this.#listener({ what, handle, owner, stack: here(), handedOver });
  }

  #wrapRx(set: BurstFunctions, name: 'nullRx'): void {
    const original = set[name];
    set[name] = (queue, burst, max, lcore) => {
      if ((name as string) === 'ringRx') this.#checkPortSide(queue, RING_SC, RING_SC_USER);
      return this.#note(original(queue, burst, max, lcore), burst, 'received');
    };
  }

  #wrapTx(set: BurstFunctions, name: 'nullTx'): void {
    const original = set[name];
    set[name] = (queue, burst, count, lcore) => {
      if ((name as string) === 'ringTx') this.#checkPortSide(queue, RING_SP, RING_SP_USER);
      const handles = this.#handles(burst, count);
      for (const handle of handles) this.checkOwned(handle);
      const sent = original(queue, burst, count, lcore);
      this.#remember(handles.slice(0, sent), 'sent');
      return sent;
    };
  }

  #checkPortSide(queue: number, flag: number, side: number): void {
    const ring = this.#arena.u32[(queue + RING_PORT_RING) >>> 2]!;
    if ((this.#arena.u32[(ring + RING_FLAGS) >>> 2]! & flag) !== 0) this.#checkSide(ring, side);
  }

  #put(enqueue: RingFunction, ring: number, from: number, count: number, fixed: number, lcore: number): number {
    if (!this.#holdsMbufs(ring)) return enqueue(ring, from, count, fixed, lcore);
    const handles = this.#handles(from, count);
    for (const handle of handles) this.checkOwned(handle);
    const put = enqueue(ring, from, count, fixed, lcore);
    this.#remember(handles.slice(0, put), 'put into a ring');
    return put;
  }

  #take(dequeue: RingFunction, ring: number, to: number, count: number, fixed: number, lcore: number): number {
    const got = dequeue(ring, to, count, fixed, lcore);
    return this.#holdsMbufs(ring) ? this.#note(got, to, 'taken out of a ring') : got;
  }

  #holdsMbufs(ring: number): boolean {
    return this.#arena.u32[(ring + RING_OWNER) >>> 2] !== 0;
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

/** This package's folder, of the compiled files and of a bundle of them; undefined inside somebody else's bundle. */
const HOME = /^(?:file:\/\/)?(.*?\/)(?:dist\/)?lib\/(?:burst|bundle)\//.exec(import.meta.url)?.[1];

/** The caller's stack: it begins at the line outside of this package that called into it, so that a program's own fault stands first. */
function here(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 30;
  const at: { stack?: string } = {};
  Error.captureStackTrace(at, here);
  Error.stackTraceLimit = limit;
  const lines = (at.stack ?? '').split('\n').slice(1).map(line => line.trim());
  const first = lines.findIndex(line => !isOurs(line));
  return (first === -1 ? lines : lines.slice(first)).join('\n    ');
}

/** By the compiled file or, with source maps, by its source. */
function isOurs(line: string): boolean {
  if (line.includes('wasm://')) return true;
  return HOME === undefined ? /\/burst\/(checking|module)\./.test(line) : line.includes(`${HOME}dist/lib/`) || line.includes(`${HOME}lib/`);
}

function warn({ what, handle, stack, handedOver }: Misuse): void {
  const subject = what === 'a second thread on a side that is for one' ? 'ring at' : 'mbuf';
  process.emitWarning(`${subject} ${handle}: ${what}.\n  here:\n    ${stack}\n  last ${handedOver}`, { type: 'PollmodeMisuse' });
}

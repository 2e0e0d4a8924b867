import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Arena } from '../arena/arena.js';
import { PollmodeError, type ErrorCode } from '../errors.js';
import type { Mempool } from '../mbuf/mempool.js';
import { releaseQueue, takeQueue } from '../port/attach.js';
import type { Direction } from '../port/queue_view.js';
import type { SteeredName } from './context.js';
import { IDLE_WORDS, readIdle, type IdleStats } from './idle.js';
import { NO_RECOVERY, recoverLcore, type Recovery } from './recover.js';
import type { LcoreData, LcoreFailure, LcoreMessage } from './worker.js';

const TRIES = 5;
const RETRY_MS = 100;

export interface LaunchOptions {
  /** The module that it runs, as `new URL('./worker.js', import.meta.url)`: its default export is an `LcoreMain`. */
  readonly module: URL | string;
  /** For people: errors and tables name it. Default: the module's file name. */
  readonly name?: string;
  /** The CPU to pin its thread to. Default: none. */
  readonly cpu?: number;
  /** What the module gets as `lcore.args`; copied by structured clone. */
  readonly args?: unknown;
  /** Queues that the calling thread holds and lets go, for the lcore to take with `lcore.rx` and `lcore.tx`. */
  readonly queues?: readonly QueueName[];
  /** What `lcore.steered()` takes. */
  readonly steered?: SteeredName;
}

export interface QueueName {
  readonly port: number;
  readonly direction: Direction;
  readonly queue: number;
}

/** How an lcore ended. */
export type LcoreEnd =
  | { readonly how: 'returned'; readonly result: unknown; readonly recovery: Recovery }
  | { readonly how: 'failed' | 'died'; readonly error: PollmodeError; readonly recovery: Recovery };

/**
 * Starts a worker thread as an lcore: attached to the arena, pinned, its module loaded. Resolves when the module's
 * function is about to run. Rejects, with nothing left behind, when it cannot: EOPTION (no such CPU, no function in the
 * module), ETHREAD (a queue that is not the caller's), ELCORE (the module threw while it was loaded).
 */
export async function launch(where: { readonly arena: Arena; readonly pool?: Mempool }, options: LaunchOptions): Promise<Lcore> {
  const { queues = [] } = options;
  const given: QueueName[] = [];
  try {
    for (const name of queues) {
      releaseQueue(where.arena, name.port, name.direction, name.queue);
      given.push(name);
    }
    const lcore = new Lcore(where.arena, where.pool?.name, options);
    await lcore.running;
    return lcore;
  } catch (cause) {
    for (const name of given) takeQueue(where.arena, name.port, name.direction, name.queue);
    throw cause;
  }
}

/** A running lcore, as the thread that started it sees it. */
export class Lcore {
  readonly name: string;
  /** The CPU that it is pinned to, or -1. */
  readonly cpu: number;
  /** Never rejects; what the lcore held is taken back by then, unless its `recovery` says that something is left for later. */
  readonly ended: Promise<LcoreEnd>;
  /** Of `launch`. */
  readonly running: Promise<void>;
  readonly #arena: Arena;
  readonly #worker: Worker;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #shown = new Float64Array(new SharedArrayBuffer(8 * IDLE_WORDS));
  #id = -1;
  #tid = 0;
  #last: LcoreMessage | undefined;
  #error: Error | undefined;

  /** Use `launch`. */
  constructor(arena: Arena, pool: string | undefined, { module, name, cpu = -1, args, steered }: LaunchOptions) {
    this.#arena = arena;
    this.name = name ?? String(module).split('/').at(-1)!;
    this.cpu = cpu;
    const data: LcoreData = { name: this.name, cpu, share: arena.share(), pool, module: String(module), args, steered, stop: this.#stop, shown: this.#shown };
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data, name: this.name });
    this.#worker.on('error', error => { this.#error = error; });
    this.ended = new Promise(resolve => { this.#worker.on('exit', code => resolve(this.#end(code))); });
    this.running = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: LcoreMessage) => {
        this.#last = message;
        if (message.kind === 'attached') {
          this.#id = message.lcore;
          this.#tid = message.tid;
        }
        if (message.kind === 'running') resolve();
      });
      void this.ended.then(end => { reject(end.how === 'returned' ? undefined : end.error); });
    });
    this.running.catch(() => undefined);
  }

  /** Its id in the arena: what owner words, ring claims and the audit call it. */
  get id(): number {
    return this.#id;
  }

  /** What its loop's idle policy did, and its thresholds, a few milliseconds ago; undefined for a loop without one (`LcoreContext.poll`). */
  get idle(): IdleStats | undefined {
    return readIdle(this.#shown);
  }

  /** Asks it to stop, and resolves as `join`. */
  stop(): Promise<unknown> {
    Atomics.store(this.#stop, 0, 1);
    Atomics.notify(this.#stop, 0);
    this.#worker.postMessage('stop');
    return this.join();
  }

  /** Resolves with what the module's function returned. Rejects with ELCORE when it threw (its error is the cause, with its stack), or died. */
  async join(): Promise<unknown> {
    const end = await this.ended;
    if (end.how === 'returned') return end.result;
    throw end.error;
  }

  /** Ends the thread at once, wherever it is, and takes back what it held. */
  async terminate(): Promise<Recovery> {
    await this.#worker.terminate();
    return (await this.ended).recovery;
  }

  /** May the process end while it runs? As `Worker.unref`. */
  unref(): void {
    this.#worker.unref();
  }

  /** While another keeps the arena's locks, and that is for long, it tries again a few times; then `recoverDead` is left to do it. */
  async #recover(): Promise<Recovery> {
    if (this.#id < 0) return NO_RECOVERY;
    for (let tries = 1; !this.#arena.closed; tries++) {
      try {
        return recoverLcore(this.#arena, this.#id, this.#tid);
      } catch (cause) {
        if (!isBusy(cause)) throw cause;
        if (tries === TRIES) break;
      }
      await wait(RETRY_MS);
    }
    return { ...NO_RECOVERY, lcore: this.#id, complete: false };
  }

  async #end(code: number): Promise<LcoreEnd> {
    const recovery = await this.#recover();
    const last = this.#last;
    if (last?.kind === 'done') return { how: 'returned', result: last.result, recovery };
    if (last?.kind === 'failed') return { how: 'failed', error: refusal(this.name, last.error), recovery };
    const error = new PollmodeError('ELCORE', `lcore "${this.name}" died (exit code ${code})${this.#error === undefined ? '' : `: ${this.#error.message}`}: what it held is back in its pools; start it again.`,
      this.#error === undefined ? {} : { cause: this.#error });
    return { how: 'died', error, recovery };
  }
}

/** Is this a lock that somebody keeps for the moment, the reclaim's or the directory's? */
function isBusy(cause: unknown): boolean {
  return cause instanceof PollmodeError && cause.code === 'EBUSYQUEUE';
}

/** A refusal of set-up keeps its code; anything that the module threw is the cause of an ELCORE. */
function refusal(lcore: string, failure: LcoreFailure): PollmodeError {
  const cause = Object.assign(new Error(failure.message), { name: failure.name, stack: failure.stack, ...(failure.code === undefined ? {} : { code: failure.code }) });
  if (failure.name === 'PollmodeError') return new PollmodeError(failure.code as ErrorCode, failure.message, { cause });
  return new PollmodeError('ELCORE', `lcore "${lcore}" ended by an error: ${failure.message}. Its stack is the cause's.`, { cause });
}

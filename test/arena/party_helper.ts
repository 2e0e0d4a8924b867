/**
 * Parties: other processes and threads that take part in a test, and may die in it. A test writes what a party does as a
 * function of `tools` and one argument, which can be cloned; its source travels, so it sees nothing else of the test.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Arena } from '../../lib/arena/arena.js';
import type { Memzone } from '../../lib/arena/directory.js';
import type { Burst } from '../../lib/burst/burst.js';
import type { BurstFunctions } from '../../lib/burst/functions.js';
import type { Mempool } from '../../lib/mbuf/mempool.js';
import type { AttachedHost } from '../../lib/port/attached_host.js';
import type { Ring } from '../../lib/ring/ring.js';

/** What a party keeps from one function to the next. */
export interface Held {
  arena: Arena;
  ring: Ring;
  pool: Mempool;
  burst: Burst;
  zone: Memzone;
  functions: BurstFunctions;
  attached: AttachedHost;
}

export interface Tools {
  readonly Arena: typeof import('../../lib/arena/arena.js').Arena;
  readonly Ring: typeof import('../../lib/ring/ring.js').Ring;
  readonly Mempool: typeof import('../../lib/mbuf/mempool.js').Mempool;
  readonly Burst: typeof import('../../lib/burst/burst.js').Burst;
  readonly recoverDead: typeof import('../../lib/lcore/recover.js').recoverDead;
  readonly burstFunctions: typeof import('../../lib/burst/module.js').burstFunctions;
  readonly instantiate: typeof import('../../lib/burst/module.js').instantiate;
  readonly misuseReporter: typeof import('../../lib/burst/module.js').misuseReporter;
  readonly binding: typeof import('../../lib/binding.js').binding;
  readonly attachHost: typeof import('../../lib/port/attached_host.js').attachHost;
  readonly open: typeof import('../../lib/port/host.js').open;
  readonly held: Held;
}

export interface Request { readonly source: string; readonly argument: unknown }
export interface Reply {
  readonly result?: unknown;
  readonly error?: { readonly name: string; readonly message: string; readonly stack: string | undefined; readonly code: string | undefined };
}

const MAIN = new URL('./party_main.js', import.meta.url);

export interface PartyOptions {
  readonly kind?: 'process' | 'thread';
  readonly environment?: Record<string, string>;
  /** A program and its arguments to start the process with, such as setpriv. */
  readonly prefix?: readonly [program: string, ...rest: string[]];
}

export class Party {
  readonly kind: 'process' | 'thread';
  /** Resolves when it is gone, however it ended. */
  readonly gone: Promise<void>;
  readonly #party: ChildProcess | Worker;
  #stderr = '';

  constructor(t: { teardown(work: () => Promise<void>): unknown }, { kind = 'process', environment = {}, prefix }: PartyOptions = {}) {
    this.kind = kind;
    const env = { ...process.env, ...environment };
    if (kind === 'thread') {
      this.#party = new Worker(MAIN, { env });
    } else {
      const start = prefix === undefined ? {} : { execPath: prefix[0], execArgv: [...prefix.slice(1), process.execPath] };
      this.#party = fork(MAIN, [], { env, serialization: 'advanced', stdio: ['ignore', 'inherit', 'pipe', 'ipc'], ...start });
      this.#party.stderr!.setEncoding('utf8').on('data', (text: string) => { this.#stderr += text; });
    }
    this.gone = new Promise(resolve => { this.#party.once(kind === 'thread' ? 'exit' : 'close', () => { resolve(); }); });
    t.teardown(() => this.kill());
  }

  /** For one that is to die of an error of its own. */
  ignoreError(): void {
    this.#party.on('error', () => {});
  }

  get pid(): number {
    return this.kind === 'thread' ? process.pid : (this.#party as ChildProcess).pid!;
  }

  /** What a process wrote to its standard error. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Runs `work` there. Rejects with its error, which has the same name, message and code; or when the party dies first. */
  async run<Argument, Result>(work: (tools: Tools, argument: Argument) => Result | Promise<Result>, argument?: Argument): Promise<Result> {
    const party = this.#party;
    const reply = new Promise<Reply>(resolve => { (party as Worker).once('message', resolve); });
    const request: Request = { source: work.toString(), argument };
    if (party instanceof Worker) party.postMessage(request);
    else party.send(request);
    const { result, error } = await Promise.race([reply, this.gone.then((): Reply => { throw new Gone(this.#stderr); })]);
    if (error !== undefined) throw Object.assign(new Error(error.message), error);
    return result as Result;
  }

  /** Runs what ends it, or never ends. Resolves when it is gone, or rejects when `work` came back. */
  async runToDeath<Argument>(work: (tools: Tools, argument: Argument) => unknown, argument?: Argument): Promise<void> {
    const outcome = await this.run(work, argument).then(() => 'it came back', (error: unknown) => error);
    if (!(outcome instanceof Gone)) throw new Error('the party did not die', { cause: outcome });
  }

  /** kill -9, or terminate(). Resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#party instanceof Worker) await this.#party.terminate();
    else this.#party.kill('SIGKILL');
    await this.gone;
  }
}

/** The party died before it answered. */
export class Gone extends Error {}

/** Waits until `is` holds; a test that waits in vain fails for its time limit and not here. */
export async function until(is: () => boolean): Promise<void> {
  while (!is()) await sleep(2);
}

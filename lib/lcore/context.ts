import type { Arena } from '../arena/arena.js';
import { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import { mbufsOf } from '../mbuf/mbufs.js';
import { Mempool } from '../mbuf/mempool.js';
import { attachRx, attachTx } from '../port/attach.js';
import type { RxQueue, TxQueue } from '../port/port.js';
import { Steering } from '../rss/steering.js';
import type { SteeringWorker } from '../rss/steering_sides.js';
import { Idle } from './idle.js';
import { poll, type PollGuest, type PollOptions } from './poll.js';
import { RestPoint } from './rest.js';

/** What an lcore's module has as its default export. What it returns is what `join` resolves with (structured clone). */
export type LcoreMain<Arguments = unknown> = (lcore: LcoreContext<Arguments>) => unknown;

/** A worker's side of a steering, by name. */
export interface SteeredName {
  readonly steering: string;
  readonly worker: number;
}

/** What an lcore's module is given: who and where it is, the arena, and the loop. Belongs to the lcore's thread. */
export class LcoreContext<Arguments = unknown> {
  readonly name: string;
  /** The CPU it is pinned to; -1 for none. */
  readonly cpu: number;
  readonly arena: Arena;
  readonly args: Arguments;
  /** Named access to mbufs of this arena. */
  readonly mbufs: Mbufs;
  /** Aborted when somebody asks the lcore to stop. A loop in `poll` ends by itself. */
  readonly signal: AbortSignal;
  readonly #stop: Int32Array;
  /** What the loop's idling comes to, for who started the lcore. */
  readonly #shown: Float64Array;
  #idle: Idle | undefined;
  readonly #rest: RestPoint;
  readonly #poolName: string | undefined;
  readonly #steered: SteeredName | undefined;
  #pool: Mempool | undefined;

  /** @param stop one i32: not 0 once the lcore shall stop. `shown`: IDLE_WORDS words */
  constructor(parts: { name: string; cpu: number; arena: Arena; args: Arguments; pool: string | undefined; steered?: SteeredName | undefined; stop: Int32Array; shown: Float64Array; signal: AbortSignal }) {
    this.name = parts.name;
    this.cpu = parts.cpu;
    this.arena = parts.arena;
    this.args = parts.args;
    this.signal = parts.signal;
    this.mbufs = mbufsOf(parts.arena);
    this.#poolName = parts.pool;
    this.#steered = parts.steered;
    this.#stop = parts.stop;
    this.#shown = parts.shown;
    this.#rest = new RestPoint(parts.arena);
  }

  /** The lcore's id in the arena, which owner words and ring claims name. */
  get id(): number {
    return this.arena.lcore;
  }

  /** The pool of the host that started it. Throws ENOTFOUND for an lcore that was started with an arena alone. */
  get pool(): Mempool {
    this.#pool ??= Mempool.find(this.arena, this.#poolName ?? '(no pool)');
    return this.#pool;
  }

  /** Takes a queue of a port by its numbers. Throws ENOTFOUND, ETHREAD, EUNSUPPORTED: see port/attach.ts. */
  rx(port: number, queue = 0): RxQueue {
    return attachRx(this.arena, port, queue);
  }

  tx(port: number, queue = 0): TxQueue {
    return attachTx(this.arena, port, queue);
  }

  /**
   * Takes a worker's side of a steering: a receive queue with the flows that are steered here, each in order. Without
   * arguments it is the one that the lcore was started for (`Distributor`). Throws ENOTFOUND, EOPTION, ETHREAD while
   * another lcore has it.
   */
  steered(steering = this.#steered?.steering, worker = this.#steered?.worker): SteeringWorker {
    if (steering === undefined || worker === undefined) throw new PollmodeError('ENOTFOUND', `lcore ${this.name} was started for no steering: start it through a Distributor, or say lcore.steered(name, number).`);
    return Steering.find(this.arena, steering).worker(worker);
  }

  burst(capacity = 32): Burst {
    return new Burst(this.arena, capacity);
  }

  /** Shall it stop? For loops of the program's own. */
  get stopping(): boolean {
    return Atomics.load(this.#stop, 0) !== 0;
  }

  /** Calls `body` over and over until it returns false, the lcore shall stop, or as the options say. See `poll`. */
  async poll(body: () => unknown, options: PollOptions = {}): Promise<void> {
    if (this.stopping) return;
    this.#idle = options.idle === undefined || options.idle instanceof Idle ? options.idle : new Idle(options.idle);
    await poll(body, { signal: this.signal, ...options, ...(this.#idle === undefined ? {} : { idle: this.#idle }) }, this.#guest);
    this.#rest.enter(); // what comes after the loop may burst too
  }

  readonly #guest: PollGuest = {
    enter: () => this.#rest.enter(),
    leave: () => {
      this.#rest.leave();
      this.#idle?.write(this.#shown);
    },
    pass: () => {
      this.#rest.pass();
      return this.stopping;
    },
  };
}

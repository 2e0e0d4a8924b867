import { setTimeout as wait } from 'node:timers/promises';
import type { Arena } from '../arena/arena.js';
import { PollmodeError } from '../errors.js';
import type { Mempool } from '../mbuf/mempool.js';
import { takeQueue } from '../port/attach.js';
import { Rebalancer, type RebalanceOptions } from '../rss/rebalancer.js';
import { Steering, type SteeringOptions, type SteeringSighting, type SteeringStats } from '../rss/steering.js';
import type { Flow } from '../rss/tuple.js';
import type { DistributeArgs } from './distribute.js';
import type { IdleOptions } from './idle.js';
import { launch, type LaunchOptions, type Lcore, type LcoreEnd, type QueueName } from './lcore.js';
import { NO_RECOVERY } from './recover.js';

export interface DistributorOptions {
  /** Receive queues that the calling thread holds; a port's first queue unless said otherwise. */
  readonly from: readonly { readonly port: number; readonly queue?: number }[];
  /** One for each worker lcore. Its module takes its packets with `lcore.steered()`. */
  readonly workers: readonly Omit<LaunchOptions, 'steered'>[];
  /** Of the steering, and of the lcores. Default "rps". */
  readonly name?: string;
  /** The CPU of the distributing lcore. Default: none. */
  readonly cpu?: number;
  /** Packets of a burst, 1 to 512. Default 32. */
  readonly burst?: number;
  /** Buckets, ring size, hash. */
  readonly steering?: Omit<SteeringOptions, 'workers'>;
  /** What the distributing lcore does when there is nothing. Default: asks again at once. */
  readonly idle?: Omit<IdleOptions, 'queues'>;
  /** Moves buckets off busy workers, every so many milliseconds (default 100). Default: never. */
  readonly rebalance?: RebalanceOptions & { readonly everyMs?: number };
  /** How often an lcore that ended is started again, in all. Then the others take a worker's packets over. Default 0. */
  readonly restarts?: number;
  /** An lcore ended that was not asked to. Default: a process warning. */
  readonly onEnd?: (event: DistributorEvent) => void;
}

export type Who = number | 'distributor';

export interface DistributorEvent {
  /** A worker's number, or the distributor. */
  readonly who: Who;
  readonly end: LcoreEnd;
  /** What is done about it. `waiting`: packets wait in the port until somebody calls `replace`. */
  readonly then: 'restarted' | 'taken over' | 'waiting';
}

/** What was done in all. */
export interface DistributorResult {
  /** How the last lcore of each worker ended, and the distributing one; undefined for one that was not running. */
  readonly workers: readonly (LcoreEnd | undefined)[];
  readonly distributor: LcoreEnd | undefined;
  /** Packets that still stood in the workers' rings, and were freed. */
  readonly left: number;
  readonly stats: SteeringStats;
}

/**
 * RPS as a running thing: one lcore polls receive queues and hands each packet to the worker lcore that its flow belongs
 * to, each flow in order. Belongs to the thread that started it.
 *
 *     const rps = await Distributor.start(host, { from: [{ port: 0 }], workers: [{ module, cpu: 1 }, { module, cpu: 2 }] });
 *
 * and the module:
 *
 *     export default async function (lcore) {
 *       const [queue, burst] = [lcore.steered(), lcore.burst()];
 *       await lcore.poll(() => {
 *         const got = queue.rxBurst(burst);
 *         // ... the first `got` mbufs are this lcore's
 *         lcore.pool.free(burst, 0, got);
 *       });
 *     }
 *
 * When a worker dies, what it held goes back to its pool, and what waits in its ring goes to the others before anything
 * newer of the same flows; or, with `restarts`, to its successor. When the distributor dies, nothing is distributed
 * until the next one has its queues.
 */
export class Distributor {
  readonly steering: Steering;
  readonly #where: { readonly arena: Arena; readonly pool: Mempool };
  readonly #options: DistributorOptions;
  readonly #lcores = new Map<Who, Lcore>();
  readonly #launching = new Map<Who, Promise<Lcore>>();
  readonly #timer: NodeJS.Timeout | undefined;
  #restarts: number;
  #stopping = false;
  /** Until packets are distributed for the first time: how the distributing lcore ended before that, which `start` says. */
  #starting: { end?: LcoreEnd } | undefined = {};

  private constructor(where: { readonly arena: Arena; readonly pool: Mempool }, steering: Steering, options: DistributorOptions) {
    this.steering = steering;
    this.#where = where;
    this.#options = options;
    this.#restarts = options.restarts ?? 0;
    if (options.rebalance === undefined) return;
    const rebalancer = new Rebalancer(steering, options.rebalance);
    this.#timer = setInterval(() => rebalancer.round(), options.rebalance.everyMs ?? 100).unref();
  }

  /** Resolves when all lcores run and packets are distributed. Rejects, with nothing left running, as `launch` and `Steering.create` throw, and EUNSUPPORTED for a queue that only the thread that opened it can poll (pcap:). */
  static async start(where: { readonly arena: Arena; readonly pool: Mempool }, options: DistributorOptions): Promise<Distributor> {
    const steering = Steering.create(where.pool, options.name ?? 'rps', { ...options.steering, workers: options.workers.length });
    let self: Distributor | undefined;
    try {
      self = new Distributor(where, steering, options);
      // The workers first, so that nobody distributes into rings that no one empties.
      const outcomes = await Promise.allSettled(options.workers.map((_, worker) => self!.#launch(worker, true)));
      const failed = outcomes.find(outcome => outcome.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      await self.#launch('distributor', true);
      await self.#begun();
      return self;
    } catch (cause) {
      if (self === undefined) steering.close(where.pool);
      else await self.stop();
      throw cause;
    }
  }

  /** Which worker, and so which lcore, sees this flow's next packet. Throws EOPTION. */
  whereIs(flow: Flow): SteeringSighting {
    return this.steering.whereIs(flow);
  }

  /** A running lcore, or undefined. */
  lcore(who: Who): Lcore | undefined {
    return this.#lcores.get(who);
  }

  /** Starts a new lcore for one that has ended; a worker's first buckets come back to it. Rejects as `launch`, with EBUSYQUEUE while the old one runs. */
  async replace(who: Who): Promise<void> {
    this.#refuseRunning(who);
    if (who === 'distributor') return this.#launch(who, false);
    while (this.#lcores.has('distributor') && !this.#stopping && !this.steering.settled) await wait(1); // it may hold the worker's side
    this.#refuseRunning(who); // another call may have been quicker
    await this.#launch(who, false);
    // One that has ended since was retired when it did, or was started again and needs no help.
    while (this.#lcores.has(who) && !this.#stopping && !this.steering.restore(who)) await wait(1);
  }

  #refuseRunning(who: Who): void {
    if (this.#stopping) throw stopped();
    if (this.#lcores.has(who) || this.#launching.has(who)) throw new PollmodeError('EBUSYQUEUE', `${describe(who)} runs: terminate its lcore first.`);
  }

  /** Stops distributing, lets the workers work off what they have (for at most `drainMs`), stops them and releases the steering; the queues are the calling thread's again. */
  async stop({ drainMs = 1000 }: { readonly drainMs?: number } = {}): Promise<DistributorResult> {
    if (this.#stopping) throw new PollmodeError('ECLOSED', 'This distributor is stopped already: call stop once.');
    this.#stopping = true;
    clearInterval(this.#timer);
    await Promise.allSettled(this.#launching.values());
    const distributor = await this.#end('distributor');
    for (const until = performance.now() + drainMs; performance.now() < until && this.#backlog() > 0;) await wait(1);
    const workers = await Promise.all(this.#options.workers.map((_, worker) => this.#end(worker)));
    for (const name of [...this.#queues('distributor'), ...this.#options.workers.flatMap(({ queues = [] }) => queues)]) this.#takeBack(name);
    return { workers, distributor, stats: this.steering.stats(), left: this.steering.close(this.#where.pool) };
  }

  /** Of a queue whose port was closed meanwhile there is nothing to take back. */
  #takeBack({ port, direction, queue }: QueueName): void {
    try {
      takeQueue(this.#where.arena, port, direction, queue);
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
    }
  }

  /** What waits for workers that run. */
  #backlog(): number {
    return this.#options.workers.reduce((sum, _, worker) => sum + (this.#lcores.has(worker) ? this.steering.backlog(worker) : 0), 0);
  }

  async #end(who: Who): Promise<LcoreEnd | undefined> {
    const lcore = this.#lcores.get(who);
    lcore?.stop().catch(() => undefined); // `ended` says it too
    return lcore?.ended;
  }

  async #launch(who: Who, first: boolean): Promise<void> {
    // Only the first one is given its queues; they are free after its end, and its successor takes them by itself.
    const launching = launch(this.#where, { ...this.#launchOptions(who), queues: first ? this.#queues(who) : [] });
    this.#launching.set(who, launching);
    try {
      const lcore = await launching;
      this.#lcores.set(who, lcore);
      void lcore.ended.then(end => this.#ended(who, end));
    } finally {
      this.#launching.delete(who);
    }
  }

  /** The distributing lcore has all that it needs. Rejects with what it died of. */
  async #begun(): Promise<void> {
    const starting = this.#starting!;
    while (!this.steering.isDistributed && starting.end === undefined) await wait(1);
    this.#starting = undefined;
    if (starting.end !== undefined && starting.end.how !== 'returned') throw starting.end.error;
  }

  #launchOptions(who: Who): LaunchOptions {
    const { name = 'rps', burst = 32, idle = { policy: 'busy' }, cpu } = this.#options;
    if (who !== 'distributor') return { name: `${name} ${who}`, ...this.#options.workers[who], steered: { steering: name, worker: who } };
    const args: DistributeArgs = { steering: name, from: this.#queues(who), burst, idle };
    return { name: `${name} distributor`, module: new URL('./distribute.js', import.meta.url), args, ...(cpu === undefined ? {} : { cpu }) };
  }

  #queues(who: Who): readonly QueueName[] {
    if (who !== 'distributor') return this.#options.workers[who].queues ?? [];
    return this.#options.from.map(({ port, queue = 0 }) => ({ port, queue, direction: 'rx' }));
  }

  #ended(who: Who, end: LcoreEnd): void {
    if (this.#stopping) return;
    this.#lcores.delete(who);
    if (who === 'distributor' && this.#starting !== undefined) {
      this.#starting.end = end;
      return;
    }
    const restarts = this.#restarts > 0;
    if (restarts) this.#restart(who);
    else if (who !== 'distributor') this.steering.retire(who);
    (this.#options.onEnd ?? warn)({ who, end, then: restarts ? 'restarted' : who === 'distributor' ? 'waiting' : 'taken over' });
  }

  #restart(who: Who): void {
    this.#restarts--;
    // One that cannot even start ends like one that died.
    this.#launch(who, false).catch((error: PollmodeError) => this.#ended(who, { how: 'died', error, recovery: NO_RECOVERY }));
  }
}

function stopped(): PollmodeError {
  return new PollmodeError('ECLOSED', 'This distributor is stopped: start a new one.');
}

function describe(who: Who): string {
  return who === 'distributor' ? 'the distributor' : `worker ${who}`;
}

function warn({ who, end, then }: DistributorEvent): void {
  process.emitWarning(`${describe(who)} ended ${end.how === 'returned' ? 'by itself' : `by an error: ${end.error.message}`} (${then})`, { type: 'PollmodeDistributor' });
}

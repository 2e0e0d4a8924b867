import { setTimeout as wait } from 'node:timers/promises';
import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_RETA } from '../arena/layout.js';
import { PollmodeError } from '../errors.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { RxQueue } from '../port/port.js';
import {
  RETA_APPLIED, RETA_ENTRIES, RETA_ENTRY_BYTES, RETA_FORCED, RETA_DRAINED, RETA_FROM, RETA_GENERATION, RETA_HELD, RETA_HOLDING, RETA_HOLD_FULL,
  RETA_HOLD_US, RETA_KIND, RETA_MAGIC, RETA_MOVED, RETA_MOVING, RETA_QUEUES, RETA_QUEUE_FIRST, RETA_QUEUE_STRIDE, RETA_REORDERED, RETA_RSS, RETA_TO,
} from './reta_layout.js';
import { GuardedRxQueue, type GuardedQueueOptions } from './reta_queue.js';
import { Rss, type RssOptions } from './rss.js';

export interface RetaGuardOptions {
  /** The table that the NIC has: the queue of each entry, 1 to 65536 of them. */
  readonly reta: readonly number[];
  /** Receive queues, 1 to 256. */
  readonly queues: number;
  /** How long an old queue has to be empty before what moved is delivered, in microseconds. Default 1000. */
  readonly holdUs?: number;
  /** The key and types that the NIC hashes by. */
  readonly rss?: RssOptions;
}

export interface RetaCounts {
  /** Packets that came to their new queue while the old one might have had older ones. */
  readonly held: number;
  /** Packets that came to an old queue when younger ones of their entry had been delivered by the new one. */
  readonly reordered: number;
  /** Dropped, and freed, because too many were held. */
  readonly holdFull: number;
}

/** What a move did. */
export interface RetaMove extends RetaCounts {
  readonly entries: number;
  /** Old queues were not empty for long enough within the patience, and were not waited for any longer. */
  readonly forced: boolean;
  readonly milliseconds: number;
}

/**
 * Changes of a NIC's redirection table under traffic. The NIC sends a flow's next packet to the new queue while older
 * ones wait in the old one, for another lcore, so packets of moved entries are held at the new queue until the old one
 * has been empty for a while. Every queue is polled through `queue`, each by its own thread.
 *
 * It knows no NIC: `apply` of `move` tells it, for one on Linux `reta => setNicRss(name, { reta })` (kernel/rss.ts), and before the first
 * move `changeNicRss`, so that what was there is put back (journal/changes.ts).
 */
export class RetaGuard {
  readonly name: string;
  readonly queues: number;
  readonly entries: number;
  readonly rss: Rss;
  readonly #arena: Arena;
  readonly #zone: Memzone;

  private constructor(arena: Arena, zone: Memzone) {
    this.#arena = arena;
    this.#zone = zone;
    this.name = zone.name;
    this.rss = Rss.find(arena, `${zone.name}/rss`);
    this.entries = this.#load(RETA_ENTRIES);
    this.queues = this.#load(RETA_QUEUES);
  }

  /** Throws EOPTION, EEXISTS, EARENAFULL. */
  static create(arena: Arena, name: string, { reta, queues, holdUs = 1000, rss: hash }: RetaGuardOptions): RetaGuard {
    if (!Number.isInteger(queues) || queues < 1 || queues > 256) throw new PollmodeError('EOPTION', `${name}: ${String(queues)} receive queues: give a whole number from 1 to 256.`);
    if (!Number.isInteger(holdUs) || holdUs < 0 || holdUs > 1e9) throw new PollmodeError('EOPTION', `${name}: holdUs ${String(holdUs)}: give a whole number of microseconds, 1000 is usual.`);
    if (reta.length < 1 || reta.length > 65536) throw new PollmodeError('EOPTION', `${name}: a redirection table of ${reta.length} entries: give 1 to 65536.`);
    checkTable(name, reta, queues);
    const rss = Rss.create(arena, `${name}/rss`, hash);
    try {
      const entriesAt = RETA_QUEUE_FIRST + queues * RETA_QUEUE_STRIDE;
      const zone = arena.reserve(name, entriesAt + reta.length * RETA_ENTRY_BYTES, { align: 128, type: ZONE_RETA });
      const set = (at: number, value: number): void => { arena.u32[(zone.offset + at) >>> 2] = value; };
      for (const [field, value] of [[RETA_ENTRIES, reta.length], [RETA_QUEUES, queues], [RETA_RSS, rss.offset], [RETA_HOLD_US, holdUs]] as const) set(field, value);
      reta.forEach((queue, entry) => set(entriesAt + entry * RETA_ENTRY_BYTES + RETA_TO, queue));
      set(RETA_KIND, RETA_MAGIC);
      return new RetaGuard(arena, zone);
    } catch (cause) {
      rss.close();
      throw cause;
    }
  }

  /** The one of that name, made by any thread of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): RetaGuard {
    const zone = arena.find(name);
    if (zone.type !== ZONE_RETA || arena.u32[(zone.offset + RETA_KIND) >>> 2] !== RETA_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no guarded redirection table: check the name.`);
    return new RetaGuard(arena, zone);
  }

  /** The calling thread's queue `number`, which it polls through this from now on. Throws EOPTION. */
  queue(number: number, inner: RxQueue, pool: Mempool, options: GuardedQueueOptions = {}): GuardedRxQueue {
    if (!Number.isInteger(number) || number < 0 || number >= this.queues) throw new PollmodeError('EOPTION', `${this.name}: queue ${String(number)} of ${this.queues}: give a whole number below that.`);
    return new GuardedRxQueue(this.#arena, this.#zone.offset, this.rss, number, inner, pool, options);
  }

  /** The queue of each entry. */
  get reta(): number[] {
    return Array.from({ length: this.entries }, (_, entry) => this.#load(this.#entry(entry) + RETA_TO));
  }

  counts(): RetaCounts {
    const sum = (field: number): number => Array.from({ length: this.queues }, (_, queue) => Number(this.#arena.u64[(this.#zone.offset + this.#queue(queue) + field) / 8])).reduce((all, each) => all + each);
    return { held: sum(RETA_HELD), reordered: sum(RETA_REORDERED), holdFull: sum(RETA_HOLD_FULL) };
  }

  /**
   * Changes the table: resolves when the old queues have been empty, everything held is delivered, and for `watchMs` more
   * (default ten times the hold) nobody was seen coming late. Old queues that stay busy for `patienceMs` (default 100)
   * are not waited for any longer. Rejects with EOPTION, EBUSYQUEUE (a move is under way), or with what `apply` threw;
   * then the table is as it was.
   */
  async move(reta: readonly number[], apply: (reta: readonly number[]) => void, { patienceMs = 100, watchMs = this.#load(RETA_HOLD_US) / 100 }: { readonly patienceMs?: number; readonly watchMs?: number } = {}): Promise<RetaMove> {
    const start = performance.now();
    const before = this.counts();
    const step = this.begin(reta, apply);
    const until = async (done: () => boolean, ms: number): Promise<boolean> => {
      for (const end = performance.now() + ms; performance.now() < end && !done(); await wait(1));
      return done();
    };
    const drained = await until(step.drained, patienceMs);
    if (!drained) step.force();
    await until(step.delivered, patienceMs);
    await wait(watchMs);
    step.end();
    const { held, reordered, holdFull } = this.counts();
    return {
      entries: step.entries, forced: !drained, milliseconds: performance.now() - start,
      held: held - before.held, reordered: reordered - before.reordered, holdFull: holdFull - before.holdFull,
    };
  }

  /** The steps of `move`, for who has a clock and a loop of its own. Throws as `move` rejects. */
  begin(reta: readonly number[], apply: (reta: readonly number[]) => void): RetaStep {
    checkTable(this.name, reta, this.queues);
    if (reta.length !== this.entries) throw new PollmodeError('EOPTION', `${this.name}: its redirection table has ${this.entries} entries, not ${reta.length}: give so many.`);
    if (this.#load(RETA_MOVING) !== 0) throw new PollmodeError('EBUSYQUEUE', `${this.name}: a move of its redirection table is under way: wait for its end.`);
    const now = this.reta;
    const changed = reta.flatMap((queue, entry) => (queue === now[entry] ? [] : [entry]));
    const generation = this.#load(RETA_GENERATION) + 1;
    this.#store(RETA_GENERATION, generation);
    for (const entry of changed) {
      this.#store(this.#entry(entry) + RETA_FROM, now[entry]);
      this.#store(this.#entry(entry) + RETA_TO, reta[entry]);
      this.#store(this.#entry(entry) + RETA_MOVED, generation);
    }
    this.#store(RETA_MOVING, generation);
    try {
      apply(reta);
    } catch (cause) {
      for (const entry of changed) this.#store(this.#entry(entry) + RETA_TO, now[entry]);
      this.#settle(changed);
      throw cause;
    }
    this.#store(RETA_APPLIED, generation);
    const sources = [...new Set(changed.map(entry => now[entry]))];
    return {
      entries: changed.length,
      drained: () => sources.every(queue => this.#load(this.#queue(queue) + RETA_DRAINED) === generation),
      force: () => this.#store(RETA_FORCED, generation),
      delivered: () => Array.from({ length: this.queues }, (_, queue) => this.#load(this.#queue(queue) + RETA_HOLDING)).every(held => held === 0),
      end: () => this.#settle(changed),
    };
  }

  /** Releases its memory, once no thread polls through it any more. */
  close(): void {
    this.rss.close();
    this.#store(RETA_KIND, 0);
    this.#arena.release(this.#zone);
  }

  #settle(changed: readonly number[]): void {
    for (const entry of changed) this.#store(this.#entry(entry) + RETA_MOVED, 0);
    this.#store(RETA_MOVING, 0);
  }

  #queue(queue: number): number {
    return RETA_QUEUE_FIRST + queue * RETA_QUEUE_STRIDE;
  }

  #entry(entry: number): number {
    return this.#queue(this.queues) + entry * RETA_ENTRY_BYTES;
  }

  #load(at: number): number {
    return Atomics.load(this.#arena.u32, (this.#zone.offset + at) >>> 2);
  }

  #store(at: number, value: number): void {
    Atomics.store(this.#arena.u32, (this.#zone.offset + at) >>> 2, value);
  }
}

/** A move that has begun. */
export interface RetaStep {
  readonly entries: number;
  /** Have all old queues been empty for long enough? */
  drained(): boolean;
  /** Does not wait for them any longer: what is held is delivered, at the risk that something older comes late. */
  force(): void;
  /** Is nothing held any more? */
  delivered(): boolean;
  /** Forgets the move: nobody looks for late packets any more. */
  end(): void;
}

function checkTable(name: string, reta: readonly number[], queues: number): void {
  const wrong = reta.find(queue => !Number.isInteger(queue) || queue < 0 || queue >= queues);
  if (wrong !== undefined) throw new PollmodeError('EOPTION', `${name}: its redirection table names queue ${String(wrong)}, of ${queues}: give numbers below that.`);
}

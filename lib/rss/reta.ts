import { setTimeout as wait } from 'node:timers/promises';
import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_RETA } from '../arena/layout.js';
import { PollmodeError } from '../errors.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { RxQueue } from '../port/port.js';
import {
  RETA_APPLIED, RETA_ENTRIES, RETA_ENTRY_BYTES, RETA_FORCED, RETA_DRAINED, RETA_FROM, RETA_FROM_ANY, RETA_GENERATION, RETA_HELD, RETA_HOLDING,
  RETA_HOLD_FULL, RETA_HOLD_US, RETA_KIND, RETA_MAGIC, RETA_MOVED, RETA_MOVER, RETA_MOVING, RETA_QUEUES, RETA_QUEUE_FIRST, RETA_QUEUE_STRIDE,
  RETA_REORDERED, RETA_RSS, RETA_TO, RETA_UNSURE,
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
 * It knows no NIC: `apply` of `move` tells it, `reta => port.rss.set({ reta })` for one under a port that has RSS, which
 * puts the table back at its close.
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
   * are not waited for any longer. What a dead lcore's move left is ended first. Rejects with EOPTION, EBUSYQUEUE (a move
   * is under way), or with what `apply` threw; then the table is as it was.
   */
  async move(reta: readonly number[], apply: (reta: readonly number[]) => void, { patienceMs = 100, watchMs = this.#load(RETA_HOLD_US) / 100 }: { readonly patienceMs?: number; readonly watchMs?: number } = {}): Promise<RetaMove> {
    const start = performance.now();
    const left = this.resume();
    if (left !== undefined) await carryOut(left, patienceMs, 0);
    const before = this.counts();
    const step = this.begin(reta, apply);
    const forced = await carryOut(step, patienceMs, watchMs);
    const { held, reordered, holdFull } = this.counts();
    return {
      entries: step.entries, forced, milliseconds: performance.now() - start,
      held: held - before.held, reordered: reordered - before.reordered, holdFull: holdFull - before.holdFull,
    };
  }

  /** The steps of `move`, for who has a clock and a loop of its own. Throws as `move` rejects, and EBUSYQUEUE while a dead lcore's move is not ended (`resume`). */
  begin(reta: readonly number[], apply: (reta: readonly number[]) => void): RetaStep {
    checkTable(this.name, reta, this.queues);
    if (reta.length !== this.entries) throw new PollmodeError('EOPTION', `${this.name}: its redirection table has ${this.entries} entries, not ${reta.length}: give so many.`);
    this.#becomeMover();
    const now = this.reta;
    const unsure = !this.isCertain;
    const changed = reta.flatMap((queue, entry) => (queue === now[entry] && !unsure ? [] : [entry]));
    const generation = this.#load(RETA_GENERATION) + 1;
    this.#store(RETA_GENERATION, generation);
    for (const entry of changed) {
      this.#store(this.#entry(entry) + RETA_FROM, unsure ? RETA_FROM_ANY : now[entry]);
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
    this.#store(RETA_UNSURE, 0);
    return this.#step(generation, changed);
  }

  /**
   * Takes over a move that its lcore began and did not live to end, once that lcore is recovered; undefined where there is
   * none. Its packets are delivered without it, in order, by whoever polls the queues; `end` of the step is what is missing.
   */
  resume(): RetaStep | undefined {
    if (this.#load(RETA_MOVING) === 0 || this.#exchangeMover(0, this.#arena.lcore + 1) !== 0) return undefined;
    const generation = this.#load(RETA_MOVING);
    if (generation !== 0) return this.#step(generation, this.#entriesOf(generation));
    this.#exchangeMover(this.#arena.lcore + 1, 0); // another has ended it just now
    return undefined;
  }

  /** Has the NIC this table for certain? Not when a mover died while it told the NIC; the next move does away with that. */
  get isCertain(): boolean {
    return this.#load(RETA_UNSURE) === 0;
  }

  /** Releases its memory, once no thread polls through it any more. */
  close(): void {
    this.rss.close();
    this.#store(RETA_KIND, 0);
    this.#arena.release(this.#zone);
  }

  #step(generation: number, changed: readonly number[]): RetaStep {
    const from = changed.map(entry => this.#load(this.#entry(entry) + RETA_FROM));
    const all = Array.from({ length: this.queues }, (_, queue) => queue);
    const sources = from.includes(RETA_FROM_ANY) ? all : [...new Set(from)];
    return {
      entries: changed.length,
      drained: () => sources.every(queue => this.#load(this.#queue(queue) + RETA_DRAINED) === generation),
      force: () => this.#store(RETA_FORCED, generation),
      delivered: () => all.every(queue => this.#load(this.#queue(queue) + RETA_HOLDING) === 0),
      end: () => this.#settle(changed),
    };
  }

  #entriesOf(generation: number): number[] {
    return Array.from({ length: this.entries }, (_, entry) => entry).filter(entry => this.#load(this.#entry(entry) + RETA_MOVED) === generation);
  }

  #becomeMover(): void {
    const mover = this.#exchangeMover(0, this.#arena.lcore + 1);
    if (mover !== 0) throw new PollmodeError('EBUSYQUEUE', `${this.name}: a move of its redirection table is under way, by lcore ${mover - 1}: wait for its end.`);
    if (this.#load(RETA_MOVING) === 0) return;
    this.#exchangeMover(this.#arena.lcore + 1, 0);
    throw new PollmodeError('EBUSYQUEUE', `${this.name}: the lcore that moved its redirection table died before the end: end that move first (resume), or leave it to move().`);
  }

  /** Returns who it was. */
  #exchangeMover(from: number, to: number): number {
    return Atomics.compareExchange(this.#arena.u32, (this.#zone.offset + RETA_MOVER) >>> 2, from, to);
  }

  #settle(changed: readonly number[]): void {
    for (const entry of changed) this.#store(this.#entry(entry) + RETA_MOVED, 0);
    this.#store(RETA_MOVING, 0);
    this.#exchangeMover(this.#arena.lcore + 1, 0);
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

/** Returns whether the old queues had to be given up. */
async function carryOut(step: RetaStep, patienceMs: number, watchMs: number): Promise<boolean> {
  const until = async (done: () => boolean): Promise<boolean> => {
    for (const end = performance.now() + patienceMs; performance.now() < end && !done(); await wait(1));
    return done();
  };
  const drained = await until(step.drained);
  if (!drained) step.force();
  await until(step.delivered);
  await wait(watchMs);
  step.end();
  return !drained;
}

/**
 * Gives up the moves that a dead lcore had under way, for another to end; their packets go on meanwhile. Where it died
 * before it had told that the NIC knows, the NIC may know or not. Returns the names of what is free now.
 */
export function freeReta(arena: Arena, lcore: number): string[] {
  const freed: string[] = [];
  for (const { name, offset } of arena.zones().filter(zone => zone.type === ZONE_RETA)) {
    const word = (field: number): number => (offset + field) >>> 2;
    if (Atomics.load(arena.u32, word(RETA_MOVER)) !== lcore + 1) continue;
    const generation = Atomics.load(arena.u32, word(RETA_GENERATION));
    if (Atomics.load(arena.u32, word(RETA_APPLIED)) !== generation) {
      Atomics.store(arena.u32, word(RETA_UNSURE), 1);
      // From now on old queues that are empty count: if the NIC was told at all, it was before this.
      Atomics.store(arena.u32, word(RETA_APPLIED), generation);
    }
    Atomics.store(arena.u32, word(RETA_MOVER), 0);
    freed.push(`${name}/mover`);
  }
  return freed;
}

function checkTable(name: string, reta: readonly number[], queues: number): void {
  const wrong = reta.find(queue => !Number.isInteger(queue) || queue < 0 || queue >= queues);
  if (wrong !== undefined) throw new PollmodeError('EOPTION', `${name}: its redirection table names queue ${String(wrong)}, of ${queues}: give numbers below that.`);
}

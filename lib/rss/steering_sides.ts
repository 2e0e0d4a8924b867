/** The two sides of a steering: the one lcore that distributes, and the workers, one lcore each. */
import type { Arena } from '../arena/arena.js';
import { ZONE_STEER } from '../arena/layout.js';
import { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { ReceiveQueue } from '../port/receive_queue.js';
import { RING_CONS, RING_PROD } from '../ring/layout.js';
import {
  BUCKET_BYTES, BUCKET_NOW, BUCKET_TAIL, BUCKET_WANTED, STEER_BUCKETS, STEER_CHANGES, STEER_COUNT, STEER_DONE, STEER_FIRST, STEER_HOLDER, STEER_LCORE,
  STEER_RING, STEER_SEEN, STEER_STATE, STEER_TAKEN_OVER, STEER_VECTOR, STEER_WORKERS, STEER_WORKER_FIRST, STEER_WORKER_STRIDE, WORKER_IN, WORKER_OUT,
  WORKER_TAKING,
} from './layout.js';

/** How long a worker waits for the end of a take-over: a distributor that needs longer is stopped or stuck. */
const TAKE_OVER_MS = 10_000;

/** Offset of a worker's record. */
export function workerAt(steer: number, worker: number): number {
  return steer + STEER_WORKER_FIRST + worker * STEER_WORKER_STRIDE;
}

/**
 * A worker's side: a receive queue like any other. To come for the next burst says that the last one is worked off. The
 * fields are `private` and not # for the reason that port/port_queue.ts gives.
 */
export class SteeringWorker extends ReceiveQueue {
  readonly number: number;
  /** Bursts that were answered with 0 because this thread does not hold the side (any more). */
  wrongThread = 0;
  private readonly steer: number;
  private readonly lcore: number;
  private readonly u32: Uint32Array;
  private readonly holder: number;
  private readonly take: BurstFunctions['steerTake'];
  private readonly note: BurstFunctions['steerRecord'];

  /** Use `Steering.worker`. */
  constructor(arena: Arena, steer: number, number: number) {
    super(arena);
    this.number = number;
    this.steer = steer;
    this.lcore = arena.lcore;
    this.u32 = arena.u32;
    this.holder = (workerAt(steer, number) + STEER_HOLDER) >>> 2;
    awaitTakeOver(arena, steer, this.holder);
    hold(arena, this.holder, `worker ${number}`);
    const { steerTake, steerRecord } = burstFunctions(arena);
    this.take = steerTake;
    this.note = steerRecord;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (this.u32[this.holder] !== this.lcore + 1) {
      this.wrongThread++;
      return 0;
    }
    const most = burst.bounded(max);
    return most > 0 ? this.take(this.steer, this.number, burst.offset, most, this.lcore) : 0;
  }

  /**
   * RFS: the flows of the first `count` mbufs are consumed by a worker, by default this one; their next packets shall go
   * there too. Any worker may say so of mbufs that it holds.
   */
  record(burst: Burst, count: number, worker: number = this.number): void {
    const most = burst.bounded(count);
    if (most > 0) this.note(this.steer, burst.offset, most, worker);
  }

  /** Says that what it took is worked off, and lets the side go, for another thread to take. */
  release(): void {
    const mine = workerAt(this.steer, this.number);
    if (this.u32[this.holder] !== this.lcore + 1) return;
    Atomics.store(this.u32, (mine + STEER_DONE) >>> 2, this.u32[(this.u32[(mine + STEER_RING) >>> 2] + RING_CONS) >>> 2]);
    Atomics.store(this.u32, this.holder, 0);
    noteGone(this.u32, this.steer, this.number);
  }
}

/** Nobody has this worker's side any more: if it is out of service, what waits in its ring is the distributor's to hand to the others. */
function noteGone(u32: Uint32Array, steer: number, worker: number): void {
  if (Atomics.load(u32, (workerAt(steer, worker) + STEER_STATE) >>> 2) !== WORKER_IN) Atomics.add(u32, (steer + STEER_CHANGES) >>> 2, 1);
}

/** The distributor's side: hands packets to the workers, and what a worker that is gone has left to the others. */
export class SteeringDistributor {
  /** Bursts that were answered with 0 because this thread does not hold the side (any more). */
  wrongThread = 0;
  private readonly arena: Arena;
  private readonly steer: number;
  private readonly lcore: number;
  private readonly u32: Uint32Array;
  private readonly holder: number;
  private readonly changes: number;
  private readonly seen: number;
  private readonly functions: BurstFunctions;
  private readonly handOut: BurstFunctions['steerDistribute'];
  private readonly vector: Burst;

  /** Use `Steering.distributor`. */
  constructor(arena: Arena, steer: number) {
    this.arena = arena;
    this.steer = steer;
    this.lcore = arena.lcore;
    this.u32 = arena.u32;
    this.holder = (steer + STEER_LCORE) >>> 2;
    this.changes = (steer + STEER_CHANGES) >>> 2;
    this.seen = (steer + STEER_SEEN) >>> 2;
    this.functions = burstFunctions(arena);
    this.handOut = this.functions.steerDistribute;
    hold(arena, this.holder, 'the distributor');
    this.vector = new Burst(arena, STEER_VECTOR);
  }

  /**
   * Hands the first `count` (at most 512) mbufs to the workers. All are gone afterwards: what a full ring refused is
   * freed and counted. Returns how many were handed over.
   */
  distribute(burst: Burst, count: number): number {
    if (this.u32[this.holder] !== this.lcore + 1) {
      this.wrongThread++;
      return 0;
    }
    if (this.u32[this.seen] !== Atomics.load(this.u32, this.changes)) this.takeOver();
    const most = burst.bounded(count);
    return most > 0 ? this.handOut(this.steer, burst.offset, most, this.lcore) : 0;
  }

  /**
   * Gives the buckets and the waiting packets of workers that are out of service to the others, older packets first, so
   * that no flow is reordered. `distribute` does it by itself; a loop that may find nothing for long calls it too.
   * Returns how many packets were taken over.
   */
  takeOver(): number {
    const changes = Atomics.load(this.u32, this.changes);
    if (this.u32[this.seen] === changes) return 0;
    const all = Array.from({ length: this.u32[(this.steer + STEER_WORKERS) >>> 2] }, (_, worker) => worker);
    const others = all.filter(worker => this.#state(worker) === WORKER_IN);
    let packets = 0;
    // With nobody left everything waits where it is, for the first one that comes back.
    if (others.length > 0) for (const worker of all) if (this.#state(worker) !== WORKER_IN) packets += this.#takeOver(worker, others);
    Atomics.store(this.u32, this.seen, changes);
    return packets;
  }

  /** Lets the side go, for another thread to take. */
  release(): void {
    if (Atomics.compareExchange(this.u32, this.holder, this.lcore + 1, 0) === this.lcore + 1) this.vector.close();
  }

  #takeOver(worker: number, others: readonly number[]): number {
    const record = workerAt(this.steer, worker);
    const state = (record + STEER_STATE) >>> 2;
    if (Atomics.compareExchange(this.u32, state, WORKER_OUT, WORKER_TAKING) === WORKER_IN) return 0; // it came back just now
    const holder = (record + STEER_HOLDER) >>> 2;
    const gone = Atomics.compareExchange(this.u32, holder, 0, this.lcore + 1) === 0;
    this.#reassign(worker, others, gone);
    const packets = gone ? this.#drain(worker) : 0;
    if (gone) Atomics.store(this.u32, holder, 0);
    Atomics.store(this.u32, state, WORKER_OUT);
    return packets;
  }

  /**
   * A worker that is gone has nothing in hand and its ring is about to be emptied in order, so its buckets are the
   * others' at once. One that still works lets go of each bucket as it is done with it, as at any move.
   */
  #reassign(worker: number, others: readonly number[], gone: boolean): void {
    const first = this.u32[(this.steer + STEER_FIRST) >>> 2];
    const buckets = this.u32[(this.steer + STEER_BUCKETS) >>> 2];
    for (let bucket = 0; bucket < buckets; bucket++) {
      const at = (first + bucket * BUCKET_BYTES) >>> 2;
      const now = this.u32[at + BUCKET_NOW / 4];
      const wanted = Atomics.load(this.u32, at + BUCKET_WANTED / 4);
      if (now !== worker && wanted !== worker) continue;
      const heir = others.includes(wanted) ? wanted : now === worker ? others[bucket % others.length] : now;
      Atomics.store(this.u32, at + BUCKET_WANTED / 4, heir);
      if (now !== worker || !gone) continue;
      this.u32[at + BUCKET_NOW / 4] = heir;
      this.u32[at + BUCKET_TAIL / 4] = this.u32[(this.u32[(workerAt(this.steer, heir) + STEER_RING) >>> 2] + RING_PROD) >>> 2];
    }
  }

  #drain(worker: number): number {
    const { steerTake, steerDistribute } = this.functions;
    const vector = this.vector;
    let packets = 0;
    for (let got = steerTake(this.steer, worker, vector.offset, vector.capacity, this.lcore); got > 0; got = steerTake(this.steer, worker, vector.offset, vector.capacity, this.lcore)) {
      steerDistribute(this.steer, vector.offset, got, this.lcore);
      packets += got;
    }
    this.arena.u64[(this.steer + STEER_TAKEN_OVER) / 8] += BigInt(packets);
    return packets;
  }

  #state(worker: number): number {
    return Atomics.load(this.u32, (workerAt(this.steer, worker) + STEER_STATE) >>> 2);
  }
}

/**
 * Puts in order what a dead lcore held of all steerings, and frees it for another. What it had sorted into the workers'
 * vectors and not handed over is lost with it, so the vectors are empty again. Returns the names of what is free now.
 */
export function freeSteering(arena: Arena, lcore: number): string[] {
  const free = (word: number): boolean => Atomics.compareExchange(arena.u32, word, lcore + 1, 0) === lcore + 1;
  const freed: string[] = [];
  for (const { name, offset } of arena.zones().filter(zone => zone.type === ZONE_STEER)) {
    const workers = Array.from({ length: arena.u32[(offset + STEER_WORKERS) >>> 2] }, (_, worker) => worker);
    for (const worker of workers) {
      if (!free((workerAt(offset, worker) + STEER_HOLDER) >>> 2)) continue;
      noteGone(arena.u32, offset, worker);
      freed.push(`${name}/worker/${worker}`);
    }
    if (arena.u32[(offset + STEER_LCORE) >>> 2] !== lcore + 1) continue;
    for (const worker of workers) {
      arena.u32[(workerAt(offset, worker) + STEER_COUNT) >>> 2] = 0;
      Atomics.compareExchange(arena.u32, (workerAt(offset, worker) + STEER_STATE) >>> 2, WORKER_TAKING, WORKER_OUT);
    }
    // It may have died taking over: the next one begins with that.
    Atomics.store(arena.u32, (offset + STEER_SEEN) >>> 2, arena.u32[(offset + STEER_CHANGES) >>> 2] - 1);
    if (free((offset + STEER_LCORE) >>> 2)) freed.push(`${name}/distributor`);
  }
  return freed;
}

/**
 * The distributor has a worker's side for the moment of taking over, from all that are out of service whenever one goes
 * out. It lets go by itself, or the recovery of its lcore does.
 */
function awaitTakeOver(arena: Arena, steer: number, holder: number): void {
  const until = performance.now() + TAKE_OVER_MS;
  for (let held = Atomics.load(arena.i32, holder); held !== 0 && held !== arena.lcore + 1 && held === Atomics.load(arena.i32, (steer + STEER_LCORE) >>> 2); held = Atomics.load(arena.i32, holder)) {
    if (performance.now() > until) return;
    Atomics.wait(arena.i32, holder, held, 1);
  }
}

/** Takes a side for the calling thread. Throws ETHREAD while another holds it. */
function hold(arena: Arena, word: number, what: string): void {
  const held = Atomics.compareExchange(arena.u32, word, 0, arena.lcore + 1);
  if (held !== 0 && held !== arena.lcore + 1) throw new PollmodeError('ETHREAD', `Steering: ${what} is lcore ${held - 1}: release it there first, one thread has a side.`);
}

import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_STEER } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import type { Mempool } from '../mbuf/mempool.js';
import { ReceiveQueue } from '../port/receive_queue.js';
import { Ring } from '../ring/ring.js';
import {
  BUCKET_BYTES, BUCKET_NOW, BUCKET_WANTED, STEER_BUCKETS, STEER_BUCKETS_AT, STEER_DISTRIBUTED, STEER_FIRST, STEER_HANDED, STEER_KIND, STEER_MAGIC,
  STEER_MASK, STEER_MOVES, STEER_POOL, STEER_RING, STEER_RING_FULL, STEER_RSS, STEER_TABLE, STEER_TAKEN, STEER_VECTOR, STEER_WAITS, STEER_WORKERS,
  STEER_WORKER_FIRST, STEER_WORKER_MAX, STEER_WORKER_STRIDE,
} from './layout.js';
import { Rss, type RssOptions } from './rss.js';
import type { Flow } from './tuple.js';

export interface SteeringOptions {
  /** Worker lcores, 1 to 64. */
  readonly workers: number;
  /** Entries of the table, 1 to 2^22: RPS takes 128 or so; RFS one for each flow that is to have its own, and more. */
  readonly buckets?: number;
  /** Slots of each worker's ring, a power of two. Default 1024. */
  readonly ringSize?: number;
  /** The hash for packets that come without one. */
  readonly rss?: RssOptions;
}

export interface SteeringStats {
  readonly distributed: number;
  /** Dropped, and freed, because a worker's ring was full. */
  readonly ringFull: number;
  /** Buckets that changed their worker, and packets that came while theirs wanted to and could not yet. */
  readonly moves: number;
  readonly waits: number;
  readonly workers: readonly { readonly handed: number; readonly taken: number }[];
}

/**
 * Software steering (Documentation/networking/scaling.rst, RPS and RFS): the distributor's lcore hands each packet to the
 * worker that its hash's bucket names. A bucket moves to another worker only when its old one is done with every packet
 * of it, so no flow is reordered, whatever is changed meanwhile.
 *
 * One thread distributes; `want` may be called by any. Each worker has a `SteeringWorker` in its own thread.
 */
export class Steering {
  readonly name: string;
  readonly offset: number;
  readonly workers: number;
  readonly buckets: number;
  readonly rss: Rss;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #rings: readonly Ring[];
  readonly #burst: BurstFunctions;

  private constructor(arena: Arena, zone: Memzone) {
    this.#arena = arena;
    this.#zone = zone;
    this.name = zone.name;
    this.offset = zone.offset;
    this.workers = this.#field(STEER_WORKERS);
    this.buckets = this.#field(STEER_BUCKETS);
    this.rss = Rss.find(arena, `${zone.name}/rss`);
    this.#rings = Array.from({ length: this.workers }, (_, worker) => Ring.find(arena, ringName(zone.name, worker)));
    this.#burst = burstFunctions(arena);
  }

  /** Buckets go round the workers at first. Throws EOPTION, EEXISTS, EARENAFULL. */
  static create(pool: Mempool, name: string, options: SteeringOptions): Steering {
    const { arena } = pool;
    const { workers, buckets = 128, ringSize = 1024 } = options;
    whole('workers', workers, 1, STEER_WORKER_MAX);
    whole('buckets', buckets, 1, 1 << 22);
    const undo: (() => void)[] = [];
    try {
      const rss = Rss.create(arena, `${name}/rss`, options.rss);
      undo.push(() => rss.close());
      const zone = arena.reserve(name, STEER_BUCKETS_AT + buckets * BUCKET_BYTES, { align: 128, type: ZONE_STEER });
      undo.push(() => arena.release(zone));
      const set = (at: number, value: number): void => { arena.u32[(zone.offset + at) >>> 2] = value; };
      for (let worker = 0; worker < workers; worker++) {
        const ring = Ring.create(arena, ringName(name, worker), { size: ringSize, singleProducer: true, singleConsumer: true, holds: 'mbufs' });
        undo.push(() => ring.close());
        set(STEER_WORKER_FIRST + worker * STEER_WORKER_STRIDE + STEER_RING, ring.offset);
      }
      for (let bucket = 0; bucket < buckets; bucket++) {
        set(STEER_BUCKETS_AT + bucket * BUCKET_BYTES + BUCKET_NOW, bucket % workers);
        set(STEER_BUCKETS_AT + bucket * BUCKET_BYTES + BUCKET_WANTED, bucket % workers);
      }
      set(STEER_RSS, rss.offset);
      set(STEER_POOL, pool.offset);
      set(STEER_TABLE, arena.table);
      set(STEER_WORKERS, workers);
      set(STEER_BUCKETS, buckets);
      set(STEER_MASK, (buckets & (buckets - 1)) === 0 ? buckets - 1 : 0);
      set(STEER_FIRST, zone.offset + STEER_BUCKETS_AT);
      set(STEER_KIND, STEER_MAGIC);
      return new Steering(arena, zone);
    } catch (cause) {
      for (const step of undo.reverse()) step();
      throw cause;
    }
  }

  /** The steering of that name, made by any thread of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Steering {
    const zone = arena.find(name);
    if (zone.type !== ZONE_STEER || arena.u32[(zone.offset + STEER_KIND) >>> 2] !== STEER_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no steering: check the name.`);
    return new Steering(arena, zone);
  }

  /**
   * Hands the first `count` mbufs to the workers. All are gone afterwards: what a full ring refused is freed and counted.
   * Returns how many were handed over. Only the distributor's thread.
   */
  distribute(burst: Burst, count: number): number {
    if (!(count > 0 && count <= burst.capacity && count <= STEER_VECTOR)) return 0;
    return this.#burst.steerDistribute(this.offset, burst.offset, count, this.#arena.lcore);
  }

  /** The bucket of a flow's packets, before the first one. Throws EOPTION. */
  bucketOf(flow: Flow): number {
    return this.rss.hashFlow(flow) % this.buckets;
  }

  /** The worker that a bucket's packets go to now, and how many there were, modulo 2^32. */
  bucket(index: number): { readonly worker: number; readonly wanted: number; readonly packets: number } {
    const at = (this.#field(STEER_FIRST) + index * BUCKET_BYTES) >>> 2;
    const [worker = 0, wanted = 0, , packets = 0] = this.#arena.u32.subarray(at, at + 4);
    return { worker, wanted, packets };
  }

  /** Lets a bucket move to a worker as soon as no flow is reordered by it. Throws EOPTION. */
  want(bucket: number, worker: number): void {
    whole('bucket', bucket, 0, this.buckets - 1);
    whole('worker', worker, 0, this.workers - 1);
    Atomics.store(this.#arena.u32, (this.#field(STEER_FIRST) + bucket * BUCKET_BYTES + BUCKET_WANTED) >>> 2, worker);
  }

  /** The calling thread's side as a worker. Throws EOPTION. One thread for each number. */
  worker(number: number): SteeringWorker {
    whole('worker', number, 0, this.workers - 1);
    return new SteeringWorker(this.#arena, this.offset, number);
  }

  stats(): SteeringStats {
    const read = (at: number): number => Number(this.#arena.u64[(this.offset + at) / 8]!);
    const workers = Array.from({ length: this.workers }, (_, worker) => {
      const at = STEER_WORKER_FIRST + worker * STEER_WORKER_STRIDE;
      return { handed: read(at + STEER_HANDED), taken: read(at + STEER_TAKEN) };
    });
    return { distributed: read(STEER_DISTRIBUTED), ringFull: read(STEER_RING_FULL), moves: read(STEER_MOVES), waits: read(STEER_WAITS), workers };
  }

  /** Packets that still stand in a worker's ring. */
  backlog(worker: number): number {
    return this.#rings[worker]!.count;
  }

  /** Releases its memory, once no thread uses it any more; what stands in the rings is freed. */
  close(pool: Mempool): void {
    const burst = pool.burst(64);
    for (let worker = 0; worker < this.workers; worker++) {
      const side = this.worker(worker);
      for (let got = side.rxBurst(burst); got > 0; got = side.rxBurst(burst)) pool.free(burst, 0, got);
    }
    burst.close();
    for (const ring of this.#rings) ring.close();
    this.rss.close();
    this.#arena.u32[(this.offset + STEER_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
  }

  #field(field: number): number {
    return this.#arena.u32[(this.offset + field) >>> 2]!;
  }
}

/** A worker's side: a receive queue like any other. To come for the next burst says that the last one is worked off. */
export class SteeringWorker extends ReceiveQueue {
  readonly number: number;
  readonly #steer: number;
  readonly #lcore: number;
  readonly #take: BurstFunctions['steerTake'];
  readonly #record: BurstFunctions['steerRecord'];

  /** Use `Steering.worker`. */
  constructor(arena: Arena, steer: number, number: number) {
    super(arena);
    this.number = number;
    this.#steer = steer;
    this.#lcore = arena.lcore;
    const { steerTake, steerRecord } = burstFunctions(arena);
    this.#take = steerTake;
    this.#record = steerRecord;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    const most = burst.bounded(max);
    return most > 0 ? this.#take(this.#steer, this.number, burst.offset, most, this.#lcore) : 0;
  }

  /** RFS: the flows of the first `count` mbufs are consumed here; their next packets shall come here too. Any worker may say so of mbufs it holds. */
  record(burst: Burst, count: number): void {
    if (count > 0 && count <= burst.capacity) this.#record(this.#steer, burst.offset, count, this.number);
  }
}

function ringName(steering: string, worker: number): string {
  return `${steering}/worker/${worker}`;
}

function whole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw new PollmodeError('EOPTION', `Steering: ${what} ${String(value)}: give a whole number from ${min} to ${max}.`);
}

import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_STEER } from '../arena/layout.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Ring } from '../ring/ring.js';
import {
  BUCKET_BYTES, BUCKET_NOW, BUCKET_PACKETS, BUCKET_WANTED, STEER_BUCKETS, STEER_BUCKETS_AT, STEER_CHANGES, STEER_DISTRIBUTED, STEER_FIRST,
  STEER_HANDED, STEER_HOLDER, STEER_KIND, STEER_LCORE, STEER_MAGIC, STEER_MASK, STEER_MOVES, STEER_POOL, STEER_RING, STEER_RING_FULL, STEER_RSS, STEER_SEEN, STEER_STATE,
  STEER_TABLE, STEER_TAKEN, STEER_TAKEN_OVER, STEER_WAITS, STEER_WORKERS, STEER_WORKER_MAX, WORKER_IN, WORKER_OUT,
} from './layout.js';
import { Rss, type RssOptions } from './rss.js';
import { SteeringDistributor, SteeringWorker, workerAt } from './steering_sides.js';
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
  /** Handed to workers; what was taken over from one that is gone counts twice. */
  readonly distributed: number;
  /** Dropped, and freed, because a worker's ring was full. */
  readonly ringFull: number;
  /** Buckets that changed their worker, and packets that came while theirs wanted to and could not yet. */
  readonly moves: number;
  readonly waits: number;
  /** Taken out of the rings of workers that are out of service, and handed to others. */
  readonly takenOver: number;
  readonly workers: readonly { readonly handed: number; readonly taken: number }[];
}

/** Where a flow's packets go. */
export interface SteeringSighting {
  readonly hash: number;
  readonly bucket: number;
  readonly worker: number;
  /** The lcore that has the worker's side, or -1 while nobody has. */
  readonly lcore: number;
}

/**
 * Software steering (Documentation/networking/scaling.rst, RPS and RFS): the distributor's lcore hands each packet to the
 * worker that its hash's bucket names. A bucket moves to another worker only when its old one is done with every packet
 * of it, so no flow is reordered, whatever is changed meanwhile. Flows whose hashes meet in a bucket move together.
 *
 * One thread has the distributor's side, and one each worker's (steering_sides.ts); what is here may be called by any.
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
  readonly #first: number;

  private constructor(arena: Arena, zone: Memzone) {
    this.#arena = arena;
    this.#zone = zone;
    this.name = zone.name;
    this.offset = zone.offset;
    this.workers = this.#field(STEER_WORKERS);
    this.buckets = this.#field(STEER_BUCKETS);
    this.rss = Rss.find(arena, `${zone.name}/rss`);
    this.#rings = Array.from({ length: this.workers }, (_, worker) => Ring.find(arena, ringName(zone.name, worker)));
    this.#first = this.#field(STEER_FIRST);
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
      for (let worker = 0; worker < workers; worker++) {
        const ring = Ring.create(arena, ringName(name, worker), { size: ringSize, singleProducer: true, singleConsumer: true, holds: 'mbufs' });
        undo.push(() => ring.close());
        arena.u32[(workerAt(zone.offset, worker) + STEER_RING) >>> 2] = ring.offset;
      }
      describe(pool, zone, rss, workers, buckets);
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

  /** Takes the distributor's side for the calling thread. Throws ETHREAD while another has it. */
  distributor(): SteeringDistributor {
    return new SteeringDistributor(this.#arena, this.offset);
  }

  /** Whether a thread has the distributor's side. */
  get isDistributed(): boolean {
    return Atomics.load(this.#arena.u32, (this.offset + STEER_LCORE) >>> 2) !== 0;
  }

  /** Takes a worker's side for the calling thread. Throws EOPTION, ETHREAD while another has it. */
  worker(number: number): SteeringWorker {
    whole('worker', number, 0, this.workers - 1);
    return new SteeringWorker(this.#arena, this.offset, number);
  }

  /** The bucket of a flow's packets, before the first one. Throws EOPTION. */
  bucketOf(flow: Flow): number {
    return this.rss.hashFlow(flow) % this.buckets;
  }

  /** Which worker, and so which lcore, sees this flow's next packet. Throws EOPTION. */
  whereIs(flow: Flow): SteeringSighting {
    const hash = this.rss.hashFlow(flow);
    const bucket = hash % this.buckets;
    const { worker } = this.bucket(bucket);
    return { hash, bucket, worker, lcore: Atomics.load(this.#arena.u32, (workerAt(this.offset, worker) + STEER_HOLDER) >>> 2) - 1 };
  }

  /** The worker that a bucket's packets go to now, the one that they shall go to, and how many there were, modulo 2^32. */
  bucket(index: number): { readonly worker: number; readonly wanted: number; readonly packets: number } {
    const at = (this.#first + index * BUCKET_BYTES) >>> 2;
    const { u32 } = this.#arena;
    return { worker: u32[at + BUCKET_NOW / 4], wanted: u32[at + BUCKET_WANTED / 4], packets: u32[at + BUCKET_PACKETS / 4] };
  }

  /** Lets a bucket move to a worker as soon as no flow is reordered by it; never to one that is out of service. Throws EOPTION. */
  want(bucket: number, worker: number): void {
    whole('bucket', bucket, 0, this.buckets - 1);
    whole('worker', worker, 0, this.workers - 1);
    Atomics.store(this.#arena.u32, (this.#first + bucket * BUCKET_BYTES + BUCKET_WANTED) >>> 2, worker);
  }

  inService(worker: number): boolean {
    return Atomics.load(this.#arena.u32, this.#state(worker)) === WORKER_IN;
  }

  /**
   * Takes a worker out of service: the distributor gives its buckets to the others, and when nobody has its side any more
   * (its lcore is dead and recovered, or let go) also the packets that wait in its ring. Throws EOPTION.
   */
  retire(worker: number): void {
    whole('worker', worker, 0, this.workers - 1);
    Atomics.compareExchange(this.#arena.u32, this.#state(worker), WORKER_IN, WORKER_OUT);
    Atomics.add(this.#arena.u32, (this.offset + STEER_CHANGES) >>> 2, 1);
  }

  /** Puts a worker back into service, and lets the buckets that were its own at first come back. Returns false while the distributor is just taking over from it: try again. Throws EOPTION. */
  restore(worker: number): boolean {
    whole('worker', worker, 0, this.workers - 1);
    Atomics.compareExchange(this.#arena.u32, this.#state(worker), WORKER_OUT, WORKER_IN);
    if (!this.inService(worker)) return false;
    for (let bucket = worker; bucket < this.buckets; bucket += this.workers) this.want(bucket, worker);
    Atomics.add(this.#arena.u32, (this.offset + STEER_CHANGES) >>> 2, 1);
    return true;
  }

  /** Has the distributor done all that `retire` and `restore` asked for? */
  get settled(): boolean {
    const read = (field: number): number => Atomics.load(this.#arena.u32, (this.offset + field) >>> 2);
    return read(STEER_SEEN) === read(STEER_CHANGES);
  }

  stats(): SteeringStats {
    const read = (at: number): number => Number(this.#arena.u64[at / 8]);
    const workers = Array.from({ length: this.workers }, (_, worker) => {
      const at = workerAt(this.offset, worker);
      return { handed: read(at + STEER_HANDED), taken: read(at + STEER_TAKEN) };
    });
    const of = (field: number): number => read(this.offset + field);
    return { distributed: of(STEER_DISTRIBUTED), ringFull: of(STEER_RING_FULL), moves: of(STEER_MOVES), waits: of(STEER_WAITS), takenOver: of(STEER_TAKEN_OVER), workers };
  }

  /** Packets that still stand in a worker's ring. */
  backlog(worker: number): number {
    return this.#rings[worker].count;
  }

  /** Slots of each worker's ring. */
  get ringSize(): number {
    return this.#rings[0].size;
  }

  /** Releases its memory, once no thread uses it any more; what stands in the rings is freed. Returns how many packets that were. */
  close(pool: Mempool): number {
    const { steerTake } = burstFunctions(this.#arena);
    const burst = pool.burst(64);
    let left = 0;
    for (let worker = 0; worker < this.workers; worker++) {
      for (let got = 1; got > 0; left += got) {
        got = steerTake(this.offset, worker, burst.offset, burst.capacity, this.#arena.lcore);
        pool.free(burst, 0, got);
      }
    }
    burst.close();
    for (const ring of this.#rings) ring.close();
    this.rss.close();
    this.#arena.u32[(this.offset + STEER_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
    return left;
  }

  #state(worker: number): number {
    return (workerAt(this.offset, worker) + STEER_STATE) >>> 2;
  }

  #field(field: number): number {
    return this.#arena.u32[(this.offset + field) >>> 2];
  }
}

function describe({ arena, offset }: Mempool, zone: Memzone, rss: Rss, workers: number, buckets: number): void {
  const set = (at: number, value: number): void => { arena.u32[(zone.offset + at) >>> 2] = value; };
  for (let bucket = 0; bucket < buckets; bucket++) {
    set(STEER_BUCKETS_AT + bucket * BUCKET_BYTES + BUCKET_NOW, bucket % workers);
    set(STEER_BUCKETS_AT + bucket * BUCKET_BYTES + BUCKET_WANTED, bucket % workers);
  }
  set(STEER_RSS, rss.offset);
  set(STEER_POOL, offset);
  set(STEER_TABLE, arena.table);
  set(STEER_WORKERS, workers);
  set(STEER_BUCKETS, buckets);
  set(STEER_MASK, (buckets & (buckets - 1)) === 0 ? buckets - 1 : 0);
  set(STEER_FIRST, zone.offset + STEER_BUCKETS_AT);
  set(STEER_KIND, STEER_MAGIC);
}

function ringName(steering: string, worker: number): string {
  return `${steering}/worker/${worker}`;
}

function whole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw new PollmodeError('EOPTION', `Steering: ${what} ${String(value)}: give a whole number from ${min} to ${max}.`);
}

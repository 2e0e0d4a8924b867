import type { Arena } from '../arena/arena.js';
import type { Burst } from '../burst/burst.js';
import { count64 } from '../burst/views.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { RxQueue, WakeSource } from '../port/port.js';
import { ReceiveQueue } from '../port/receive_queue.js';
import {
  RETA_APPLIED, RETA_DELIVERED, RETA_DRAINED, RETA_ENTRIES, RETA_ENTRY_BYTES, RETA_FORCED, RETA_FROM, RETA_FROM_ANY, RETA_HELD, RETA_HOLDING, RETA_HOLD_FULL,
  RETA_HOLD_US, RETA_MOVED, RETA_MOVING, RETA_QUEUES, RETA_QUEUE_FIRST, RETA_QUEUE_STRIDE, RETA_REORDERED, RETA_TO,
} from './reta_layout.js';
import type { Rss } from './rss.js';

export interface GuardedQueueOptions {
  /** Most packets that it holds; more are dropped and counted. Default 4096. */
  readonly most?: number;
  /** Milliseconds that only go forward. Default performance.now. */
  readonly clock?: () => number;
}

/**
 * A receive queue of a NIC whose redirection table is guarded: between moves it is the queue itself and one load; during
 * a move it keeps what the table sends here anew until the old queue is empty. Belongs to the queue's thread.
 */
export class GuardedRxQueue extends ReceiveQueue {
  readonly number: number;
  readonly #inner: RxQueue;
  readonly #pool: Mempool;
  readonly #rss: Rss;
  readonly #u32: Uint32Array;
  readonly #guard: number;
  readonly #mine: number;
  readonly #entries: number;
  readonly #first: number;
  readonly #clock: () => number;
  readonly #wake: WakeSource | undefined;
  /** A queue of handles: `#count` of them from `#head` on, round the end. */
  readonly #held: Uint32Array;
  readonly #hashes: Uint32Array;
  #head = 0;
  #count = 0;
  #emptyFor = 0;
  #emptySince = 0;
  /** The move that was last seen, and how many packets were held then: of those some may belong to entries that it moves away from here. */
  #seen = 0;
  #older = 0;

  /** Use `RetaGuard.queue`. */
  constructor(arena: Arena, guard: number, rss: Rss, number: number, inner: RxQueue, pool: Mempool, { most = 4096, clock = () => performance.now() }: GuardedQueueOptions) {
    super(arena);
    this.number = number;
    this.#inner = inner;
    this.#pool = pool;
    this.#rss = rss;
    this.#u32 = arena.u32;
    this.#guard = guard;
    this.#mine = guard + RETA_QUEUE_FIRST + number * RETA_QUEUE_STRIDE;
    this.#entries = arena.u32[(guard + RETA_ENTRIES) >>> 2];
    this.#first = guard + RETA_QUEUE_FIRST + arena.u32[(guard + RETA_QUEUES) >>> 2] * RETA_QUEUE_STRIDE;
    this.#held = new Uint32Array(most);
    this.#hashes = new Uint32Array(most);
    this.#clock = clock;
    this.#wake = this.#wakeOf(inner.wake);
    this.#store(this.#mine + RETA_HOLDING, 0);
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    const most = burst.bounded(max);
    if (this.#count > 0) {
      const released = this.#release(burst, most);
      if (released > 0) return released;
    }
    const got = this.#inner.rxBurst(burst, most);
    const move = this.#load(this.#guard + RETA_MOVING); // after the receive: see reta_layout.ts
    return move === 0 || most === 0 ? got : this.#sort(burst, got, move);
  }

  override get wake(): WakeSource | undefined {
    return this.#wake;
  }

  get finished(): boolean {
    return this.#inner.finished === true && this.#count === 0;
  }

  /** Packets that it holds now. */
  get holding(): number {
    return this.#count;
  }

  /** Frees what it holds. The queue itself goes on. */
  close(burst: Burst): void {
    while (this.#count > 0) {
      const got = this.#take(burst, burst.capacity, () => true);
      this.#pool.free(burst, 0, got);
    }
  }

  /** Looks whether the queue is empty, and keeps of the burst what may be delivered. Returns how many. */
  #sort(burst: Burst, got: number, move: number): number {
    this.#watch(got, move);
    if (got === 0) return 0;
    this.#rss.hashBurst(burst, got);
    const { mbufs } = this.#pool;
    let kept = 0;
    for (let i = 0; i < got; i++) {
      const handle = burst.handles[i];
      const hash = mbufs.hash(handle);
      if (this.#mayPass(hash, move)) burst.handles[kept++] = handle;
      else this.#hold(burst, i, hash);
    }
    return kept;
  }

  #mayPass(hash: number, move: number): boolean {
    const entry = this.#first + hash % this.#entries * RETA_ENTRY_BYTES;
    if (this.#load(entry + RETA_MOVED) !== move) return true;
    if (this.#load(entry + RETA_TO) !== this.number) {
      if (this.#load(entry + RETA_DELIVERED) === move) count64(this.#u32, this.#mine + RETA_REORDERED, 1);
      return true;
    }
    // While older ones of it may be held here, a newer one goes behind them.
    if (this.#count > 0 || !this.#drained(hash)) return false;
    this.#store(entry + RETA_DELIVERED, move);
    return true;
  }

  /** Is this queue's own part of the move done: has it been empty for long enough since the NIC was told? */
  #watch(got: number, move: number): void {
    if (this.#seen !== move) {
      this.#seen = move;
      this.#older = this.#count;
    }
    // What this very move has held here came from elsewhere: to wait for it would have two queues that exchange entries wait for each other.
    if (got > 0 || this.#older > 0) this.#emptyFor = 0;
    else if (this.#load(this.#guard + RETA_APPLIED) === move && this.#load(this.#mine + RETA_DRAINED) !== move) {
      const now = this.#clock();
      if (this.#emptyFor !== move) {
        this.#emptyFor = move;
        this.#emptySince = now;
      }
      if ((now - this.#emptySince) * 1000 >= this.#load(this.#guard + RETA_HOLD_US)) this.#store(this.#mine + RETA_DRAINED, move);
    }
  }

  /** Is the queue that this hash's packets came to before the move empty, or not waited for? What has moved on since has nothing to wait for. */
  #drained(hash: number): boolean {
    const entry = this.#first + hash % this.#entries * RETA_ENTRY_BYTES;
    const move = this.#load(entry + RETA_MOVED);
    if (move === 0 || this.#load(entry + RETA_TO) !== this.number || this.#load(this.#guard + RETA_FORCED) === move) return true;
    const from = this.#load(entry + RETA_FROM);
    return from === RETA_FROM_ANY ? this.#othersDrained(move) : this.#queueDrained(from, move);
  }

  #queueDrained(queue: number, move: number): boolean {
    return this.#load(this.#guard + RETA_QUEUE_FIRST + queue * RETA_QUEUE_STRIDE + RETA_DRAINED) === move;
  }

  #othersDrained(move: number): boolean {
    const queues = this.#load(this.#guard + RETA_QUEUES);
    for (let queue = 0; queue < queues; queue++) if (queue !== this.number && !this.#queueDrained(queue, move)) return false;
    return true;
  }

  #hold(burst: Burst, at: number, hash: number): void {
    if (this.#count === this.#held.length) {
      this.#pool.free(burst, at, at + 1);
      count64(this.#u32, this.#mine + RETA_HOLD_FULL, 1);
      return;
    }
    const slot = (this.#head + this.#count) % this.#held.length;
    this.#held[slot] = burst.handles[at];
    this.#hashes[slot] = hash;
    this.#store(this.#mine + RETA_HOLDING, ++this.#count);
    count64(this.#u32, this.#mine + RETA_HELD, 1);
  }

  /** The oldest held packets, as far as their old queues are empty. */
  #release(burst: Burst, max: number): number {
    return this.#take(burst, max, hash => {
      if (!this.#drained(hash)) return false;
      const entry = this.#first + hash % this.#entries * RETA_ENTRY_BYTES;
      if (this.#load(entry + RETA_TO) === this.number) this.#store(entry + RETA_DELIVERED, this.#load(entry + RETA_MOVED));
      return true;
    });
  }

  #take(burst: Burst, max: number, may: (hash: number) => boolean): number {
    let taken = 0;
    while (taken < max && this.#count > 0 && may(this.#hashes[this.#head])) {
      burst.handles[taken++] = this.#held[this.#head];
      this.#head = (this.#head + 1) % this.#held.length;
      this.#count--;
      if (this.#older > 0) this.#older--;
    }
    this.#store(this.#mine + RETA_HOLDING, this.#count);
    return taken;
  }

  /** Nobody sleeps while something is held or watched. */
  #wakeOf(wake: WakeSource | undefined): WakeSource | undefined {
    if (wake === undefined) return undefined;
    return { fd: wake.fd, arm: () => this.#count === 0 && this.#load(this.#guard + RETA_MOVING) === 0 && wake.arm?.() !== false };
  }

  #load(at: number): number {
    return Atomics.load(this.#u32, at >>> 2);
  }

  #store(at: number, value: number): void {
    Atomics.store(this.#u32, at >>> 2, value);
  }
}

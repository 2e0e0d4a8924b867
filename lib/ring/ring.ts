import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_RING } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { OWNER_RING, OWNER_SHIFT } from '../mbuf/layout.js';
import {
  RING_CONS, RING_CONS_BUSY, RING_FLAGS, RING_KIND, RING_MAGIC, RING_OWNER, RING_PROD, RING_PROD_BUSY, RING_SC, RING_SIZE,
  RING_SLOTS, RING_SP, RING_TABLE,
} from './layout.js';

export interface RingOptions {
  /** Slots, a power of two from 2 to 2^24. All of them can be filled. */
  readonly size: number;
  /** Only one thread will ever enqueue (DPDK's SP), or dequeue (SC): faster. Default false: any number may. POLLMODE_DEBUG=1 tells of a second one while the first is attached; otherwise nobody looks. */
  readonly singleProducer?: boolean;
  readonly singleConsumer?: boolean;
  /** What goes in: `mbufs` are handles, whose owner words then name who took them out. Default `numbers`, any u32. */
  readonly holds?: 'numbers' | 'mbufs';
}

export interface RingStats {
  /** Enqueues and dequeues that gave up because another's claim stood too long; a dead party's, most likely. */
  readonly enqueueBusy: number;
  readonly dequeueBusy: number;
}

/**
 * A first-in first-out ring of u32 between threads or processes (DPDK's rte_ring). The layout, the claim and the wrap
 * are explained in ring/layout.ts. Never blocks; a dead party's claim makes the calls of its side return 0 until
 * `recover` takes it away.
 */
export class Ring {
  readonly name: string;
  /** Offset in the arena. */
  readonly offset: number;
  readonly size: number;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  // `private` here and not #: a # field is undefined before it is set, so that V8 never knows what kind it holds.
  private readonly enqueueSp: BurstFunctions['ringEnqueueSp'];
  private readonly enqueueMp: BurstFunctions['ringEnqueueMp'];
  private readonly dequeueSc: BurstFunctions['ringDequeueSc'];
  private readonly dequeueMc: BurstFunctions['ringDequeueMc'];
  private readonly singleProducer: boolean;
  private readonly singleConsumer: boolean;
  private readonly lcore: number;
  private open = true;

  private constructor(arena: Arena, zone: Memzone) {
    this.name = zone.name;
    this.offset = zone.offset;
    this.#arena = arena;
    this.#zone = zone;
    const functions = burstFunctions(arena);
    this.enqueueSp = functions.ringEnqueueSp;
    this.enqueueMp = functions.ringEnqueueMp;
    this.dequeueSc = functions.ringDequeueSc;
    this.dequeueMc = functions.ringDequeueMc;
    this.size = arena.u32[(zone.offset + RING_SIZE) >>> 2]!;
    const flags = arena.u32[(zone.offset + RING_FLAGS) >>> 2]!;
    this.singleProducer = (flags & RING_SP) !== 0;
    this.singleConsumer = (flags & RING_SC) !== 0;
    this.lcore = arena.lcore;
  }

  /** Reserves a ring. Throws EOPTION, EEXISTS, EARENAFULL. */
  static create(arena: Arena, name: string, options: RingOptions): Ring {
    const { size } = options;
    if (!Number.isInteger(size) || size < 2 || size > 1 << 24 || (size & (size - 1)) !== 0) {
      throw new PollmodeError('EOPTION', `Ring "${name}" of ${String(size)} slots: choose a power of two from 2 to ${1 << 24}.`);
    }
    const zone = arena.reserve(name, RING_SLOTS + size * 4, { align: 128, type: ZONE_RING });
    const set = (field: number, value: number): void => { arena.u32[(zone.offset + field) >>> 2] = value; };
    set(RING_SIZE, size);
    set(RING_FLAGS, (options.singleProducer ? RING_SP : 0) | (options.singleConsumer ? RING_SC : 0));
    if (options.holds === 'mbufs') {
      set(RING_OWNER, (OWNER_RING << OWNER_SHIFT) | zone.index);
      set(RING_TABLE, arena.table);
    }
    Atomics.store(arena.u32, (zone.offset + RING_KIND) >>> 2, RING_MAGIC);
    return new Ring(arena, zone);
  }

  /** The ring of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Ring {
    const zone = arena.find(name);
    if (zone.type !== ZONE_RING || Atomics.load(arena.u32, (zone.offset + RING_KIND) >>> 2) !== RING_MAGIC) {
      throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no ring: check the name.`);
    }
    return new Ring(arena, zone);
  }

  /** Enqueues all of the first `count` entries or none. Returns `count` or 0. */
  enqueueBulk(burst: Burst, count: number): number {
    return this.#enqueue(burst, 0, count, 1);
  }

  /** Enqueues as many of entries [from, from + count) as there is room for, in order. Returns how many. */
  enqueueBurst(burst: Burst, count: number, from = 0): number {
    return this.#enqueue(burst, from, count, 0);
  }

  /** Fills the first `count` entries or none. Returns `count` or 0. */
  dequeueBulk(burst: Burst, count: number): number {
    return this.#dequeue(burst, count, 1);
  }

  /** Fills up to `max` entries. Returns how many. */
  dequeueBurst(burst: Burst, max: number = burst.capacity): number {
    return this.#dequeue(burst, max, 0);
  }

  /** What is in it, at some moment of the call. */
  get count(): number {
    this.#refuseClosed();
    const index = (side: number): number => Atomics.load(this.#arena.u32, (this.offset + side) >>> 2);
    const consumed = index(RING_CONS);
    return Math.min((index(RING_PROD) - consumed) >>> 0, this.size);
  }

  get free(): number {
    return this.size - this.count;
  }

  stats(): RingStats {
    this.#refuseClosed();
    const read = (field: number): number => Number(this.#arena.u64[(this.offset + field) / 8]!);
    return { enqueueBusy: read(RING_PROD_BUSY), dequeueBusy: read(RING_CONS_BUSY) };
  }

  /**
   * Takes away what an lcore had claimed and not published: the ring is then as if that call had never come. Only for an
   * lcore that is dead for certain, because a live one would go on writing. Returns how many claims there were (0 to 2).
   */
  recover(lcore: number): number {
    this.#refuseClosed();
    return burstFunctions(this.#arena).ringRecover(this.offset, lcore);
  }

  /**
   * Releases its memory: other threads' objects of the ring may not be used any more. Of a ring of mbufs, take out what
   * is in it first. A second time nothing happens; bursts then move 0, stats and recover throw ECLOSED.
   */
  close(): void {
    if (!this.open) return;
    this.open = false;
    Atomics.store(this.#arena.u32, (this.offset + RING_KIND) >>> 2, 0);
    this.#arena.release(this.#zone);
  }

  #enqueue(burst: Burst, from: number, count: number, fixed: number): number {
    if (!(count > 0 && from >= 0 && from + count <= burst.capacity) || this.open !== true) return 0;
    return this.#put(burst.offset + from * 4, count, fixed);
  }

  #dequeue(burst: Burst, count: number, fixed: number): number {
    if (!(count > 0 && count <= burst.capacity) || this.open !== true) return 0;
    return this.#take(burst.offset, count, fixed);
  }

  // Here V8 knows at each call which function it is, whatever rings a program has; `=== true` spares it a look at what
  // else could be true. Together with the fields' kinds that is a third of the time of a bulk of 32.

  #put(at: number, count: number, fixed: number): number {
    return this.singleProducer === true
      ? this.enqueueSp(this.offset, at, count, fixed, this.lcore)
      : this.enqueueMp(this.offset, at, count, fixed, this.lcore);
  }

  #take(to: number, count: number, fixed: number): number {
    return this.singleConsumer === true
      ? this.dequeueSc(this.offset, to, count, fixed, this.lcore)
      : this.dequeueMc(this.offset, to, count, fixed, this.lcore);
  }

  #refuseClosed(): void {
    if (!this.open) throw new PollmodeError('ECLOSED', `Ring "${this.name}" is closed: create or find one anew.`);
  }
}

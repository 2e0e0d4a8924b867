import type { Arena } from '../arena/arena.js';
import type { HugePages } from '../arena/backing.js';
import type { Memzone } from '../arena/directory.js';
import { LCORE_MAX, ZONE_BUFFERS, ZONE_POOL } from '../arena/layout.js';
import { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { Ring } from '../ring/ring.js';
import { auditPool, type PoolAudit } from './audit.js';
import { BUFFER_UNIT, HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_OWNER, MBUF_PLAIN, MBUF_POOL, MBUF_REFCNT, OWNER_POOL, OWNER_SHIFT, SPREAD_STEP } from './layout.js';
import { mbufsOf, type Mbufs } from './mbufs.js';
import { reclaimHeld, reclaimStray } from './reclaim.js';
import {
  CACHE_MAX, CACHE_ONE, CACHE_STRIDE, POOL_BUF_LEN, POOL_CACHE, POOL_CACHES, POOL_COUNT, POOL_DRY, POOL_FIRST, POOL_FOREIGN, POOL_FRONT, POOL_KIND,
  POOL_MAGIC, POOL_RECLAIMED, POOL_RING, POOL_ROOM, POOL_SPAN, POOL_SPREAD, POOL_STEP_MASK, POOL_STRAY, POOL_TABLE,
} from './pool_layout.js';

export interface MempoolOptions {
  /** mbufs, 32 to 2^20. */
  readonly count: number;
  /** Bytes of a buffer, 2048 or 4096, headroom (256) included. Default 2048. */
  readonly bufferSize?: number;
  /**
   * At how many places of a buffer, 64 bytes apart, frames begin: 1 (the default), 2, 4 or 8 in buffers of 2048 bytes, up
   * to 32 in buffers of 4096. Buffers stand 2 KiB apart, so the first lines of frames that all begin at one place share a
   * 32nd of a cache's sets: a program that has thousands of mbufs in turn and works on their headers is up to twice as
   * fast with 8 places (DPDK pads its mempools' objects for that). `room` is what every place has: with 8 in 2048 bytes
   * 1536, behind 64 to 512 bytes of headroom. `alloc` and the null port keep to it; what other ports receive begins at 256.
   */
  readonly spread?: number;
  /** Free mbufs that each lcore keeps for itself, 0 to 512, at most a third of the pool. Default 256; less in a pool of under 2048, up to 512 in one of 16384 or more, which can spare them. */
  readonly cache?: number;
  /** Default `try` where the addon is, else `never`. */
  readonly hugePages?: HugePages;
  /** `own` gives the buffers a memfd of their own, to be shared with a device, a guest or a peer. Default `arena`. */
  readonly file?: 'own' | 'arena';
}

export interface MempoolStats {
  /** Allocations refused because the pool was dry. */
  readonly dry: number;
  /** Frees of something that is not this pool's. */
  readonly foreign: number;
  /** Frees that neither the ring nor a cache could take; `reclaim` finds the buffers again. */
  readonly stray: number;
  /** mbufs that reclaims brought back: what the dead held, and what had strayed. */
  readonly reclaimed: number;
}

/**
 * A pool of mbufs (DPDK's rte_mempool): one zone of fixed-size buffers, a ring of free handles, and a small cache per
 * lcore in front of it. Allocation and free move whole bursts. Any thread of the arena may use it, each through a
 * `Mempool` object of its own.
 */
export class Mempool {
  readonly name: string;
  /** Offset of the pool's header in the arena: what a burst function calls the pool. */
  readonly offset: number;
  readonly size: number;
  readonly bufferSize: number;
  /** Bytes of a frame that fit in one buffer, wherever it begins. */
  readonly room: number;
  readonly arena: Arena;
  /** The buffers' zone: a UMEM, DMA memory or a virtqueue's memory as it stands. */
  readonly buffers: Memzone;
  readonly mbufs: Mbufs;
  readonly #zone: Memzone;
  private readonly burstFunctions: BurstFunctions;
  /** Offset of this lcore's vector of one. */
  private readonly one: number;
  private open = true;
  /** What stays readable after close. */
  #final: { readonly audit: PoolAudit; readonly stats: MempoolStats } | undefined;

  private constructor(arena: Arena, zone: Memzone) {
    this.arena = arena;
    this.#zone = zone;
    this.name = zone.name;
    this.offset = zone.offset;
    this.size = this.#read(POOL_COUNT);
    this.bufferSize = this.#read(POOL_BUF_LEN);
    this.room = this.#read(POOL_ROOM);
    this.buffers = arena.find(`${zone.name}/buffers`);
    this.mbufs = mbufsOf(arena);
    this.burstFunctions = burstFunctions(arena);
    this.one = zone.offset + POOL_CACHES + arena.lcore * CACHE_STRIDE + CACHE_ONE;
  }

  /** Throws EOPTION, EEXISTS, EARENAFULL; ESYSCALL when huge pages must be had and cannot. */
  static create(arena: Arena, name: string, options: MempoolOptions): Mempool {
    const plan = checked(name, options);
    const made: (() => void)[] = [];
    const reserve = (...of: Parameters<Arena['reserve']>): Memzone => {
      const zone = arena.reserve(...of);
      made.push(() => { arena.release(zone); });
      return zone;
    };
    try {
      // Whole pages, so that a device that is given them is given nothing else.
      const buffers = reserve(`${name}/buffers`, Math.ceil(plan.count * plan.bufferSize / 4096) * 4096, {
        align: 4096, type: ZONE_BUFFERS, hugePages: plan.hugePages, touch: true, ...(options.file === undefined ? {} : { file: options.file }),
      });
      const zone = reserve(name, POOL_CACHES + LCORE_MAX * CACHE_STRIDE, { align: 128, type: ZONE_POOL });
      const ring = Ring.create(arena, `${name}/free`, { size: powerOfTwo(plan.count) });
      made.push(() => { ring.close(); });
      describePool(arena, zone, buffers, ring, plan);
      fillPool(arena, zone, ring);
      arena.u32[(zone.offset + POOL_KIND) >>> 2] = POOL_MAGIC;
      return new Mempool(arena, zone);
    } catch (cause) {
      for (const undo of made.reverse()) undo();
      throw cause;
    }
  }

  /** The pool of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Mempool {
    const zone = arena.find(name);
    if (zone.type !== ZONE_POOL || arena.u32[(zone.offset + POOL_KIND) >>> 2] !== POOL_MAGIC) {
      throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no mempool: check the name.`);
    }
    return new Mempool(arena, zone);
  }

  /** A new burst vector of `capacity` handles; not the pool's mbufs. */
  burst(capacity = 32): Burst {
    return new Burst(this.arena, capacity);
  }

  /**
   * Fills the first `count` entries with new mbufs: empty frames behind HEADROOM bytes of headroom (or as the pool spreads them), the caller's own.
   * All or none: returns `count`, or 0 when the pool is dry (counted).
   */
  alloc(burst: Burst, count: number): number {
    if (!(count > 0 && count <= burst.capacity) || !this.open) return 0;
    return this.burstFunctions.mbufAlloc(this.offset, this.arena.lcore, burst.offset, count);
  }

  /** Gives up one hold on each of entries [from, to); the last holder's goes back to the pool, with its chain. */
  free(burst: Burst, from: number, to: number): void {
    if (!(from >= 0 && to > from && to <= burst.capacity) || !this.open) return;
    this.burstFunctions.mbufFree(this.offset, this.arena.lcore, burst.offset + from * 4, to - from);
  }

  /** One new mbuf, as `alloc` makes them (DPDK's rte_pktmbuf_alloc): its handle, or 0 when the pool is dry (counted). A call per packet: for bursts there is `alloc`. */
  allocOne(): number {
    if (!this.open || this.burstFunctions.mbufAlloc(this.offset, this.arena.lcore, this.one, 1) === 0) return 0;
    return this.arena.u32[this.one >>> 2]!;
  }

  /** Gives up one hold on one packet (DPDK's rte_pktmbuf_free), as `free` does on many. A call per packet: for bursts there is `free`. */
  freeOne(handle: number): void {
    if (!this.open) return;
    this.arena.u32[this.one >>> 2] = handle;
    this.burstFunctions.mbufFree(this.offset, this.arena.lcore, this.one, 1);
  }

  /** Free mbufs, the caches' included, at some moment of the call. */
  get available(): number {
    return this.audit().free;
  }

  stats(): MempoolStats {
    if (this.#final !== undefined) return this.#final.stats;
    const read = (field: number): number => Number(this.arena.u64[(this.offset + field) / 8]!);
    return { dry: read(POOL_DRY), foreign: read(POOL_FOREIGN), stray: read(POOL_STRAY), reclaimed: read(POOL_RECLAIMED) };
  }

  /** Finds every buffer and its owner. Exact while no other thread moves buffers. */
  audit(): PoolAudit {
    return this.#final?.audit ?? auditPool(this.arena, this.offset);
  }

  /**
   * Brings back what a dead lcore held of this pool, and whatever died on its way: `reclaimHeld` and `reclaimStray`. Only
   * for an lcore that is dead for certain, while no thread moves this pool's mbufs, and one scan at a time;
   * `recoverDead` sees to all of that, for all pools, rings and queues. Returns how many mbufs came back.
   */
  reclaim(lcore: number): number {
    return this.reclaimHeld(lcore) + this.reclaimStray();
  }

  /** The part of `reclaim` that is safe while others use the pool: the lcore's claims, its cache and its program's mbufs. */
  reclaimHeld(lcore: number): number {
    this.#refuseClosed();
    return this.#reclaimed(reclaimHeld(this.arena, this.offset, lcore));
  }

  /** The rest of it: mbufs that died on their way. Only while no thread moves this pool's mbufs. */
  reclaimStray(): number {
    this.#refuseClosed();
    return this.#reclaimed(reclaimStray(this.arena, this.offset));
  }

  /**
   * Releases its memory: other threads' objects of the pool may not be used any more. Throws EPOOL while any mbuf is
   * still with a port or a program. A second time nothing happens; alloc then gives 0, and the last audit and
   * counts stay readable.
   */
  close(): void {
    if (!this.open) return;
    const audit = this.audit();
    const { free, total } = audit;
    if (free < total) {
      throw new PollmodeError('EPOOL', `Mempool "${this.name}" has ${total - free} mbufs out: close its ports and free what the program holds (audit() says who has them).`);
    }
    this.#final = { audit, stats: this.stats() };
    this.open = false;
    this.arena.u32[(this.offset + POOL_KIND) >>> 2] = 0;
    Ring.find(this.arena, `${this.name}/free`).close();
    this.arena.release(this.#zone);
    this.arena.release(this.buffers);
  }

  #reclaimed(count: number): number {
    this.arena.u64[(this.offset + POOL_RECLAIMED) / 8]! += BigInt(count);
    return count;
  }

  #refuseClosed(): void {
    if (!this.open) throw new PollmodeError('ECLOSED', `Mempool "${this.name}" is closed: create or find one anew.`);
  }

  #read(field: number): number {
    return this.arena.u32[(this.#zone.offset + field) >>> 2]!;
  }
}

/** What the last place has room for, at the cost of headroom: an Ethernet MTU's frame with tags. */
const WHOLE_FRAME = 1536;

type Plan = Required<Omit<MempoolOptions, 'file'>>;

function checked(name: string, options: MempoolOptions): Plan {
  const { count, bufferSize = 2048, spread = 1, hugePages = 'never' } = options;
  // A burst of 512 is a sixth faster with 512 than with 256; but with 512 a dozen lcores could keep a pool of 8192 empty.
  const cache = options.cache ?? Math.min(CACHE_MAX, Math.max(Math.min(256, Math.floor(count / 8)), Math.floor(count / 32)));
  const refuse = (what: string): never => { throw new PollmodeError('EOPTION', `Mempool "${name}": ${what}.`); };
  if (!Number.isInteger(count) || count < 32 || count > 1 << 20) refuse(`a pool has 32 to ${1 << 20} mbufs, not ${String(count)}`);
  if (bufferSize !== 2048 && bufferSize !== 4096) refuse(`a buffer has 2048 or 4096 bytes, not ${String(bufferSize)}`);
  if (![1, 2, 4, 8, 16, 32].includes(spread) || spread > (bufferSize === 2048 ? 8 : 32)) refuse(`frames begin at 1, 2, 4 or 8 places of a buffer of 2048 bytes, at up to 32 of one of 4096, not at ${String(spread)}`);
  if (!Number.isInteger(cache) || cache < 0 || cache > CACHE_MAX || cache > count / 3) refuse(`a cache has 0 to ${CACHE_MAX} mbufs and at most a third of the pool, not ${String(cache)}`);
  return { count, bufferSize, spread, cache, hugePages };
}

function describePool(arena: Arena, zone: Memzone, buffers: Memzone, ring: Ring, plan: Plan): void {
  const set = (field: number, value: number): void => { arena.u32[(zone.offset + field) >>> 2] = value; };
  const step = plan.bufferSize / BUFFER_UNIT;
  set(POOL_COUNT, plan.count);
  set(POOL_RING, ring.offset);
  set(POOL_FIRST, buffers.offset >>> HANDLE_SHIFT);
  set(POOL_SPAN, plan.count * step);
  set(POOL_STEP_MASK, step - 1);
  set(POOL_CACHE, plan.cache);
  set(POOL_TABLE, arena.table);
  set(POOL_BUF_LEN, plan.bufferSize);
  const spread = (plan.spread - 1) * SPREAD_STEP;
  const front = Math.min(HEADROOM, plan.bufferSize - WHOLE_FRAME - spread);
  set(POOL_FRONT, front);
  set(POOL_SPREAD, spread);
  set(POOL_ROOM, plan.bufferSize - Math.max(HEADROOM, front + spread));
}

/** Writes each header's constant fields, and puts all handles into the ring. */
function fillPool(arena: Arena, zone: Memzone, ring: Ring): void {
  const field = (name: number): number => arena.u32[(zone.offset + name) >>> 2]!;
  const step = field(POOL_STEP_MASK) + 1;
  const batch = new Burst(arena, 256);
  for (let done = 0; done < field(POOL_COUNT);) {
    const count = Math.min(256, field(POOL_COUNT) - done);
    for (let i = 0; i < count; i++) {
      const handle = field(POOL_FIRST) + (done + i) * step;
      const header = (arena.table + (handle << HEADER_SHIFT)) >>> 0;
      arena.u32.fill(0, header >>> 2, (header + 64) >>> 2);
      arena.u32[(header + MBUF_OWNER) >>> 2] = OWNER_POOL << OWNER_SHIFT;
      arena.u32[(header + MBUF_POOL) >>> 2] = zone.offset;
      arena.u32[(header + MBUF_BUF_LEN) >>> 2] = field(POOL_BUF_LEN);
      arena.u16[(header + MBUF_REFCNT) >>> 1] = MBUF_PLAIN & 0xffff;
      arena.u16[((header + MBUF_REFCNT) >>> 1) + 1] = MBUF_PLAIN >>> 16;
      batch.handles[i] = handle;
    }
    done += ring.enqueueBulk(batch, count);
  }
  batch.close();
}

function powerOfTwo(count: number): number {
  return 2 ** Math.ceil(Math.log2(count));
}

import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_QDISC } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import * as layout from './layout.js';

const { ENTRY_BYTES, ENTRY_HANDLE, ENTRY_HASH, ENTRY_LENGTH, ENTRY_NEXT, ENTRY_TIME, FIFO_BYTES, FIFO_HEAD, FIFO_PACKETS, FIFO_TAIL } = layout;

/** Drops are freed so many at once. */
const DROPS = 64;

/**
 * What the disciplines of one tree share: their memory, the entries of the packets they hold, the time of the current
 * call, and the vector of drops on their way to the pool. Times are f64 nanoseconds in the arena, because a double that
 * is passed from function to function may be born on the heap each time.
 */
export class TreeMemory {
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly mbufs: Mbufs;
  readonly pool: Mempool;
  /** Indices into `f64`. */
  readonly now: number;
  readonly wait: number;
  private readonly held: number;
  private readonly free: number;
  private readonly drops: Burst;
  private dropped = 0;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #end: number;
  #next: number;

  /** `bytes`: what the disciplines will reserve. Throws EEXISTS, EARENAFULL. */
  constructor(pool: Mempool, name: string, entries: number, bytes: number) {
    const { arena } = pool;
    this.#arena = arena;
    this.pool = pool;
    this.mbufs = pool.mbufs;
    [this.u32, this.i32, this.f64] = [arena.u32, arena.i32, arena.f64];
    this.#zone = arena.reserve(name, layout.TREE_FIRST + entries * ENTRY_BYTES + bytes, { align: 128, type: ZONE_QDISC });
    const { offset, length } = this.#zone;
    this.now = (offset + layout.TREE_NOW) / 8;
    this.wait = (offset + layout.TREE_WAIT) / 8;
    this.held = (offset + layout.TREE_HELD) >>> 2;
    this.free = (offset + layout.TREE_FREE) >>> 2;
    this.#next = offset + layout.TREE_FIRST + entries * ENTRY_BYTES;
    this.#end = offset + length;
    this.drops = pool.burst(DROPS);
    this.#describe(entries);
  }

  /** Memory of one discipline's own, zeroed, at a multiple of 8. Returns its offset. */
  reserve(bytes: number): number {
    const at = this.#next;
    this.#next += Math.ceil(bytes / 8) * 8;
    if (this.#next > this.#end) throw new RangeError('a discipline reserves more than it said');
    return at;
  }

  get packets(): number {
    return this.u32[this.held]!;
  }

  /** An entry for a packet that came now; 0 when all are taken. */
  makeEntry(handle: number, length: number, hash: number): number {
    const { u32, f64 } = this;
    const entry = u32[this.free]!;
    if (entry === 0) return 0;
    u32[this.free] = u32[entry + ENTRY_NEXT]!;
    u32[entry + ENTRY_NEXT] = 0;
    u32[entry + ENTRY_HANDLE] = handle;
    u32[entry + ENTRY_LENGTH] = length;
    u32[entry + ENTRY_HASH] = hash;
    f64[(entry >>> 1) + ENTRY_TIME] = f64[this.now]!;
    u32[this.held]!++;
    return entry;
  }

  /** The packet leaves the tree: its handle is the caller's now. */
  takeEntry(entry: number): number {
    const { u32 } = this;
    u32[entry + ENTRY_NEXT] = u32[this.free]!;
    u32[this.free] = entry;
    u32[this.held]!--;
    return u32[entry + ENTRY_HANDLE]!;
  }

  /** The packet goes back to the pool, with the next lot of drops. Whoever calls counts why. */
  drop(entry: number): void {
    this.dropHandle(this.takeEntry(entry));
  }

  /** Likewise one that never had an entry. */
  dropHandle(handle: number): void {
    this.drops.handles[this.dropped++] = handle;
    if (this.dropped === DROPS) this.flush();
  }

  /** At the end of each call: drops do not lie about. */
  flush(): void {
    if (this.dropped === 0) return;
    this.pool.free(this.drops, 0, this.dropped);
    this.dropped = 0;
  }

  /** A shaper cannot send before index `time` of f64: the tree's next deadline is no later. */
  waitUntil(time: number): void {
    if (this.f64[time]! < this.f64[this.wait]!) this.f64[this.wait] = this.f64[time]!;
  }

  append(fifo: number, entry: number): void {
    const { u32, f64 } = this;
    if (u32[fifo + FIFO_HEAD] === 0) u32[fifo + FIFO_HEAD] = entry;
    else u32[u32[fifo + FIFO_TAIL]! + ENTRY_NEXT] = entry;
    u32[fifo + FIFO_TAIL] = entry;
    u32[fifo + FIFO_PACKETS]!++;
    f64[(fifo >>> 1) + FIFO_BYTES]! += u32[entry + ENTRY_LENGTH]!;
  }

  /** The first entry, out of its queue; 0 when it is empty. */
  shift(fifo: number): number {
    const { u32, f64 } = this;
    const entry = u32[fifo + FIFO_HEAD]!;
    if (entry === 0) return 0;
    u32[fifo + FIFO_HEAD] = u32[entry + ENTRY_NEXT]!;
    u32[entry + ENTRY_NEXT] = 0;
    u32[fifo + FIFO_PACKETS]!--;
    f64[(fifo >>> 1) + FIFO_BYTES]! -= u32[entry + ENTRY_LENGTH]!;
    return entry;
  }

  close(): void {
    this.flush();
    this.drops.close();
    this.u32[(this.#zone.offset + layout.TREE_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
  }

  #describe(entries: number): void {
    const { offset } = this.#zone;
    const set = (field: number, value: number): void => { this.u32[(offset + field) >>> 2] = value; };
    const word = (entry: number): number => (offset + layout.TREE_FIRST + entry * ENTRY_BYTES) >>> 2;
    for (let entry = 0; entry < entries; entry++) this.u32[word(entry) + ENTRY_NEXT] = entry + 1 < entries ? word(entry + 1) : 0;
    set(layout.TREE_FREE, word(0));
    set(layout.TREE_ENTRIES, entries);
    this.f64[this.wait] = Infinity;
    set(layout.TREE_KIND, layout.QDISC_MAGIC);
  }
}

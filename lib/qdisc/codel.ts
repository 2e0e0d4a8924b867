import { markCongestion } from './ip.js';
import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';

const { ENTRY_HANDLE, ENTRY_TIME, FIFO_BYTES } = layout;

/**
 * The state of one CoDel queue behind its fifo (layout.ts), by RFC 8289's names: words `count`, `lastcount`, `dropping`;
 * f64 `first_above_time` and `drop_next`.
 */
const FIFO_WORDS = 6;
const COUNT = FIFO_WORDS;
const LAST_COUNT = FIFO_WORDS + 1;
const DROPPING = FIFO_WORDS + 2;
const FIRST_ABOVE = 5;
const DROP_NEXT = 6;
/** Words of a queue, one cache line; the words 9, 14 and 15 are the owner's. */
export const CODEL_WORDS = 16;

/** Who owns the queues, and is told of what CoDel does. */
export interface CodelOwner {
  codelDropped(entry: number): void;
  codelMarked(): void;
}

/**
 * CoDel's dequeue (RFC 8289 section 5.5): while packets have stood longer than `target` for a whole `interval`, it drops
 * one, and the next ones at times that come nearer as `interval / sqrt(count)`, until the delay is below the target.
 */
export class Codel {
  private readonly memory: TreeMemory;
  private readonly owner: CodelOwner;
  private readonly target: number;
  private readonly interval: number;
  private readonly largest: number;
  private readonly ecn: boolean;

  /** Times in nanoseconds; `largest`: a queue of no more bytes than this is never too long (RFC 8289's MAXPACKET). */
  constructor(memory: TreeMemory, owner: CodelOwner, options: { target: number; interval: number; largest: number; ecn: boolean }) {
    this.memory = memory;
    this.owner = owner;
    this.target = options.target;
    this.interval = options.interval;
    this.largest = options.largest;
    this.ecn = options.ecn;
  }

  /** The queue's next packet, 0 when it is empty (it may be so after a drop). `queue` is its word, an even number. */
  dequeue(queue: number): number {
    const { u32, f64 } = this.memory;
    const entry = this.memory.shift(queue);
    const tooLong = this.isTooLong(queue, entry);
    if (u32[queue + DROPPING] !== 0) return this.whileDropping(queue, entry, tooLong);
    if (!tooLong) return entry;
    // Into the dropping state. Coming back soon, it goes on at the rate that was found before.
    const now = f64[this.memory.now]!;
    const delta = u32[queue + COUNT]! - u32[queue + LAST_COUNT]!;
    const soon = now - f64[(queue >>> 1) + DROP_NEXT]! < 16 * this.interval;
    u32[queue + DROPPING] = 1;
    u32[queue + COUNT] = delta > 1 && soon ? delta : 1;
    u32[queue + LAST_COUNT] = u32[queue + COUNT]!;
    f64[(queue >>> 1) + DROP_NEXT] = this.controlLaw(now, u32[queue + COUNT]!);
    return this.signal(entry) ? entry : this.follow(queue);
  }

  private whileDropping(queue: number, first: number, firstTooLong: boolean): number {
    const { u32, f64 } = this.memory;
    const now = f64[this.memory.now]!;
    const next = (queue >>> 1) + DROP_NEXT;
    let entry = first;
    if (!firstTooLong) u32[queue + DROPPING] = 0;
    while (u32[queue + DROPPING] !== 0 && now >= f64[next]!) {
      u32[queue + COUNT]!++;
      if (this.signal(entry)) {
        f64[next] = this.controlLaw(f64[next]!, u32[queue + COUNT]!);
        return entry;
      }
      entry = this.memory.shift(queue);
      if (this.isTooLong(queue, entry)) f64[next] = this.controlLaw(f64[next]!, u32[queue + COUNT]!);
      else u32[queue + DROPPING] = 0;
    }
    return entry;
  }

  /** What stands behind a packet that was dropped on entering the state; looked at, as RFC 8289 has it, for its time alone. */
  private follow(queue: number): number {
    const entry = this.memory.shift(queue);
    this.isTooLong(queue, entry);
    return entry;
  }

  /** Marks the packet where it may be marked (true), or drops it. What others hold too is nobody's to change: they have not met this queue. */
  private signal(entry: number): boolean {
    const { mbufs, u32 } = this.memory;
    const handle = u32[entry + ENTRY_HANDLE]!;
    if (this.ecn && mbufs.refcnt(handle) === 1 && markCongestion(mbufs, handle)) {
      this.owner.codelMarked();
      return true;
    }
    this.owner.codelDropped(entry);
    return false;
  }

  /** RFC 8289's `ok_to_drop`: has the delay been above the target for an interval? */
  private isTooLong(queue: number, entry: number): boolean {
    const { f64 } = this.memory;
    const half = queue >>> 1;
    if (entry === 0) {
      f64[half + FIRST_ABOVE] = 0;
      return false;
    }
    const now = f64[this.memory.now]!;
    if (now - f64[(entry >>> 1) + ENTRY_TIME]! < this.target || f64[half + FIFO_BYTES]! <= this.largest) {
      f64[half + FIRST_ABOVE] = 0;
      return false;
    }
    if (f64[half + FIRST_ABOVE] !== 0) return now >= f64[half + FIRST_ABOVE]!;
    f64[half + FIRST_ABOVE] = now + this.interval;
    return false;
  }

  private controlLaw(time: number, count: number): number {
    return time + this.interval / Math.sqrt(count);
  }
}

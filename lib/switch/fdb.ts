import { randomBytes } from 'node:crypto';
import type { Arena } from '../arena/arena.js';
import { HashTable } from '../lookup/hash.js';
import { HASH_NONE } from '../lookup/hash_layout.js';
import { Vector } from '../lookup/vector.js';

/** What came of a source address. */
export const KNOWN = 0;
export const LEARNED = 1;
export const MOVED = 2;
/** It would have moved, and too much moves at present. */
export const HELD = 3;

const NONE = -1;
/** Moves a second, and at once after a quiet time: each costs the flows of that address, so that two ports that claim the same ones must not have all of a core. */
const MOVES_PER_SECOND = 1000;
const MOST_MOVES = 1000;

/** Told of each entry that was put in, moved or taken out: what was decided by it holds no longer. */
export type FdbListener = (low: number, high: number) => void;

/**
 * A filtering database (IEEE 802.1Q-2018, 8.8): which port of a bridge an address was last seen behind, per VLAN. A MAC
 * is two numbers, as a little-endian machine loads them from the frame: `low` its first four bytes, `high` the last two.
 *
 * It holds so many entries; the one that was not seen for the longest time goes when another comes. All are in one list,
 * oldest first, so that ageing looks at those only that it takes.
 *
 * Thread: the switch's. Times are milliseconds of one clock.
 */
export class Fdb {
  readonly capacity: number;
  /** Milliseconds. */
  ageing: number;
  evicted = 0;
  aged = 0;
  moved = 0;
  held = 0;
  count = 0;
  readonly #table: HashTable;
  readonly #key: Vector;
  readonly #value: Vector;
  readonly #listener: FdbListener;
  readonly #low: Uint32Array;
  /** With the VLAN in the high half. */
  readonly #high: Uint32Array;
  readonly #port: Uint16Array;
  readonly #seen: Float64Array;
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  #oldest = NONE;
  #newest = NONE;
  /** First of the free entries, which are linked by #newer. */
  #free = 0;
  #moves = MOST_MOVES;
  #movesAt = 0;

  /** Throws EOPTION, EARENAFULL. */
  constructor(arena: Arena, capacity: number, ageing: number, listener: FdbListener) {
    this.capacity = capacity;
    this.ageing = ageing;
    this.#listener = listener;
    this.#table = HashTable.create(arena, `fdb/${randomBytes(6).toString('hex')}`, { entries: capacity, keyBytes: 8 });
    this.#key = this.#table.keys(1);
    this.#value = new Vector(arena, 1);
    [this.#low, this.#high, this.#port] = [new Uint32Array(capacity), new Uint32Array(capacity), new Uint16Array(capacity)];
    this.#seen = new Float64Array(capacity);
    this.#older = new Int32Array(capacity);
    this.#newer = Int32Array.from({ length: capacity }, (_, i) => i + 1 === capacity ? NONE : i + 1);
  }

  /** The port, or 0. One that is too old and was not taken out yet is not there. */
  lookup(vlan: number, low: number, high: number, now: number): number {
    const entry = this.#find(vlan, low, high);
    return entry === NONE || now - this.#seen[entry]! > this.ageing ? 0 : this.#port[entry]!;
  }

  /** `low` and `high` were seen behind `port`. Returns KNOWN, LEARNED, MOVED or HELD. */
  learn(vlan: number, low: number, high: number, port: number, now: number): number {
    const entry = this.#find(vlan, low, high);
    if (entry === NONE) return this.#insert(vlan, low, high, port, now);
    const isOld = now - this.#seen[entry]! > this.ageing;
    const moves = !isOld && this.#port[entry] !== port;
    if (moves && !this.#mayMove(now)) {
      this.held++;
      return HELD;
    }
    this.#unlink(entry);
    this.#append(entry);
    this.#seen[entry] = Math.max(now, this.#seen[entry]!);
    this.#port[entry] = port;
    if (!moves && !isOld) return KNOWN;
    if (moves) this.moved++;
    this.#listener(low, high);
    return moves ? MOVED : LEARNED;
  }

  /** Takes out at most `most` of those that are too old. Returns how many. */
  expire(now: number, most = this.capacity): number {
    let taken = 0;
    for (; taken < most && this.#oldest !== NONE && now - this.#seen[this.#oldest]! > this.ageing; taken++) this.#remove(this.#oldest);
    this.aged += taken;
    return taken;
  }

  /** Takes out what is behind ports that the function says so of. */
  forget(isGone: (port: number, vlan: number) => boolean): void {
    for (let entry = this.#oldest; entry !== NONE;) {
      const next = this.#newer[entry]!;
      if (isGone(this.#port[entry]!, this.#high[entry]! >>> 16)) this.#remove(entry);
      entry = next;
    }
  }

  /** Oldest first. */
  *entries(): Generator<{ readonly vlan: number; readonly low: number; readonly high: number; readonly port: number; readonly seen: number }> {
    for (let entry = this.#oldest; entry !== NONE; entry = this.#newer[entry]!) {
      const high = this.#high[entry]!;
      yield { vlan: high >>> 16, low: this.#low[entry]!, high: high & 0xffff, port: this.#port[entry]!, seen: this.#seen[entry]! };
    }
  }

  close(): void {
    this.#key.close();
    this.#value.close();
    this.#table.close();
  }

  #insert(vlan: number, low: number, high: number, port: number, now: number): number {
    if (this.#free === NONE) {
      this.#remove(this.#oldest);
      this.evicted++;
    }
    const entry = this.#free;
    this.#name(vlan, low, high);
    this.#value.u32[0] = entry;
    // It has room for each entry; only keys that collide in 256 buckets could say otherwise.
    if (this.#table.addBulk(this.#key, this.#value, 1) === 0) return KNOWN;
    this.#free = this.#newer[entry]!;
    this.#low[entry] = low;
    this.#high[entry] = (high | (vlan << 16)) >>> 0;
    this.#port[entry] = port;
    this.#seen[entry] = now;
    this.#append(entry);
    this.count++;
    this.#listener(low, high);
    return LEARNED;
  }

  #remove(entry: number): void {
    const [low, high] = [this.#low[entry]!, this.#high[entry]!];
    this.#name(high >>> 16, low, high & 0xffff);
    this.#table.deleteBulk(this.#key, this.#value, 1);
    this.#unlink(entry);
    this.#newer[entry] = this.#free;
    this.#free = entry;
    this.count--;
    this.#listener(low, high & 0xffff);
  }

  #mayMove(now: number): boolean {
    this.#moves = Math.min(MOST_MOVES, this.#moves + Math.max(0, now - this.#movesAt) * MOVES_PER_SECOND / 1000);
    this.#movesAt = now;
    if (this.#moves < 1) return false;
    this.#moves--;
    return true;
  }

  #find(vlan: number, low: number, high: number): number {
    this.#name(vlan, low, high);
    this.#table.lookupBulk(this.#key, this.#value, 1);
    const entry = this.#value.u32[0]!;
    return entry === HASH_NONE ? NONE : entry;
  }

  #name(vlan: number, low: number, high: number): void {
    this.#key.u32[0] = low;
    this.#key.u32[1] = (high | (vlan << 16)) >>> 0;
  }

  #append(entry: number): void {
    this.#older[entry] = this.#newest;
    this.#newer[entry] = NONE;
    if (this.#newest === NONE) this.#oldest = entry;
    else this.#newer[this.#newest] = entry;
    this.#newest = entry;
  }

  #unlink(entry: number): void {
    const [older, newer] = [this.#older[entry]!, this.#newer[entry]!];
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
  }
}

import type { Arena } from '../arena/arena.js';
import {
  LPM_COUNTS, LPM_FREE_HEAD, LPM_FREE_TAIL, LPM_GROUPS_FRESH, LPM_GROUPS_MAX, LPM_GROUPS_USED, LPM_GROUP_ENTRIES, LPM_GROUP_NARROW,
  LPM_GROUP_WIDE, LPM_REUSES, LPM_ROOT, LPM_ROOT_BITS, LPM_WIDE,
} from './lpm_layout.js';

/**
 * The writer's side of the table that lookups read: which entries a route has, and what stands there when it goes.
 * Root and groups are one array here, the groups behind the root, and beside each entry stands the length + 1 of its
 * route. Within a route's range, the entries that have its length are its own, since no other route of that length
 * leads there.
 */
export class LpmTable {
  readonly #u32: Uint32Array;
  readonly #header: number;
  readonly #entries: Uint16Array | Uint32Array;
  readonly #depths: Uint8Array;
  /** Of each group: routes that end in it, and groups that hang on it. Without any, it is all one route and can go. */
  readonly #counts: Uint32Array;
  /** A ring of freed groups, so that the one that was freed first is used first. */
  readonly #freed: Uint32Array;
  readonly #rootBits: number;
  readonly #rootSize: number;
  readonly #isGroup: number;
  /** Of the last walk: the entries that led to its groups. */
  readonly #path = new Uint32Array(17);
  #group = -1;
  #steps = 0;

  constructor(arena: Arena, header: number, cold: number) {
    const field = (at: number): number => arena.u32[(header + at) >>> 2];
    const [root, groups] = [field(LPM_ROOT), field(LPM_GROUPS_MAX)];
    const wide = field(LPM_WIDE) === 1;
    this.#u32 = arena.u32;
    this.#header = header;
    this.#rootBits = field(LPM_ROOT_BITS);
    this.#rootSize = 2 ** this.#rootBits;
    this.#isGroup = wide ? LPM_GROUP_WIDE : LPM_GROUP_NARROW;
    const entries = this.#rootSize + groups * LPM_GROUP_ENTRIES;
    this.#entries = wide ? new Uint32Array(arena.buffer, root, entries) : new Uint16Array(arena.buffer, root, entries);
    this.#counts = new Uint32Array(arena.buffer, cold + LPM_COUNTS, groups);
    this.#freed = new Uint32Array(arena.buffer, cold + LPM_COUNTS + groups * 4, groups);
    this.#depths = new Uint8Array(arena.buffer, cold + LPM_COUNTS + groups * 8, entries);
  }

  /** Bytes of the writer's zone. */
  static coldBytes(rootBits: number, groups: number): number {
    return LPM_COUNTS + groups * 8 + 2 ** rootBits + groups * LPM_GROUP_ENTRIES;
  }

  /** Are there groups enough for a route of this prefix? */
  hasRoom(prefix: Uint8Array, depth: number): boolean {
    const free = this.#get(LPM_GROUPS_MAX) - this.#get(LPM_GROUPS_USED);
    let bits = this.#rootBits;
    let entry = this.#entries[this.#rootIndex(prefix)];
    while (depth > bits && entry >= this.#isGroup) {
      entry = this.#entries[this.#start(entry - this.#isGroup) + prefix[bits >> 3]];
      bits += 8;
    }
    return depth <= bits || Math.ceil((depth - bits) / 8) <= free;
  }

  /** Puts a route's entries in, where no longer route's stand. `value` is its next hop + 1. Ask `hasRoom` first. */
  add(prefix: Uint8Array, depth: number, value: number, isNew: boolean): void {
    const from = this.#walk(prefix, depth);
    if (isNew && this.#group >= 0) this.#counts[this.#group]++;
    this.#fill(from, this.#span(depth), depth + 1, value);
  }

  /** Gives a route's entries to the one that covers it: its length (-1 for none) and value. Frees groups that are all one route then. */
  remove(prefix: Uint8Array, depth: number, coverDepth: number, coverValue: number): void {
    const from = this.#walk(prefix, depth);
    this.#replace(from, this.#span(depth), depth + 1, coverDepth + 1, coverValue);
    for (let left = this.#group < 0 ? 0 : --this.#counts[this.#group]; this.#group >= 0 && left === 0;) left = this.#collapse();
  }

  /** To the first entry of the route, making the groups on the way. */
  #walk(prefix: Uint8Array, depth: number): number {
    let index = this.#rootIndex(prefix);
    this.#group = -1;
    this.#steps = 0;
    for (let bits = this.#rootBits; depth > bits; bits += 8) {
      const entry = this.#entries[index];
      this.#path[this.#steps++] = index;
      this.#group = entry >= this.#isGroup ? entry - this.#isGroup : this.#split(index);
      index = this.#start(this.#group) + prefix[bits >> 3];
    }
    return index;
  }

  /** Entries of a route of this length, in the array that the last walk led to. */
  #span(depth: number): number {
    return 2 ** (this.#rootBits + 8 * this.#steps - depth);
  }

  #fill(from: number, span: number, depth: number, value: number): void {
    const [entries, depths, isGroup] = [this.#entries, this.#depths, this.#isGroup];
    for (let i = from; i < from + span; i++) {
      const entry = entries[i];
      if (entry >= isGroup) this.#fill(this.#start(entry - isGroup), LPM_GROUP_ENTRIES, depth, value);
      else if (depths[i] <= depth) {
        depths[i] = depth;
        entries[i] = value;
      }
    }
  }

  #replace(from: number, span: number, old: number, depth: number, value: number): void {
    const [entries, depths, isGroup] = [this.#entries, this.#depths, this.#isGroup];
    for (let i = from; i < from + span; i++) {
      const entry = entries[i];
      if (entry >= isGroup) this.#replace(this.#start(entry - isGroup), LPM_GROUP_ENTRIES, old, depth, value);
      else if (depths[i] === old) {
        depths[i] = depth;
        entries[i] = value;
      }
    }
  }

  /** A group with what the entry said, which from then on names it. */
  #split(index: number): number {
    const parent = this.#group;
    const group = this.#take();
    const start = this.#start(group);
    this.#entries.fill(this.#entries[index], start, start + LPM_GROUP_ENTRIES);
    this.#depths.fill(this.#depths[index], start, start + LPM_GROUP_ENTRIES);
    this.#counts[group] = 0;
    if (parent >= 0) this.#counts[parent]++;
    Atomics.store(this.#entries, index, this.#isGroup + group); // whoever sees it sees the group filled
    return group;
  }

  /** Frees the group that the walk ended in, and steps back. Returns what is left in the one before. */
  #collapse(): number {
    const index = this.#path[--this.#steps];
    const start = this.#start(this.#group);
    this.#depths[index] = this.#depths[start];
    Atomics.store(this.#entries, index, this.#entries[start]);
    this.#give(this.#group);
    this.#group = this.#steps === 0 ? -1 : this.#entries[this.#path[this.#steps - 1]] - this.#isGroup;
    return this.#group < 0 ? 0 : --this.#counts[this.#group];
  }

  #take(): number {
    this.#set(LPM_GROUPS_USED, this.#get(LPM_GROUPS_USED) + 1);
    const head = this.#get(LPM_FREE_HEAD);
    if (head === this.#get(LPM_FREE_TAIL)) {
      const fresh = this.#get(LPM_GROUPS_FRESH);
      this.#set(LPM_GROUPS_FRESH, fresh + 1);
      return fresh;
    }
    this.#set(LPM_FREE_HEAD, head + 1);
    Atomics.add(this.#u32, (this.#header + LPM_REUSES) >>> 2, 1); // before it is written to: it pairs with the readers' second look
    return this.#freed[head % this.#freed.length];
  }

  #give(group: number): void {
    const tail = this.#get(LPM_FREE_TAIL);
    this.#freed[tail % this.#freed.length] = group;
    this.#set(LPM_FREE_TAIL, tail + 1);
    this.#set(LPM_GROUPS_USED, this.#get(LPM_GROUPS_USED) - 1);
  }

  #start(group: number): number {
    return this.#rootSize + group * LPM_GROUP_ENTRIES;
  }

  #rootIndex(prefix: Uint8Array): number {
    let index = prefix[0];
    for (let byte = 1; byte < this.#rootBits >> 3; byte++) index = index * 256 + prefix[byte];
    return index;
  }

  #get(field: number): number {
    return this.#u32[(this.#header + field) >>> 2];
  }

  #set(field: number, value: number): void {
    this.#u32[(this.#header + field) >>> 2] = value;
  }
}

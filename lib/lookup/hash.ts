import { randomFillSync } from 'node:crypto';
import type { Arena } from '../arena/arena.js';
import type { HugePages } from '../arena/backing.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_HASH } from '../arena/layout.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import {
  BUCKET_FILL, BUCKET_SLOTS, BUCKET_TAGS, BUCKET_WIDTH, HASH_AGED, HASH_BUCKETS, HASH_BUCKETS_AT, HASH_BUCKET_BYTES, HASH_CAPACITY, HASH_COUNT,
  HASH_FIRST, HASH_FULL, HASH_KEY_BYTES, HASH_KIND, HASH_MAGIC, HASH_MULTIPLIERS, HASH_NONE, HASH_SLOT_BYTES, HASH_STALE, HASH_WORDS_MAX,
  HASH_WRITER,
} from './hash_layout.js';
import { fits, Vector } from './vector.js';
import { whole } from './whole.js';
import { Writer } from './writer.js';

export interface HashOptions {
  /** Entries, 1 to 2^24. */
  readonly entries: number;
  /** Bytes of a key, 8 to 64, a multiple of 4: pad shorter ones with zeros. */
  readonly keyBytes: number;
  /** The multipliers of the hash, for tests that want the same table twice: any 17 numbers of 64 bits. Default: random. */
  readonly multipliers?: BigUint64Array;
  /** Default `never`; a table of more than a few MiB is looked up quicker in huge pages, which are then taken at once. */
  readonly hugePages?: HugePages;
}

export interface HashStats {
  /** Keys refused because the table was full. */
  readonly full: number;
  /** Entries that `expire` took. */
  readonly aged: number;
  /** Lookups that gave up since their bucket was written to again and again. */
  readonly stale: number;
}

/** An entry, as `entries()` shows it: copies. */
export interface HashEntry { readonly key: Uint8Array; readonly value: number; readonly stamp: number }

/**
 * Exact match (DPDK's rte_hash): keys of 8 to 64 bytes to values of 32 bits, which are usually indices of the program's
 * own. How it stands in the arena, and why readers need no lock, is explained in hash_layout.ts.
 *
 * Memory: 16 + 10 (keyBytes + 8) bytes, rounded up to 64, for every 8 entries: 32 bytes an entry for keys of 16 bytes.
 *
 * Threads: any number look up at any time, each with an object of its own (`find`); one at a time adds, deletes and
 * expires. The first call that writes makes its thread the writer, until it says `release` or dies: others get ETHREAD.
 * A lookup sees an entry or not while that very entry is being added or deleted, and every other entry always.
 */
export class HashTable {
  readonly name: string;
  readonly offset: number;
  /** Entries that it may hold. */
  readonly capacity: number;
  readonly keyBytes: number;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #burst: BurstFunctions;
  readonly #writer: Writer;
  #single: { readonly key: Vector; readonly value: Vector } | undefined;

  private constructor(arena: Arena, zone: Memzone) {
    this.name = zone.name;
    this.offset = zone.offset;
    this.#arena = arena;
    this.#zone = zone;
    this.#burst = burstFunctions(arena);
    this.#writer = new Writer(arena, zone.offset + HASH_WRITER, `Hash table "${zone.name}"`);
    this.capacity = this.#field(HASH_CAPACITY);
    this.keyBytes = this.#field(HASH_KEY_BYTES);
  }

  /** Throws EOPTION, EEXISTS, EARENAFULL; ESYSCALL for huge pages that must be had and are not there. */
  static create(arena: Arena, name: string, { entries, keyBytes, multipliers = random(), hugePages = 'never' }: HashOptions): HashTable {
    whole('Hash table', 'entries', entries, 1, 1 << 24);
    whole('Hash table', 'keyBytes', keyBytes, 8, HASH_WORDS_MAX * 4);
    if (keyBytes % 4 !== 0) throw new PollmodeError('EOPTION', `Hash table: keys of ${keyBytes} bytes: take the next multiple of 4, and pad with zeros.`);
    if (multipliers.length !== HASH_WORDS_MAX + 1) throw new PollmodeError('EOPTION', `Hash table: ${multipliers.length} multipliers: give ${HASH_WORDS_MAX + 1}.`);
    const { buckets, bucketBytes, bytes } = shape(entries, keyBytes);
    const zone = arena.reserve(name, bytes, { align: 64, type: ZONE_HASH, hugePages });
    const set = (field: number, value: number): void => { arena.u32[(zone.offset + field) >>> 2] = value; };
    set(HASH_KEY_BYTES, keyBytes);
    set(HASH_SLOT_BYTES, keyBytes + 8);
    set(HASH_BUCKET_BYTES, bucketBytes);
    set(HASH_BUCKETS, buckets);
    set(HASH_FIRST, zone.offset + HASH_BUCKETS_AT);
    set(HASH_CAPACITY, entries);
    arena.u64.set(multipliers, (zone.offset + HASH_MULTIPLIERS) / 8);
    Atomics.store(arena.u32, (zone.offset + HASH_KIND) >>> 2, HASH_MAGIC);
    return new HashTable(arena, zone);
  }

  /** The one of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): HashTable {
    const zone = arena.find(name);
    if (zone.type !== ZONE_HASH || Atomics.load(arena.u32, (zone.offset + HASH_KIND) >>> 2) !== HASH_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no hash table: check the name.`);
    return new HashTable(arena, zone);
  }

  /** Bytes of the arena that such a table takes. */
  static memory({ entries, keyBytes }: Pick<HashOptions, 'entries' | 'keyBytes'>): number {
    return shape(entries, keyBytes).bytes;
  }

  /** Entries now. */
  get count(): number {
    return this.#field(HASH_COUNT);
  }

  /** A vector of keys for the bulk calls: `keys.u32` or `keys.u8` is filled by the program. */
  keys(capacity = 32): Vector {
    return new Vector(this.#arena, capacity, this.keyBytes);
  }

  /**
   * Values of the first `count` keys, HASH_NONE (0xffffffff) for those that are not there. `now`, if not 0, is noted in
   * the entries that are found, for `expire`: any clock that is coarse. Returns how many there are; 0, with nothing
   * looked up, when a vector is too short.
   */
  lookupBulk(keys: Vector, values: Vector, count: number, now = 0): number {
    const bounded = keys.entryBytes < this.keyBytes ? 0 : fits(count, keys, values);
    return bounded === 0 ? 0 : this.#burst.hashLookup(this.offset, keys.offset, keys.entryBytes, values.offset, bounded, now);
  }

  /** Adds the first `count` keys with these values, replacing the value of those that are there, until the table is full. Returns how many. Throws ETHREAD. */
  addBulk(keys: Vector, values: Vector, count: number, now = 0): number {
    this.#writer.claim();
    const bounded = keys.entryBytes < this.keyBytes ? 0 : fits(count, keys, values);
    return bounded === 0 ? 0 : this.#burst.hashAdd(this.offset, keys.offset, keys.entryBytes, values.offset, bounded, now);
  }

  /** Deletes the first `count` keys; `values` then has what theirs were, or HASH_NONE. Returns how many there were. Throws ETHREAD. */
  deleteBulk(keys: Vector, values: Vector, count: number): number {
    this.#writer.claim();
    const bounded = keys.entryBytes < this.keyBytes ? 0 : fits(count, keys, values);
    return bounded === 0 ? 0 : this.#burst.hashDelete(this.offset, keys.offset, keys.entryBytes, values.offset, bounded);
  }

  /**
   * Deletes entries that were not noted for longer than `age` before `now`, in the next `buckets` buckets (8 entries each),
   * as many as `values` has room for: call it now and then with few, and the work is spread. Returns how many; their
   * values are in `values`. Differences are modulo 2^32. Throws ETHREAD.
   */
  expire(now: number, age: number, values: Vector, buckets = 64): number {
    this.#writer.claim();
    return this.#burst.hashExpire(this.offset, buckets, now, age, values.offset, values.capacity);
  }

  /** The value of one key, or undefined. Throws EOPTION for a key of another length. */
  get(key: Uint8Array): number | undefined {
    const { key: keys, value } = this.#one(key);
    return this.lookupBulk(keys, value, 1) === 0 ? undefined : value.u32[0];
  }

  /** Adds one key, or gives it a new value. Throws ETABLEFULL, EOPTION, ETHREAD. */
  set(key: Uint8Array, value: number, now = 0): void {
    whole('Hash table', 'value', value, 0, HASH_NONE - 1);
    const one = this.#one(key);
    one.value.u32[0] = value;
    if (this.addBulk(one.key, one.value, 1, now) === 0) throw new PollmodeError('ETABLEFULL', `Hash table "${this.name}" has ${this.count} of ${this.capacity} entries and no room for another: make it larger, or delete some.`);
  }

  /** Deletes one key. Returns whether it was there. Throws EOPTION, ETHREAD. */
  delete(key: Uint8Array): boolean {
    const one = this.#one(key);
    return this.deleteBulk(one.key, one.value, 1) === 1;
  }

  /** All entries, in the order in which they stand. While another thread writes, some that come or go meanwhile are seen and some are not. */
  *entries(): Generator<HashEntry> {
    const { u8, u32 } = this.#arena;
    const [first, buckets, bucketBytes] = [this.#field(HASH_FIRST), this.#field(HASH_BUCKETS), this.#field(HASH_BUCKET_BYTES)];
    for (let bucket = first; bucket < first + buckets * bucketBytes; bucket += bucketBytes) {
      for (let index = 0; index < BUCKET_WIDTH; index++) {
        const slot = bucket + BUCKET_SLOTS + index * (this.keyBytes + 8);
        const version = Atomics.load(u32, bucket >>> 2);
        if (Atomics.load(u8, bucket + BUCKET_TAGS + index) === 0) continue;
        const word = (slot + this.keyBytes) >>> 2;
        const entry = { key: u8.slice(slot, slot + this.keyBytes), value: Atomics.load(u32, word), stamp: Atomics.load(u32, word + 1) };
        if (Atomics.load(u32, bucket >>> 2) === version) yield entry;
      }
    }
  }

  stats(): HashStats {
    const read = (field: number): number => Number(this.#arena.u64[(this.offset + field) / 8]);
    return { full: read(HASH_FULL), aged: read(HASH_AGED), stale: read(HASH_STALE) };
  }

  toJSON(): object {
    const { name, keyBytes, count, capacity } = this;
    return { kind: 'hash', name, keyBytes, entries: count, capacity, buckets: this.#field(HASH_BUCKETS), bytes: this.#zone.length, bytesPerEntry: this.#zone.length / capacity, ...this.stats() };
  }

  /** Another thread may be the writer from now on. */
  release(): void {
    this.#writer.release();
  }

  /** Releases its memory, once no thread uses it any more. */
  close(): void {
    this.#single?.key.close();
    this.#single?.value.close();
    this.#arena.u32[(this.offset + HASH_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
  }

  #one(key: Uint8Array): { readonly key: Vector; readonly value: Vector } {
    if (key.length !== this.keyBytes) throw new PollmodeError('EOPTION', `Hash table "${this.name}" has keys of ${this.keyBytes} bytes, not ${key.length}: pad with zeros.`);
    this.#single ??= { key: this.keys(1), value: new Vector(this.#arena, 1) };
    this.#single.key.u8.set(key);
    return this.#single;
  }

  #field(field: number): number {
    return this.#arena.u32[(this.offset + field) >>> 2];
  }
}

function shape(entries: number, keyBytes: number): { buckets: number; bucketBytes: number; bytes: number } {
  const buckets = Math.ceil(entries / BUCKET_FILL);
  const bucketBytes = Math.ceil((BUCKET_SLOTS + BUCKET_WIDTH * (keyBytes + 8)) / 64) * 64;
  return { buckets, bucketBytes, bytes: HASH_BUCKETS_AT + buckets * bucketBytes };
}

function random(): BigUint64Array {
  return randomFillSync(new BigUint64Array(HASH_WORDS_MAX + 1));
}

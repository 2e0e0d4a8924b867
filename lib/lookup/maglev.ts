import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_MAGLEV } from '../arena/layout.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import {
  MAGLEV_ACTIVE, MAGLEV_BACKENDS, MAGLEV_BUILDS, MAGLEV_CHANGED, MAGLEV_KIND, MAGLEV_MAGIC, MAGLEV_NONE, MAGLEV_SIZE, MAGLEV_TABLES,
  MAGLEV_WRITER,
} from './maglev_layout.js';
import { populate, type Backend } from './maglev_population.js';
import { fits, type Vector } from './vector.js';
import { whole } from './whole.js';
import { Writer } from './writer.js';

export interface MaglevOptions {
  /** Places of the table, a prime below 2^21, a hundred times as many as backends or more: shares are then even to a per cent. Default 65537, as the paper's. */
  readonly size?: number;
}

/**
 * Maglev consistent hashing: flows' hashes to backends. Each backend has its share of the table to within one place a
 * turn, and when one comes or goes, few flows of the others move. Many machines with the same backends have the same
 * table, and so send a flow to the same backend with no state between them.
 *
 * Memory: 64 bytes and 8 for each place.
 *
 * Threads: any number look up at any time, each with an object of its own (`find`); one at a time builds (see HashTable).
 */
export class Maglev {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #burst: BurstFunctions;
  readonly #writer: Writer;

  private constructor(arena: Arena, zone: Memzone) {
    this.name = zone.name;
    this.offset = zone.offset;
    this.#arena = arena;
    this.#zone = zone;
    this.#burst = burstFunctions(arena);
    this.#writer = new Writer(arena, zone.offset + MAGLEV_WRITER, `Maglev table "${zone.name}"`);
    this.size = this.#field(MAGLEV_SIZE);
  }

  /** One without backends. Throws EOPTION, EEXISTS, EARENAFULL. */
  static create(arena: Arena, name: string, { size = 65537 }: MaglevOptions = {}): Maglev {
    whole('Maglev', 'size', size, 2, (1 << 21) - 1);
    if (!isPrime(size)) throw new PollmodeError('EOPTION', `Maglev: size ${size} is no prime: take 251, 4093, 65537 or 655373.`);
    const zone = arena.reserve(name, MAGLEV_TABLES + size * 8, { type: ZONE_MAGLEV });
    arena.u32[(zone.offset + MAGLEV_SIZE) >>> 2] = size;
    Atomics.store(arena.u32, (zone.offset + MAGLEV_KIND) >>> 2, MAGLEV_MAGIC);
    return new Maglev(arena, zone);
  }

  /** The one of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Maglev {
    const zone = arena.find(name);
    if (zone.type !== ZONE_MAGLEV || Atomics.load(arena.u32, (zone.offset + MAGLEV_KIND) >>> 2) !== MAGLEV_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no Maglev table: check the name.`);
    return new Maglev(arena, zone);
  }

  /** Puts these backends in the place of all that there were. Returns how many places changed. Throws EOPTION, ETHREAD; those that there were then stay. */
  build(backends: readonly Backend[]): number {
    this.#writer.claim();
    check(backends, this.size);
    const places = populate(backends, this.size);
    const { u32 } = this.#arena;
    const before = this.#field(MAGLEV_ACTIVE);
    const first = this.offset + MAGLEV_TABLES;
    const next = before === first ? first + this.size * 4 : first;
    Atomics.add(u32, (this.offset + MAGLEV_BUILDS) >>> 2, 1); // before it is written to: it pairs with the readers' second look
    let changed = 0;
    places.forEach((index, place) => {
      const value = index < 0 ? MAGLEV_NONE : backends[index].value;
      if (before === 0 || u32[(before >>> 2) + place] !== value) changed++;
      u32[(next >>> 2) + place] = value;
    });
    this.#set(MAGLEV_BACKENDS, backends.length);
    this.#set(MAGLEV_CHANGED, changed);
    this.#set(MAGLEV_ACTIVE, next);
    return changed;
  }

  /** Values of the backends that the first `count` hashes lead to, MAGLEV_NONE (0xffffffff) without backends. Any hash of 32 bits that is even, such as an mbuf's RSS hash. Nothing happens when a vector is too short. */
  lookupBulk(hashes: Vector, values: Vector, count: number): void {
    const bounded = hashes.entryBytes === 4 ? fits(count, hashes, values) : 0;
    if (bounded > 0) this.#burst.maglevLookup(this.offset, hashes.offset, values.offset, bounded);
  }

  /** How many places each backend's value has. */
  shares(): Map<number, number> {
    const shares = new Map<number, number>();
    const active = this.#field(MAGLEV_ACTIVE) >>> 2;
    if (active > 0) for (const value of this.#arena.u32.subarray(active, active + this.size)) if (value !== MAGLEV_NONE) shares.set(value, (shares.get(value) ?? 0) + 1);
    return shares;
  }

  toJSON(): object {
    const { name, size } = this;
    return { kind: 'maglev', name, size, backends: this.#field(MAGLEV_BACKENDS), builds: this.#field(MAGLEV_BUILDS), changed: this.#field(MAGLEV_CHANGED), shares: Object.fromEntries(this.shares()), bytes: this.#zone.length };
  }

  /** Another thread may build from now on. */
  release(): void {
    this.#writer.release();
  }

  /** Releases its memory, once no thread uses it any more. */
  close(): void {
    this.#set(MAGLEV_KIND, 0);
    this.#arena.release(this.#zone);
  }

  #field(field: number): number {
    return Atomics.load(this.#arena.u32, (this.offset + field) >>> 2);
  }

  #set(field: number, value: number): void {
    Atomics.store(this.#arena.u32, (this.offset + field) >>> 2, value);
  }
}

function check(backends: readonly Backend[], size: number): void {
  if (backends.length > size) throw new PollmodeError('EOPTION', `Maglev: ${backends.length} backends in ${size} places: make the table larger.`);
  const names = new Set<string>();
  for (const { name, value, weight = 1 } of backends) {
    if (names.has(name)) throw new PollmodeError('EOPTION', `Maglev: two backends are named "${name}": give each a name of its own.`);
    names.add(name);
    whole(`Maglev: backend "${name}"`, 'value', value, 0, MAGLEV_NONE - 1);
    whole(`Maglev: backend "${name}"`, 'weight', weight, 0, 65535);
  }
}

function isPrime(number: number): boolean {
  for (let factor = 2; factor * factor <= number; factor++) if (number % factor === 0) return false;
  return true;
}

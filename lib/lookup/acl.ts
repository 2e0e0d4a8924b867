import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_ACL } from '../arena/layout.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import {
  ACL_ACTIVE, ACL_BUILDS, ACL_BYTES, ACL_KIND, ACL_MAGIC, ACL_RULES_MAX, ACL_WRITER, FIELD_BYTES, FIELD_CLASSES, TABLE_DUPLICATES,
  TABLE_FIELDS, TABLE_RULES, TUPLE_BYTES,
} from './acl_layout.js';
import { plainRules, type AclRule } from './acl_rules.js';
import { buildTable } from './acl_table.js';
import { fits, Vector } from './vector.js';
import { Writer } from './writer.js';

/** Words of a 5-tuple in a vector of `tuples()`, for `setTuple`. */
export interface Tuple { readonly source: number; readonly destination: number; readonly sourcePort: number; readonly destinationPort: number; readonly protocol: number }

/**
 * An access control list (DPDK's rte_acl) for IPv4: up to 16383 rules of five ranges with priorities, and which of them a
 * packet matches first. How that is found is explained in acl_layout.ts.
 *
 * Memory: 0.8 MiB, 32 bytes a rule, and for each class of each field's values 16 bytes and one bit a rule. A rule makes at
 * most two classes of a field: 10,000 rules of different prefixes take at most 25 MiB for an address field, 1,000 a hundredth.
 *
 * Threads: any number classify at any time, each with an object of its own (`find`); one at a time builds (see HashTable).
 * A call sees the rules before a build or after it, never a mixture. The rules before it stay in memory until the
 * next build, so let as much time pass between two builds as a call of `classifyBulk` may take.
 */
export class Acl {
  readonly name: string;
  readonly offset: number;
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
    this.#writer = new Writer(arena, zone.offset + ACL_WRITER, `ACL "${zone.name}"`);
  }

  /** One without rules, which nothing matches. Throws EEXISTS, EARENAFULL. */
  static create(arena: Arena, name: string): Acl {
    const zone = arena.reserve(name, ACL_BYTES, { type: ZONE_ACL });
    Atomics.store(arena.u32, (zone.offset + ACL_KIND) >>> 2, ACL_MAGIC);
    return new Acl(arena, zone);
  }

  /** The one of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Acl {
    const zone = arena.find(name);
    if (zone.type !== ZONE_ACL || Atomics.load(arena.u32, (zone.offset + ACL_KIND) >>> 2) !== ACL_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no ACL: check the name.`);
    return new Acl(arena, zone);
  }

  /** Puts these rules in the place of all that there were. When it throws (EOPTION, ETABLEFULL, EARENAFULL, ETHREAD), those stay. */
  build(rules: readonly AclRule[]): void {
    this.#writer.claim();
    if (rules.length > ACL_RULES_MAX) throw new PollmodeError('ETABLEFULL', `ACL "${this.name}": ${rules.length} rules: ${ACL_RULES_MAX} are the most.`);
    const plain = plainRules(rules);
    const builds = this.#field(ACL_BUILDS) + 1;
    this.#releaseTable(builds - 2);
    this.#releaseTable(builds); // of a builder that died before it was in use
    const table = buildTable(this.#arena, this.#tableName(builds), plain);
    Atomics.store(this.#arena.u32, (this.offset + ACL_BUILDS) >>> 2, builds);
    Atomics.store(this.#arena.u32, (this.offset + ACL_ACTIVE) >>> 2, table.offset); // whoever sees it sees the table whole
  }

  /** A vector of 5-tuples for `classifyBulk`; acl_layout.ts says how one stands. */
  tuples(capacity = 32): Vector {
    return new Vector(this.#arena, capacity, TUPLE_BYTES);
  }

  /** Writes one tuple of such a vector: addresses, ports and protocol as numbers in host order. */
  static setTuple({ u32, u8 }: Vector, index: number, { source, destination, sourcePort, destinationPort, protocol }: Tuple): void {
    const word = index * TUPLE_BYTES / 4;
    u32[word] = source;
    u32[word + 1] = destination;
    u32[word + 2] = sourcePort | (destinationPort << 16);
    u8[index * TUPLE_BYTES + 12] = protocol;
  }

  /** Values of the rules that the first `count` tuples match, ACL_NONE (0xffffffff) where none does. Returns how many match one; 0, with nothing looked up, when a vector is too short. */
  classifyBulk(tuples: Vector, values: Vector, count: number): number {
    const bounded = tuples.entryBytes === TUPLE_BYTES ? fits(count, tuples, values) : 0;
    return bounded === 0 ? 0 : this.#burst.aclClassify(this.offset, tuples.offset, values.offset, bounded);
  }

  /** Rules in use. */
  get count(): number {
    return this.#tableField(TABLE_RULES);
  }

  /** Bytes of the arena: the table in use, and the one before, which goes at the next build. */
  get bytes(): { readonly table: number; readonly before: number } {
    const builds = this.#field(ACL_BUILDS);
    const length = (build: number): number => this.#arena.lookup(this.#tableName(build))?.length ?? 0;
    return { table: length(builds), before: length(builds - 1) };
  }

  toJSON(): object {
    const classes = Object.fromEntries(['source', 'destination', 'sourcePort', 'destinationPort', 'protocol'].map((name, field) => [name, this.#tableField(TABLE_FIELDS + field * FIELD_BYTES + FIELD_CLASSES)]));
    return { kind: 'acl', name: this.name, rules: this.count, max: ACL_RULES_MAX, builds: this.#field(ACL_BUILDS), duplicates: this.#tableField(TABLE_DUPLICATES), classes, bytes: this.bytes };
  }

  /** Another thread may build from now on. */
  release(): void {
    this.#writer.release();
  }

  /** Releases its memory, once no thread uses it any more. */
  close(): void {
    const builds = this.#field(ACL_BUILDS);
    this.#releaseTable(builds - 1);
    this.#releaseTable(builds);
    this.#arena.u32[(this.offset + ACL_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
  }

  #releaseTable(build: number): void {
    const zone = this.#arena.lookup(this.#tableName(build));
    if (zone !== undefined) this.#arena.release(zone);
  }

  #tableName(build: number): string {
    return `${this.name}/${build}`;
  }

  #field(field: number): number {
    return Atomics.load(this.#arena.u32, (this.offset + field) >>> 2);
  }

  #tableField(field: number): number {
    const table = this.#field(ACL_ACTIVE);
    return table === 0 ? 0 : this.#arena.u32[(table + field) >>> 2];
  }
}

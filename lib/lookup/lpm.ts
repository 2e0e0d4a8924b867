import { addressBytes, addressText, prefixFault } from '../address.js';
import type { Arena } from '../arena/arena.js';
import type { HugePages } from '../arena/backing.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_LPM } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { HASH_NONE } from './hash_layout.js';
import { HashTable } from './hash.js';
import {
  LPM_DEPTH_COUNTS, LPM_FAMILY, LPM_FULL, LPM_GROUPS, LPM_GROUPS_MAX, LPM_GROUPS_USED, LPM_GROUP_ENTRIES, LPM_KIND, LPM_MAGIC, LPM_NONE,
  LPM_REUSES, LPM_ROOT, LPM_ROOT_AT, LPM_ROOT_BITS, LPM_WIDE, LPM_WRITER,
} from './lpm_layout.js';
import { LpmTable } from './lpm_table.js';
import { fits, Vector } from './vector.js';
import { whole } from './whole.js';
import { Writer } from './writer.js';

export interface LpmOptions {
  readonly family: 4 | 6;
  /** Routes that it may hold, 1 to 2^24. */
  readonly routes: number;
  /**
   * Groups of 256 entries: IPv4 takes one for each /24 that a longer route lies in (with the default root), IPv6 one for
   * each /24, /32, /40 and so on. Default: 2048 for IPv4, half as many as routes and 2048 for IPv6.
   */
  readonly groups?: number;
  /** Bits of the address that the first step takes: 24, or 16 or 8 for small tables, which are slower. Default 24. */
  readonly rootBits?: 8 | 16 | 24;
  /** Bytes of an entry. 2: next hops 0 to 32766, up to 32768 groups. 4: next hops 0 to 2^31 - 2. Default 2 for IPv4, 4 for IPv6. */
  readonly entryBytes?: 2 | 4;
  /** Of the part that lookups read. Default `never`: a page costs memory when a route is first in it. `try` and `must` take all of it at once, and make lookups quicker. */
  readonly hugePages?: HugePages;
}

export interface Route { readonly prefix: string; readonly depth: number; readonly nextHop: number }

/** An address or prefix: text, a number (IPv4 in host order), or its 4 or 16 bytes. */
export type Address = string | number | Uint8Array;

/**
 * Longest-prefix match (DPDK's rte_lpm and rte_lpm6): routes to next hops, small numbers of the program's own. How it
 * stands in the arena is explained in lpm_layout.ts; DIR-24-8 was chosen for IPv4 since a lookup is one load, and its
 * continuation for IPv6 since that is the same code, and adds and deletes cost what the route's range has entries.
 *
 * Memory: entryBytes + 1 bytes for each of the root's 2^rootBits entries and of a group's 256, 8 more for a group, 24 for a
 * route (40 for IPv6). Of the entries, without huge pages, only the pages that routes lie in are really there.
 *
 * Threads: any number look up at any time, each with an object of its own (`find`); one at a time adds and deletes (see
 * HashTable). While a route is added or deleted, a lookup finds the table with it or without it, address by address.
 */
export class Lpm {
  readonly name: string;
  readonly offset: number;
  readonly family: 4 | 6;
  /** Next hops are below this. */
  readonly nextHops: number;
  readonly #arena: Arena;
  readonly #zones: readonly Memzone[];
  readonly #burst: BurstFunctions;
  readonly #writer: Writer;
  readonly #table: LpmTable;
  readonly #routes: HashTable;
  /** u32: routes of each length. */
  readonly #depthCounts: Uint32Array;
  readonly #prefix: Uint8Array;
  readonly #keys: Vector;
  readonly #values: Vector;
  readonly #address: Vector;

  private constructor(arena: Arena, zone: Memzone) {
    this.name = zone.name;
    this.offset = zone.offset;
    this.family = this.#fieldOf(arena, LPM_FAMILY) as 4 | 6;
    this.nextHops = this.#fieldOf(arena, LPM_WIDE) === 1 ? 0x7fffffff : 0x7fff;
    const cold = arena.find(coldName(zone.name));
    this.#arena = arena;
    this.#zones = [zone, cold];
    this.#burst = burstFunctions(arena);
    this.#writer = new Writer(arena, zone.offset + LPM_WRITER, `LPM table "${zone.name}"`);
    this.#table = new LpmTable(arena, zone.offset, cold.offset);
    this.#routes = HashTable.find(arena, routesName(zone.name));
    this.#depthCounts = new Uint32Array(arena.buffer, cold.offset + LPM_DEPTH_COUNTS, 129);
    this.#prefix = new Uint8Array(this.family === 4 ? 4 : 16);
    this.#keys = this.#routes.keys(129);
    this.#values = new Vector(arena, 129);
    this.#address = new Vector(arena, 1, this.#prefix.length);
  }

  /** Throws EOPTION, EEXISTS, EARENAFULL; ESYSCALL for huge pages that must be had and are not there. */
  static create(arena: Arena, name: string, options: LpmOptions): Lpm {
    const { family, routes, groups, rootBits, entryBytes, hugePages = 'never' } = checked(options);
    const entries = 2 ** rootBits + groups * LPM_GROUP_ENTRIES;
    const undo: (() => void)[] = [];
    try {
      const table = HashTable.create(arena, routesName(name), { entries: routes, keyBytes: family === 4 ? 8 : 20 });
      undo.push(() => table.close());
      const cold = arena.reserve(coldName(name), LpmTable.coldBytes(rootBits, groups), { type: ZONE_LPM });
      undo.push(() => arena.release(cold));
      const zone = arena.reserve(name, LPM_ROOT_AT + entries * entryBytes, { align: 128, type: ZONE_LPM, hugePages });
      undo.push(() => arena.release(zone));
      const set = (field: number, value: number): void => { arena.u32[(zone.offset + field) >>> 2] = value; };
      set(LPM_FAMILY, family);
      set(LPM_ROOT_BITS, rootBits);
      set(LPM_WIDE, entryBytes === 4 ? 1 : 0);
      set(LPM_ROOT, zone.offset + LPM_ROOT_AT);
      set(LPM_GROUPS, zone.offset + LPM_ROOT_AT + 2 ** rootBits * entryBytes);
      set(LPM_GROUPS_MAX, groups);
      Atomics.store(arena.u32, (zone.offset + LPM_KIND) >>> 2, LPM_MAGIC);
      return new Lpm(arena, zone);
    } catch (cause) {
      for (const step of undo.reverse()) step();
      throw cause;
    }
  }

  /** The one of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Lpm {
    const zone = arena.find(name);
    if (zone.type !== ZONE_LPM || Atomics.load(arena.u32, (zone.offset + LPM_KIND) >>> 2) !== LPM_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no LPM table: check the name.`);
    return new Lpm(arena, zone);
  }

  /** Routes now. */
  get count(): number {
    return this.#routes.count;
  }

  /** A vector of addresses for `lookupBulk`: u32 in host order for IPv4, 16 bytes in network order for IPv6. */
  addresses(capacity = 32): Vector {
    return new Vector(this.#arena, capacity, this.#prefix.length);
  }

  /** Next hops of the first `count` addresses; LPM_NONE (0xffffffff) where no route leads. Nothing happens when a vector is too short. */
  lookupBulk(addresses: Vector, nextHops: Vector, count: number): void {
    const bounded = addresses.entryBytes === this.#prefix.length ? fits(count, addresses, nextHops) : 0;
    if (bounded === 0) return;
    if (this.family === 4) this.#burst.lpm4Lookup(this.offset, addresses.offset, nextHops.offset, bounded);
    else this.#burst.lpm6Lookup(this.offset, addresses.offset, nextHops.offset, bounded);
  }

  /**
   * The same for addresses that stand `place` bytes into each of the first `count` mbufs, in network order: 30 for the
   * destination of an untagged IPv4 packet, 38 of IPv6. What is there is taken for an address, whatever it is. LPM_NONE
   * for an mbuf whose first segment ends before.
   */
  lookupBurst(burst: Burst, count: number, place: number, nextHops: Vector): void {
    if (!(count > 0 && count <= burst.capacity && count <= nextHops.capacity && place >= 0)) return;
    const { lpm4Mbufs, lpm6Mbufs } = this.#burst;
    if (this.family === 4) lpm4Mbufs(this.offset, this.#arena.table, burst.offset, place, nextHops.offset, count);
    else lpm6Mbufs(this.offset, this.#arena.table, burst.offset, place, nextHops.offset, count);
  }

  /** One address's next hop, or undefined. Throws EOPTION for what is no address of this family. */
  lookup(address: Address): number | undefined {
    this.#read(address);
    if (this.family === 4) this.#address.u32[0] = word(this.#prefix);
    else this.#address.u8.set(this.#prefix);
    this.lookupBulk(this.#address, this.#values, 1);
    return this.#values.u32[0] === LPM_NONE ? undefined : this.#values.u32[0];
  }

  /**
   * Adds a route, or gives one that is there another next hop. Returns whether it is new. Throws ETABLEFULL, and then
   * nothing has changed; EOPTION for bits behind the prefix's length, or a next hop that an entry cannot hold; ETHREAD.
   */
  add(prefix: Address, depth: number, nextHop: number): boolean {
    this.#writer.claim();
    this.#readPrefix(prefix, depth);
    if (!Number.isInteger(nextHop) || nextHop < 0 || nextHop >= this.nextHops) throw new PollmodeError('EOPTION', `LPM: next hop ${String(nextHop)}: give a whole number from 0 to ${this.nextHops - 1}${this.nextHops === 0x7fff ? ', or make the table with entryBytes: 4' : ''}.`);
    const before = this.#routes.count;
    if (!this.#table.hasRoom(this.#prefix, depth)) this.#full('groups (LpmOptions.groups)', this.#field(LPM_GROUPS_MAX));
    this.#writeKey(0, depth);
    this.#values.u32[0] = nextHop;
    if (this.#routes.addBulk(this.#keys, this.#values, 1) === 0) this.#full('routes (LpmOptions.routes)', this.#routes.capacity);
    const isNew = this.#routes.count > before;
    if (isNew) this.#depthCounts[depth]++;
    this.#table.add(this.#prefix, depth, nextHop + 1, isNew);
    return isNew;
  }

  /** Deletes a route; its addresses go where the next shorter one leads. Returns whether it was there. Throws EOPTION, ETHREAD. */
  delete(prefix: Address, depth: number): boolean {
    this.#writer.claim();
    this.#readPrefix(prefix, depth);
    this.#writeKey(0, depth);
    if (this.#routes.deleteBulk(this.#keys, this.#values, 1) === 0) return false;
    this.#depthCounts[depth]--;
    const cover = this.#findCover(depth);
    this.#table.remove(this.#prefix, depth, cover, cover < 0 ? 0 : this.#values.u32[0] + 1);
    return true;
  }

  /** The next hop of exactly this route, or undefined. Throws EOPTION. */
  get(prefix: Address, depth: number): number | undefined {
    this.#readPrefix(prefix, depth);
    this.#writeKey(0, depth);
    return this.#routes.lookupBulk(this.#keys, this.#values, 1) === 0 ? undefined : this.#values.u32[0];
  }

  /** All routes, in no order. */
  *routes(): Generator<Route> {
    for (const { key, value } of this.#routes.entries()) {
      const bytes = this.family === 4 ? [key[3], key[2], key[1], key[0]] : key.subarray(0, 16);
      yield { prefix: addressText(bytes), depth: key[key.length - 4], nextHop: value };
    }
  }

  /** Bytes of the arena that are reserved: what lookups read, what only the writer does, and the routes. */
  get bytes(): { readonly table: number; readonly writer: number; readonly routes: number } {
    return { table: this.#zones[0].length, writer: this.#zones[1].length, routes: HashTable.memory({ entries: this.#routes.capacity, keyBytes: this.#routes.keyBytes }) };
  }

  toJSON(): object {
    const depths = Object.fromEntries([...this.#depthCounts.entries()].filter(([, count]) => count > 0));
    return {
      kind: 'lpm', name: this.name, family: this.family, rootBits: this.#field(LPM_ROOT_BITS), routes: this.count, capacity: this.#routes.capacity, nextHops: this.nextHops,
      groups: { used: this.#field(LPM_GROUPS_USED), max: this.#field(LPM_GROUPS_MAX), reuses: this.#field(LPM_REUSES) }, depths, bytes: this.bytes, full: Number(this.#arena.u64[(this.offset + LPM_FULL) / 8]),
    };
  }

  /** Another thread may be the writer from now on. */
  release(): void {
    this.#writer.release();
    this.#routes.release();
  }

  /** Releases its memory, once no thread uses it any more. */
  close(): void {
    for (const vector of [this.#keys, this.#values, this.#address]) vector.close();
    this.#routes.close();
    this.#arena.u32[(this.offset + LPM_KIND) >>> 2] = 0;
    for (const zone of this.#zones) this.#arena.release(zone);
  }

  /** The longest route that is shorter and covers the prefix: its length, and its next hop as the first value; -1 for none. All lengths in use are looked up in one call. */
  #findCover(depth: number): number {
    let keys = 0;
    for (let shorter = depth - 1; shorter >= 0; shorter--) if (this.#depthCounts[shorter] > 0) this.#writeKey(keys++, shorter);
    this.#routes.lookupBulk(this.#keys, this.#values, keys);
    for (let i = 0; i < keys; i++) {
      if (this.#values.u32[i] === HASH_NONE) continue;
      this.#values.u32[0] = this.#values.u32[i];
      return this.#keys.u32[(i + 1) * this.#keys.entryBytes / 4 - 1];
    }
    return -1;
  }

  /** The key of the route of this length at the prefix that was read: its words, then the length. */
  #writeKey(index: number, depth: number): void {
    const at = index * this.#keys.entryBytes / 4;
    const { u32 } = this.#keys;
    if (this.family === 4) {
      u32[at] = depth === 0 ? 0 : word(this.#prefix) & (0xffffffff << (32 - depth));
      u32[at + 1] = depth;
      return;
    }
    for (let byte = 0; byte < 16; byte++) this.#keys.u8[at * 4 + byte] = this.#prefix[byte] & (depth >= byte * 8 + 8 ? 0xff : depth <= byte * 8 ? 0 : 0xff00 >> (depth - byte * 8));
    u32[at + 4] = depth;
  }

  #readPrefix(prefix: Address, depth: number): void {
    const bits = this.#prefix.length * 8;
    if (!Number.isInteger(depth) || depth < 0 || depth > bits) throw new PollmodeError('EOPTION', `LPM: a prefix length of ${String(depth)}: give a whole number from 0 to ${bits}.`);
    this.#read(prefix);
    let tail = depth === bits ? 0 : this.#prefix[depth >> 3] & (0xff >> (depth & 7));
    for (let byte = (depth >> 3) + 1; byte < this.#prefix.length; byte++) tail |= this.#prefix[byte];
    if (tail !== 0) throw new PollmodeError('EOPTION', `LPM: ${prefixFault(this.#prefix, depth)!}.`);
  }

  #read(address: Address): void {
    if (typeof address === 'number' && this.family === 4) {
      if (!Number.isInteger(address) || address < 0 || address > 0xffffffff) throw new PollmodeError('EOPTION', `LPM: address ${String(address)}: give a whole number below 2^32.`);
      for (let byte = 0; byte < 4; byte++) this.#prefix[byte] = address >>> (24 - byte * 8);
      return;
    }
    const bytes = typeof address === 'string' ? addressBytes(address) : address;
    if (typeof bytes === 'number' || bytes.length !== this.#prefix.length) throw new PollmodeError('EOPTION', `LPM table "${this.name}" is for IPv${this.family}: ${String(address)} is no such address.`);
    this.#prefix.set(bytes);
  }

  #full(what: string, max: number): never {
    this.#arena.u64[(this.offset + LPM_FULL) / 8]++;
    throw new PollmodeError('ETABLEFULL', `LPM table "${this.name}" has no more ${what}, and ${max} in all: make it with more, or delete routes.`);
  }

  #field(field: number): number {
    return this.#fieldOf(this.#arena, field);
  }

  #fieldOf(arena: Arena, field: number): number {
    return arena.u32[(this.offset + field) >>> 2];
  }
}

function checked(options: LpmOptions): Required<Omit<LpmOptions, 'hugePages'>> & Pick<LpmOptions, 'hugePages'> {
  const { family, routes, rootBits = 24, entryBytes = family === 4 ? 2 : 4 } = options;
  if (family !== 4 && family !== 6) throw new PollmodeError('EOPTION', `LPM: family ${String(family)}: choose 4 or 6.`);
  if (rootBits !== 8 && rootBits !== 16 && rootBits !== 24) throw new PollmodeError('EOPTION', `LPM: rootBits ${String(rootBits)}: choose 8, 16 or 24.`);
  if (entryBytes !== 2 && entryBytes !== 4) throw new PollmodeError('EOPTION', `LPM: entryBytes ${String(entryBytes)}: choose 2 or 4.`);
  whole('LPM', 'routes', routes, 1, 1 << 24);
  const most = entryBytes === 2 ? 0x8000 : 1 << 23;
  const { groups = Math.min(most, family === 4 ? 2048 : 2048 + (routes >> 1)) } = options;
  whole('LPM', 'groups', groups, 1, most);
  return { ...options, family, routes, rootBits, entryBytes, groups };
}

function coldName(name: string): string {
  return `${name}/writer`;
}

function routesName(name: string): string {
  return `${name}/routes`;
}

function word(bytes: Uint8Array): number {
  return ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0;
}

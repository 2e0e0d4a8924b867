import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_ADJACENCY } from '../arena/layout.js';
import { PollmodeError } from '../errors.js';
import {
  ADJACENCY_AT, ADJACENCY_COUNT, ADJACENCY_KIND, ADJACENCY_MACS, ADJACENCY_MAGIC, ADJACENCY_NONE, ADJACENCY_NOWHERE, ADJACENCY_SHIFT, ADJACENCY_VALUE,
  ADJACENCY_WRITER,
} from './forward_layout.js';
import { whole } from './whole.js';
import { Writer } from './writer.js';

export interface Adjacency {
  /** 6 bytes each: the next hop's own, and that of the port it is reached by. */
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
  /** What a `Forwarder` says of a packet that goes there, a whole number below 2^31: the port, most often. */
  readonly value: number;
}

/**
 * How frames to the next hops of a route table begin (what DPDK's ip4_rewrite node keeps, and VPP's adjacencies): next
 * hop n of an `Lpm` is adjacency n here. One that was not set, or was deleted, is not known: `Forwarder` leaves its packets.
 *
 * Memory: 16 bytes each, and 64.
 *
 * Threads: any number forward at any time, each with a `Forwarder` of its own; one at a time sets and deletes (see
 * HashTable). While an adjacency is set anew it is not known for a moment, so that no frame gets half of each: an entry is
 * one aligned load of 16 bytes, which is one access on x86-64 with AVX and on arm64 with LSE2.
 */
export class Adjacencies {
  readonly name: string;
  readonly offset: number;
  /** Numbers are below this. */
  readonly capacity: number;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #writer: Writer;

  private constructor(arena: Arena, zone: Memzone) {
    this.name = zone.name;
    this.offset = zone.offset;
    this.capacity = arena.u32[(zone.offset + ADJACENCY_COUNT) >>> 2];
    this.#arena = arena;
    this.#zone = zone;
    this.#writer = new Writer(arena, zone.offset + ADJACENCY_WRITER, `Adjacency table "${zone.name}"`);
  }

  /** @param entries numbers, 1 to 2^20. Throws EOPTION, EEXISTS, EARENAFULL. */
  static create(arena: Arena, name: string, entries: number): Adjacencies {
    whole('Adjacencies', 'entries', entries, 1, 1 << 20);
    const zone = arena.reserve(name, ADJACENCY_AT + (entries << ADJACENCY_SHIFT), { align: 64, type: ZONE_ADJACENCY });
    for (let at = ADJACENCY_NOWHERE; at < zone.length; at += 1 << ADJACENCY_SHIFT) arena.u32[(zone.offset + at + ADJACENCY_VALUE) >>> 2] = ADJACENCY_NONE;
    arena.u32[(zone.offset + ADJACENCY_COUNT) >>> 2] = entries;
    Atomics.store(arena.u32, (zone.offset + ADJACENCY_KIND) >>> 2, ADJACENCY_MAGIC);
    return new Adjacencies(arena, zone);
  }

  /** The one of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Adjacencies {
    const zone = arena.find(name);
    if (zone.type !== ZONE_ADJACENCY || Atomics.load(arena.u32, (zone.offset + ADJACENCY_KIND) >>> 2) !== ADJACENCY_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no adjacency table: check the name.`);
    return new Adjacencies(arena, zone);
  }

  /** Packets to next hop `hop` go on so from now on. Throws EOPTION, ETHREAD; nothing has changed then. */
  set(hop: number, { destination, source, value }: Adjacency): void {
    const at = this.#entry(hop);
    whole('Adjacencies', 'value', value, 0, 0x7fffffff);
    for (const mac of [destination, source]) if (mac.length !== 6) throw new PollmodeError('EOPTION', `Adjacencies: a MAC address of ${mac.length} bytes: give 6.`);
    this.#writer.claim();
    const { u8, u32 } = this.#arena;
    Atomics.store(u32, (at + ADJACENCY_VALUE) >>> 2, ADJACENCY_NONE);
    for (let byte = 0; byte < 6; byte++) {
      Atomics.store(u8, at + ADJACENCY_MACS + byte, destination[byte]);
      Atomics.store(u8, at + ADJACENCY_MACS + 6 + byte, source[byte]);
    }
    Atomics.store(u32, (at + ADJACENCY_VALUE) >>> 2, value);
  }

  /** Packets to it are left from now on. Returns whether it was known. Throws EOPTION, ETHREAD. */
  delete(hop: number): boolean {
    const at = this.#entry(hop);
    this.#writer.claim();
    return Atomics.exchange(this.#arena.u32, (at + ADJACENCY_VALUE) >>> 2, ADJACENCY_NONE) !== ADJACENCY_NONE;
  }

  /** A copy of it, or undefined where it is not known. Throws EOPTION. */
  get(hop: number): Adjacency | undefined {
    const at = this.#entry(hop);
    const { u8, u32 } = this.#arena;
    const value = Atomics.load(u32, (at + ADJACENCY_VALUE) >>> 2);
    return value === ADJACENCY_NONE ? undefined : { destination: u8.slice(at, at + 6), source: u8.slice(at + 6, at + 12), value };
  }

  toJSON(): object {
    let known = 0;
    for (let hop = 0; hop < this.capacity; hop++) if (this.get(hop) !== undefined) known++;
    return { kind: 'adjacencies', name: this.name, capacity: this.capacity, known, bytes: this.#zone.length };
  }

  /** Another thread may be the writer from now on. */
  release(): void {
    this.#writer.release();
  }

  /** Releases its memory, once no forwarder uses it any more. */
  close(): void {
    this.#arena.u32[(this.offset + ADJACENCY_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
  }

  #entry(hop: number): number {
    whole('Adjacencies', 'next hop', hop, 0, this.capacity - 1);
    return this.offset + ADJACENCY_AT + (hop << ADJACENCY_SHIFT);
  }
}

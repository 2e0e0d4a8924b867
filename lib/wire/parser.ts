import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_BURST } from '../arena/layout.js';
import { MAX_BURST, type Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { formatIpv4, formatIpv6 } from '../address.js';
import * as layout from './tuple_layout.js';

const {
  TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_DESTINATION_PORT, TUPLE_FAMILY, TUPLE_FLAGS, TUPLE_FRAGMENT, TUPLE_PROTOCOL, TUPLE_SOURCE,
  TUPLE_SOURCE_PORT,
} = layout;

let made = 0;

/**
 * Reads the headers of a whole burst in one call. `parse` writes packet types and header lengths into the mbufs;
 * `tuples` writes each packet's 5-tuple into a vector in the arena, which the accessors here read by the packet's place
 * in the burst, and which is an array of keys for a hash table as it stands (`offset`, TUPLE_BYTES apart).
 *
 * Thread: the one that made it. Neither throws, and neither reads past a packet's first segment.
 */
export class Parser {
  /** Offset of the first tuple in the arena. */
  readonly offset: number;
  readonly capacity: number;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #view: DataView;
  readonly #burst: BurstFunctions;

  /** @param capacity packets, at least as many as the longest burst. Throws EOPTION, EARENAFULL. */
  constructor(arena: Arena, capacity = 32) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_BURST) {
      throw new PollmodeError('EOPTION', `A parser takes bursts of 1 to ${MAX_BURST} packets, not ${String(capacity)}: choose a size in between.`);
    }
    this.#arena = arena;
    // As a burst's vector: when its thread dies, it is nobody's.
    this.#zone = arena.reserve(`parser/${arena.lcore}/${made++}`, capacity * TUPLE_BYTES, { type: ZONE_BURST });
    this.#view = new DataView(arena.buffer);
    this.#burst = burstFunctions(arena);
    this.offset = this.#zone.offset;
    this.capacity = capacity;
  }

  /** Packet types (`mbufs.packetType`, PTYPE_*) and lengths (`mbufs.l2Len`, `l3Len`, `l4Len`) of the first `count`. */
  parse(burst: Burst, count: number): void {
    const bounded = burst.bounded(count);
    if (bounded > 0) this.#burst.parse(this.#arena.table, burst.offset, bounded);
  }

  /** The 5-tuples of the first `count`, at most `capacity`. Returns how many of them are IP packets. */
  tuples(burst: Burst, count: number): number {
    const bounded = Math.min(burst.bounded(count), this.capacity);
    return bounded > 0 ? this.#burst.tuples(this.#arena.table, burst.offset, bounded, this.offset) : 0;
  }

  /** 4, 6, or 0 for what is no IP. */
  family(i: number): number {
    return this.#view.getUint8(this.#at(i) + TUPLE_FAMILY);
  }

  /** PROTOCOL_*. */
  protocol(i: number): number {
    return this.#view.getUint8(this.#at(i) + TUPLE_PROTOCOL);
  }

  isFragment(i: number): boolean {
    return (this.#view.getUint8(this.#at(i) + TUPLE_FLAGS) & TUPLE_FRAGMENT) !== 0;
  }

  sourcePort(i: number): number {
    return this.#view.getUint16(this.#at(i) + TUPLE_SOURCE_PORT);
  }

  destinationPort(i: number): number {
    return this.#view.getUint16(this.#at(i) + TUPLE_DESTINATION_PORT);
  }

  /** One of an address's four words; IPv4 has the first only. */
  sourceWord(i: number, word = 0): number {
    return this.#view.getUint32(this.#at(i) + TUPLE_SOURCE + word * 4);
  }

  destinationWord(i: number, word = 0): number {
    return this.#view.getUint32(this.#at(i) + TUPLE_DESTINATION + word * 4);
  }

  /** The addresses as text: "10.0.0.1", "2001:db8::1", or "" for what is no IP. Makes strings. */
  source(i: number): string {
    return this.#address(i, TUPLE_SOURCE);
  }

  destination(i: number): string {
    return this.#address(i, TUPLE_DESTINATION);
  }

  close(): void {
    if (!this.#arena.closed) this.#arena.release(this.#zone);
  }

  #address(i: number, which: number): string {
    const family = this.family(i);
    if (family === 0) return '';
    return family === 4 ? formatIpv4(this.#view.getUint32(this.#at(i) + which)) : formatIpv6(this.#arena.u8, this.#at(i) + which);
  }

  #at(i: number): number {
    if (!(i >= 0 && i < this.capacity)) throw new PollmodeError('EOPTION', `Packet ${String(i)} of a parser for ${this.capacity}: give its place in the burst.`);
    return this.offset + i * TUPLE_BYTES;
  }
}

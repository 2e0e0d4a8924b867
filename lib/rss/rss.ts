import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_RSS } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { keyBytes, type RssKey } from './keys.js';
import {
  RSS_BYTES, RSS_HASHED, RSS_INPUT_MAX, RSS_IPV4, RSS_IPV6, RSS_KEY, RSS_KEY_LENGTH, RSS_KIND, RSS_MAGIC, RSS_TABLES, RSS_TCP_IPV4, RSS_TCP_IPV6,
  RSS_TYPES, RSS_UDP_IPV4, RSS_UDP_IPV6, RSS_UNHASHED,
} from './layout.js';
import { hashInput, type Flow } from './tuple.js';

/** What most NICs hash by default: addresses, and ports of TCP and UDP. */
export const DEFAULT_TYPES = RSS_IPV4 | RSS_TCP_IPV4 | RSS_UDP_IPV4 | RSS_IPV6 | RSS_TCP_IPV6 | RSS_UDP_IPV6;

export interface RssOptions {
  /** Default: 'default', Microsoft's. */
  readonly key?: RssKey;
  /** RSS_* of rss/layout.ts. */
  readonly types?: number;
}

/** A Toeplitz hash with its key, in the arena: hashes bursts as a NIC does, and flows before their first packet. Any thread may use it. */
export class Rss {
  readonly name: string;
  readonly offset: number;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #burst: BurstFunctions;

  private constructor(arena: Arena, zone: Memzone) {
    this.name = zone.name;
    this.offset = zone.offset;
    this.#arena = arena;
    this.#zone = zone;
    this.#burst = burstFunctions(arena);
  }

  /** Throws EOPTION, EEXISTS, EARENAFULL. 37 KiB of the arena. */
  static create(arena: Arena, name: string, options: RssOptions = {}): Rss {
    const key = keyBytes(options.key ?? 'default');
    const types = options.types ?? DEFAULT_TYPES;
    if (!Number.isInteger(types) || types < 0 || types > 255) throw new PollmodeError('EOPTION', `RSS types ${String(types)}: add up RSS_* constants.`);
    const zone = arena.reserve(name, RSS_BYTES, { align: 128, type: ZONE_RSS });
    const set = (field: number, value: number): void => { arena.u32[(zone.offset + field) >>> 2] = value; };
    set(RSS_KEY_LENGTH, key.length);
    set(RSS_TYPES, types);
    arena.u8.set(key, zone.offset + RSS_KEY);
    writeTables(arena, zone.offset, key);
    set(RSS_KIND, RSS_MAGIC);
    return new Rss(arena, zone);
  }

  /** The one of that name, made by any thread or process of this arena. Throws ENOTFOUND. */
  static find(arena: Arena, name: string): Rss {
    const zone = arena.find(name);
    if (zone.type !== ZONE_RSS || arena.u32[(zone.offset + RSS_KIND) >>> 2] !== RSS_MAGIC) throw new PollmodeError('ENOTFOUND', `Memzone "${name}" is no RSS state: check the name.`);
    return new Rss(arena, zone);
  }

  get key(): Uint8Array {
    const at = this.offset + RSS_KEY;
    return this.#arena.u8.slice(at, at + this.#arena.u32[(this.offset + RSS_KEY_LENGTH) >>> 2]!);
  }

  get types(): number {
    return this.#arena.u32[(this.offset + RSS_TYPES) >>> 2]!;
  }

  /** Hashes the first `count` mbufs into their headers (`mbufs.hash`, RX_RSS_HASH). Returns how many had something to hash. */
  hashBurst(burst: Burst, count: number): number {
    if (!(count > 0 && count <= burst.capacity)) return 0;
    return this.#burst.rssHash(this.offset, this.#arena.table, burst.offset, count);
  }

  /** The hash of a flow's packets, without any packet; 0 when its type is not hashed. Throws EOPTION. */
  hashFlow(flow: Flow): number {
    let hash = 0;
    hashInput(flow, this.types).forEach((byte, i) => { hash ^= this.#arena.u32[(this.offset + RSS_TABLES + i * 1024 + byte * 4) >>> 2]!; });
    return hash >>> 0;
  }

  stats(): { readonly hashed: number; readonly unhashed: number } {
    const read = (field: number): number => Number(this.#arena.u64[(this.offset + field) / 8]!);
    return { hashed: read(RSS_HASHED), unhashed: read(RSS_UNHASHED) };
  }

  close(): void {
    this.#arena.u32[(this.offset + RSS_KIND) >>> 2] = 0;
    this.#arena.release(this.#zone);
  }
}

/** For each input byte's place and value: the exclusive-or of the key's 32 bits at each of its set bits. */
function writeTables(arena: Arena, rss: number, key: Uint8Array): void {
  for (let place = 0; place < RSS_INPUT_MAX; place++) {
    const table = (rss + RSS_TABLES + place * 1024) >>> 2;
    for (let bit = 0; bit < 8; bit++) {
      const word = keyWord(key, place * 8 + 7 - bit);
      for (let value = 0; value < 256; value++) if (value & (1 << bit)) arena.u32[table + value]! ^= word;
    }
  }
}

/** The key's 32 bits from bit `start` on. */
function keyWord(key: Uint8Array, start: number): number {
  const byte = start >> 3;
  const window = Array.from({ length: 5 }, (_, i) => key[byte + i] ?? 0).reduce((sum, each) => sum * 256 + each, 0);
  return Math.floor(window / 2 ** (8 - (start & 7))) % 2 ** 32;
}

/** The Toeplitz hash of a flow's packets by a key and RSS_* types, bit by bit and without an arena: for set-up. 0 when its type is not hashed. Throws EOPTION. */
export function hashFlowBy(key: Uint8Array, types: number, flow: Flow): number {
  let hash = 0;
  hashInput(flow, types).forEach((byte, place) => {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) hash ^= keyWord(key, place * 8 + 7 - bit);
  });
  return hash >>> 0;
}

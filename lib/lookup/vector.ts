import type { Arena } from '../arena/arena.js';
import { ZONE_BURST } from '../arena/layout.js';
import { MAX_BURST } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';

let made = 0;

/**
 * A vector in the arena of what a lookup takes or gives, one entry for each packet of a burst: hashes, IPv4 addresses
 * and results of 4 bytes, or keys and IPv6 addresses of more. It stands in the arena for the reason that a `Burst` does.
 *
 * Thread: the one that made it.
 */
export class Vector {
  /** Offset of the first entry. */
  readonly offset: number;
  /** Entries; 0 once it is closed. */
  readonly capacity: number;
  /** Bytes of an entry, and from one to the next. */
  readonly entryBytes: number;
  /** All of it, as words and as bytes. */
  readonly u32: Uint32Array;
  readonly u8: Uint8Array;
  readonly #release: () => void;

  /** @param capacity entries, 1 to 512 @param entryBytes a multiple of 4 up to 64 */
  constructor(arena: Arena, capacity = 32, entryBytes = 4) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_BURST) throw new PollmodeError('EOPTION', `A vector has 1 to ${MAX_BURST} entries, not ${String(capacity)}: choose a size in between.`);
    if (!Number.isInteger(entryBytes) || entryBytes < 4 || entryBytes > 64 || entryBytes % 4 !== 0) throw new PollmodeError('EOPTION', `A vector's entry has 4 to 64 bytes, a multiple of 4, not ${String(entryBytes)}: round up and leave the rest zero.`);
    const zone = arena.reserve(`vector/${arena.lcore}/${made++}`, capacity * entryBytes, { type: ZONE_BURST });
    this.capacity = capacity;
    this.entryBytes = entryBytes;
    this.offset = zone.offset;
    this.u32 = new Uint32Array(arena.buffer, zone.offset, capacity * entryBytes / 4);
    this.u8 = new Uint8Array(arena.buffer, zone.offset, capacity * entryBytes);
    this.#release = () => { if (!arena.closed) arena.release(zone); };
  }

  /** Gives its memory back; `arena.close()` does it too. */
  close(): void {
    if (this.capacity === 0) return;
    (this as { capacity: number }).capacity = 0;
    this.#release();
  }
}

/** How many entries of all these vectors a call for `count` is about: that many, or 0 where one of them has not as many or is closed. */
export function fits(count: number, a: Vector, b: Vector): number {
  return count > 0 && count <= a.capacity && count <= b.capacity ? count >>> 0 : 0;
}

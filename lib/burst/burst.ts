import type { Arena } from '../arena/arena.js';
import { ZONE_BURST } from '../arena/layout.js';
import { PollmodeError } from '../errors.js';

/** More than any port moves in one call: DPDK's examples use 32, AF_XDP's own budget is 32 to 64. */
export const MAX_BURST = 512;

let made = 0;

/**
 * A vector of mbuf handles in the arena: what rxBurst fills and txBurst takes from. Its first n entries are the
 * caller's mbufs after `n = rxBurst(burst)`; nothing else about it has meaning, so one burst serves a whole program.
 *
 * Thread: the one that made it. It stays in the arena because a function that sees an ordinary array in one call and an
 * arena view in the next is several times slower in V8.
 */
export class Burst {
  /** The handles. */
  readonly handles: Uint32Array;
  /** Offset of the first handle in the arena. */
  readonly offset: number;
  /** Handles that it holds; 0 once it is closed, so that nothing is read from it or written to it any more. */
  readonly capacity: number;
  /** How many of its first handles are packets, where `bursts()` hands it out; the burst calls themselves return theirs and do not touch it. */
  count = 0;
  readonly #release: () => void;

  /** @param capacity handles, 1 to 512 */
  constructor(arena: Arena, capacity = 32) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_BURST) {
      throw new PollmodeError('EOPTION', `A burst holds 1 to ${MAX_BURST} mbufs, not ${String(capacity)}: choose a size in between (32 is usual).`);
    }
    const zone = arena.reserve(`burst/${arena.lcore}/${made++}`, capacity * 4, { type: ZONE_BURST });
    this.capacity = capacity;
    this.offset = zone.offset;
    this.handles = new Uint32Array(arena.buffer, zone.offset, capacity);
    this.#release = () => { if (!arena.closed) arena.release(zone); };
  }

  /**
   * How many entries a call that asks for `count` is about: whole, at most the capacity; 0 for what is no number. The
   * first thing that every rxBurst and txBurst does with what it is given.
   */
  bounded(count: number): number {
    if (count >= this.capacity) return this.capacity;
    return count > 0 ? Math.trunc(count) : 0;
  }

  /** Moves entries [from, to) to the front: what a port refused, kept for the next try. Returns how many. */
  keep(from: number, to: number): number {
    this.handles.copyWithin(0, from, to);
    return to - from;
  }

  /** Gives the vector's memory back; the mbufs named in it are not touched. `arena.close()` does it too. */
  close(): void {
    if (this.capacity === 0) return;
    // Not by assignment: V8 would take them for changing ones in every burst, and a loop over a constant burst's handles
    // would look anew in each turn where they are (a seventh of the time of a MAC swap).
    Object.defineProperties(this, { capacity: { value: 0, writable: false }, handles: { value: this.handles.subarray(0, 0), writable: false } });
    this.#release();
  }
}

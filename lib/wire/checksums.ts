import type { Arena } from '../arena/arena.js';
import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';

/**
 * The Internet checksums (RFC 1071) of whole bursts: of IPv4's header, and of TCP, UDP, ICMP and ICMPv6, whose messages
 * may lie in any number of segments; the headers are in the first. Left alone are fragments, packets of which a part is
 * missing, and IPv6 packets that are still on a source route. One word changed: `adjustChecksum`.
 *
 * Thread: the one that made it. Neither method throws or allocates.
 */
export class Checksums {
  readonly #arena: Arena;
  readonly #burst: BurstFunctions;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#burst = burstFunctions(arena);
  }

  /**
   * Looks at those of the first `count` packets. What it found is in `mbufs.flags(handle)`: RX_IP_CKSUM_GOOD or
   * RX_IP_CKSUM_BAD, RX_L4_CKSUM_GOOD or RX_L4_CKSUM_BAD; none of the two where there is no checksum or it cannot be
   * told. Returns how many packets have a bad one.
   */
  check(burst: Burst, count: number): number {
    const bounded = burst.bounded(count);
    return bounded > 0 ? this.#burst.checksumCheck(this.#arena.table, burst.offset, bounded) : 0;
  }

  /** Writes those of the first `count` packets, whatever stood there. */
  fill(burst: Burst, count: number): void {
    const bounded = burst.bounded(count);
    if (bounded > 0) this.#burst.checksumFill(this.#arena.table, burst.offset, bounded);
  }
}

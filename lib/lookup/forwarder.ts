import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_BURST } from '../arena/layout.js';
import { freshName } from '../arena/names.js';
import type { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import type { Adjacencies } from './adjacencies.js';
import { FORWARD_ADJACENCIES, FORWARD_BYTES, FORWARD_CHECKS, FORWARD_LPM, FORWARD_MAC, FORWARD_MAX, FORWARD_STATION, FORWARD_SUM, FORWARD_TABLE, FORWARD_VALUES } from './forward_layout.js';
import type { Lpm } from './lpm.js';

export interface ForwarderOptions {
  /** 6 bytes: only frames to this address go on. Default: all do, for a port that filters by itself. */
  readonly station?: Uint8Array;
  /** Whether packets are left whose header checksum is wrong, or whose total length is not there (RFC 1812 section 5.2.2). Default: not looked at, for a port that has looked. */
  readonly checksum?: boolean;
}

let made = 0;

/**
 * A router's fast path for IPv4, a burst in a call: look-up of the destination, new MAC addresses, one hop less and the
 * checksum that follows (RFC 1812 section 5.2, RFC 1624).
 *
 * What it does not take it leaves to the byte, for the program: what is no IPv4 packet in an untagged Ethernet frame, or
 * has options, or a first segment that ends in the header, or no hop left; addresses from 224.0.0.0 on; what has no route,
 * or a next hop that is not known; and what `ForwarderOptions` ask for. It does not look at lengths: where the ports' MTUs
 * differ, the program compares them first.
 *
 * Thread: the one that made it.
 */
export class Forwarder {
  /** Of each packet of the last call, its adjacency's value, or ADJACENCY_NONE (0xffffffff) where it was left as it was. */
  readonly values: Uint32Array;
  readonly #arena: Arena;
  readonly #zone: Memzone;
  /** Not looked for in the module at each call, which is some cycles. */
  readonly #forward4: BurstFunctions['forward4'];
  readonly #offset: number;
  #open = true;

  /** Throws EOPTION for routes of IPv6, or a station that is not 6 bytes; EARENAFULL. */
  constructor(arena: Arena, routes: Lpm, adjacencies: Adjacencies, { station, checksum = false }: ForwarderOptions = {}) {
    if (routes.family !== 4) throw new PollmodeError('EOPTION', `Forwarder: routes "${routes.name}" are of IPv6: give it an Lpm of family 4.`);
    if (station !== undefined && station.length !== 6) throw new PollmodeError('EOPTION', `Forwarder: a station of ${station.length} bytes: give the 6 of a MAC address.`);
    this.#arena = arena;
    this.#forward4 = burstFunctions(arena).forward4;
    this.#zone = arena.reserve(freshName(arena, () => `forwarder/${arena.lcore}/${made++}`), FORWARD_BYTES, { align: 64, type: ZONE_BURST }); // this thread's alone, as a burst is
    const { offset } = this.#zone;
    this.#offset = offset;
    const set = (field: number, value: number): void => { arena.u32[(offset + field) >>> 2] = value; };
    set(FORWARD_LPM, routes.offset);
    set(FORWARD_ADJACENCIES, adjacencies.offset);
    set(FORWARD_TABLE, arena.table);
    set(FORWARD_CHECKS, (station === undefined ? 0 : FORWARD_STATION) | (checksum ? FORWARD_SUM : 0));
    if (station !== undefined) arena.u8.set(station, offset + FORWARD_MAC);
    this.values = new Uint32Array(arena.buffer, offset + FORWARD_VALUES, FORWARD_MAX);
  }

  /** The first `count` mbufs, which stay the caller's: `values` says where each goes. Returns how many were left as they were. */
  forward(burst: Burst, count: number): number {
    if (!(count > 0 && count <= burst.capacity) || !this.#open) return 0;
    return this.#forward4(this.#offset, burst.offset, count);
  }

  /** Gives its memory back; the routes and adjacencies stay. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (!this.#arena.closed) this.#arena.release(this.#zone);
  }
}

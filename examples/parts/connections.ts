import { HASH_NONE, PollmodeError, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tuple, type HashTable } from '../../lib/index.js';

/** The ways of a connection, and the last bit of its values in the table. */
export const OUT = 0;
export const IN = 1;

/** Bytes of a key: the parser's 5-tuple (lib/wire/tuple_layout.ts). */
export const KEY_BYTES = tuple.TUPLE_BYTES;
/** Ports outside for connections that begin inside: from this one on, without those that something is published under. */
const FIRST_PORT = 10_000;
/**
 * Seconds without a packet until a connection is forgotten: no less than two hours and four minutes for TCP (RFC 5382 section 5),
 * two minutes for UDP (RFC 4787 section 4.3), one for pings (RFC 5508 section 3.2). TCP that begins or ends has less than
 * RFC 5382's four minutes, since each holds a port, and a scan would have all of them.
 */
const AFTER = { tcp: 7440, opening: 30, closing: 10, udp: 120, other: 60 } as const;

/** Connections by number, each field an array; and their two keys in the hash table, whose values are number * 2 + way. */
export class Connections {
  /** For NAT, of IPv4: the address and port inside, and the port that it has outside. */
  readonly inside: Uint32Array;
  readonly insidePort: Uint16Array;
  readonly outsidePort: Uint16Array;
  count = 0;
  /** Outside, of each number. */
  readonly #ports: Uint16Array;
  readonly #table: HashTable;
  /** Two keys of each. */
  readonly #keys: Uint8Array;
  readonly #until: Float64Array;
  readonly #protocol: Uint8Array;
  /** Bits: acknowledged, FIN seen out, FIN seen in, reset. */
  readonly #state: Uint8Array;
  /** Numbers that are free, in a circle: the one that was given back first is taken first, so that its port rests for long. */
  readonly #free: Uint16Array;
  #next = 0;
  #now = performance.now() / 1000;
  #hand = 0;

  /** @param published ports outside that are not for connections that begin inside */
  constructor(size: number, table: HashTable, published: readonly number[] = []) {
    this.#ports = portsBut(published, size);
    this.#table = table;
    this.inside = new Uint32Array(size);
    this.insidePort = new Uint16Array(size);
    this.outsidePort = new Uint16Array(size);
    this.#keys = new Uint8Array(size * 2 * KEY_BYTES);
    this.#until = new Float64Array(size);
    this.#protocol = new Uint8Array(size);
    this.#state = new Uint8Array(size);
    this.#free = Uint16Array.from({ length: size }, (_, i) => i);
  }

  find(key: Uint8Array): number {
    return this.#table.get(key) ?? HASH_NONE;
  }

  /** The number of the connection that begins next, -1 when there are too many; and a port outside that nobody else has. */
  get next(): number {
    return this.count === this.#free.length ? -1 : this.#free[this.#next]!;
  }

  portOf(index: number): number {
    return this.#ports[index]!;
  }

  /** The connection `next`: `out` is the key of what leaves, `back` of what comes in. */
  begin(out: Uint8Array, back: Uint8Array, protocol: number): void {
    const index = this.next;
    this.#next = (this.#next + 1) % this.#free.length;
    this.#keys.set(out, index * 2 * KEY_BYTES);
    this.#keys.set(back, (index * 2 + 1) * KEY_BYTES);
    this.#protocol[index] = protocol;
    this.#state[index] = 0;
    this.#until[index] = this.#now + AFTER.opening;
    for (const each of [OUT, IN]) this.#table.set(this.#key(index, each), index * 2 + each);
    this.count++;
  }

  /** A packet of it went by, with these TCP flags. */
  seen(index: number, way: number, flags: number): void {
    const protocol = this.#protocol[index]!;
    if (protocol !== PROTOCOL_TCP) {
      this.#until[index] = this.#now + (protocol === PROTOCOL_UDP ? AFTER.udp : AFTER.other);
      return;
    }
    let state = this.#state[index]!;
    // Between the same ports anew: what the one before ended by is no part of it (RFC 9293 section 3.6.1).
    if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN && isClosing(state)) state = 0;
    if ((flags & TCP_ACK) !== 0 && way === IN) state |= 1; // the far side has answered
    if ((flags & TCP_FIN) !== 0) state |= way === OUT ? 2 : 4;
    if ((flags & TCP_RST) !== 0) state |= 8;
    this.#state[index] = state;
    this.#until[index] = this.#now + (isClosing(state) ? AFTER.closing : (state & 1) !== 0 ? AFTER.tcp : AFTER.opening);
  }

  /** Now and then, with the time in seconds: forgets some that are over; each is looked at again and again. */
  expire(now: number): void {
    this.#now = now;
    const size = this.#until.length;
    for (let looks = Math.min(size, 8192); looks > 0; looks--) {
      const index = this.#hand = (this.#hand + 1) % size;
      if (this.#until[index] === 0 || this.#until[index]! > now) continue;
      for (const each of [OUT, IN]) this.#table.delete(this.#key(index, each));
      this.#until[index] = 0;
      this.#free[(this.#next + size - this.count) % size] = index;
      this.count--;
    }
  }

  #key(index: number, way: number): Uint8Array {
    return this.#keys.subarray((index * 2 + way) * KEY_BYTES, (index * 2 + way + 1) * KEY_BYTES);
  }
}

/** The first `size` ports from FIRST_PORT on that are not in the list. Throws EOPTION when there are not so many. */
function portsBut(published: readonly number[], size: number): Uint16Array {
  const taken = new Set(published);
  const left = Array.from({ length: 65536 - FIRST_PORT }, (_, i) => FIRST_PORT + i).filter(port => !taken.has(port));
  if (left.length < size) throw new PollmodeError('EOPTION', `${size} connections, and ${left.length} ports outside that nothing is published under: publish less, or allow fewer connections.`);
  return Uint16Array.from(left.slice(0, size));
}

function isClosing(state: number): boolean {
  return (state & 8) !== 0 || (state & 6) === 6;
}

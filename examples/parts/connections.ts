import { HASH_NONE, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, type HashTable } from '../../lib/index.js';

/** The ways of a connection, and the last bit of its values in the table. */
export const OUT = 0;
export const IN = 1;

export interface Connection {
  readonly protocol: number;
  readonly inside: number;
  readonly insidePort: number;
  readonly remote: number;
  /** -1: of a ping, whose identifier is both ports. */
  readonly remotePort: number;
  readonly outside: number;
  /** -1: one of ours. */
  readonly outsidePort: number;
}

/** Ports outside for connections that begin inside: this and the next 50,000. */
const FIRST_PORT = 10_000;
/** Seconds without a packet until a connection is forgotten. */
const AFTER = { tcp: 3600, opening: 30, closing: 10, udp: 60, other: 10 } as const;

/** Connections by number, each field an array; and their two keys in the hash table, whose values are number * 2 + way. */
export class Connections {
  readonly inside: Uint32Array;
  readonly insidePort: Uint16Array;
  readonly outsidePort: Uint16Array;
  count = 0;
  readonly #table: HashTable;
  /** Four words for each way: of number n from n * 8 on. */
  readonly #keys: Uint32Array;
  readonly #until: Float64Array;
  readonly #protocol: Uint8Array;
  /** Bits: acknowledged, FIN seen out, FIN seen in, reset. */
  readonly #state: Uint8Array;
  /** Numbers that are free, in a circle: the one that was given back first is taken first, so that its port rests for long. */
  readonly #free: Uint16Array;
  #next = 0;
  #now = performance.now() / 1000;
  #hand = 0;

  constructor(size: number, table: HashTable) {
    this.#table = table;
    this.inside = new Uint32Array(size);
    this.insidePort = new Uint16Array(size);
    this.outsidePort = new Uint16Array(size);
    this.#keys = new Uint32Array(size * 8);
    this.#until = new Float64Array(size);
    this.#protocol = new Uint8Array(size);
    this.#state = new Uint8Array(size);
    this.#free = Uint16Array.from({ length: size }, (_, i) => i);
  }

  /** By the four words of a key. */
  find(key: Uint32Array): number {
    return this.#table.get(bytes(key)) ?? HASH_NONE;
  }

  /** Returns the value of that way, or HASH_NONE when there are too many. */
  begin({ protocol, inside, insidePort, remote, remotePort, outside, outsidePort }: Connection, way: number): number {
    const size = this.#free.length;
    if (this.count === size) return HASH_NONE;
    const index = this.#free[this.#next]!;
    this.#next = (this.#next + 1) % size;
    const port = outsidePort < 0 ? FIRST_PORT + index : outsidePort;
    const [farOut, farIn] = remotePort < 0 ? [insidePort, port] : [remotePort, remotePort];
    this.#keys.set([inside, remote, ((insidePort << 16) | farOut) >>> 0, protocol, remote, outside, ((farIn << 16) | port) >>> 0, protocol], index * 8);
    this.inside[index] = inside;
    this.insidePort[index] = insidePort;
    this.outsidePort[index] = port;
    this.#protocol[index] = protocol;
    this.#state[index] = 0;
    this.#until[index] = this.#now + AFTER.opening;
    for (const each of [OUT, IN]) this.#table.set(bytes(this.#key(index, each)), index * 2 + each);
    this.count++;
    return index * 2 + way;
  }

  /** A packet of it went by, with these TCP flags. */
  seen(index: number, way: number, flags: number): void {
    const protocol = this.#protocol[index]!;
    if (protocol !== PROTOCOL_TCP) {
      this.#until[index] = this.#now + (protocol === PROTOCOL_UDP ? AFTER.udp : AFTER.other);
      return;
    }
    let state = this.#state[index]!;
    if ((flags & TCP_ACK) !== 0 && way === IN) state |= 1; // the far side has answered
    if ((flags & TCP_FIN) !== 0) state |= way === OUT ? 2 : 4;
    if ((flags & TCP_RST) !== 0) state |= 8;
    this.#state[index] = state;
    const closing = (state & 8) !== 0 || (state & 6) === 6;
    this.#until[index] = this.#now + (closing ? AFTER.closing : (state & 1) !== 0 ? AFTER.tcp : AFTER.opening);
  }

  /** Now and then, with the time in seconds: forgets some that are over; each is looked at again and again. */
  expire(now: number): void {
    this.#now = now;
    const size = this.#until.length;
    for (let looks = Math.min(size, 8192); looks > 0; looks--) {
      const index = this.#hand = (this.#hand + 1) % size;
      if (this.#until[index] === 0 || this.#until[index]! > now) continue;
      for (const each of [OUT, IN]) this.#table.delete(bytes(this.#key(index, each)));
      this.#until[index] = 0;
      this.#free[(this.#next + size - this.count) % size] = index;
      this.count--;
    }
  }

  #key(index: number, way: number): Uint32Array {
    return this.#keys.subarray(index * 8 + way * 4, index * 8 + way * 4 + 4);
  }
}

function bytes(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

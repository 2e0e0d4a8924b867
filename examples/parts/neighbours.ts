import { HashTable, PollmodeError, type Host } from '../../lib/index.js';

/** A neighbour on a link: known, or asked for while packets wait for it. */
export interface Neighbour {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** Until it has answered: undefined. */
  mac: Uint8Array | undefined;
  /** Packets that wait for its MAC address, since when, and when it was last asked for (`performance.now()`). */
  readonly waiting: number[];
  since: number;
  asked: number;
  /** Is never forgotten: a gateway, a backend. */
  isFixed: boolean;
}

/** Neighbours that are known: the oldest goes. */
const NEIGHBOURS_MAX = 4096;

/** The neighbours of a link, found by address without an allocation: IPv4's by number, IPv6's by their 16 bytes in a hash table. */
export class Neighbours {
  // By address as i32, which V8 keeps as a small integer.
  readonly #four = new Map<number, Neighbour>();
  readonly #six: HashTable;
  /** In the order in which they came; the hash table's values are their numbers. */
  readonly #all = new Map<number, Neighbour>();
  readonly #numberOf = new Map<Neighbour, number>();
  readonly #key = new Uint8Array(16);
  readonly #free: number[] = [];

  constructor(host: Host, name: string) {
    this.#six = HashTable.create(host.arena, `neighbours/${name}`, { entries: NEIGHBOURS_MAX, keyBytes: 16 });
  }

  get count(): number {
    return this.#all.size;
  }

  /** By the number that `Ipv4.destination` is. */
  find4(address: number): Neighbour | undefined {
    return this.#four.get(address | 0);
  }

  /** By 16 bytes, wherever they stand. */
  find6(u8: Uint8Array, at: number): Neighbour | undefined {
    for (let i = 0; i < 16; i++) this.#key[i] = u8[at + i]!;
    const number = this.#six.get(this.#key);
    return number === undefined ? undefined : this.#all.get(number);
  }

  find(address: Uint8Array): Neighbour | undefined {
    return address.length === 4 ? this.find4(word(address)) : this.find6(address, 0);
  }

  /** The one with this address, a new one where there is none. Throws ETABLEFULL when all are fixed or waited for. */
  add(address: Uint8Array): Neighbour {
    const known = this.find(address);
    if (known !== undefined) return known;
    if (this.#all.size === NEIGHBOURS_MAX) this.#forgetOldest();
    const made: Neighbour = { address: address.slice(), mac: undefined, waiting: [], since: 0, asked: -Infinity, isFixed: false };
    const number = this.#free.pop() ?? this.#all.size;
    this.#all.set(number, made);
    this.#numberOf.set(made, number);
    if (address.length === 4) this.#four.set(word(address), made);
    else this.#six.set(made.address, number);
    return made;
  }

  delete(neighbour: Neighbour): void {
    const number = this.#numberOf.get(neighbour);
    if (number === undefined) return;
    this.#numberOf.delete(neighbour);
    this.#all.delete(number);
    this.#free.push(number);
    if (neighbour.address.length === 4) this.#four.delete(word(neighbour.address));
    else this.#six.delete(neighbour.address);
  }

  #forgetOldest(): void {
    for (const each of this.#all.values()) if (!each.isFixed && each.waiting.length === 0) return this.delete(each);
    throw new PollmodeError('ETABLEFULL', `${NEIGHBOURS_MAX} neighbours, and none of them to be forgotten: use fewer gateways and backends.`);
  }
}

function word(address: Uint8Array): number {
  return (address[0]! << 24) | (address[1]! << 16) | (address[2]! << 8) | address[3]!;
}

/** Receive-side scaling of an Intel NIC: 40 bytes of key and 128 entries, at the same places in all of them (82574 7.1.11, 82576 7.1.1.7, 82599 7.1.2.8). */
import { PollmodeError } from '../../../../errors.js';
import { DEFAULT_KEY } from '../../../../rss/keys.js';
import type { PortRss } from '../../../port.js';

/** The registers that it takes; of each, 32 bits are written. */
export interface RssPlaces {
  key(word: number, value: number): void;
  reta(word: number, value: number): void;
  /** Multiple receive queues on, over these fields. */
  fields(bits: number): void;
}

export interface RssKind {
  /** RSS_* that it can hash, and the bits of its fields register that each of them is. */
  readonly fields: ReadonlyMap<number, number>;
  /** How far left a queue stands in an entry of the table. */
  readonly queueShift: number;
}

const KEY_BYTES = 40;
const ENTRIES = 128;

export class IntelRss implements PortRss {
  readonly canHash: number;
  #types: number;
  #key: Uint8Array = DEFAULT_KEY;
  #reta: readonly number[];
  readonly #name: string;
  readonly #queues: number;
  readonly #kind: RssKind;
  readonly #places: RssPlaces;

  /** All that it can hash; buckets go round the queues. Written by `write`. */
  constructor(name: string, queues: number, kind: RssKind, places: RssPlaces) {
    this.#name = name;
    this.#queues = queues;
    this.#kind = kind;
    this.#places = places;
    this.canHash = [...kind.fields.keys()].reduce((all, each) => all | each, 0);
    this.#types = this.canHash;
    this.#reta = Array.from({ length: ENTRIES }, (_, bucket) => bucket % queues);
  }

  get types(): number {
    return this.#types;
  }

  get key(): Uint8Array {
    return this.#key.slice();
  }

  get reta(): readonly number[] {
    return this.#reta;
  }

  set(change: { readonly key?: Uint8Array; readonly reta?: readonly number[]; readonly types?: number }): void {
    const { key = this.#key, reta = this.#reta, types = this.#types } = change;
    this.#check(key, reta, types);
    this.#key = key.slice();
    this.#reta = [...reta];
    this.#types = types;
    this.write();
  }

  /** A key's bytes go into the registers first to last, and so do the table's entries. */
  write(): void {
    const word = (bytes: ArrayLike<number>, at: number): number => (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24) >>> 0;
    const entries = this.#reta.map(queue => queue << this.#kind.queueShift);
    for (let i = 0; i < KEY_BYTES / 4; i++) this.#places.key(i, word(this.#key, 4 * i));
    for (let i = 0; i < ENTRIES / 4; i++) this.#places.reta(i, word(entries, 4 * i));
    this.#places.fields([...this.#kind.fields].reduce((bits, [type, field]) => (this.#types & type) !== 0 ? bits | field : bits, 0));
  }

  #check(key: Uint8Array, reta: readonly number[], types: number): void {
    const refuse = (why: string): never => { throw new PollmodeError('EOPTION', `${this.#name}: ${why}.`); };
    if (!(key instanceof Uint8Array) || key.length !== KEY_BYTES) refuse(`its RSS key has ${KEY_BYTES} bytes: give so many`);
    if (reta.length !== ENTRIES) refuse(`its redirection table has ${ENTRIES} entries, not ${reta.length}: give so many`);
    const wrong = reta.find(queue => !Number.isInteger(queue) || queue < 0 || queue >= this.#queues);
    if (wrong !== undefined) refuse(`its redirection table cannot name queue ${String(wrong)}: the port has ${this.#queues}`);
    if (!Number.isInteger(types) || (types & ~this.canHash) !== 0 || types < 0) refuse(`RSS types ${String(types)}: the NIC hashes those in ${this.canHash}`);
  }
}

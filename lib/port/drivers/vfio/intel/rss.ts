/** Receive-side scaling of an Intel NIC: 40 bytes of key and 128 entries, at the same places in all of them (82574 7.1.11, 82576 7.1.1.7, 82599 7.1.2.8). */
import { NicRss } from '../nic_rss.js';

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

export class IntelRss extends NicRss {
  readonly #kind: RssKind;
  readonly #places: RssPlaces;

  constructor(name: string, queues: number, kind: RssKind, places: RssPlaces) {
    super({ name, queues, keyBytes: KEY_BYTES, entries: ENTRIES, canHash: [...kind.fields.keys()].reduce((all, each) => all | each, 0) });
    this.#kind = kind;
    this.#places = places;
  }

  /** A key's bytes go into the registers first to last, and so do the table's entries. */
  override write(): void {
    const word = (bytes: ArrayLike<number>, at: number): number => (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24) >>> 0;
    const key = this.key;
    const entries = this.reta.map(queue => queue << this.#kind.queueShift);
    for (let i = 0; i < KEY_BYTES / 4; i++) this.#places.key(i, word(key, 4 * i));
    for (let i = 0; i < ENTRIES / 4; i++) this.#places.reta(i, word(entries, 4 * i));
    this.#places.fields([...this.#kind.fields].reduce((bits, [type, field]) => (this.types & type) !== 0 ? bits | field : bits, 0));
  }
}

/** What receive-side scaling is on every NIC: types, a key and a table, checked before they are written. */
import { PollmodeError } from '../../../errors.js';
import { DEFAULT_KEY } from '../../../rss/keys.js';
import type { PortRss } from '../../port.js';

export interface RssLimits {
  /** The port's name, for errors. */
  readonly name: string;
  readonly queues: number;
  /** Bytes of the key, and entries of the table: the NIC takes neither more nor fewer. */
  readonly keyBytes: number;
  readonly entries: number;
  /** RSS_* that it can hash. */
  readonly canHash: number;
}

/** At first it hashes all that it can, and the buckets go round the queues; nothing is written before `write`. */
export abstract class NicRss implements PortRss {
  readonly canHash: number;
  #types: number;
  #key: Uint8Array = DEFAULT_KEY;
  #reta: readonly number[];
  readonly #limits: RssLimits;

  constructor(limits: RssLimits) {
    this.#limits = limits;
    this.canHash = limits.canHash;
    this.#types = limits.canHash;
    this.#reta = Array.from({ length: limits.entries }, (_, bucket) => bucket % limits.queues);
  }

  /** Tells the NIC what the three say. */
  abstract write(): void;

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

  #check(key: Uint8Array, reta: readonly number[], types: number): void {
    const { name, queues, keyBytes, entries } = this.#limits;
    const refuse = (why: string): never => { throw new PollmodeError('EOPTION', `${name}: ${why}.`); };
    if (!(key instanceof Uint8Array) || key.length !== keyBytes) refuse(`its RSS key has ${keyBytes} bytes: give so many`);
    if (reta.length !== entries) refuse(`its redirection table has ${entries} entries, not ${reta.length}: give so many`);
    const wrong = reta.find(queue => !Number.isInteger(queue) || queue < 0 || queue >= queues);
    if (wrong !== undefined) refuse(`its redirection table cannot name queue ${String(wrong)}: the port has ${queues}`);
    if (!Number.isInteger(types) || (types & ~this.canHash) !== 0 || types < 0) refuse(`RSS types ${String(types)}: the NIC hashes those in ${this.canHash}`);
  }
}

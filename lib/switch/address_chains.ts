import { randomInt } from 'node:crypto';

/** No flow: the end of a chain. */
export const NONE = -1;

/** Flows by an address: chains that are linked both ways, headed by a hash that nobody outside can foresee. A flow is in one chain at most. */
export class AddressChains {
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #bucket: Int32Array;
  readonly #shift: number;
  readonly #a = randomInt(2 ** 31) * 2 + 1;
  readonly #b = randomInt(2 ** 31) * 2 + 1;

  constructor(capacity: number) {
    const bits = Math.max(1, Math.ceil(Math.log2(capacity)));
    this.#shift = 32 - bits;
    this.#heads = new Int32Array(2 ** bits).fill(NONE);
    [this.#next, this.#previous, this.#bucket] = [new Int32Array(capacity), new Int32Array(capacity), new Int32Array(capacity).fill(NONE)];
  }

  first(low: number, high: number): number {
    return this.#heads[this.#hash(low, high)]!;
  }

  next(flow: number): number {
    return this.#next[flow]!;
  }

  add(flow: number, low: number, high: number): void {
    const bucket = this.#hash(low, high);
    const first = this.#heads[bucket]!;
    this.#next[flow] = first;
    this.#previous[flow] = NONE;
    if (first !== NONE) this.#previous[first] = flow;
    this.#heads[bucket] = flow;
    this.#bucket[flow] = bucket;
  }

  remove(flow: number): void {
    const bucket = this.#bucket[flow]!;
    if (bucket === NONE) return;
    const [next, previous] = [this.#next[flow]!, this.#previous[flow]!];
    if (next !== NONE) this.#previous[next] = previous;
    if (previous === NONE) this.#heads[bucket] = next;
    else this.#next[previous] = next;
    this.#bucket[flow] = NONE;
  }

  #hash(low: number, high: number): number {
    return (Math.imul(low ^ (low >>> 15), this.#a) + Math.imul(high + 1, this.#b)) >>> this.#shift;
  }
}

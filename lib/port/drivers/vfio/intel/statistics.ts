import type { Counter } from './chip.js';

/** All ones is a device that has gone: no counter of a live one gets there between two looks. */
const GONE = 0xffffffff;

/** The device's own counters, added up here: most forget when they are read, and all have 32 bits. */
export class Statistics {
  readonly #counters: readonly Counter[];
  readonly #read: (at: number) => number;
  readonly #totals: number[];
  readonly #last = new Map<number, number>();

  /** `read`: a register by its offset in the BAR. What was there before is not counted. */
  constructor(counters: readonly Counter[], read: (at: number) => number) {
    this.#counters = counters;
    this.#read = read;
    this.#totals = counters.map(() => 0);
    for (const counter of counters) this.#news(counter);
  }

  addTo(xstats: Record<string, number>): void {
    this.#counters.forEach((counter, i) => {
      this.#totals[i]! += this.#news(counter);
      xstats[counter.name] = this.#totals[i]!;
    });
  }

  /** What has been counted since the last look. */
  #news({ at, count = 1, stride = 0, runs = false }: Counter): number {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const value = this.#read(at + i * stride);
      if (value === GONE) continue;
      sum += runs ? (value - (this.#last.get(at + i * stride) ?? 0)) >>> 0 : value;
      this.#last.set(at + i * stride, value);
    }
    return sum;
  }
}

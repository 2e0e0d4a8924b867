/** Times of capture files, exact, in plain numbers: no BigInt, nothing born per packet. */

const TWO_16 = 0x10000;
const TWO_32 = 0x100000000;

/**
 * An unsigned 64-bit number in two halves, with the divisions and products that times need. Every intermediate value
 * stays below 2^53. Divisions are by at most 2^32; rounding never reaches the next whole number, since a quotient of
 * a < 2^53 by a whole number is either whole or further from the next one than a double's spacing.
 */
export class Wide {
  high = 0;
  low = 0;

  /** Divides by a whole number, 1 to 2^32. Returns the remainder. */
  divide(by: number): number {
    const high = Math.floor(this.high / by);
    let rest = (this.high - high * by) * TWO_16 + (this.low >>> 16);
    const middle = Math.floor(rest / by);
    rest = (rest - middle * by) * TWO_16 + (this.low & 0xffff);
    const low = Math.floor(rest / by);
    this.high = high;
    this.low = middle * TWO_16 + low;
    return rest - low * by;
  }

  /** seconds × unit + fraction, for seconds and fraction below 2^32 and a unit of at most 10^9. */
  join(seconds: number, unit: number, fraction: number): void {
    const upper = Math.floor(seconds / TWO_16) * unit;
    const upperHigh = Math.floor(upper / TWO_16);
    const lower = (seconds & 0xffff) * unit + fraction + (upper - upperHigh * TWO_16) * TWO_16;
    const carry = Math.floor(lower / TWO_32);
    this.high = upperHigh + carry;
    this.low = lower - carry * TWO_32;
  }
}

/** The unit of an interface's times: pcapng's if_tsresol and if_tsoffset. */
export interface TimeScale {
  /** Units per second: 10^0 to 10^9, or 2^0 to 2^32. */
  readonly unit: number;
  /** What a time is divided by before, where its unit is finer than that. */
  readonly cuts: readonly number[];
  /** Seconds to add. */
  readonly offset: number;
}

/** @param resolution if_tsresol: the unit is 10^-n s, or 2^-n s where the top bit is set */
export function timeScale(resolution: number, offset: number): TimeScale {
  const [base, most] = (resolution & 0x80) === 0 ? [10, 9] : [2, 32];
  const cuts: number[] = [];
  let digits = resolution & 0x7f;
  for (; digits > most; digits -= Math.min(most, digits - most)) cuts.push(base ** Math.min(most, digits - most));
  return { unit: base ** digits, cuts, offset };
}

/** A frame's time: seconds since 1970-01-01 00:00:00 UTC and nanoseconds, both u32, where it has one. */
export class CaptureTime {
  /** False for a frame without a time, or with one outside 1970 to 2106, which an mbuf cannot hold. */
  known = false;
  /** Whether there was one, and it did not fit. */
  outside = false;
  seconds = 0;
  nanoseconds = 0;
  readonly #wide = new Wide();

  clear(): void {
    this.known = this.outside = false;
    this.seconds = this.nanoseconds = 0;
  }

  /** From a pcapng timestamp, of which what is finer than a nanosecond is cut off; in units finer than 2^-32 s, what is finer than that first. */
  setWide(high: number, low: number, { unit, cuts, offset }: TimeScale): void {
    const wide = this.#wide;
    wide.high = high;
    wide.low = low;
    for (let i = 0; i < cuts.length; i++) wide.divide(cuts[i]!);
    const fraction = wide.divide(unit);
    const seconds = wide.high * TWO_32 + wide.low;
    // Past 2^53 a sum with the offset is not exact: such a time is outside, whatever the offset.
    // The nanoseconds are exact: fraction × 10^9 is fraction × 5^9, which is below 2^53, × 2^9.
    this.set(seconds <= Number.MAX_SAFE_INTEGER ? seconds + offset : Infinity, Math.floor(fraction * 1e9 / unit));
  }

  /** Nanoseconds of a second and more are carried. */
  set(seconds: number, nanoseconds: number): void {
    const carry = Math.floor(nanoseconds / 1e9);
    const whole = seconds + carry;
    this.known = whole >= 0 && whole < TWO_32;
    this.outside = !this.known;
    this.seconds = this.known ? whole : 0;
    this.nanoseconds = this.known ? nanoseconds - carry * 1e9 : 0;
  }
}

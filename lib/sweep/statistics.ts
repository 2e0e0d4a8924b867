/**
 * The few statistics that a sweep reports. Medians and whole ranges, never a mean alone: a round that an interrupt
 * or a neighbour spoiled drags a mean, and a mean hides that it happened.
 */
import { PollmodeError } from '../errors.js';

/** One figure over the rounds of a cell. `rounds` are the raw values in the order measured; the rest follows from them. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: readonly number[];
}

/** A ratio of two spreads: of the medians, and the least and the most that the rounds allow. */
export interface Ratio {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** The middle value, or halfway between the two middle ones. Throws EOPTION for no values or for one that is not finite. */
export function median(values: readonly number[]): number {
  const sorted = ordered(values);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle];
  // Not (a + b) / 2, which overflows to Infinity near the largest doubles.
  return sorted[middle - 1] + (sorted[middle] - sorted[middle - 1]) / 2;
}

/** Median, least and greatest of the rounds. Throws EOPTION as `median` does. */
export function spread(values: readonly number[]): Spread {
  const sorted = ordered(values);
  return { median: median(sorted), min: sorted[0], max: sorted[sorted.length - 1], rounds: [...values] };
}

/** `figure` over `baseline`, or undefined where the baseline's median is 0. `high` is Infinity where a round of it was 0. */
export function ratioTo(figure: Spread, baseline: Spread): Ratio | undefined {
  if (baseline.median === 0) return undefined;
  return { ratio: figure.median / baseline.median, low: divide(figure.min, baseline.max), high: divide(figure.max, baseline.min) };
}

/** The range as a part of the median (0.1 means that max and min are a tenth of the median apart); 0 for a median of 0. */
export function relativeRange(figure: Spread): number {
  return figure.median === 0 ? 0 : (figure.max - figure.min) / figure.median;
}

/** Whether the two ranges share a value. Then the rounds do not tell the two apart. */
export function overlap(a: Spread, b: Spread): boolean {
  return a.min <= b.max && b.min <= a.max;
}

function divide(a: number, b: number): number {
  return b === 0 ? Infinity : a / b;
}

function ordered(values: readonly number[]): number[] {
  if (values.length === 0 || !values.every(Number.isFinite)) {
    throw new PollmodeError('EOPTION', 'A statistic needs at least one value, all of them finite: measure at least one round.');
  }
  return [...values].sort((a, b) => a - b);
}

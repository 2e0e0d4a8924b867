/** What a person writes of rates and sizes, checked: EOPTION with what would do. */
import { PollmodeError } from '../errors.js';

/** Bits per second, as a number or with a unit of tc's: 1_000_000, "1mbit". Of frames without FCS, see `overhead`. */
export type Rate = number | string;

const UNITS: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
export const LEAST_RATE = 8;
export const MOST_RATE = 1e13;
/** Bytes of a full frame at the usual MTU, without FCS: what a quantum and a bucket are counted in. */
export const FULL_FRAME = 1514;

/** Bytes per second. */
export function bytesPerSecond(what: string, rate: Rate): number {
  const bits = typeof rate === 'number' ? rate : parsed(rate);
  if (!(typeof bits === 'number' && bits >= LEAST_RATE && bits <= MOST_RATE)) {
    throw new PollmodeError('EOPTION', `${what} ${shown(rate)}: give bits per second from ${LEAST_RATE} to 1e13, as a number or as "10mbit".`);
  }
  return bits / 8;
}

function parsed(text: unknown): number {
  const match = typeof text === 'string' ? /^(\d{1,14}(?:\.\d{1,9})?)(bit|kbit|mbit|gbit)$/.exec(text) : null;
  return match === null ? NaN : Number(match[1]) * UNITS[match[2]!]!;
}

export function whole(what: string, value: unknown, min: number, max: number): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw new PollmodeError('EOPTION', `${what} ${shown(value)}: give a whole number from ${min} to ${max}.`);
  }
  return value as number;
}

/** A number of milliseconds, as nanoseconds. */
export function milliseconds(what: string, value: unknown, min: number, max: number): number {
  if (!(typeof value === 'number' && value >= min && value <= max)) {
    throw new PollmodeError('EOPTION', `${what} ${shown(value)}: give milliseconds from ${min} to ${max}.`);
  }
  return value * 1e6;
}

/**
 * A bucket that loses nothing while a poll loop is away for up to two milliseconds (a garbage collection, the event
 * loop's turn), and holds two full frames at least. tc asks for rate / HZ for the same reason.
 */
export function usualBurst(rate: number): number {
  return Math.ceil(Math.max(2 * FULL_FRAME, rate * 0.002));
}

export function refuse(sentence: string): never {
  throw new PollmodeError('EOPTION', sentence);
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 40).replace(/[^\x20-\x7e]/g, '?')}"` : String(value);
}

export function rateText(rate: number): string {
  const bits = rate * 8;
  const [unit, by] = bits >= 1e9 ? ['Gbit/s', 1e9] : bits >= 1e6 ? ['Mbit/s', 1e6] : bits >= 1e3 ? ['kbit/s', 1e3] : ['bit/s', 1];
  return `${Number((bits / by).toPrecision(6))} ${unit}`;
}

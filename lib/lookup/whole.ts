import { PollmodeError } from '../errors.js';

/** Throws EOPTION unless it is a whole number of that range. */
export function whole(subject: string, what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw new PollmodeError('EOPTION', `${subject}: ${what} ${String(value)}: give a whole number from ${min} to ${max}.`);
}

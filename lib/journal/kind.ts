/**
 * What a journal entry is: one change to something that the kernel keeps after the process that made it, with what is
 * needed to undo it. Each kind is a file in `kinds/` and a line in `kinds.ts`.
 */
import { PollmodeError } from '../errors.js';

export interface Change {
  readonly kind: string;
}

/**
 * How an undo ended well: the old value was put back, it stood there already (the process died before its change), or
 * somebody else has changed it since, so that it is his now.
 */
export type Undone = 'undone' | 'unchanged' | 'superseded';

export interface Kind<C extends Change> {
  readonly kind: C['kind'];
  /** True when the change is about the network namespace that the thread was in; it is then undone in that one. */
  namespaced(change: C): boolean;
  /**
   * What a journal's line says, or a program: type, length and range of each field, and that it names nothing that this
   * kind may not write. Throws EFORMAT. Fields that it does not know are left out.
   */
  check(fields: Fields): C;
  /** For people: what is put back to what. */
  describe(change: C): string;
  /** Synchronous; twice is once. Throws ENOTFOUND when what was changed is gone, anything else when it may be tried again. */
  undo(change: C): Undone;
}

export type Fields = Readonly<Record<string, unknown>>;

/** Text of 1 to `limit` characters without control characters. */
export function textField(fields: Fields, name: string, limit: number): string {
  const value = fields[name];
  if (typeof value !== 'string' || value.length < 1 || value.length > limit || /[\0-\x08\x0a-\x1f\x7f]/.test(value)) {
    throw malformed(name, `text of 1 to ${limit} characters`);
  }
  return value;
}

/** A whole number in a range. */
export function numberField(fields: Fields, name: string, min: number, max: number): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw malformed(name, `a whole number from ${min} to ${max}`);
  }
  return value;
}

/** An object of its own. */
export function objectField(fields: Fields, name: string): Fields {
  const value = fields[name];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(name, 'an object');
  return value as Fields;
}

function malformed(name: string, wanted: string): PollmodeError {
  return new PollmodeError('EFORMAT', `A journal entry's "${name}" is not ${wanted}: nothing was written; put the setting right by hand.`);
}

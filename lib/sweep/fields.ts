/**
 * Reads the fields of an untrusted JSON value. Each function returns a value that is what its name says, or throws
 * EFORMAT naming the place ("cells[3].burst"), what was expected and what to do. Nothing is copied but what was asked for.
 */
import { PollmodeError } from '../errors.js';
import { printable } from './text.js';

export type Fields = Readonly<Record<string, unknown>>;

const MEND = 'Make the file again with `pollmode sweep --json`.';

export function refuse(where: string, expected: string, found: unknown): never {
  throw new PollmodeError('EFORMAT', `Not a sweep result: ${where} should be ${expected}, but is ${describe(found)}. ${MEND}`);
}

/** An object's fields; `where` is '' for the whole file. Only own properties are ever looked at. */
export function object(value: unknown, where: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(where || 'the file', 'an object', value);
  return value as Fields;
}

export function field(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

export function text(fields: Fields, name: string, where: string, limit = 400): string {
  const value = field(fields, name);
  if (typeof value !== 'string' || value.length > limit) refuse(`${where}${name}`, `text of at most ${limit} characters`, value);
  return value;
}

export function oneOf<T extends string>(fields: Fields, name: string, where: string, allowed: readonly T[]): T {
  const value = field(fields, name);
  const found = allowed.find((candidate) => candidate === value);
  return found ?? refuse(`${where}${name}`, `one of ${allowed.join(', ')}`, value);
}

export function number(fields: Fields, name: string, where: string, min: number, max: number): number {
  const value = field(fields, name);
  if (!isNumber(value, min, max)) refuse(`${where}${name}`, `a number from ${min} to ${max}`, value);
  return value;
}

export function integer(fields: Fields, name: string, where: string, min: number, max: number): number {
  const value = field(fields, name);
  if (!isNumber(value, min, max) || !Number.isInteger(value)) refuse(`${where}${name}`, `a whole number from ${min} to ${max}`, value);
  return value;
}

export function list<T>(fields: Fields, name: string, where: string, limit: number, read: (item: unknown, where: string) => T): T[] {
  const value = field(fields, name);
  if (!Array.isArray(value) || value.length > limit) refuse(`${where}${name}`, `a list of at most ${limit}`, value);
  return Array.from(value as readonly unknown[], (item, index) => read(item, `${where}${name}[${index}]`));
}

export function isNumber(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && value >= min && value <= max;
}

function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return `"${printable(value, 40)}"`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

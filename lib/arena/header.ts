import { PollmodeError } from '../errors.js';
import {
  ARENA_MAGIC, ARENA_VERSION, DIRECTORY, DIRECTORY_ENTRIES, ENTRY_SIZE, HEADER_HEAP, HEADER_HIGH, HEADER_MAGIC, HEADER_PAGES, HEADER_PID,
  HEADER_TABLE, HEADER_VERSION, MAX_PAGES, PAGE, WASM_PAGE,
} from './layout.js';

/** Smallest and largest size, in bytes. */
export const MIN_ARENA = 16 << 20;
export const MAX_ARENA = MAX_PAGES * WASM_PAGE;

const TABLE = DIRECTORY + DIRECTORY_ENTRIES * ENTRY_SIZE;

/** All that the size decides. */
function shape(size: number): readonly (readonly [field: number, value: number])[] {
  return [[HEADER_VERSION, ARENA_VERSION], [HEADER_PAGES, size / WASM_PAGE], [HEADER_TABLE, TABLE], [HEADER_HEAP, heapOf(size)]];
}

/** Behind the mbuf header table, which has 64 bytes for each 2048 of the arena. */
function heapOf(size: number): number {
  return Math.ceil((TABLE + size / 32) / PAGE) * PAGE;
}

/** Only the creator runs this, before anyone else can have the memory. The magic number comes last. */
export function writeHeader(header: Uint32Array, size: number): void {
  for (const [field, value] of shape(size)) header[field >> 2] = value;
  header[HEADER_HIGH >> 2] = heapOf(size);
  header[HEADER_PID >> 2] = process.pid;
  Atomics.store(header, HEADER_MAGIC >> 2, ARENA_MAGIC);
}

/** Throws EFORMAT unless this is the header of an arena of `size` bytes, as this release makes them. */
export function checkHeader(header: Uint32Array, size: number, what: string): void {
  const whole = Number.isInteger(size / WASM_PAGE) && size >= MIN_ARENA && size <= MAX_ARENA;
  if (whole && header[HEADER_MAGIC >> 2] === ARENA_MAGIC && shape(size).every(([field, value]) => header[field >> 2] === value)) return;
  throw new PollmodeError('EFORMAT', `${what} is no pollmode arena of this version, or its creator is not ready yet: try again, with the same release of pollmode on both sides.`);
}

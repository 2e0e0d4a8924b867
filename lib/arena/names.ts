import { PollmodeError } from '../errors.js';
import { ENTRY_NAME_MAX } from './layout.js';

// A byte order mark is a part of a name like any other.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** A name's bytes. Throws EOPTION for one that its bytes would not bring back: empty, too long, a NUL, half a surrogate pair, no string. */
export function encodeName(name: string): Uint8Array {
  const encoded = new TextEncoder().encode(String(name));
  if (encoded.length === 0 || encoded.length > ENTRY_NAME_MAX || encoded.includes(0) || decoder.decode(encoded) !== name) {
    throw new PollmodeError('EOPTION', `"${String(name).slice(0, 100)}" is no memzone name: use 1 to ${ENTRY_NAME_MAX} bytes of UTF-8 without NUL.`);
  }
  return encoded;
}

export function decodeName(u8: Uint8Array, at: number): string {
  // TextDecoder refuses shared memory, so the bytes are copied out first.
  const bytes = u8.slice(at, at + ENTRY_NAME_MAX);
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The first of these names that no zone has: those that a thread before this one used, under the same lcore, may be there still, as it died. */
export function freshName(arena: { lookup(name: string): unknown }, next: () => string): string {
  let name = next();
  while (arena.lookup(name) !== undefined) name = next();
  return name;
}

/**
 * Kernel structures in the host's byte order, as `Uint8Array`s that the addon can pass on. Every reader checks the
 * length: what comes from outside may be shorter than it says.
 */
import { endianness } from 'node:os';
import { PollmodeError } from '../errors.js';

const LITTLE = endianness() === 'LE';
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function need(bytes: Uint8Array, at: number, size: number): DataView {
  if (at < 0 || at + size > bytes.length) {
    throw new PollmodeError('EFORMAT', `A kernel structure of ${bytes.length} bytes has no field of ${size} at ${at}: report this with the output of uname -r.`);
  }
  return view(bytes);
}

export function getU16(bytes: Uint8Array, at: number): number { return need(bytes, at, 2).getUint16(at, LITTLE); }
export function getU32(bytes: Uint8Array, at: number): number { return need(bytes, at, 4).getUint32(at, LITTLE); }
export function getI32(bytes: Uint8Array, at: number): number { return need(bytes, at, 4).getInt32(at, LITTLE); }
export function getU64(bytes: Uint8Array, at: number): bigint { return need(bytes, at, 8).getBigUint64(at, LITTLE); }
export function setU16(bytes: Uint8Array, at: number, value: number): void { need(bytes, at, 2).setUint16(at, value, LITTLE); }
export function setU32(bytes: Uint8Array, at: number, value: number): void { need(bytes, at, 4).setUint32(at, value, LITTLE); }
export function setI32(bytes: Uint8Array, at: number, value: number): void { need(bytes, at, 4).setInt32(at, value, LITTLE); }
export function setU64(bytes: Uint8Array, at: number, value: bigint): void { need(bytes, at, 8).setBigUint64(at, value, LITTLE); }

/** One u32 in four bytes of its own. */
export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  setU32(bytes, 0, value);
  return bytes;
}

/** UTF-8 with the NUL that C strings end in. A NUL inside would cut it short: EOPTION. */
export function cString(text: string): Uint8Array {
  if (text.includes('\0')) throw new PollmodeError('EOPTION', `${JSON.stringify(text)} has a NUL in it: leave it out.`);
  return encoder.encode(`${text}\0`);
}

/** The text up to the first NUL, or all of it. */
export function fromCString(bytes: Uint8Array, at = 0, size = bytes.length - at): string {
  const field = bytes.subarray(at, at + size);
  const end = field.indexOf(0);
  // A copy: decode() refuses memory that is shared with another thread.
  return decoder.decode(field.slice(0, end < 0 ? field.length : end));
}

/** Puts `text` into a field of `size` bytes with room for its NUL; EOPTION when it is longer. */
export function setCString(bytes: Uint8Array, at: number, size: number, text: string): void {
  const encoded = cString(text);
  if (encoded.length > size) throw new PollmodeError('EOPTION', `"${text}" is too long: ${size - 1} bytes are the most here.`);
  bytes.set(encoded, at);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

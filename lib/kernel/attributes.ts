/** Netlink attributes (linux/netlink.h, struct nlattr): a u16 length that includes its own four bytes, a u16 type, the payload, padding to 4. */
import { PollmodeError } from '../errors.js';
import { concat, cString, getU16, setU16, u32 } from './bytes.js';

const HEADER = 4;
const NLA_F_NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

export interface Attribute {
  type: number;
  payload: Uint8Array;
}

export function align4(length: number): number {
  return (length + 3) & ~3;
}

/** One attribute, padded. */
export function attribute(type: number, payload: Uint8Array): Uint8Array {
  const length = HEADER + payload.length;
  if (length > 0xffff) throw new PollmodeError('EOPTION', `A netlink attribute of ${length} bytes is too long: 65535 is the most.`);
  const bytes = new Uint8Array(align4(length));
  setU16(bytes, 0, length);
  setU16(bytes, 2, type);
  bytes.set(payload, HEADER);
  return bytes;
}

export function u32Attribute(type: number, value: number): Uint8Array {
  return attribute(type, u32(value));
}

export function textAttribute(type: number, text: string): Uint8Array {
  return attribute(type, cString(text));
}

export function nest(type: number, ...children: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, concat(children));
}

/**
 * Every attribute in `bytes`, in order. A length that is too short or leads outside throws EFORMAT; so does a tail too
 * short for a header, unless it is padding (zeros).
 */
export function listAttributes(bytes: Uint8Array): Attribute[] {
  const found: Attribute[] = [];
  let at = 0;
  while (bytes.length - at >= HEADER) {
    const length = getU16(bytes, at);
    if (length < HEADER || length > bytes.length - at) throw malformed(at, length, bytes.length);
    found.push({ type: getU16(bytes, at + 2) & TYPE_MASK, payload: bytes.subarray(at + HEADER, at + length) });
    at += align4(length);
  }
  for (let i = at; i < bytes.length; i++) if (bytes[i] !== 0) throw malformed(i, bytes.length - i, bytes.length);
  return found;
}

/** The same by type; of two with one type the last counts, as in the kernel. */
export function parseAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  return new Map(listAttributes(bytes).map(({ type, payload }) => [type, payload]));
}

function malformed(at: number, length: number, total: number): PollmodeError {
  return new PollmodeError('EFORMAT', `A netlink attribute at byte ${at} says ${length} bytes, of a message of ${total}: report this with the output of uname -r.`);
}

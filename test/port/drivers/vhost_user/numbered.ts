/** Frames that carry a number: what they must hold follows from it. */
import { frame } from '../../conformance/frames.js';

const AT = 14;

export function numbered(number: number): Uint8Array {
  const bytes = frame(60 + number % 300, number);
  new DataView(bytes.buffer).setUint32(AT, number);
  return bytes;
}

/** Throws for a frame that is not as it was made. */
export function numberOf(bytes: Uint8Array): number {
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(AT);
  if (!Buffer.from(bytes).equals(numbered(number))) throw new Error(`frame ${number} is not as it was sent`);
  return number;
}

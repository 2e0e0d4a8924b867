import fc from 'fast-check';
import { MBUF_NEXT } from '../../../lib/mbuf/layout.js';
import type { Mbufs } from '../../../lib/mbuf/mbufs.js';

/** IEEE 802's EtherType for local experiments: nobody on the way looks into such a frame, or strips a tag from it. */
const ETHERTYPE = 0x88b5;

/** A frame of `length` bytes that another seed would make different in nearly each byte. */
export function frame(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed * 2654435761 + length) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 11;
  }
  bytes.set([0x02, 0, 0, 0, 0, 0x0b, 0x02, 0, 0, 0, 0, 0x0a, ETHERTYPE >> 8, ETHERTYPE & 0xff].slice(0, length));
  return bytes;
}

/** `count` different frames of one length. */
export function frames(count: number, length = 60, seed = 1): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => frame(length, seed * 1000 + i));
}

/** A frame, and how far its first byte is moved from where a fresh mbuf's would be. */
export interface Shifted {
  readonly bytes: Uint8Array;
  readonly shift: number;
}

/** Up to 64 frames of 60 to `longest` bytes, lengths at both ends often, at even and odd places of their buffers. */
export function shiftedFrames(longest: number, room: number): fc.Arbitrary<Shifted[]> {
  const length = fc.oneof(fc.constantFrom(60, 61, 63, 64, 65, longest - 1, longest), fc.integer({ min: 60, max: longest }));
  const one = fc.record({ length, seed: fc.nat(), shift: fc.oneof(fc.constantFrom(0, 1, -1, -255), fc.integer({ min: -256, max: 256 })) });
  return fc.array(one, { minLength: 1, maxLength: 64 })
    .map(list => list.map(each => ({ bytes: frame(each.length, each.seed), shift: Math.min(each.shift, room - each.length) })));
}

export function totalBytes(list: readonly Uint8Array[]): number {
  return list.reduce((sum, each) => sum + each.length, 0);
}

/** A copy of the packet's bytes, of all its segments. */
export function copyWhole(mbufs: Mbufs, handle: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let segment = handle; segment !== 0; segment = mbufs.u32[(mbufs.header(segment) + MBUF_NEXT) >>> 2]!) parts.push(mbufs.copyOut(segment));
  return new Uint8Array(Buffer.concat(parts));
}

/**
 * Layer 3 forwarding: the loop over bursts in TypeScript, and what an IPv4 router does to each packet in a burst function
 * (`Forwarder`) or, for the curve's sake, in plain TypeScript too, where only the addresses are looked up in the burst
 * module. The same in C is bench/peers/lookup.c, to the byte.
 */
import type { Burst } from '../../lib/burst/burst.js';
import { Adjacencies } from '../../lib/lookup/adjacencies.js';
import { Forwarder } from '../../lib/lookup/forwarder.js';
import type { Lpm } from '../../lib/lookup/lpm.js';
import { Vector } from '../../lib/lookup/vector.js';
import type { Mbufs } from '../../lib/mbuf/mbufs.js';
import * as layout from '../../lib/mbuf/layout.js';
import type { Mempool } from '../../lib/mbuf/mempool.js';
import { randomWords } from './random.js';

const BURST = 32;
const { MBUF_DATA_OFF } = layout; // a module's own constant, which V8 knows

export interface Frames {
  /** All packets, which are received by bursts of 32: their handles are copied. */
  readonly handles: Uint32Array;
  readonly burst: Burst;
  /** Both, two at a time: the C program copies its pointers as fast as it can. Two handles are no NaN, so each bit stays. */
  readonly pairs: Float64Array;
  readonly burstPairs: Float64Array;
  readonly nextHops: Vector;
  /** The same, signed: -1 is LPM_NONE. */
  readonly hops: Int32Array;
  /** The arena's. */
  readonly words: Int32Array;
  /** Per next hop, 3 words: what the first 12 bytes of a frame to it are. */
  readonly macs: Int32Array;
  readonly forwarder: Forwarder;
  /** Packets that had no route, or no hop left. */
  dropped: number;
  /** Headers as they were at first. */
  restore(): void;
  check(): number;
}

/** Frames of 60 bytes to addresses at random, UDP, with a right checksum. */
export function prepareFrames(lpm: Lpm, pool: Mempool, count: number, hops: number): Frames {
  const { arena, mbufs } = pool;
  const next = randomWords(3);
  const burst = pool.burst(BURST);
  const first = arena.reserve('handles', count * 4).offset >>> 2;
  const handles = arena.u32.subarray(first, first + count);
  for (let i = 0; i < count; i += BURST) {
    pool.alloc(burst, BURST);
    for (const handle of burst.handles) mbufs.append(handle, 60);
    handles.set(burst.handles, i);
  }
  const destinations = Uint32Array.from({ length: count }, next);
  const macs = arena.reserve('macs', hops * 12).offset >>> 2;
  for (let word = 0; word < hops * 3; word++) arena.u32[macs + word] = Math.imul(word + 1, 0x9e3779b1);
  const adjacencies = Adjacencies.create(arena, 'adjacencies', hops);
  for (let hop = 0; hop < hops; hop++) {
    const at = (macs + hop * 3) * 4;
    adjacencies.set(hop, { destination: arena.u8.slice(at, at + 6), source: arena.u8.slice(at + 6, at + 12), value: hop & 3 });
  }
  const nextHops = new Vector(arena, BURST);
  const frames: Frames = {
    handles, burst, pairs: new Float64Array(arena.buffer, first * 4, count / 2), burstPairs: new Float64Array(arena.buffer, burst.offset, BURST / 2), nextHops, hops: new Int32Array(arena.buffer, nextHops.offset, BURST), words: arena.i32,
    macs: arena.i32.subarray(macs, macs + hops * 3), forwarder: new Forwarder(arena, lpm, adjacencies), dropped: 0, restore, check,
  };
  return frames;

  function restore(): void {
    frames.dropped = 0;
    handles.forEach((handle, i) => write(mbufs, mbufs.data(handle), destinations[i]));
  }

  function check(): number {
    let sum = frames.dropped;
    for (const handle of handles) {
      const word = mbufs.data(handle) >>> 2;
      for (let i = 0; i < 8; i++) sum = (Math.imul(sum, 31) + mbufs.u32[word + i]) >>> 0;
    }
    return sum;
  }
}

/** Ethernet, IPv4 and UDP headers; the rest of the 60 bytes is 0. */
function write({ u8, u16 }: Mbufs, at: number, destination: number): void {
  u8.fill(0, at, at + 60);
  u8.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, destination >>> 24, (destination >>> 16) & 255, (destination >>> 8) & 255, destination & 255, 4, 0, 0, 53, 0, 26], at + 12);
  let sum = 0;
  for (let i = 14; i < 34; i += 2) sum += u16[(at + i) >>> 1]; // whatever the byte order: RFC 1071 section 2 (B)
  sum = (sum & 0xffff) + (sum >>> 16);
  u16[(at + 24) >>> 1] = ~((sum & 0xffff) + (sum >>> 16));
}

/** The receive. In the C program it is four loads and stores of 64 bytes; here 16 of 8, without a loop as there. */
function copyBurst(to: Float64Array, from: Float64Array, at: number): void {
  to[0] = from[at];
  to[1] = from[at + 1];
  to[2] = from[at + 2];
  to[3] = from[at + 3];
  to[4] = from[at + 4];
  to[5] = from[at + 5];
  to[6] = from[at + 6];
  to[7] = from[at + 7];
  to[8] = from[at + 8];
  to[9] = from[at + 9];
  to[10] = from[at + 10];
  to[11] = from[at + 11];
  to[12] = from[at + 12];
  to[13] = from[at + 13];
  to[14] = from[at + 14];
  to[15] = from[at + 15];
}

/** All frames once, in bursts. */
export function l3fwdSlice(frames: Frames): void {
  const { pairs, burst, burstPairs, forwarder } = frames;
  for (let from = 0; from < pairs.length; from += BURST / 2) {
    copyBurst(burstPairs, pairs, from);
    frames.dropped += forwarder.forward(burst, BURST);
  }
}

/** The same, each packet in TypeScript. */
export function l3fwdPlainSlice(lpm: Lpm, mbufs: Mbufs, frames: Frames): void {
  const { pairs, burst, burstPairs } = frames;
  for (let from = 0; from < pairs.length; from += BURST / 2) {
    copyBurst(burstPairs, pairs, from);
    frames.dropped += route(lpm, mbufs, frames, burst, BURST);
  }
}

/**
 * Returns how many packets are to be dropped. A router would send the others on by their next hop. Everything is read and
 * written as signed words, which are small integers to V8, where unsigned ones of 2^31 and more are not.
 */
function route(lpm: Lpm, { u16, table }: Mbufs, { words, hops, nextHops, macs }: Frames, burst: Burst, count: number): number {
  const { handles } = burst;
  lpm.lookupBurst(burst, count, 30, nextHops);
  let dropped = 0;
  for (let i = 0; i < count; i++) {
    const handle = handles[i];
    const word = ((handle << 11) + u16[(table + (handle << 6) + MBUF_DATA_OFF) >>> 1]) >>> 2;
    const hop = hops[i];
    const lives = words[word + 5]; // fragment, then hop limit and protocol, as they stand in memory
    // Ethertype, version and header length; hops left.
    if ((words[word + 3] & 0xffffff) !== 0x450008 || (lives & 0xff0000) < 0x20000 || hop < 0) {
      dropped++;
      continue;
    }
    words[word] = macs[hop * 3];
    words[word + 1] = macs[hop * 3 + 1];
    words[word + 2] = macs[hop * 3 + 2];
    words[word + 5] = lives - 0x10000;
    const sum = words[word + 6]; // in its low half; RFC 1624: what is summed is 0x0100 less, which reads as 1 here
    const next = (sum & 0xffff) + 1;
    words[word + 6] = (sum & ~0xffff) | ((next + (next >= 0xffff ? 1 : 0)) & 0xffff);
  }
  return dropped;
}

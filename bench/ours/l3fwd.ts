/**
 * Layer 3 forwarding, the packet loop in plain TypeScript: what an IPv4 router does to each packet of a burst. Only the
 * addresses of the burst are looked up in the burst module. The same in C is bench/peers/lookup.c, to the byte.
 */
import type { Burst } from '../../lib/burst/burst.js';
import type { Lpm } from '../../lib/lookup/lpm.js';
import { LPM_NONE } from '../../lib/lookup/lpm_layout.js';
import { Vector } from '../../lib/lookup/vector.js';
import type { Mbufs } from '../../lib/mbuf/mbufs.js';
import type { Mempool } from '../../lib/mbuf/mempool.js';
import { randomWords } from './random.js';

const BURST = 32;

export interface Frames {
  readonly bursts: readonly Burst[];
  readonly addresses: Vector;
  readonly nextHops: Vector;
  /** Per next hop, 3 words: what the first 12 bytes of a frame to it are. */
  readonly macs: Uint32Array;
  /** Packets that had no route, or no hop left. */
  dropped: number;
  /** Headers as they were at first. */
  restore(): void;
  check(): number;
}

/** Frames of 60 bytes to addresses at random, UDP, with a right checksum. */
export function prepareFrames(pool: Mempool, count: number, hops: number): Frames {
  const { arena, mbufs } = pool;
  const next = randomWords(3);
  const bursts = Array.from({ length: count / BURST }, () => pool.burst(BURST));
  for (const burst of bursts) pool.alloc(burst, BURST);
  const destinations = Uint32Array.from({ length: count }, next);
  for (const burst of bursts) for (const handle of burst.handles) mbufs.append(handle, 60);
  const macs = arena.reserve('macs', hops * 12).offset >>> 2;
  for (let word = 0; word < hops * 3; word++) arena.u32[macs + word] = Math.imul(word + 1, 0x9e3779b1);
  const frames: Frames = { bursts, addresses: new Vector(arena, BURST), nextHops: new Vector(arena, BURST), macs: arena.u32.subarray(macs, macs + hops * 3), dropped: 0, restore, check };
  return frames;

  function restore(): void {
    frames.dropped = 0;
    bursts.forEach((burst, number) => burst.handles.forEach((handle, i) => write(mbufs, mbufs.data(handle), destinations[number * BURST + i])));
  }

  function check(): number {
    let sum = frames.dropped;
    for (const burst of bursts) {
      for (const handle of burst.handles) {
        const word = mbufs.data(handle) >>> 2;
        for (let i = 0; i < 8; i++) sum = (Math.imul(sum, 31) + mbufs.u32[word + i]) >>> 0;
      }
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

/** All frames once, in bursts. */
export function l3fwdSlice(lpm: Lpm, mbufs: Mbufs, frames: Frames): void {
  for (const burst of frames.bursts) frames.dropped += route(lpm, mbufs, frames, burst, BURST);
}

/** Returns how many packets are to be dropped. A router would send the others on by their next hop. */
function route(lpm: Lpm, mbufs: Mbufs, { addresses, nextHops, macs }: Frames, { handles }: Burst, count: number): number {
  const { u8, u16, u32 } = mbufs;
  const [wanted, hops] = [addresses.u32, nextHops.u32];
  let good = 0;
  for (let i = 0; i < count; i++) {
    const at = mbufs.data(handles[i]);
    const [high, low] = [u16[(at + 30) >>> 1], u16[(at + 32) >>> 1]];
    wanted[i] = ((high & 0xff) << 24) | ((high >>> 8) << 16) | ((low & 0xff) << 8) | (low >>> 8);
    if (u16[(at + 12) >>> 1] === 0x0008 && u8[at + 14] === 0x45 && u8[at + 22] > 1) good |= 1 << i;
  }
  lpm.lookupBulk(addresses, nextHops, count);
  let dropped = 0;
  for (let i = 0; i < count; i++) {
    const hop = hops[i];
    if (hop === LPM_NONE || (good & (1 << i)) === 0) {
      dropped++;
      continue;
    }
    const at = mbufs.data(handles[i]);
    const [to, from] = [at >>> 2, hop * 3];
    u32[to] = macs[from];
    u32[to + 1] = macs[from + 1];
    u32[to + 2] = macs[from + 2];
    u8[at + 22]--;
    const sum = u16[(at + 24) >>> 1] + 1; // RFC 1624: the word with the hop limit is 0x0100 less, which reads as 1 here
    u16[(at + 24) >>> 1] = sum + (sum >= 0xffff ? 1 : 0);
  }
  return dropped;
}

/** Flows whose hashes are all the same, made on purpose: what somebody can do who knows the key, as everybody knows the default one. */
import type { Flow } from '../../lib/rss/tuple.js';

/** Of the hash's input: two IPv4 addresses and two ports. */
const BITS = 96;

/**
 * `count` UDP flows with the hash of `like`. Toeplitz is linear over GF(2): the hash of an exclusive-or is the exclusive-or
 * of the hashes. So whatever combination of input bits hashes to 0 can be added to a flow without a change; of 96 bits
 * that are hashed to 32, Gaussian elimination finds 64 such combinations, and so 2^64 flows for each hash.
 */
export function collidingFlows(hash: (flow: Flow) => number, like: Flow, count: number, random: (below: number) => number): Flow[] {
  const nothing = kernel(bits => hash(flowOf(bits)));
  const found = new Set<bigint>([bitsOf(like)]);
  while (found.size < count) found.add(nothing.reduce((sum, each) => (random(2) === 0 ? sum : sum ^ each), bitsOf(like)));
  return [...found].map(flowOf);
}

/** A basis of the inputs that hash to 0. */
function kernel(hash: (bits: bigint) => number): bigint[] {
  const rows = new Map<number, { readonly image: number; readonly bits: bigint }>();
  const nothing: bigint[] = [];
  for (let bit = 0; bit < BITS; bit++) {
    let [image, bits] = [hash(1n << BigInt(bit)), 1n << BigInt(bit)];
    for (let top = 31; top >= 0; top--) {
      const row = rows.get(top);
      if (((image >>> top) & 1) === 0) continue;
      if (row === undefined) {
        rows.set(top, { image, bits });
        break;
      }
      image = (image ^ row.image) >>> 0;
      bits ^= row.bits;
    }
    if (image === 0) nothing.push(bits);
  }
  return nothing;
}

function flowOf(bits: bigint): Flow {
  const field = (at: number, width: number): number => Number((bits >> BigInt(at)) & ((1n << BigInt(width)) - 1n));
  const address = (at: number): string => [24, 16, 8, 0].map(shift => field(at + shift, 8)).join('.');
  return { source: address(64), destination: address(32), protocol: 'udp', sourcePort: field(16, 16), destinationPort: field(0, 16) };
}

function bitsOf({ source, destination, sourcePort = 0, destinationPort = 0 }: Flow): bigint {
  const address = (text: string): bigint => text.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return (address(source) << 64n) | (address(destination) << 32n) | (BigInt(sourcePort) << 16n) | BigInt(destinationPort);
}

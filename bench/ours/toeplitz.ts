/** Toeplitz hashes of IPv4 5-tuples (12 bytes), bursts of 32: cycles of the time-stamp counter per burst. The counterpart of bench/peers/toeplitz.c. */
import { Arena } from '../../lib/arena/arena.js';
import { burstFunctions } from '../../lib/burst/module.js';
import { Rss } from '../../lib/rss/rss.js';
import { randomWords } from './random.js';
import { cyclesPerSecond, pin, print, settings } from './common.js';

const BURST = 32;
const BURSTS = 32;
const BYTES = 12;
const ROUNDS = 10;

const { seconds, cpu } = settings();
pin(cpu);
const arena = Arena.create();
const rss = Rss.create(arena, 'rss');
const inputs = arena.reserve('inputs', BURSTS * BURST * BYTES).offset;
const hashes = arena.reserve('hashes', BURSTS * BURST * 4).offset;
const next = randomWords(1);
for (let word = 0; word < BURSTS * BURST * BYTES / 4; word++) new DataView(arena.buffer).setUint32(inputs + word * 4, next()); // network order
const { toeplitz } = burstFunctions(arena);

const slices: number[] = [];
for (const until = performance.now() + seconds * 1000; performance.now() < until;) {
  const start = performance.now();
  for (let round = 0; round < ROUNDS; round++) slice();
  slices.push((performance.now() - start) * 1e6 / ROUNDS / BURSTS);
}
const sorted = slices.slice(slices.length >> 3).sort((a, b) => a - b);
const check = arena.u32.subarray(hashes >>> 2, (hashes >>> 2) + BURSTS * BURST).reduce((all, hash) => all ^ hash, 0) >>> 0;
print({ cycles: sorted[sorted.length >> 1] / 1e9 * cyclesPerSecond(), check });

function slice(): void {
  for (let burst = 0; burst < BURSTS; burst++) toeplitz(rss.offset, inputs + burst * BURST * BYTES, BYTES, BYTES, hashes + burst * BURST * 4, BURST);
}

/** Checksums of bursts of 32 packets: cycles of the time-stamp counter per packet. The counterpart of bench/peers/checksum.c. */
import { Arena } from '../../lib/arena/arena.js';
import { burstFunctions } from '../../lib/burst/module.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { cyclesPerSecond, pin, print, settings } from './common.js';

const BURST = 32;
const BUFFER = 2048;
const ROUNDS = 20;

const { size: length, seconds, cpu } = settings();
pin(cpu);
const arena = Arena.create();
const pool = Mempool.create(arena, 'pool', { count: BURST, cache: 0 });
const burst = pool.burst(BURST);
pool.alloc(burst, BURST);
burst.handles.sort();
burst.handles.forEach((handle, i) => {
  pool.mbufs.append(handle, 14 + length);
  const start = pool.mbufs.data(handle) - 256;
  for (let at = 0; at < BUFFER; at++) arena.u8[start + at] = (i * BUFFER + at) * 37 + ((i * BUFFER + at) >> 8) * 11;
});
const sums = arena.reserve('sums', BURST * 4).offset;
const { checksumRange } = burstFunctions(arena);

const slices: number[] = [];
for (const until = performance.now() + seconds * 1000; performance.now() < until;) {
  const start = performance.now();
  for (let round = 0; round < ROUNDS; round++) checksumRange(arena.table, burst.offset, BURST, 14, length, sums);
  slices.push((performance.now() - start) * 1e6 / ROUNDS / BURST);
}
const sorted = slices.slice(slices.length >> 3).sort((a, b) => a - b);
let check = 0;
for (let i = 0; i < BURST; i++) check = (Math.imul(check, 31) + arena.u32[(sums >>> 2) + i]!) >>> 0;
print({ cycles: sorted[sorted.length >> 1]! / 1e9 * cyclesPerSecond(), check });

import { Arena } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Ring } from '../../lib/ring/ring.js';
import { cyclesPerSecond, pin, print, settings } from './common.js';

const BULK = 32;
const SLICE = 20000;

/** Enqueue and dequeue of 32 by one thread: cycles per pair, the median of many short slices, as other work disturbs some. */
export function ringPair(single: boolean): void {
  const { seconds, cpu } = settings();
  pin(cpu);
  const arena = Arena.create();
  const ring = Ring.create(arena, 'bench', { size: 1024, singleProducer: single, singleConsumer: single });
  const burst = new Burst(arena, BULK);
  const slices: number[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until;) slices.push(slice(ring, burst));
  slices.sort((a, b) => a - b);
  print({ cycles: slices[slices.length >> 1]! / 1e9 * cyclesPerSecond(), elementBytes: 4, bulk: BULK });
}

/** Nanoseconds per pair. */
function slice(ring: Ring, burst: Burst): number {
  const start = performance.now();
  for (let i = 0; i < SLICE; i++) {
    ring.enqueueBulk(burst, BULK);
    ring.dequeueBulk(burst, BULK);
  }
  return (performance.now() - start) * 1e6 / SLICE;
}

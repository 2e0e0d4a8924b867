import { Arena } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Ring } from '../../lib/ring/ring.js';
import { pin, print, RING_SLOTS, settings, slices } from './common.js';

const BULK = 32;

/** Enqueue and dequeue of 32 by one thread: cycles per pair. */
export function ringPair(single: boolean): void {
  const { seconds, cpu } = settings();
  pin(cpu);
  const arena = Arena.create();
  const ring = Ring.create(arena, 'bench', { size: RING_SLOTS, singleProducer: single, singleConsumer: single });
  const burst = new Burst(arena, BULK);
  print({ ...slices(seconds, bulks => pairs(ring, burst, bulks)), elementBytes: 4, bulk: BULK });
}

function pairs(ring: Ring, burst: Burst, bulks: number): void {
  for (let i = 0; i < bulks; i++) {
    ring.enqueueBulk(burst, BULK);
    ring.dequeueBulk(burst, BULK);
  }
}

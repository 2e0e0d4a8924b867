/** One thread enqueues bulks of 32, another on the other core dequeues them: cycles per bulk that went through, as the consumer counts. */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Ring } from '../../lib/ring/ring.js';
import { cyclesPerSecond, pin, print, settings } from './common.js';

const BULK = 32;
const { seconds, cpu, otherCpu } = settings();

if (isMainThread) {
  const arena = Arena.create();
  const ring = Ring.create(arena, 'bench', { size: 1024, singleProducer: true, singleConsumer: true });
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { share: arena.share(), stop }, argv: process.argv.slice(2) });
  worker.once('message', () => {
    pin(cpu);
    const slices = consume(ring, new Burst(arena, BULK));
    Atomics.store(stop, 0, 1);
    print({ cycles: slices[slices.length >> 1]! / 1e9 * cyclesPerSecond(), elementBytes: 4, bulk: BULK });
    worker.once('exit', () => process.exit());
  });
} else {
  const { share, stop } = workerData as { share: ArenaShare; stop: Int32Array };
  pin(otherCpu);
  produce(Arena.attach(share), stop);
}

async function produce(arena: Arena, stop: Int32Array): Promise<void> {
  const { parentPort } = await import('node:worker_threads');
  const ring = Ring.find(arena, 'bench');
  const burst = new Burst(arena, BULK);
  parentPort!.postMessage('ready');
  while (Atomics.load(stop, 0) === 0) {
    for (let i = 0; i < 1000; i++) ring.enqueueBulk(burst, BULK);
  }
}

/** Nanoseconds per bulk, of each slice of 20,000 bulks, sorted; the first slices are warm-up. */
function consume(ring: Ring, burst: Burst): number[] {
  const slices: number[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until;) {
    const start = performance.now();
    for (let got = 0; got < 20000;) if (ring.dequeueBulk(burst, BULK) > 0) got++;
    slices.push((performance.now() - start) * 1e6 / 20000);
  }
  return slices.slice(slices.length >> 3).sort((a, b) => a - b);
}

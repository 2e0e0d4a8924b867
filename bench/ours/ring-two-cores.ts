/** One thread enqueues bulks of 32, another on the other core dequeues them: cycles per bulk that went through, as the consumer counts. */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { Ring } from '../../lib/ring/ring.js';
import { pin, print, RING_SLOTS, settings, slices } from './common.js';

const BULK = 32;

/** How long a side leaves the ring alone after a call that moved nothing: the C program has the same. */
const REST_NANOSECONDS = 1000;

const { seconds, cpu, otherCpu } = settings();
let restTurns = 0;

if (isMainThread) {
  const arena = Arena.create();
  const ring = Ring.create(arena, 'bench', { size: RING_SLOTS, singleProducer: true, singleConsumer: true });
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { share: arena.share(), stop }, argv: process.argv.slice(2) });
  worker.once('message', () => {
    pin(cpu);
    restTurns = turnsOf(REST_NANOSECONDS);
    const burst = new Burst(arena, BULK);
    const result = slices(seconds, bulks => consume(ring, burst, bulks));
    Atomics.store(stop, 0, 1);
    print({ ...result, elementBytes: 4, bulk: BULK });
    worker.once('exit', () => process.exit());
  });
} else {
  const { share, stop } = workerData as { share: ArenaShare; stop: Int32Array };
  pin(otherCpu);
  restTurns = turnsOf(REST_NANOSECONDS);
  produce(Arena.attach(share), stop);
}

async function produce(arena: Arena, stop: Int32Array): Promise<void> {
  const { parentPort } = await import('node:worker_threads');
  const ring = Ring.find(arena, 'bench');
  const burst = new Burst(arena, BULK);
  parentPort!.postMessage('ready');
  while (Atomics.load(stop, 0) === 0) {
    if (ring.enqueueBulk(burst, BULK) === 0) turn(restTurns);
  }
}

function consume(ring: Ring, burst: Burst, bulks: number): void {
  for (let got = 0; got < bulks;) {
    if (ring.dequeueBulk(burst, BULK) > 0) got++;
    else turn(restTurns);
  }
}

function turn(turns: number): void {
  for (let i = 0; i < turns; i++);
}

/** How many turns of an empty loop take so long: a look at the clock costs a part of a microsecond itself. */
function turnsOf(nanoseconds: number): number {
  const most = 1_000_000;
  for (let i = 0; i < 20; i++) turn(most); // until it is compiled
  const start = performance.now();
  for (let i = 0; i < 20; i++) turn(most);
  return Math.round(20 * most * nanoseconds / ((performance.now() - start) * 1e6));
}

/**
 * How far apart two CPUs are: nanoseconds in which a cache line that each of them writes in turn goes over and comes back.
 * A virtual machine's CPUs are moved between cores by the host below; two that share a cache are several times as near as
 * two that do not, and so fast are two programs that share memory.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { pin, print, settings } from './common.js';

const SLICE = 20;
const MILLISECONDS = 50;
/** Written at the end, instead of the next odd number. */
const END = -1;

const { cpu, otherCpu } = settings();

if (isMainThread) {
  // A line of its own.
  const line = new Int32Array(new SharedArrayBuffer(256), 128, 1);
  const worker = new Worker(new URL(import.meta.url), { workerData: line, argv: process.argv.slice(2) });
  worker.once('message', () => {
    pin(cpu);
    print({ nanoseconds: roundTrip(line) });
    Atomics.store(line, 0, END);
  });
} else {
  pin(otherCpu);
  parentPort!.postMessage('ready');
  answer(workerData as Int32Array);
}

/** Of many short slices one of the best: in the others, other work may have had one of the CPUs. */
function roundTrip(line: Int32Array): number {
  const found: number[] = [];
  for (const until = performance.now() + MILLISECONDS; performance.now() < until;) {
    const start = performance.now();
    for (let i = 0; i < SLICE; i++) ask(line);
    found.push((performance.now() - start) * 1e6 / SLICE);
  }
  return found.sort((a, b) => a - b)[found.length >> 4]!;
}

function ask(line: Int32Array): void {
  const odd = (Atomics.load(line, 0) | 1) & 0xffff;
  Atomics.store(line, 0, odd);
  while (Atomics.load(line, 0) === odd);
}

function answer(line: Int32Array): void {
  for (let seen = 0; seen !== END; seen = Atomics.load(line, 0)) if ((seen & 1) !== 0) Atomics.store(line, 0, (seen + 1) & 0xffff);
}

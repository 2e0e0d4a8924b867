/** A model in a thread of its own, as hardware is; its wire sends every frame back. It steps until it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads';
import { Model82599 } from './model/82599.js';

export interface ThreadData {
  readonly memory: SharedArrayBuffer;
  readonly bar: number;
  readonly iova: number;
  /** A word: 0 until it runs, 1 while it does, 2 to end it. */
  readonly control: SharedArrayBuffer;
}

export interface ThreadReport { readonly violations: readonly string[]; readonly faults: number }

const { memory, bar, iova, control } = workerData as ThreadData;
const words = new Int32Array(control);
const back: Uint8Array[] = [];
const model = new Model82599({
  memory, bar,
  translate: address => (Number(address) >= iova && Number(address) < iova + memory.byteLength ? Number(address) - iova : undefined),
  wire: { send: frame => void back.push(frame.slice()) },
});
Atomics.store(words, 0, 1);
while (Atomics.load(words, 0) === 1) {
  model.step();
  // What the device has no room for waits at the other end, and all that is behind it. A receive steps, and may send more.
  while (back.length > 0 && model.receive(back[0]!)) back.shift();
}
parentPort!.postMessage({ violations: model.violations, faults: model.faults } satisfies ThreadReport);

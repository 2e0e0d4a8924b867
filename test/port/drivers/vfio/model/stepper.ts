/** A model in a thread of its own, as hardware is: it steps until it is told to stop, and its wire sends every frame back. */
import { parentPort, workerData } from 'node:worker_threads';
import { Model82599 } from './82599.js';
import { BAR, HOLE, IOVA, SIZE } from './helper.js';

export interface StepperData {
  readonly memory: SharedArrayBuffer;
  /** Three words: run while 1; steps done; frames that came back to a full device. */
  readonly control: SharedArrayBuffer;
}

const { memory, control } = workerData as StepperData;
const words = new Int32Array(control);
const back: Uint8Array[] = [];
const model = new Model82599({
  memory,
  bar: BAR,
  translate: iova => (iova >= IOVA && iova < IOVA + SIZE && Math.floor((iova - IOVA) / 4096) !== HOLE / 4096 ? iova - IOVA : undefined),
  wire: { send: frame => void back.push(frame) },
});
Atomics.store(words, 0, 1);
Atomics.notify(words, 0);
while (Atomics.load(words, 0) === 1) {
  model.step();
  for (const frame of back.splice(0)) if (!model.receive(frame)) Atomics.add(words, 2, 1);
  Atomics.add(words, 1, 1);
}
parentPort!.postMessage({ violations: model.violations, faults: model.faults });

/** One producer or consumer of threads.test.ts: moves its share through the ring, and says what came. */
import { parentPort, workerData } from 'node:worker_threads';
import type { WasmMemory } from '../../lib/arena/webassembly.js';
import { instantiate, type BurstBuild } from '../../lib/burst/module.js';

export interface Task {
  readonly memory: WasmMemory;
  readonly build: BurstBuild;
  readonly ring: number;
  /** The worker's own vector, and its slots. */
  readonly vector: number;
  readonly slots: number;
  readonly lcore: number;
  readonly multi: boolean;
  /** Offset of a u32 that counts what all consumers have received; in the next one, the workers that have started. */
  readonly progress: number;
  readonly workers: number;
  /** Elements of all producers together: the consumers stop there. */
  readonly total: number;
  /** A producer: its elements are `first`, `first` + 1, and so on. A consumer has none. */
  readonly produce?: { readonly first: number; readonly count: number };
  /** Milliseconds since the epoch when a hung test is given up. */
  readonly deadline: number;
}

const task = workerData as Task;
const burst = instantiate(task.memory, task.build);
const u32 = new Uint32Array(task.memory.buffer);
const i32 = new Int32Array(task.memory.buffer);

// All begin together, or the first would be done before the last has started.
Atomics.add(u32, (task.progress >>> 2) + 1, 1);
while (Atomics.load(u32, (task.progress >>> 2) + 1) < task.workers) rest();
parentPort?.postMessage(task.produce === undefined ? consume() : produce(task.produce.first, task.produce.count));

function produce(first: number, count: number): Uint32Array {
  for (let done = 0; done < count;) {
    const offered = Math.min(1 + done % task.slots, count - done);
    for (let i = 0; i < offered; i++) u32[(task.vector >>> 2) + i] = first + done + i;
    const sent = task.multi
      ? burst.ringEnqueueMp(task.ring, task.vector, offered, 0, task.lcore)
      : burst.ringEnqueueSp(task.ring, task.vector, offered, 0, task.lcore);
    if (sent === 0) rest();
    done += sent;
  }
  return new Uint32Array(0);
}

function consume(): Uint32Array {
  const received = new Uint32Array(task.total);
  let length = 0;
  while (Atomics.load(u32, task.progress >>> 2) < task.total) {
    const got = task.multi
      ? burst.ringDequeueMc(task.ring, task.vector, 1 + length % task.slots, 0, task.lcore)
      : burst.ringDequeueSc(task.ring, task.vector, 1 + length % task.slots, 0, task.lcore);
    if (got === 0) rest();
    received.set(u32.subarray(task.vector >>> 2, (task.vector >>> 2) + got), length);
    length += got;
    Atomics.add(u32, task.progress >>> 2, got);
  }
  return received.subarray(0, length);
}

/** Lets another thread run, as there may be more of them than cores. */
function rest(): void {
  if (Date.now() > task.deadline) throw new Error('gave up: the ring does not move');
  Atomics.wait(i32, task.vector >>> 2, i32[task.vector >>> 2], 0.05);
}

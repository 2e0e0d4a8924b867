/** One sender (null rx to ring tx) or receiver (ring rx to null tx) of pool_threads.test.ts, on a pool that all share. */
import { parentPort, workerData } from 'node:worker_threads';
import type { WasmMemory } from '../../lib/arena/webassembly.js';
import { instantiate, type BurstBuild } from '../../lib/burst/module.js';

export interface PoolTask {
  readonly memory: WasmMemory;
  readonly build: BurstBuild;
  readonly pool: number;
  /** The worker's own queues, and its own vector of `slots`. */
  readonly rx: number;
  readonly tx: number;
  readonly vector: number;
  readonly slots: number;
  readonly lcore: number;
  /** Offset of a u32 that counts what all receivers have received; in the next one, the workers that have started. */
  readonly progress: number;
  readonly workers: number;
  /** A sender's packets; 0 for a receiver, which goes on until `total` have come to all receivers. */
  readonly send: number;
  readonly total: number;
  readonly deadline: number;
}

const task = workerData as PoolTask;
const { pool, rx, tx, vector, slots, lcore, total } = task;
const burst = instantiate(task.memory, task.build);
const u32 = new Uint32Array(task.memory.buffer);
const i32 = new Int32Array(task.memory.buffer);
const progress = task.progress >>> 2;

Atomics.add(u32, progress + 1, 1);
while (Atomics.load(u32, progress + 1) < task.workers) rest();
parentPort?.postMessage(task.send > 0 ? send(task.send) : receive());

/** What the ring refuses is freed here, so that buffers come back from both sides. Returns what was freed. */
function send(count: number): number {
  let freed = 0;
  for (let done = 0; done < count;) {
    const got = burst.nullRx(rx, vector, Math.min(1 + done % slots, count - done), lcore);
    const sent = got === 0 ? 0 : burst.ringTx(tx, vector, got, lcore);
    if (sent < got) burst.mbufFree(pool, lcore, vector + sent * 4, got - sent);
    if (sent === 0) rest();
    freed += got - sent;
    done += sent;
  }
  return freed;
}

function receive(): number {
  let received = 0;
  while (Atomics.load(u32, progress) < total) {
    const got = burst.ringRx(rx, vector, 1 + received % slots, lcore);
    if (got === 0) rest();
    else burst.nullTx(tx, vector, got, lcore);
    received += got;
    Atomics.add(u32, progress, got);
  }
  return received;
}

/** Lets another thread run, as there may be more of them than cores. */
function rest(): void {
  if (Date.now() > task.deadline) throw new Error('gave up: no packet moves');
  Atomics.wait(i32, vector >>> 2, i32[vector >>> 2], 0.05);
}

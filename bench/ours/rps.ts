/**
 * RPS: bursts of 32 packets are hashed from their frames, grouped by worker and handed over through rings; a consumer
 * drains them. The counterpart of bench/peers/rps.c, over the same frames.
 *
 * Prints cycles of the time-stamp counter per packet of the distributing thread, of many short slices: the median, and on
 * two cores the best tenth's worst, when both threads had a core.
 *
 *     rps.js one-core|two-cores --seconds S --cpu N --other-cpu M
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { MBUF_OL_FLAGS } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { Ring } from '../../lib/ring/ring.js';
import { Steering } from '../../lib/rss/steering.js';
import { cyclesPerSecond, pin, print, settings } from './common.js';
import { randomWords } from './random.js';

const BURST = 32;
const PACKETS = 1024;
const WORKERS = 4;
const BUCKETS = 128;
const FRAME = 60;
const TURN = 100;

const two = process.argv.includes('two-cores');
const { seconds, cpu, otherCpu } = settings();

if (isMainThread) await distribute();
else consume();

async function distribute(): Promise<void> {
  pin(cpu);
  const arena = Arena.create();
  const pool = Mempool.create(arena, 'pool', { count: PACKETS });
  const steering = Steering.create(pool, 'rps', { workers: WORKERS, buckets: BUCKETS });
  const returned = Ring.create(arena, 'returned', { size: 2 * PACKETS, singleProducer: true, singleConsumer: true });
  const handles = makePackets(pool);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const turn = two ? twoCores(arena, steering, returned, handles) : oneCore(arena, steering, handles);
  const consumer = two ? await startConsumer(arena, stop) : undefined;
  const nanoseconds = measure(turn);
  Atomics.store(stop, 0, 1);
  const { distributed, ringFull, workers } = steering.stats();
  print({ cycles: nanoseconds / 1e9 * cyclesPerSecond(), ringFull, shares: workers.map(({ handed }) => handed / distributed) });
  consumer?.once('exit', () => process.exit());
}

/** Nanoseconds per packet. The first eighth is warm-up. */
function measure(turn: () => number): number {
  const slices: number[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until;) {
    const start = performance.now();
    const packets = turn();
    slices.push((performance.now() - start) * 1e6 / packets);
  }
  const sorted = slices.slice(slices.length >> 3).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * (two ? 0.1 : 0.5))];
}

/** UDP frames of random flows, the same as in bench/peers/rps.c. */
function makePackets(pool: Mempool): number[] {
  const burst = pool.burst(BURST);
  const next = randomWords(1);
  const frame = new Uint8Array(FRAME);
  const view = new DataView(frame.buffer);
  frame.set([0x08, 0x00, 0x45], 12);
  frame[23] = 17;
  const handles: number[] = [];
  for (let made = 0; made < PACKETS; made += BURST) {
    pool.alloc(burst, BURST);
    for (const handle of burst.handles) {
      for (const at of [26, 30, 34]) view.setUint32(at, next());
      pool.mbufs.copyIn(handle, frame);
      handles.push(handle);
    }
  }
  return handles;
}

/** As a receive would leave them: without a hash. */
function receive(arena: Arena, burst: Burst, count: number): void {
  const { u32, table } = arena;
  for (let i = 0; i < count; i++) u32[(table + (burst.handles[i] << 6) + MBUF_OL_FLAGS) >>> 2] = 0;
}

function oneCore(arena: Arena, steering: Steering, handles: readonly number[]): () => number {
  const [burst, side, workers] = [new Burst(arena, BURST), steering.distributor(), Array.from({ length: WORKERS }, (_, worker) => steering.worker(worker))];
  const all = Uint32Array.from(handles);
  return () => {
    let packets = 0;
    for (let turn = 0; turn < TURN; turn++) {
      for (let i = 0; i < BURST; i++) burst.handles[i] = all[(turn * BURST + i) % PACKETS];
      receive(arena, burst, BURST);
      packets += side.distribute(burst, BURST);
      for (let worker = 0; worker < WORKERS; worker++) while (workers[worker].rxBurst(burst) > 0);
    }
    return packets;
  };
}

function twoCores(arena: Arena, steering: Steering, returned: Ring, handles: readonly number[]): () => number {
  const [burst, side] = [new Burst(arena, BURST), steering.distributor()];
  for (let i = 0; i < PACKETS; i += BURST) {
    burst.handles.set(handles.slice(i, i + BURST));
    returned.enqueueBulk(burst, BURST);
  }
  return () => {
    let packets = 0;
    while (packets < TURN * BURST) {
      const got = returned.dequeueBurst(burst);
      if (got === 0) {
        pause();
        continue;
      }
      receive(arena, burst, got);
      packets += side.distribute(burst, got);
    }
    return packets;
  };
}

function startConsumer(arena: Arena, stop: Int32Array): Promise<Worker> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { share: arena.share(), stop }, argv: process.argv.slice(2) });
  return new Promise(resolve => worker.once('message', () => resolve(worker)));
}

function consume(): void {
  const { share, stop } = workerData as { share: ArenaShare; stop: Int32Array };
  pin(otherCpu);
  const arena = Arena.attach(share);
  const steering = Steering.find(arena, 'rps');
  const [burst, returned, workers] = [new Burst(arena, BURST), Ring.find(arena, 'returned'), Array.from({ length: WORKERS }, (_, worker) => steering.worker(worker))];
  parentPort!.postMessage('ready');
  while (Atomics.load(stop, 0) === 0) {
    for (let worker = 0; worker < WORKERS; worker++) {
      const got = workers[worker].rxBurst(burst);
      if (got > 0) returned.enqueueBulk(burst, got);
    }
  }
}

/** As rte_pause in the C program's loop. */
function pause(): void {
  for (let i = 0; i < 64; i++);
}

/** Software steering, in plain TypeScript. The fast double is assembly/steer.ts; neither calls the other. */
import { HEADER_SHIFT, MBUF_HASH, MBUF_OL_FLAGS, RX_RSS_HASH } from '../mbuf/layout.js';
import { RING_CONS, RING_PROD } from '../ring/layout.js';
import {
  BUCKET_BYTES, BUCKET_NOW, BUCKET_PACKETS, BUCKET_TAIL, BUCKET_WANTED, STEER_BUCKETS, STEER_COUNT, STEER_DISTRIBUTED, STEER_DONE, STEER_FIRST,
  STEER_HANDED, STEER_MOVES, STEER_PLACES, STEER_POOL, STEER_RING, STEER_RING_FULL, STEER_RSS, STEER_STATE, STEER_TABLE, STEER_TAKEN, STEER_VECTOR,
  STEER_VECTORS, STEER_WAITS, STEER_WORKERS, STEER_WORKER_FIRST, STEER_WORKER_STRIDE, WORKER_IN,
} from '../rss/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import type { RingFunctions } from './ring.js';
import type { RssFunctions } from './rss.js';
import { count64, type ArenaViews } from './views.js';

export type SteerFunctions = Pick<BurstFunctions, 'steerDistribute' | 'steerTake' | 'steerRecord'>;

export function steerFunctions({ u32 }: ArenaViews, rings: RingFunctions, pools: MempoolFunctions, rss: RssFunctions): SteerFunctions {
  return { steerDistribute, steerTake, steerRecord };

  function steerDistribute(steer: number, burst: number, count: number, lcore: number): number {
    for (let i = 0; i < count; i++) lookUp(steer, i, u32[(burst >>> 2) + i]);
    for (let i = 0; i < count; i++) intoVector(steer, field(steer, STEER_PLACES + i * 4), u32[(burst >>> 2) + i]);
    let handed = 0;
    for (let worker = 0; worker < field(steer, STEER_WORKERS); worker++) handed += handOver(steer, worker, lcore);
    count64(u32, steer + STEER_DISTRIBUTED, handed);
    return handed;
  }

  /** A packet's bucket. */
  function lookUp(steer: number, i: number, handle: number): void {
    const header = headerOf(steer, handle);
    if ((field(header, MBUF_OL_FLAGS) & RX_RSS_HASH) === 0) rss.hashOne(field(steer, STEER_RSS), field(steer, STEER_TABLE), handle);
    const bucket = bucketOf(steer, field(header, MBUF_HASH));
    set(steer, STEER_PLACES + i * 4, bucket);
    set(bucket, BUCKET_PACKETS, field(bucket, BUCKET_PACKETS) + 1);
  }

  function intoVector(steer: number, bucket: number, handle: number): void {
    if (mayMove(steer, bucket)) {
      set(bucket, BUCKET_NOW, field(bucket, BUCKET_WANTED));
      count64(u32, steer + STEER_MOVES, 1);
    }
    const number = field(bucket, BUCKET_NOW);
    const worker = workerAt(steer, number);
    const place = field(worker, STEER_COUNT);
    set(vectorOf(steer, number), place * 4, handle);
    set(worker, STEER_COUNT, place + 1);
    set(bucket, BUCKET_TAIL, field(field(worker, STEER_RING), RING_PROD) + place + 1);
  }

  function mayMove(steer: number, bucket: number): boolean {
    const now = field(bucket, BUCKET_NOW);
    const wanted = Atomics.load(u32, (bucket + BUCKET_WANTED) >>> 2);
    if (now === wanted || wanted >= field(steer, STEER_WORKERS)) return false;
    if (Atomics.load(u32, (workerAt(steer, wanted) + STEER_STATE) >>> 2) !== WORKER_IN) return false;
    const old = workerAt(steer, now);
    const done = Atomics.load(u32, (old + STEER_DONE) >>> 2);
    const idle = done === field(field(old, STEER_RING), RING_PROD) && field(old, STEER_COUNT) === 0;
    if (idle || ((done - field(bucket, BUCKET_TAIL)) | 0) >= 0) return true;
    count64(u32, steer + STEER_WAITS, 1);
    return false;
  }

  function handOver(steer: number, number: number, lcore: number): number {
    const worker = workerAt(steer, number);
    const [ring, waiting, vector] = [field(worker, STEER_RING), field(worker, STEER_COUNT), vectorOf(steer, number)];
    if (waiting === 0) return 0;
    const sent = rings.ringEnqueueSp(ring, vector, waiting, 0, lcore);
    if (sent < waiting) {
      pools.mbufFree(field(steer, STEER_POOL), lcore, vector + sent * 4, waiting - sent);
      count64(u32, steer + STEER_RING_FULL, waiting - sent);
    }
    set(worker, STEER_COUNT, 0);
    count64(u32, worker + STEER_HANDED, sent);
    return sent;
  }

  function steerTake(steer: number, number: number, burst: number, max: number, lcore: number): number {
    const worker = workerAt(steer, number);
    const ring = field(worker, STEER_RING);
    Atomics.store(u32, (worker + STEER_DONE) >>> 2, field(ring, RING_CONS));
    const got = rings.ringDequeueSc(ring, burst, max, 0, lcore);
    count64(u32, worker + STEER_TAKEN, got);
    return got;
  }

  function steerRecord(steer: number, burst: number, count: number, worker: number): void {
    for (let i = 0; i < count; i++) {
      const bucket = bucketOf(steer, field(headerOf(steer, u32[(burst >>> 2) + i]), MBUF_HASH));
      Atomics.store(u32, (bucket + BUCKET_WANTED) >>> 2, worker);
    }
  }

  function bucketOf(steer: number, hash: number): number {
    return field(steer, STEER_FIRST) + hash % field(steer, STEER_BUCKETS) * BUCKET_BYTES;
  }

  function workerAt(steer: number, worker: number): number {
    return steer + STEER_WORKER_FIRST + worker * STEER_WORKER_STRIDE;
  }

  function vectorOf(steer: number, worker: number): number {
    return steer + STEER_VECTORS + worker * STEER_VECTOR * 4;
  }

  function headerOf(steer: number, handle: number): number {
    return (field(steer, STEER_TABLE) + (handle << HEADER_SHIFT)) >>> 0;
  }

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }

  function set(structure: number, name: number, value: number): void {
    u32[(structure + name) >>> 2] = value;
  }
}

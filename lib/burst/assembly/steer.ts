/** Software steering: a distributor hands bursts to workers, bucket by bucket. The twin is burst/steer.ts. */
import { HEADER_SHIFT, MBUF_HASH, MBUF_OL_FLAGS, RX_RSS_HASH } from '../../mbuf/layout';
import { RING_CONS, RING_PROD } from '../../ring/layout';
import {
  BUCKET_NOW, BUCKET_PACKETS, BUCKET_TAIL, BUCKET_WANTED, RSS_TABLES, RSS_TYPES, STEER_BUCKETS, STEER_COUNT, STEER_DISTRIBUTED, STEER_DONE,
  STEER_FIRST, STEER_HANDED, STEER_MASK, STEER_MOVES, STEER_PLACES, STEER_POOL, STEER_RING, STEER_RING_FULL, STEER_RSS, STEER_STATE, STEER_TABLE,
  STEER_TAKEN, STEER_VECTORS, STEER_WAITS, STEER_WORKERS, STEER_WORKER_FIRST, STEER_WORKER_STRIDE, WORKER_IN,
} from '../../rss/layout';
import { count64 } from './memory_ports';
import { mbufFree } from './mempool';
import { publish } from './publish';
import { ringDequeueSc, ringEnqueueSp } from './ring';
import { hashOne } from './rss';

// @ts-ignore: decorator
@inline
function bucketOf(steer: usize, hash: u32): usize {
  const mask = load<u32>(steer, STEER_MASK);
  const index = mask ? hash & mask : hash % load<u32>(steer, STEER_BUCKETS);
  return (load<u32>(steer, STEER_FIRST) as usize) + ((index as usize) << 4);
}

// @ts-ignore: decorator
@inline
function workerAt(steer: usize, worker: u32): usize {
  return steer + STEER_WORKER_FIRST + (worker as usize) * STEER_WORKER_STRIDE;
}

/** Hands over the first `count` (at most 512) mbufs. All are gone afterwards: handed over, or dropped where a ring was full. Returns how many were handed over. */
export function steerDistribute(steer: usize, burst: usize, count: u32, lcore: u32): u32 {
  const table: usize = load<u32>(steer, STEER_TABLE);
  lookUp(steer, table, burst, count);
  let place = steer + STEER_PLACES;
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    intoVector(steer, load<u32>(place), load<u32>(burst));
    place += 4;
  }
  return handOver(steer, lcore);
}

/**
 * Each packet's bucket; then counts the packets there. The second loop is the first to touch the buckets, and so short
 * that a CPU has dozens of its turns under way at once: with a million flows, all of a burst's misses are waited for
 * together (bench/steering_curves.ts: 56 cycles a packet instead of 430).
 */
// @ts-ignore: decorator
@inline
function lookUp(steer: usize, table: usize, burst: usize, count: u32): void {
  const rss: usize = load<u32>(steer, STEER_RSS);
  const types = load<u32>(rss, RSS_TYPES);
  let place = steer + STEER_PLACES;
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const handle = load<u32>(burst);
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if ((load<u32>(header, MBUF_OL_FLAGS) & RX_RSS_HASH) == 0) hashOne(rss + RSS_TABLES, types, table, handle);
    const bucket = bucketOf(steer, load<u32>(header, MBUF_HASH));
    store<u32>(place, bucket as u32);
    place += 4;
  }
  for (let at = steer + STEER_PLACES; at < place; at += 4) {
    const bucket: usize = load<u32>(at);
    store<u32>(bucket, load<u32>(bucket, BUCKET_PACKETS) + 1, BUCKET_PACKETS);
  }
}

// @ts-ignore: decorator
@inline
function intoVector(steer: usize, bucket: usize, handle: u32): void {
  const number = chooseWorker(steer, bucket);
  const worker = workerAt(steer, number);
  const place = load<u32>(worker, STEER_COUNT);
  store<u32>(steer + STEER_VECTORS + ((number as usize) << 11) + ((place as usize) << 2), handle);
  store<u32>(worker, place + 1, STEER_COUNT);
  store<u32>(bucket, load<u32>(load<u32>(worker, STEER_RING), RING_PROD) + place + 1, BUCKET_TAIL);
}

/** Whose the bucket is now; it moves here, once its old worker is done with all of it. */
// @ts-ignore: decorator
@inline
function chooseWorker(steer: usize, bucket: usize): u32 {
  const now = load<u32>(bucket, BUCKET_NOW);
  const wanted = atomic.load<u32>(bucket, BUCKET_WANTED);
  if (now == wanted || wanted >= load<u32>(steer, STEER_WORKERS)) return now;
  return move(steer, bucket, now, wanted);
}

function move(steer: usize, bucket: usize, now: u32, wanted: u32): u32 {
  if (atomic.load<u32>(workerAt(steer, wanted), STEER_STATE) != WORKER_IN) return now;
  const old = workerAt(steer, now);
  // Pairs with the worker's store: its work on the packets before the index is over.
  const done = atomic.load<u32>(old, STEER_DONE);
  // Nothing handed over is unfinished and nothing waits in the vector, or else the bucket's own newest packet is done.
  const idle = done == load<u32>(load<u32>(old, STEER_RING), RING_PROD) && load<u32>(old, STEER_COUNT) == 0;
  if (!idle && ((done - load<u32>(bucket, BUCKET_TAIL)) as i32) < 0) {
    count64(steer + STEER_WAITS, 1);
    return now;
  }
  store<u32>(bucket, wanted, BUCKET_NOW);
  count64(steer + STEER_MOVES, 1);
  return wanted;
}

// @ts-ignore: decorator
@inline
function handOver(steer: usize, lcore: u32): u32 {
  let handed: u32 = 0;
  const workers = load<u32>(steer, STEER_WORKERS);
  for (let number: u32 = 0; number < workers; number++) {
    const worker = workerAt(steer, number);
    const waiting = load<u32>(worker, STEER_COUNT);
    if (waiting == 0) continue;
    const vector = steer + STEER_VECTORS + ((number as usize) << 11);
    const ring: usize = load<u32>(worker, STEER_RING);
    const sent = ringEnqueueSp(ring, vector, waiting, false, lcore);
    if (sent < waiting) drop(steer, vector + ((sent as usize) << 2), waiting - sent, lcore);
    store<u32>(worker, 0, STEER_COUNT);
    count64(worker + STEER_HANDED, sent);
    handed += sent;
  }
  count64(steer + STEER_DISTRIBUTED, handed);
  return handed;
}

function drop(steer: usize, vector: usize, count: u32, lcore: u32): void {
  mbufFree(load<u32>(steer, STEER_POOL), lcore, vector, count);
  count64(steer + STEER_RING_FULL, count);
}

/** A worker's receive. That it comes says that it is done with what it took before. */
export function steerTake(steer: usize, worker: u32, burst: usize, max: u32, lcore: u32): u32 {
  const mine = workerAt(steer, worker);
  const ring: usize = load<u32>(mine, STEER_RING);
  const index = load<u32>(ring, RING_CONS); // this thread's
  if (load<u32>(mine, STEER_DONE) != index) publish(mine + STEER_DONE, index);
  const got = ringDequeueSc(ring, burst, max, false, lcore);
  if (got == 0) return 0;
  count64(mine + STEER_TAKEN, got);
  return got;
}

/** A consumer says where the flows of these mbufs are wanted: with `worker`. RFS. */
export function steerRecord(steer: usize, burst: usize, count: u32, worker: u32): void {
  const table: usize = load<u32>(steer, STEER_TABLE);
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const header = table + ((load<u32>(burst) as usize) << HEADER_SHIFT);
    const bucket = bucketOf(steer, load<u32>(header, MBUF_HASH));
    if (load<u32>(bucket, BUCKET_WANTED) != worker) atomic.store<u32>(bucket, worker, BUCKET_WANTED);
  }
}

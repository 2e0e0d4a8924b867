/** A reader of maglev.test.ts: every backend of a set has the same value, so two values in one call's answers are of two sets. */
import { parentPort, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../../lib/arena/arena.js';
import { Maglev } from '../../lib/lookup/maglev.js';
import { Vector } from '../../lib/lookup/vector.js';

const { share, stop } = workerData as { share: ArenaShare; stop: number };
const arena = Arena.attach(share);
const maglev = Maglev.find(arena, 'lb');
const [hashes, values] = [new Vector(arena, 128), new Vector(arena, 128)];
for (let i = 0; i < 128; i++) hashes.u32[i] = i * 2 ** 25;
let [calls, mixed] = [0, 0];
for (const until = Date.now() + 50_000; Atomics.load(arena.u32, stop >>> 2) === 0 && Date.now() < until; Atomics.store(arena.u32, (stop >>> 2) + 1, ++calls)) {
  maglev.lookupBulk(hashes, values, 128);
  if (values.u32.some(value => value !== values.u32[0])) mixed++;
}
arena.close();
parentPort!.postMessage({ calls, mixed });

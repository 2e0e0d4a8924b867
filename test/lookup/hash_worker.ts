/** A reader of hash_threads.test.ts: looks keys up while another thread adds and deletes, and says what it saw that cannot be. */
import { parentPort, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../../lib/arena/arena.js';
import { HASH_NONE } from '../../lib/lookup/hash_layout.js';
import { HashTable } from '../../lib/lookup/hash.js';
import { Vector } from '../../lib/lookup/vector.js';
import { xorshift } from '../xorshift.js';
import { keyWords } from './hash_helper.js';

/** `progress`: offset of two words, how many have started and whether to stop; `hits`: where it says how many lookups found something. */
export interface Task { readonly share: ArenaShare; readonly progress: number; readonly hits: number; readonly keys: number; readonly stable: number; readonly seed: number; readonly deadline: number }
export interface Report { readonly lookups: number; readonly hits: number; readonly wrong: number; readonly lost: number }

const task = workerData as Task;
const arena = Arena.attach(task.share);
const table = HashTable.find(arena, 'table');
const [keys, values] = [table.keys(32), new Vector(arena, 32)];
const progress = arena.u32;
let [lookups, hits, wrong, lost] = [0, 0, 0, 0];
const next = xorshift(task.seed);

Atomics.add(progress, task.progress >>> 2, 1);
while (Atomics.load(progress, (task.progress >>> 2) + 1) === 0 && Date.now() < task.deadline) round();
arena.close();
parentPort!.postMessage({ lookups, hits, wrong, lost } satisfies Report);

/** A value's low half is its key's number, so a value of another key is told. Keys below `stable` are never deleted. */
function round(): void {
  const numbers = Array.from({ length: 32 }, () => next(task.keys));
  numbers.forEach((number, i) => keys.u32.set(keyWords(number, table.keyBytes), i * table.keyBytes / 4));
  hits += table.lookupBulk(keys, values, 32, next(2));
  numbers.forEach((number, i) => {
    const value = values.u32[i];
    if (value === HASH_NONE) lost += number < task.stable ? 1 : 0;
    else if ((value & 0xffff) !== number) wrong++;
  });
  lookups += 32;
  Atomics.store(progress, task.hits >>> 2, hits);
}

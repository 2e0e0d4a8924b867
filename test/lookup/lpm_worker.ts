/** A reader of lpm_threads.test.ts: looks addresses up while another thread adds and deletes routes. */
import { parentPort, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../../lib/arena/arena.js';
import { LPM_NONE } from '../../lib/lookup/lpm_layout.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import { Vector } from '../../lib/lookup/vector.js';
import { xorshift } from '../xorshift.js';

/** `progress`: offset of two words, how many have started and whether to stop; `longer`: where it says how many lookups were answered by longer routes. */
export interface Task { readonly share: ArenaShare; readonly progress: number; readonly longer: number; readonly seed: number; readonly deadline: number }
export interface Report { readonly lookups: number; readonly longer: number; readonly wrong: number }

const task = workerData as Task;
const arena = Arena.attach(task.share);
const lpm = Lpm.find(arena, 'table');
const [addresses, nextHops] = [lpm.addresses(32), new Vector(arena, 32)];
const { u32: progress } = arena;
const wanted = new Uint32Array(32);
let [lookups, longer, wrong] = [0, 0, 0];
const next = xorshift(task.seed);

Atomics.add(progress, task.progress >>> 2, 1);
while (Atomics.load(progress, (task.progress >>> 2) + 1) === 0 && Date.now() < task.deadline) round();
arena.close();
parentPort!.postMessage({ lookups, longer, wrong } satisfies Report);

/** Net n has its number as the first byte, and next hop n; whatever longer route an address of it has, its next hop is n plus a multiple of 256. */
function round(): void {
  const bytes = new DataView(addresses.u8.buffer, addresses.offset);
  for (let i = 0; i < 32; i++) {
    wanted[i] = (next(64) * 2 ** 24) + next(4) * 65536 + next(4) * 256 + next(256);
    if (lpm.family === 4) addresses.u32[i] = wanted[i];
    else bytes.setUint32(i * 16, wanted[i]);
  }
  lpm.lookupBulk(addresses, nextHops, 32);
  for (let i = 0; i < 32; i++) {
    if (nextHops.u32[i] === LPM_NONE || nextHops.u32[i] % 256 !== wanted[i] >>> 24) wrong++;
    else if (nextHops.u32[i] > 255) longer++;
  }
  lookups += 32;
  Atomics.store(progress, task.longer >>> 2, longer);
}

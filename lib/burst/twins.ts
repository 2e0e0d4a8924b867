import type { WasmMemory } from '../arena/webassembly.js';
import { intelFunctions } from './intel.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import { memoryPortFunctions } from './memory_ports.js';
import { mempoolFunctions } from './mempool.js';
import { packetFunctions } from './packet.js';
import { ringFunctions } from './ring.js';
import { rssFunctions } from './rss.js';
import { steerFunctions } from './steer.js';
import { xskFunctions } from './xsk.js';
import { viewsOf } from './views.js';

/**
 * The burst functions in plain TypeScript over a memory. They leave the same bytes behind as the WebAssembly module's,
 * so that either may run in any thread of one arena, and so that a test can hold one against the other.
 *
 * With `hooks.misuse` they look for misuse as the checking build does, without it they do as the fast build.
 */
export function twins(memory: WasmMemory | SharedArrayBuffer, hooks: BurstHooks = {}): BurstFunctions {
  const views = viewsOf(memory instanceof SharedArrayBuffer ? memory : memory.buffer);
  const rings = ringFunctions(views, hooks);
  const pools = mempoolFunctions(views, hooks, rings);
  const rss = rssFunctions(views);
  const { toeplitz, rssHash } = rss; // hashOne is the steering's
  const { mbufAlloc, mbufFree, mbufOwn } = pools; // takeFree is the ports' own
  return {
    ...rings, mbufAlloc, mbufFree, mbufOwn, ...memoryPortFunctions(views, rings, pools), ...xskFunctions(views, hooks, pools),
    ...packetFunctions(views, pools), toeplitz, rssHash, ...steerFunctions(views, rings, pools, rss),
    ...intelFunctions(views, pools),
  };
}

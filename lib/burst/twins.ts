import type { WasmMemory } from '../arena/webassembly.js';
import { intelFunctions } from './intel.js';
import { aclFunctions } from './acl.js';
import { checksumFunctions } from './checksum.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import { forwardFunctions } from './forward.js';
import { hashFunctions } from './hash.js';
import { lpmFunctions } from './lpm.js';
import { maglevFunctions } from './maglev.js';
import { memifRingFunctions } from './memif_ring.js';
import { memifZcRxFunctions } from './memif_zc_rx.js';
import { memifZcTxFunctions } from './memif_zc_tx.js';
import { memoryPortFunctions } from './memory_ports.js';
import { mempoolFunctions } from './mempool.js';
import { copier } from './copier.js';
import { outsideFunctions } from './outside.js';
import { packetFunctions } from './packet.js';
import { parseFunctions } from './parse.js';
import { ringFunctions } from './ring.js';
import { rssFunctions } from './rss.js';
import { steerFunctions } from './steer.js';
import { copyingFunctions } from './vhost.js';
import { switchFunctions } from './switch.js';
import { virtioRxFunctions } from './virtio_rx.js';
import { virtioTxFunctions } from './virtio_tx.js';
import { virtqueueFunctions } from './virtqueue.js';
import { offloadFunctions } from './virtqueue_offload.js';
import { deviceRingFunctions } from './virtqueue_device.js';
import { driverRingFunctions } from './virtqueue_driver.js';
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
  const queues = virtqueueFunctions(views);
  const { toeplitz, rssHash } = rss; // hashOne is the steering's
  const hash = hashFunctions(views);
  const { lookOne, ...lpm } = lpmFunctions(views);
  const parser = parseFunctions(views);
  const { parse, tuples } = parser; // the rest is the checksums'
  const checksums = checksumFunctions(views, parser);
  const { checksumCheck, checksumFill, checksumRange } = checksums; // the rest is vhost's
  const { mbufAlloc, mbufFree, mbufOwn } = pools; // takeFree is the ports' own
  const offloads = offloadFunctions(views, parser, checksums);
  const drivers = driverRingFunctions(views, queues);
  const vhost = copyingFunctions(views, queues, deviceRingFunctions(views, queues, outsideFunctions(views, hooks.copy ?? copier(views.u8))), offloads, pools);
  const memif = copyingFunctions(views, queues, memifRingFunctions(views, queues), offloads, pools);
  return {
    ...rings, mbufAlloc, mbufFree, mbufOwn, ...memoryPortFunctions(views, rings, pools), ...xskFunctions(views, hooks, pools),
    ...packetFunctions(views, pools), toeplitz, rssHash, ...steerFunctions(views, rings, pools, rss),
    ...intelFunctions(views, pools), ...hash, ...switchFunctions(views, hash), ...lpm, ...forwardFunctions(views, lookOne), ...aclFunctions(views), ...maglevFunctions(views),
    vhostRx: vhost.receive, vhostTx: vhost.send, memifRx: memif.receive, memifTx: memif.send, ...memifZcRxFunctions(views, queues, pools), ...memifZcTxFunctions(views, queues, pools),
    ...virtioRxFunctions(views, queues, drivers, offloads, pools), ...virtioTxFunctions(views, queues, drivers, offloads, pools),
    parse, tuples, checksumCheck, checksumFill, checksumRange,
  };
}

/** The device's side of a virtqueue, moving frames, and memif's, which copies in the same way, in plain TypeScript: both directions. */
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { receivingFunctions } from './vhost_rx.js';
import { sendingFunctions } from './vhost_tx.js';
import type { ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DeviceRingFunctions } from './virtqueue_device.js';
import type { OffloadFunctions } from './virtqueue_offload.js';

/** As `vhostRx` and `memifRx`, `vhostTx` and `memifTx` of BurstFunctions. */
interface CopyingFunctions {
  receive: BurstFunctions['vhostRx'];
  send: BurstFunctions['vhostTx'];
}

/** Over one kind of rings. */
export function copyingFunctions(views: ArenaViews, queues: VirtqueueFunctions, rings: DeviceRingFunctions, offloads: OffloadFunctions, pools: MempoolFunctions): CopyingFunctions {
  return { ...receivingFunctions(views, queues, rings, offloads, pools), ...sendingFunctions(views, queues, rings, offloads, pools) };
}

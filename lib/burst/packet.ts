/** AF_PACKET's bursts, in plain TypeScript, over rings that the kernel shares: both directions. */
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { packetRxFunctions } from './packet_rx.js';
import { packetTxFunctions } from './packet_tx.js';
import type { ArenaViews } from './views.js';

export function packetFunctions(views: ArenaViews, pools: MempoolFunctions): Pick<BurstFunctions, 'packetRx' | 'packetTx'> {
  return { ...packetRxFunctions(views, pools), ...packetTxFunctions(views, pools) };
}

/** AF_XDP's bursts, in plain TypeScript, over rings that the kernel shares: all of them. */
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import type { ArenaViews } from './views.js';
import { xskCompleteFunctions } from './xsk_complete.js';
import { xskFillFunctions } from './xsk_fill.js';
import { xskRxFunctions } from './xsk_rx.js';
import { xskTxFunctions } from './xsk_tx.js';

export function xskFunctions(views: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions): Pick<BurstFunctions, 'xskRx' | 'xskFill' | 'xskTx' | 'xskComplete'> {
  const fill = xskFillFunctions(views, hooks, pools);
  const complete = xskCompleteFunctions(views, hooks, pools);
  return { ...fill, ...complete, ...xskRxFunctions(views, hooks, pools, fill), ...xskTxFunctions(views, hooks, pools, complete) };
}

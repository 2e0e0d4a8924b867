/** Bursts of Intel's NICs, in plain TypeScript, over descriptor rings that the device shares: all of them. */
import type { BurstFunctions } from './functions.js';
import { intelCleanFunctions } from './intel_clean.js';
import { intelFillFunctions } from './intel_fill.js';
import { intelRxFunctions } from './intel_rx.js';
import { intelTxFunctions } from './intel_tx.js';
import type { MempoolFunctions } from './mempool.js';
import type { ArenaViews } from './views.js';

export function intelFunctions(views: ArenaViews, pools: MempoolFunctions): Pick<BurstFunctions, 'intelRx' | 'intelFill' | 'intelTx' | 'intelClean'> {
  const fill = intelFillFunctions(views, pools);
  const clean = intelCleanFunctions(views, pools);
  return { ...fill, ...clean, ...intelRxFunctions(views, pools, fill), ...intelTxFunctions(views, pools, clean) };
}

/** An lcore that takes buffers and keeps them, polling, until it is ended. */
import type { LcoreContext } from '../../lib/lcore/context.js';

export interface HoldArgs { readonly hold: number }

export default async function hold(lcore: LcoreContext<HoldArgs>): Promise<void> {
  const burst = lcore.burst(64);
  for (let held = 0; held < lcore.args.hold; held += 64) if (lcore.pool.alloc(burst, 64) === 0) throw new Error('the pool is empty');
  const bed = new Int32Array(new SharedArrayBuffer(4));
  await lcore.poll(() => { Atomics.wait(bed, 0, 0, 0.2); });
}

/** What a `Distributor`'s own lcore runs: polls receive queues, and hands what comes to the workers. */
import { Steering } from '../rss/steering.js';
import type { LcoreContext } from './context.js';
import { Idle, type IdleOptions } from './idle.js';

export interface DistributeArgs {
  readonly steering: string;
  readonly from: readonly { readonly port: number; readonly queue: number }[];
  readonly burst: number;
  readonly idle: Omit<IdleOptions, 'queues'>;
}

/** Returns how many packets it received. */
export default async function distribute(lcore: LcoreContext<DistributeArgs>): Promise<number> {
  const { steering, from, burst: capacity, idle } = lcore.args;
  const queues = from.map(({ port, queue }) => lcore.rx(port, queue));
  const burst = lcore.burst(capacity);
  const idling = new Idle({ ...idle, queues });
  // When this side is taken nothing is left that could fail: `Distributor.start` waits for it.
  const side = Steering.find(lcore.arena, steering).distributor();
  let packets = 0;
  await lcore.poll(() => {
    const left = side.takeOver();
    let found = 0;
    for (let i = 0; i < queues.length; i++) {
      const got = queues[i].rxBurst(burst);
      if (got > 0) side.distribute(burst, got);
      found += got;
    }
    packets += found;
    return found + left;
  }, { idle: idling });
  side.release();
  return packets;
}

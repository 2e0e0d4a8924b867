/** An lcore of repair.test.ts and recovery.test.ts: sends back what comes in on one queue, until it is stopped or ended. */
import type { LcoreContext } from '../../../../lib/lcore/context.js';

export interface BounceArgs {
  readonly port: number;
  readonly queue: number;
}

export default async function bounce(lcore: LcoreContext<BounceArgs>): Promise<number> {
  const { port, queue } = lcore.args;
  const [rx, tx, burst] = [lcore.rx(port, queue), lcore.tx(port, queue), lcore.burst(32)];
  let bounced = 0;
  await lcore.poll(() => {
    const got = rx.rxBurst(burst);
    const sent = tx.txBurst(burst, got);
    if (sent < got) lcore.pool.free(burst, sent, got);
    bounced += sent;
  });
  return bounced;
}

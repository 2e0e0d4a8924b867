/** An lcore of idle.test.ts: receives and frees, by an idle policy. */
import type { IdlePolicy } from '../../lib/lcore/idle.js';
import type { LcoreContext } from '../../lib/lcore/context.js';

export interface IdleArgs {
  /** None: a worker's side of a steering. */
  readonly port?: number;
  /** None: asks again at once, and no policy is to be seen. */
  readonly policy?: IdlePolicy;
}

/** Returns how many packets came. */
export default async function idle(lcore: LcoreContext<IdleArgs>): Promise<number> {
  const { port, policy } = lcore.args;
  const [rx, burst] = [port === undefined ? lcore.steered() : lcore.rx(port), lcore.burst()];
  let packets = 0;
  await lcore.poll(() => {
    const got = rx.rxBurst(burst);
    lcore.pool.free(burst, 0, got);
    packets += got;
    return got;
  }, policy === undefined ? {} : { idle: { policy, queues: [rx] } });
  return packets;
}

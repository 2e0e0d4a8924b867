/** An lcore of `scaling.ts`: receives from its queues under a policy, and says what it took in the measured part. */
import type { LcoreContext } from '../lcore/context.js';
import { Idle, type IdlePolicy } from '../lcore/idle.js';
import { DRAIN, MEASURE, SENT, type Measured } from './control.js';
import { TIMESTAMP } from './frame.js';
import { between, nanoseconds, readBegin, readEnd, type Reading } from './thread.js';

export interface ScalingArgs {
  readonly port: number;
  readonly queues: readonly number[];
  readonly policy: IdlePolicy;
  readonly burst: number;
  /** The packets carry the time that they were sent at. */
  readonly timed: boolean;
  /** One i32: the phase of control.ts. */
  readonly phase: Int32Array<SharedArrayBuffer>;
}

export interface ScalingOutcome {
  readonly measured: Measured;
  /** Nanoseconds from being sent to being received, of the measured part. */
  readonly late: Float64Array;
}

const MOST_TIMED = 1 << 17;

export default async function receive(lcore: LcoreContext<ScalingArgs>): Promise<ScalingOutcome> {
  const { port, queues, policy, burst: capacity, timed, phase } = lcore.args;
  const rx = queues.map(queue => lcore.rx(port, queue));
  const burst = lcore.burst(capacity);
  const late = new Float64Array(timed ? MOST_TIMED : 0);
  let [packets, samples] = [0, 0];
  let from: Reading | undefined;
  let to: Reading | undefined;
  await lcore.poll(() => {
    let found = 0;
    for (let i = 0; i < rx.length; i++) {
      const got = rx[i]!.rxBurst(burst);
      if (got === 0) continue;
      if (timed && from !== undefined && to === undefined) time(got);
      lcore.pool.free(burst, 0, got);
      found += got;
    }
    packets += found;
    const now = Atomics.load(phase, 0);
    if (now >= MEASURE && from === undefined) from = readBegin(packets, undefined);
    if (now >= DRAIN && to === undefined) to = readEnd(packets, undefined);
    return now >= SENT && found === 0 ? false : found;
  }, { idle: new Idle({ policy, queues: rx }) });
  return { measured: from === undefined || to === undefined ? { packets: 0, seconds: 1 } : between(from, to), late: late.slice(0, samples) };

  function time(count: number): void {
    const now = nanoseconds();
    for (let i = 0; i < count && samples < MOST_TIMED; i++) late[samples++] = now - lcore.arena.f64[(lcore.mbufs.data(burst.handles[i]!) + TIMESTAMP) >>> 3]!;
  }
}

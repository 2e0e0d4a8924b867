/** An lcore that sends back what comes in, with the addresses exchanged, in a loop of its own that never leaves for the event loop, until a word says so. */
import { writeFileSync } from 'node:fs';
import { binding } from '../../../lib/binding.js';
import type { LcoreContext } from '../../../lib/lcore/context.js';
import { swapMacs } from '../../../lib/wire/ethernet.js';

// Words of the shared zone.
export const MOVER_TID = 0;
export const MOVER_STOP = 1;
export const MOVER_MOVED = 2;
/** Calls of the addon while it ran. */
export const MOVER_CALLS = 3;

export default async function mover(lcore: LcoreContext<{ readonly port: number; readonly at: number }>): Promise<void> {
  const { port, at } = lcore.args;
  const [rx, tx, burst, { u32 }] = [lcore.rx(port, 0), lcore.tx(port, 0), lcore.burst(32), lcore.arena];
  const word = at >>> 2;
  writeFileSync('/proc/thread-self/comm', 'mover');
  Atomics.store(u32, word + MOVER_TID, binding().gettid());
  const before = binding().calls();
  while (Atomics.load(u32, word + MOVER_STOP) === 0) {
    const got = rx.rxBurst(burst);
    swapMacs(lcore.pool.mbufs, burst, got);
    const sent = tx.txBurst(burst, got);
    if (sent < got) lcore.pool.free(burst, sent, got);
    if (sent > 0) Atomics.add(u32, word + MOVER_MOVED, sent);
  }
  Atomics.store(u32, word + MOVER_CALLS, binding().calls() - before);
}

/** A process that sends on one port for ever, to be killed in the middle. */
import type { ChildProcess } from 'node:child_process';
import { startChild } from '../../native/child.js';

/** @param device as `open` takes it; says "open" when it is */
export function sendingChild(device: string): ChildProcess {
  return startChild(`
    const { open } = await import(LIB + 'port/host.js');
    const host = open([${JSON.stringify(device)}]);
    const burst = host.burst();
    console.log('open');
    for (;;) {
      const got = host.pool.alloc(burst, 32);
      for (let i = 0; i < got; i++) host.mbufs.append(burst.handles[i], 60);
      host.pool.free(burst, host.ports[0].tx[0].txBurst(burst, got), got);
    }`);
}

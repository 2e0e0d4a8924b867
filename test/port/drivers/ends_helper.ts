/** Hosts that go with their test, for the two ends of a socket. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { open, type Host, type OpenOptions } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';

export const OPTIONS: OpenOptions = { mbufs: 2048, arenaOptions: { size: 64 << 20 } };

export function opened(t: Test, ...devices: string[]): { host: Host; ports: readonly Port[] } {
  const host = open(devices, OPTIONS);
  t.teardown(() => host.close());
  return { host, ports: host.ports };
}

/** Until it is so, or a minute has passed: on a busy machine the process at the other end has the CPU late. Returns whether it is. */
export async function until(ready: () => boolean): Promise<boolean> {
  for (const deadline = performance.now() + 60_000; !ready() && performance.now() < deadline;) await sleep(5);
  return ready();
}

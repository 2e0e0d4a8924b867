/** Ends of memif sockets for tests: folders, hosts that go with their test, and the kinds of client that there are. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { open, type Host, type OpenOptions } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';

export const OPTIONS: OpenOptions = { mbufs: 2048, arenaOptions: { size: 64 << 20 } };
export const SERVER = ',role=server,client_memory=16';
/** The three kinds of client. */
export const CLIENTS = ['', ',zero_copy=0', ',zero_copy=0,bsize=128'];

export function folder(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-memif-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return join(made, 's');
}

export function opened(t: Test, ...devices: string[]): { host: Host; ports: readonly Port[] } {
  const host = open(devices, OPTIONS);
  t.teardown(() => host.close());
  return { host, ports: host.ports };
}

export async function until(ready: () => boolean): Promise<boolean> {
  for (let i = 0; i < 600 && !ready(); i++) await sleep(5);
  return ready();
}

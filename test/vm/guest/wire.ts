/** The Linux end of a wire, and what the tests do to the machine from inside. */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnSync } from 'node:child_process';
import { listLinks, setLink, waitForCarrier } from '../../../lib/kernel/link.js';
import { MONITOR_MARK, type Wire } from '../devices.js';

/** The interface at the other end, up and with a carrier, for any address, and without IPv6, which would speak in between. */
export function peerOf({ peerMac }: Pick<Wire, 'peerMac'>): { readonly name: string; readonly ifindex: number } {
  const link = listLinks().find(each => each.mac === peerMac);
  if (link === undefined) throw new Error(`Linux has no interface ${peerMac}`);
  writeFileSync(`/proc/sys/net/ipv6/conf/${link.name}/disable_ipv6`, '1\n');
  spawnSync('ip', ['link', 'set', link.name, 'promisc', 'on']);
  setLink(link.ifindex, { up: true });
  waitForCarrier(link.ifindex, 5000);
  return link;
}

/** A command for QEMU's monitor, on the host. */
export function monitor(command: string): void {
  writeFileSync('/dev/ttyS1', `\n${MONITOR_MARK}${command}\n`);
}

/** The guest's kernel log. */
export function kernelLog(): string {
  return spawnSync('dmesg', { encoding: 'utf8', maxBuffer: 64 << 20 }).stdout;
}

/** Until `ready` says so, or the time is over. Returns the last answer. Emulated machines are slow. */
export async function until(ready: () => boolean, seconds = 20): Promise<boolean> {
  const deadline = performance.now() + seconds * 1000;
  while (!ready()) {
    if (performance.now() > deadline) return false;
    await sleep(1);
  }
  return true;
}

/** The kernel's own counters of a lab's interfaces: the one way of counting that is the same for every program. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { withNetns } from '../../lib/kernel/netns.js';
import type { LabEnd } from '../../lib/lab/veth.js';

/** Columns of /proc/net/dev, the first being the interface's name. */
const COLUMN = { rx: 2, tx: 10 } as const;

export function packets(end: LabEnd, direction: 'rx' | 'tx'): number {
  const table = withNetns(end.netns, () => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  const line = table.split('\n').find(each => each.trim().startsWith(`${end.name}:`));
  return Number(line?.trim().replace(':', ' ').split(/\s+/)[COLUMN[direction]] ?? 0);
}

/** Packets per second over so many seconds from now. */
export async function packetRate(end: LabEnd, direction: 'rx' | 'tx', seconds: number): Promise<number> {
  const [count, start] = [packets(end, direction), performance.now()];
  await sleep(seconds * 1000);
  return (packets(end, direction) - count) / (performance.now() - start) * 1000;
}

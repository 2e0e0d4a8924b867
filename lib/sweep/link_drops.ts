import { readFileSync } from 'node:fs';

/**
 * Packets that the sender's end of the link dropped on the way to the other end, from /proc/net/dev of the calling
 * thread's namespace (columns: 8 of receive, then bytes, packets, errs, drop ... of transmit). Only the sender's: a
 * driver that hands over in memory, such as veth, counts the same packet as the receiver's drop too.
 */
export function linkDrops(name: string, sends: boolean): Record<string, number> {
  if (!sends) return {};
  const line = readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n').find(each => each.trim().startsWith(`${name}:`));
  const columns = line?.slice(line.indexOf(':') + 1).trim().split(/\s+/) ?? [];
  return { link_tx_dropped: Number(columns[11] ?? 0) };
}

import { existsSync, readFileSync } from 'node:fs';

/**
 * Interfaces of default routes, in the calling thread's network namespace: /proc/net/route (destination and mask 0) and
 * ipv6_route (prefix length 0, not one of lo's rejects). `read` gives a file's text, undefined where there is none.
 */
export function defaultRoutes(read = textOf): Set<string> {
  const rows = (name: string): string[][] => (read(`/proc/thread-self/net/${name}`) ?? '').split('\n').map(line => line.trim().split(/\s+/));
  const ipv4 = rows('route').filter(row => row[1] === '00000000' && row[7] === '00000000').map(row => row[0]!);
  const ipv6 = rows('ipv6_route').filter(row => row[1] === '00' && row[9] !== undefined && row[9] !== 'lo').map(row => row[9]!);
  return new Set([...ipv4, ...ipv6]);
}

function textOf(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

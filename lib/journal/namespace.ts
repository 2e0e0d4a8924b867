/** Which network namespace an entry is about, and how to get there again from another process. */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { getU64 } from '../kernel/bytes.js';
import { AF_INET, SO_NETNS_COOKIE, SOCK_DGRAM, SOL_SOCKET } from '../kernel/constants.js';
import { withNetnsPath } from '../kernel/netns.js';

/** Inode and cookie. The kernel gives an inode again when a namespace is gone, a cookie never; 0 where it has none. */
export type NamespaceId = `${number}.${bigint}`;

export function currentNamespace(): NamespaceId {
  return `${statSync('/proc/thread-self/ns/net').ino}.${cookie()}`;
}

export function isNamespaceId(value: unknown): value is NamespaceId {
  return typeof value === 'string' && /^\d{1,20}\.\d{1,20}$/.test(value);
}

/** Runs `work` in that namespace. Throws ENOTFOUND when it is gone, ERIGHTS when it may not be entered. */
export function inNamespace<T>(id: NamespaceId, work: () => T): T {
  if (same(currentNamespace(), id)) return work();
  const path = findNamespace(id.split('.')[0]!);
  if (path === undefined) throw gone();
  return withNetnsPath(path, () => {
    if (!same(currentNamespace(), id)) throw gone();
    return work();
  });
}

/** A cookie that one side could not ask for decides nothing. */
function same(one: NamespaceId, other: NamespaceId): boolean {
  const [[inode, cookie], [otherInode, otherCookie]] = [one.split('.'), other.split('.')];
  return inode === otherInode && (cookie === otherCookie || cookie === '0' || otherCookie === '0');
}

function gone(): PollmodeError {
  return new PollmodeError('ENOTFOUND', 'Its network namespace is gone, and what was changed in it.');
}

function cookie(): bigint {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) return 0n;
  const fd = addon.socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return 0n;
  const value = new Uint8Array(8);
  const length = addon.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value);
  addon.close(fd);
  return length === 8 ? getU64(value, 0) : 0n;
}

/** A named one, that of a process, or one that a process holds by a descriptor. */
function findNamespace(inode: string): string | undefined {
  for (const name of list('/run/netns')) {
    const path = `/run/netns/${name}`;
    if (String(statSync(path, { throwIfNoEntry: false })?.ino) === inode) return path;
  }
  for (const pid of list('/proc').filter(each => /^\d+$/.test(each))) {
    const held = [`/proc/${pid}/ns/net`, ...list(`/proc/${pid}/fd`).map(fd => `/proc/${pid}/fd/${fd}`)];
    const path = held.find(each => target(each) === `net:[${inode}]`);
    if (path !== undefined) return path;
  }
  return undefined;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // it ended while we looked, or is not ours to look at
  }
}

function target(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/**
 * Network namespaces that are held by a descriptor only: no mount, no name, no file. When the last descriptor (and
 * socket, and thread) in one is gone, however the process ended, the kernel takes it and its interfaces away.
 *
 * A thread's namespace is its own, and a thread starts in its maker's: a Worker that is made inside `withNetns` lives
 * in that namespace. So would libuv's pool, so do nothing asynchronous with files inside it before the pool exists.
 */
import { fstatSync, statSync } from 'node:fs';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { CLONE_NEWNET, O_RDONLY } from './constants.js';
import { check } from './errno.js';

const MINE = '/proc/thread-self/ns/net';
const RIGHTS = 'A network namespace needs CAP_SYS_ADMIN: run as root, or inside a user namespace (unshare -Urn).';

/** A descriptor of the calling thread's namespace; the caller closes it. */
export function currentNetns(): number {
  return check(binding().open(MINE, O_RDONLY), 'open', `${MINE} cannot be opened: mount /proc.`);
}

/** Makes a namespace and returns its descriptor, which the caller closes; the calling thread stays where it was. */
export function createNetns(): number {
  const home = currentNetns();
  try {
    check(binding().unshare(CLONE_NEWNET), 'unshare', RIGHTS);
    try {
      return currentNetns();
    } finally {
      goHome(home);
    }
  } finally {
    binding().close(home);
  }
}

/**
 * Runs `work` with the calling thread inside the namespace, and comes back, also from an error. Sockets that `work`
 * opens stay in the namespace. `work` must be synchronous: what it awaits would run outside, so a promise is refused.
 */
export function withNetns<T>(fd: number, work: () => T): T {
  const home = currentNetns();
  try {
    check(binding().setns(fd, CLONE_NEWNET), 'setns', RIGHTS);
    try {
      return synchronous(work());
    } finally {
      goHome(home);
    }
  } finally {
    binding().close(home);
  }
}

function synchronous<T>(result: T): T {
  if (result instanceof Promise) {
    result.catch(() => {}); // it is refused as a whole
    throw new PollmodeError('ETHREAD', 'Work inside a namespace must be synchronous: make it a plain function.');
  }
  return result;
}

function goHome(home: number): void {
  check(binding().setns(home, CLONE_NEWNET), 'setns', 'This thread could not return to its own network namespace: end it.');
}

/** The namespace that the calling thread is in now, to do something in later from wherever that thread is then. */
export class HeldNetns {
  readonly #fd = currentNetns();
  readonly #number = fstatSync(this.#fd, { bigint: true }).ino;

  /** As `withNetns`; without any rights where the calling thread is in it. */
  within<T>(work: () => T): T {
    return statSync(MINE, { bigint: true }).ino === this.#number ? work() : withNetns(this.#fd, work);
  }

  close(): void {
    binding().close(this.#fd);
  }
}

/** As `withNetns`, for a namespace that has a path: /run/netns/NAME, or /proc/PID/ns/net. Throws ENOTFOUND, ERIGHTS. */
export function withNetnsPath<T>(path: string, work: () => T): T {
  const fd = check(binding().open(path, O_RDONLY), 'open', `There is no network namespace at ${path}: give its path, for example /run/netns/NAME.`);
  try {
    return withNetns(fd, work);
  } finally {
    binding().close(fd);
  }
}

import { lstatSync, lchownSync, unlinkSync, type Stats } from 'node:fs';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { SOCK_NONBLOCK, SOCK_SEQPACKET } from './constants.js';
import { check, EADDRINUSE, EAGAIN, ECONNREFUSED, kernelError } from './errno.js';
import { abstractAddress, unixAddress, unixSocket } from './unix.js';

/** So long after it has made its file, and much sooner, a living program listens. */
const LISTENS_AFTER_MS = 20;

/** After a knock that could not be answered: who has no descriptor left is told of it again at once, and again, for as long as he has none. */
const PAUSE_MS = 100;

/** Connections that wait to be accepted. */
const BACKLOG = 32;

/**
 * A listening Unix socket with a file. The file lets in only its owner (and root), who is `uids` where that is
 * one user; where they are several everybody may knock, and SO_PEERCRED has to tell them apart. A file that a dead
 * process left is replaced; one at which somebody listens is not.
 */
export class Door {
  readonly fd: number;
  readonly #path: string;
  /** None of an abstract one. */
  readonly #file: Stats | undefined;
  /** A number below 0: none. */
  #watch = -1;
  #pause: NodeJS.Timeout | undefined;

  /** A name in the abstract namespace instead of a file: there is nothing stale, and nobody is kept out. Throws EBUSYQUEUE, EOPTION. */
  static abstract(name: string, type = SOCK_SEQPACKET): Door {
    return new Door(name, [], type, true);
  }

  /** Throws EBUSYQUEUE (somebody listens there), EEXISTS (another kind of file is there), EOPTION, ERIGHTS. */
  constructor(path: string, uids: readonly number[], type = SOCK_SEQPACKET, abstract = false) {
    this.#path = path;
    const address = abstract ? abstractAddress(path) : unixAddress(path);
    this.fd = unixSocket(type | SOCK_NONBLOCK);
    try {
      if (!this.#bind(address, uids.length > 1)) {
        if (abstract) throw new PollmodeError('EBUSYQUEUE', `Somebody listens at the abstract name ${path}: end that program, or choose another name.`);
        removeStale(path, address, type);
        if (!this.#bind(address, uids.length > 1)) throw kernelError(EADDRINUSE, 'bind');
      }
      this.#file = abstract ? undefined : lstatSync(path);
      if (this.#file !== undefined && uids.length === 1) lchownSync(path, uids[0]!, this.#file.gid);
      check(binding().listen(this.fd, BACKLOG), 'listen');
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** On the event loop, until it is closed: each connection, which never waits, is given to `admit`, whose it is. When that cannot be had it throws, and the door is closed. */
  watch(admit: (fd: number) => void): void {
    this.#watch = binding().watch(this.fd, () => this.#welcome(admit));
    if (this.#watch < 0) this.close();
    check(this.#watch, 'uv_poll_init');
    binding().rearm(this.#watch);
  }

  /** A connection that never waits, or undefined when nobody knocks any more. */
  accept(): number | undefined {
    const fd = binding().accept(this.fd, SOCK_NONBLOCK);
    return fd < 0 ? undefined : fd;
  }

  close(): void {
    clearTimeout(this.#pause);
    if (this.#watch >= 0) binding().unwatch(this.#watch);
    this.#watch = -1;
    // Only our own: another may have put his there meanwhile.
    const mine = this.#file?.ino;
    if (mine !== undefined && lstat(this.#path)?.ino === mine) unlinkSync(this.#path);
    binding().close(this.fd);
  }

  #welcome(admit: (fd: number) => void): void {
    let fd = -EAGAIN;
    while (this.#watch >= 0 && (fd = binding().accept(this.fd, SOCK_NONBLOCK)) >= 0) admit(fd);
    if (this.#watch < 0) return;
    if (fd === -EAGAIN) binding().rearm(this.#watch);
    else this.#pause = setTimeout(() => this.#welcome(admit), PAUSE_MS);
  }

  /** False when there is a file already. The mode is right from its first moment on, by the umask. */
  #bind(address: Uint8Array, everybody: boolean): boolean {
    const before = process.umask(everybody ? 0o111 : 0o177);
    const result = binding().bind(this.fd, address);
    process.umask(before);
    if (result === -EADDRINUSE) return false;
    check(result, 'bind', `No socket could be made at ${this.#path}: choose a path in a directory that there is and that may be written to.`);
    return true;
  }
}

function removeStale(path: string, address: Uint8Array, type: number): void {
  const file = lstat(path);
  if (file?.isSocket() === false) throw new PollmodeError('EEXISTS', `${path} is there and is no socket: choose another path.`);
  // Asked twice, since who has just made it does not listen yet.
  for (const pauseMs of [LISTENS_AFTER_MS, 0]) {
    const result = knock(address, type);
    if (result !== -ECONNREFUSED) throw busy(path, result === 0 || result === -EAGAIN ? '' : ', and does something else');
    if (pauseMs > 0) binding().poll(new Int32Array(), pauseMs);
  }
  // Another who found it stale may have put his own there meanwhile.
  if (lstat(path)?.ino !== file?.ino) throw busy(path);
  unlinkSync(path);
}

function knock(address: Uint8Array, type: number): number {
  const fd = unixSocket(type | SOCK_NONBLOCK);
  const result = binding().connect(fd, address);
  binding().close(fd);
  return result;
}

function busy(path: string, more = ''): PollmodeError {
  return new PollmodeError('EBUSYQUEUE', `Somebody listens at ${path}${more}: end that program, or choose another path.`);
}

function lstat(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

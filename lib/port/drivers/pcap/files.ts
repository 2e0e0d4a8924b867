import { closeSync, constants, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { PollmodeError } from '../../../errors.js';
import { kernelError } from '../../../kernel/errno.js';

const { O_RDONLY, O_WRONLY, O_CREAT, O_NONBLOCK } = constants;

/** A file that a port has open. */
export interface OpenFile {
  readonly fd: number;
  /** Closes it. To be called once. */
  release(): void;
}

/** How many ports of this thread read a regular file, or -1 for one that writes it; by device and inode. */
const users = new Map<string, number>();

/**
 * Opens a capture to be read. Throws ENOTFOUND, ERIGHTS, EOPTION for a directory, EUNSUPPORTED for what is no regular
 * file (a port never waits, and plays from any place of the file), EBUSYQUEUE for one that a port writes.
 */
export function openToRead(path: string, port: string): OpenFile {
  const fd = openPath(path, O_RDONLY | O_NONBLOCK, port, 'name a capture file that this user may read');
  return guarded(fd, () => {
    const status = fstatSync(fd, { bigint: true });
    if (status.isDirectory()) throw new PollmodeError('EOPTION', `${port}: ${path} is a directory: name a capture file in it.`);
    if (!status.isFile()) throw new PollmodeError('EUNSUPPORTED', `${port}: ${path} is no regular file, and a port cannot wait for one that is written yet: capture to a file first.`);
    return share(fd, `${status.dev}:${status.ino}`, false, path, port);
  });
}

/**
 * Opens a file to be written, and empties one that is there, as tcpdump -w does. Pipes and devices will do too.
 * Throws ENOTFOUND, ERIGHTS, EOPTION for a directory, EBUSYQUEUE for one that a port reads or writes (it is not emptied
 * then), ESYSCALL.
 */
export function openToWrite(path: string, port: string): OpenFile {
  const fd = openPath(path, O_WRONLY | O_CREAT | O_NONBLOCK, port, 'name a file that this user may write');
  return guarded(fd, () => {
    const status = fstatSync(fd, { bigint: true });
    if (!status.isFile()) return { fd, release: () => closeSync(fd) };
    const file = share(fd, `${status.dev}:${status.ino}`, true, path, port);
    try {
      ftruncateSync(fd, 0);
    } catch (cause) {
      users.delete(`${status.dev}:${status.ino}`);
      throw nodeError(cause, 'ftruncate', port);
    }
    return file;
  });
}

/** The PollmodeError for what a call of node:fs threw. */
export function nodeError(cause: unknown, syscall: string, port: string, mend = 'see the manual page of the system call for this error'): PollmodeError {
  const number = (cause as NodeJS.ErrnoException).errno;
  if (number === undefined) return new PollmodeError('EOPTION', `${port}: ${(cause as Error).message}: give a path without such characters.`, { cause });
  const { code, message } = kernelError(-number, syscall, `${mend}.`);
  return new PollmodeError(code, `${port}: ${message}`, { syscall, errno: -number, cause });
}

function openPath(path: string, flags: number, port: string, mend: string): number {
  try {
    return openSync(path, flags, 0o666);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EISDIR') throw new PollmodeError('EOPTION', `${port}: ${path} is a directory: name a file in it.`, { cause });
    throw nodeError(cause, 'open', port, mend);
  }
}

/** What `work` returns; the descriptor does not outlive what it throws. */
function guarded(fd: number, work: () => OpenFile): OpenFile {
  try {
    return work();
  } catch (cause) {
    closeSync(fd);
    throw cause;
  }
}

/** Any number of ports may read a file; one that is written has no other user, or it would read or leave nonsense. */
function share(fd: number, file: string, write: boolean, path: string, port: string): OpenFile {
  const before = users.get(file) ?? 0;
  if (write ? before !== 0 : before < 0) {
    throw new PollmodeError('EBUSYQUEUE', `${port}: ${path} is ${before < 0 ? 'written' : 'read'} by a port already: choose another file.`);
  }
  users.set(file, write ? -1 : before + 1);
  return {
    fd,
    release() {
      const left = write ? 0 : users.get(file)! - 1;
      if (left === 0) users.delete(file);
      else users.set(file, left);
      closeSync(fd);
    },
  };
}

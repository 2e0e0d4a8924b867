/** Values in sysfs and under /proc/sys, by path. */
import { closeSync, constants, fstatSync, openSync, readSync, realpathSync, statfsSync, writeSync } from 'node:fs';
import { PollmodeError } from '../../errors.js';
import { kernelError } from '../../kernel/errno.js';
import { textField, type Change, type Fields, type Kind } from '../kind.js';

export interface SysfsChange extends Change {
  readonly kind: 'sysfs';
  /** Canonical: no symbolic link and no ".." in it. */
  readonly path: string;
  /** Without its line end; "(null)" is how the kernel prints a driver_override that is not set. */
  readonly was: string;
  /** What was written. A value that is neither of the two has another owner since, and is left alone. */
  readonly to?: string;
  /** The file's inode in sysfs, which is never given to a second file: a device that was taken out and put back is new. */
  readonly inode?: string;
}

/**
 * What may be written, whoever wrote the journal: values that are put back by writing the old one. One that a driver
 * changes and that is not here gets a row; what takes more than a write (virtual functions) is a kind of its own.
 */
const ALLOWED: readonly RegExp[] = [
  /^\/proc\/sys\/net(\/[^/\0]+)+$/,
  /^\/proc\/sys\/vm\/nr_(overcommit_)?hugepages$/,
  /^\/sys\/kernel\/mm\/hugepages\/hugepages-\d+kB\/nr_(overcommit_)?hugepages$/,
  /^\/sys\/devices\/system\/node\/node\d+\/hugepages\/hugepages-\d+kB\/nr_hugepages$/,
  /^\/sys\/devices(\/[^/\0]+)+\/(driver_override|sriov_drivers_autoprobe)$/,
  /^\/sys\/devices(\/[^/\0]+)*\/net\/[^/\0]+\/(threaded|napi_defer_hard_irqs|gro_flush_timeout)$/,
  /^\/sys\/devices(\/[^/\0]+)*\/net\/[^/\0]+\/queues\/[rt]x-\d+\/(rps_cpus|rps_flow_cnt|xps_cpus|xps_rxqs|byte_queue_limits\/limit_(min|max))$/,
];

// linux/magic.h
const SYSFS_MAGIC = 0x62656572;
const PROC_SUPER_MAGIC = 0x9fa0;
const LONGEST = 4096;

export const sysfsKind: Kind<SysfsChange> = {
  kind: 'sysfs',
  // sysfs shows the namespace that it was mounted for, whoever looks; /proc/sys/net that of the thread.
  namespaced: ({ path }) => path.startsWith('/proc/sys/net/'),
  check(fields: Fields) {
    const path = checkPath(textField(fields, 'path', LONGEST));
    const inode = fields['inode'] === undefined ? undefined : textField(fields, 'inode', 20);
    return {
      kind: 'sysfs', path,
      was: textField(fields, 'was', LONGEST),
      ...(fields['to'] === undefined ? {} : { to: textField(fields, 'to', LONGEST) }),
      ...(inode === undefined ? {} : { inode }),
    };
  },
  describe: ({ path, was }) => `${path} back to ${JSON.stringify(was)}`,
  undo(change) {
    const now = withValue(change.path, constants.O_RDONLY, (fd, inode) => {
      if (change.inode !== undefined && inode !== change.inode) {
        throw new PollmodeError('ENOTFOUND', `${change.path} belongs to another device now: it was left alone.`);
      }
      return readValue(fd, change.path);
    });
    if (same(now, change.was)) return 'unchanged';
    if (change.to !== undefined && !same(now, change.to)) return 'superseded';
    withValue(change.path, constants.O_WRONLY, fd => writeValue(fd, change.path, change.was));
    return 'undone';
  },
};

/** What to record before writing `to` to `path`, which may go through symbolic links (/sys/class/net/...). Throws ENOTFOUND, EFORMAT, ERIGHTS. */
export function sysfsChange(path: string, to: string): SysfsChange {
  const canonical = checkPath(kernel('realpath', path, () => realpathSync(path)));
  return withValue(canonical, constants.O_RDONLY, (fd, inode) => ({
    kind: 'sysfs', path: canonical, was: readValue(fd, canonical), to,
    // Inodes of /proc/sys are made anew as they are looked up.
    ...(canonical.startsWith('/sys/') ? { inode } : {}),
  }));
}

/** Writes it, as it was recorded. */
export function applySysfs({ path, to }: SysfsChange): void {
  if (to !== undefined) withValue(path, constants.O_WRONLY, fd => writeValue(fd, path, to));
}

function checkPath(path: string): string {
  if (path.split('/').includes('..') || path.split('/').includes('.') || !ALLOWED.some(pattern => pattern.test(path))) {
    throw new PollmodeError('EFORMAT', `A journal may not write ${JSON.stringify(path.slice(0, 200))}: nothing was written; it is for the values that lib/journal/kinds/sysfs.ts lists.`);
  }
  return path;
}

/** Opens a path that is still canonical, and on the file system that it says; the descriptor is checked, not the name. */
function withValue<T>(path: string, flags: number, work: (fd: number, inode: string) => T): T {
  const canonical = kernel('realpath', path, () => realpathSync(path));
  const magic = kernel('statfs', path, () => statfsSync(path)).type;
  if (canonical !== path || magic !== (path.startsWith('/sys/') ? SYSFS_MAGIC : PROC_SUPER_MAGIC)) {
    throw new PollmodeError('ENOTFOUND', `${path} is something else now: it was left alone.`);
  }
  const fd = kernel('open', path, () => openSync(path, flags | constants.O_NOFOLLOW));
  try {
    const { ino } = fstatSync(fd, { bigint: true });
    return work(fd, ino.toString());
  } finally {
    closeSync(fd);
  }
}

function readValue(fd: number, path: string): string {
  const bytes = new Uint8Array(LONGEST);
  const length = kernel('read', path, () => readSync(fd, bytes, 0, LONGEST, 0));
  const text = new TextDecoder().decode(bytes.subarray(0, length)).trimEnd();
  // An empty value cannot be told from one that was never set; both are written back as an empty line.
  return text === '' ? '(null)' : text;
}

function writeValue(fd: number, path: string, value: string): void {
  kernel('write', path, () => writeSync(fd, value === '(null)' ? '\n' : `${value}\n`, 0));
}

/** The kernel prints lists with tabs that were written with spaces. */
function same(one: string, other: string): boolean {
  return one.replace(/\s+/g, ' ') === other.replace(/\s+/g, ' ');
}

function kernel<T>(call: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const { errno } = cause as NodeJS.ErrnoException;
    if (errno === undefined) throw cause;
    throw kernelError(-errno, call, `${path} could not be used: check that it is there and that you may write it (root).`);
  }
}

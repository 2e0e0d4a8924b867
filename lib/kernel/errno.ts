/** Turns what the addon returned into a `PollmodeError`. Sources: asm-generic/errno.h, and linux/errno.h for 512 and up. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { PollmodeError, type ErrorCode } from '../errors.js';

const { errno } = constants;
/** Errors by their numbers, of those that somebody asks for. */
export const {
  EACCES, EADDRINUSE, EAFNOSUPPORT, EAGAIN, EBUSY, ECONNREFUSED, ECONNRESET, EEXIST, EINVAL, EMSGSIZE, ENETDOWN, ENOBUFS, ENODEV, ENOENT,
  ENOMEM, ENOPROTOOPT, ENOSPC, ENOTSOCK, ENXIO, EOPNOTSUPP, EPERM, EPIPE, EPROTOTYPE, ERANGE,
} = errno;
/** Kernel-internal "not supported", which some drivers let out. */
const ENOTSUPP = 524;
/** What a tap says whose interface is gone. Node has no name for it. */
const EBADFD = 77;

const names = new Map<number, string>(Object.entries(errno).map(([name, value]) => [value, name]));
// Names that share a number: the usual one wins.
names.set(errno.EOPNOTSUPP, 'EOPNOTSUPP').set(errno.EAGAIN, 'EAGAIN').set(ENOTSUPP, 'ENOTSUPP').set(EBADFD, 'EBADFD');

const codes = new Map<number, ErrorCode>([
  [errno.EPERM, 'ERIGHTS'], [errno.EACCES, 'ERIGHTS'],
  [errno.ENODEV, 'ENOTFOUND'], [errno.ENXIO, 'ENOTFOUND'], [errno.ENOENT, 'ENOTFOUND'],
  [errno.ENETDOWN, 'EDOWN'],
  [errno.EBUSY, 'EBUSYQUEUE'], [errno.EADDRINUSE, 'EBUSYQUEUE'],
  [errno.EEXIST, 'EEXISTS'],
  [errno.EOPNOTSUPP, 'EUNSUPPORTED'], [errno.ENOSYS, 'EUNSUPPORTED'], [errno.ENOPROTOOPT, 'EUNSUPPORTED'],
  [errno.EPROTONOSUPPORT, 'EUNSUPPORTED'], [errno.EAFNOSUPPORT, 'EUNSUPPORTED'], [ENOTSUPP, 'EUNSUPPORTED'],
]);

const mends: Partial<Record<ErrorCode, string>> = {
  ERIGHTS: 'run as root, or give the program the capability that this needs',
  ENOTFOUND: 'check the name, and that this thread is in the right network namespace',
  EDOWN: 'set the interface up',
  EBUSYQUEUE: 'close its other user, or choose another',
  EEXISTS: 'choose another name, or remove the old one',
  EUNSUPPORTED: 'use another mode, driver or kernel',
};

/** "EPERM" for 1; "errno 999" for one that has no name here. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`;
}

/** The stable code for an errno. */
export function codeOf(number: number): ErrorCode {
  return codes.get(number) ?? 'ESYSCALL';
}

/** The error for a positive errno; `sentence` says what was wanted and ends in what to do. */
export function kernelError(number: number, syscall: string, sentence?: string): PollmodeError {
  const code = codeOf(number);
  const meaning = getSystemErrorMap().get(-number)?.[1];
  const said = `${syscall} said ${errnoName(number)}${meaning === undefined ? '' : ` (${meaning})`}`;
  const advice = sentence ?? `${mends[code] ?? 'see the manual page of the system call for this error'}.`;
  return new PollmodeError(code, `${said}: ${advice}`, { syscall, errno: number });
}

/**
 * `result` when it is zero or more; otherwise throws the `PollmodeError` for -errno.
 *
 * `syscall` is the system call's name. `sentence`, where given, replaces the usual advice: a whole sentence that ends
 * in what to do.
 */
export function check(result: number, syscall: string, sentence?: string): number {
  if (result >= 0) return result;
  throw kernelError(-result, syscall, sentence);
}

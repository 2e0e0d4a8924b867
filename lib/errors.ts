/**
 * What set-up code throws. The data path never throws: it counts (see `PortStats` and `xstats`).
 *
 * `code` is stable and meant for programs; `message` is one sentence for a person and ends with what to do.
 * `syscall` and `errno` are there when the kernel said no.
 */
export type ErrorCode =
  | 'EADDON'        // the native addon cannot be loaded here
  | 'EARENAFULL'    // no room left in the arena for a reservation
  | 'ETABLEFULL'    // a lookup table has no room for another entry
  | 'EEXISTS'       // a name is taken
  | 'ENOTFOUND'     // no such interface, memzone, file or lcore
  | 'EDEVICE'       // a device string does not parse
  | 'EOPTION'       // an option has a wrong type or value
  | 'ERIGHTS'       // a capability or permission is missing
  | 'EMEMLOCK'      // RLIMIT_MEMLOCK is too low
  | 'EBUSYQUEUE'    // a queue or a name is in use by another
  | 'EDOWN'         // the interface is down
  | 'EUNSUPPORTED'  // the kernel, driver or platform cannot do this
  | 'EPOOL'         // a pool does not meet a port's demand
  | 'EFORMAT'       // a file or message is malformed
  | 'ENOANSWER'     // a peer said nothing in its time, or hung up
  | 'ECLOSED'       // used after close
  | 'ETHREAD'       // used from the wrong thread
  | 'ELCORE'        // an lcore ended before its work was done
  | 'ESYSCALL';     // any other refusal of the kernel

export class PollmodeError extends Error {
  readonly code: ErrorCode;
  readonly syscall: string | undefined;
  readonly errno: number | undefined;

  constructor(code: ErrorCode, message: string, kernel: { syscall?: string; errno?: number; cause?: unknown } = {}) {
    super(message, kernel.cause === undefined ? undefined : { cause: kernel.cause });
    this.name = 'PollmodeError';
    this.code = code;
    this.syscall = kernel.syscall;
    this.errno = kernel.errno;
  }
}

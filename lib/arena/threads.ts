import { existsSync, readFileSync, readlinkSync } from 'node:fs';

/** Whether a thread is there still. `unknown` where the kernel does not tell: then it must be taken to live. */
export type Life = 'alive' | 'dead' | 'unknown';

/** The calling thread's number, and when it started, for `lifeOf`; zeros where there is no /proc. */
export function callingThread(): { tid: number; started: number } {
  try {
    // Synchronous calls are made by the thread itself, a worker's too.
    const tid = Number(readlinkSync('/proc/thread-self').split('/')[2]);
    return { tid, started: readStart(process.pid, tid) ?? 0 };
  } catch {
    return { tid: 0, started: 0 };
  }
}

/** Is the thread there that had this number then? Only the kernel's plain no is taken for a death. */
export function lifeOf(pid: number, tid: number, started: number): Life {
  if (tid === 0) return isGone(pid) ? 'dead' : 'unknown';
  try {
    return readStart(pid, tid) === started ? 'alive' : 'dead';
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    return (code === 'ENOENT' || code === 'ESRCH') && existsSync('/proc/self/stat') ? 'dead' : 'unknown';
  }
}

/** Clock ticks since boot, modulo 2^32, as a signed word; undefined for a zombie. Source: proc(5), /proc/pid/stat. */
function readStart(pid: number, tid: number): number | undefined {
  const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8');
  // The command name may hold spaces and parentheses: fields are counted from the last one.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' || state === 'X' ? undefined : Number(fields[18]) | 0;
}

export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

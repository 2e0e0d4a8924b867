/**
 * Whose journal a file is: its name says it all, so that no header can be torn or garbled. A PID alone is given again;
 * with the process's start time, its PID namespace and the machine's boot it is not.
 */
import { readFileSync, readlinkSync } from 'node:fs';

export interface Owner {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly start: number;
  /** Inode number of its PID namespace. */
  readonly pidns: string;
  /** /proc/sys/kernel/random/boot_id */
  readonly boot: string;
}

export type Fate =
  | 'alive'
  | 'dead'
  /** The machine was started anew since: what the kernel kept is gone with it. */
  | 'before boot'
  /** In another PID namespace, such as a container: whether it lives cannot be seen from here. */
  | 'elsewhere';

const NAME = /^(\d{1,10})-(\d{1,20})-(\d{1,20})-([0-9a-f-]{36})-[0-9a-f]{16}\.journal$/;

export function ownName(): string {
  const { pid, start, pidns, boot } = self();
  return `${pid}-${start}-${pidns}-${boot}-${random()}${random()}.journal`;
}

/** Two threads, or two copies of this library in one process, have names of their own. */
function random(): string {
  return Math.floor(Math.random() * 0x1_0000_0000).toString(16).padStart(8, '0');
}

/** Undefined for a file that is no journal. */
export function ownerOf(name: string): Owner | undefined {
  const match = NAME.exec(name);
  return match === null ? undefined : { pid: Number(match[1]), start: Number(match[2]), pidns: match[3]!, boot: match[4]! };
}

export function fateOf(owner: Owner): Fate {
  const here = self();
  if (owner.boot !== here.boot) return 'before boot';
  if (owner.pidns !== here.pidns) return 'elsewhere';
  return runningSince(owner.pid) === owner.start ? 'alive' : 'dead';
}

function self(): Owner {
  return {
    pid: process.pid,
    start: runningSince(process.pid),
    pidns: /\d+/.exec(readlinkSync('/proc/self/ns/pid'))![0],
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
  };
}

/** Start time as in /proc/PID/stat (proc(5), field 22); 0 when it is gone, or dead and not yet waited for. */
function runningSince(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name may hold spaces and parentheses: fields are counted from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 'ZX'.includes(fields[0]!) ? 0 : Number(fields[19]);
  } catch {
    return 0;
  }
}

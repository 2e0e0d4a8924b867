import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs';
import { PollmodeError } from '../errors.js';
import { fileName } from './backing.js';
import { ARENA_HEADER, ARENA_MAGIC, HEADER_MAGIC, HEADER_PAGES, MAX_PAGES } from './layout.js';

/** Where a named arena's memfd can be opened. */
export interface NamedArena {
  readonly name: string;
  /** The process that has it. */
  readonly pid: number;
  readonly path: string;
}

/**
 * The named arenas of this user's processes, found by their memfds' names under /proc: no file and no socket is left
 * behind, and nobody else's process is trusted.
 */
export function findArenas(name?: string): NamedArena[] {
  const self = process.geteuid?.();
  const found: NamedArena[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    try {
      if (statSync(`/proc/${pid}`).uid !== self) continue;
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const path = `/proc/${pid}/fd/${fd}`;
        const match = /^\/memfd:pollmode:([\w.-]{1,64}) /.exec(readlinkSync(path));
        if (match !== null && (name === undefined || match[1] === name)) found.push({ name: match[1]!, pid: Number(pid), path });
      }
    } catch {
      // it ended while we looked, or is not ours to look at
    }
  }
  return found;
}

/** Opens a named arena's file and reads its size. The descriptor is the caller's. */
export function openNamed(name: string, pid?: number): { fd: number; pages: number } {
  const found = findArenas(name).filter(arena => pid === undefined || arena.pid === pid);
  const owners = new Map(found.map(arena => [inode(arena.path), arena]));
  if (owners.size === 0) {
    throw new PollmodeError('ENOTFOUND', `No process of this user has an arena named "${name}" (memfd ${fileName(name)}): start it first, with Arena.create({ name }).`);
  }
  if (owners.size > 1) {
    throw new PollmodeError('ENOTFOUND', `${owners.size} arenas are named "${name}" (processes ${[...owners.values()].map(arena => arena.pid).join(', ')}): say which with pid.`);
  }
  const [arena] = owners.values();
  const fd = openOf(arena!.pid, arena!.path);
  try {
    return { fd, pages: readPages(fd, name) };
  } catch (cause) {
    closeSync(fd);
    throw cause;
  }
}

/** Opens a descriptor of another process for reading and writing. Throws ERIGHTS. */
export function openOf(pid: number, path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (cause) {
    throw new PollmodeError('ERIGHTS', `Memory of process ${pid} cannot be opened: run as the same user, while it lives.`, { syscall: 'open', cause });
  }
}

/** The header is another process's word: what it says of its size must agree with the file. */
function readPages(fd: number, name: string): number {
  const header = new Uint32Array(16);
  const length = readSync(fd, header, 0, header.byteLength, ARENA_HEADER);
  const pages = header[HEADER_PAGES >> 2]!;
  if (length < header.byteLength || header[HEADER_MAGIC >> 2] !== ARENA_MAGIC || pages > MAX_PAGES || fstatSync(fd).size !== pages * 65536) {
    throw new PollmodeError('EFORMAT', `The memory named "${name}" is no pollmode arena, or its process is not ready yet: try again, with the same release of pollmode on both sides.`);
  }
  return pages;
}

function inode(path: string): string {
  const { dev, ino } = statSync(path);
  return `${dev}:${ino}`;
}

/** Start time of a process in clock ticks since boot, so that a recycled PID is not taken for it; 0 when it is gone. */
export function startTime(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name may hold spaces and parentheses: fields are counted from the last one.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch {
    return 0;
  }
}

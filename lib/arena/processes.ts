import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { PollmodeError } from '../errors.js';
import { checkHeader } from './header.js';
import { ARENA_HEADER, HEADER_PAGES } from './layout.js';

/** A memfd's name by which another process finds a named arena: see `attachProcess`. */
export function fileName(name: string): string {
  return `pollmode:${name}`;
}

/** Where a named arena's memfd can be opened. */
export interface NamedArena {
  readonly name: string;
  /** The process that has it. */
  readonly pid: number;
  readonly path: string;
  /** Which file it is: several processes may have the same. */
  readonly file: string;
}

/**
 * The named arenas of this user's other processes, found by their memfds' names under /proc: no file and no socket is
 * left behind, and nobody else's process is trusted.
 */
export function findArenas(name?: string): NamedArena[] {
  const self = process.geteuid?.();
  const pids = readdirSync('/proc').filter(pid => /^\d+$/.test(pid) && Number(pid) !== process.pid);
  return pids.flatMap(pid => {
    const folder = `/proc/${pid}/fd`;
    const fds = unlessGone(() => statSync(`/proc/${pid}`).uid === self ? readdirSync(folder) : []) ?? [];
    return fds.flatMap(fd => unlessGone(() => readArena(Number(pid), `${folder}/${fd}`, name)) ?? []);
  });
}

function readArena(pid: number, path: string, wanted?: string): NamedArena | undefined {
  const name = /^\/memfd:pollmode:([\w.-]{1,64}) /.exec(readlinkSync(path))?.[1];
  if (name === undefined || (wanted !== undefined && name !== wanted)) return undefined;
  const { dev, ino } = statSync(path);
  return { name, pid, path, file: `${dev}:${ino}` };
}

/** A process may end, or close a file, while it is looked at; and some are not ours to look at. */
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** Opens a named arena's file and reads its size. The descriptor is the caller's. */
export function openNamed(name: string, pid?: number): { fd: number; pages: number } {
  const found = findArenas(name).filter(arena => pid === undefined || arena.pid === pid);
  const files = new Map(found.map(arena => [arena.file, arena]));
  const [arena] = files.values();
  if (arena === undefined) {
    throw new PollmodeError('ENOTFOUND', `No other process of this user has an arena named "${name}" (memfd ${fileName(name)}): start it first, with Arena.create({ name }).`);
  }
  if (files.size > 1) {
    throw new PollmodeError('ENOTFOUND', `${files.size} arenas are named "${name}" (processes ${[...files.values()].map(each => each.pid).join(', ')}): say which with pid, or give each a name of its own.`);
  }
  refuseOtherNumbers(arena);
  const fd = openOf(arena.pid, arena.path);
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
    throw new PollmodeError('ERIGHTS', `Memory of process ${pid} cannot be opened: run as the same user, while it lives and has it open.`, { syscall: 'open', cause });
  }
}

/** Lcores are known by their processes' numbers, which must mean the same to both sides: a container's are its own. */
function refuseOtherNumbers({ name, pid }: NamedArena): void {
  const [theirs, ours] = [pid, 'self'].map(which => unlessGone(() => readlinkSync(`/proc/${which}/ns/pid`)));
  if (theirs !== ours) {
    throw new PollmodeError('EUNSUPPORTED', `Arena "${name}" belongs to process ${pid}, which ended or is in another PID namespace: attach from inside the same container.`);
  }
}

/** The header is another process's word: it is copied, checked, and what it says of its size must agree with the file. */
function readPages(fd: number, name: string): number {
  const header = new Uint32Array(16);
  readSync(fd, header, 0, header.byteLength, ARENA_HEADER);
  const pages = header[HEADER_PAGES >> 2]!;
  checkHeader(header, fstatSync(fd).size, `The memory named "${name}"`);
  return pages;
}

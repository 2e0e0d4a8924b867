/**
 * A journal's file: JSON lines, only ever appended to. `{"id":1,"kind":...}` stands for a change, `{"done":1}` for its
 * undoing. A line is on the disk before the change is made, so a line that a crash cut short stands for nothing.
 */
import { closeSync, constants, fdatasyncSync, fstatSync, ftruncateSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { PollmodeError } from '../errors.js';
import type { Fields } from './kind.js';

/** More than any run of ours writes; a longer file is not read. */
const LONGEST_FILE = 1 << 20;

export interface Entry {
  readonly id: number;
  readonly fields: Fields;
}

export interface Contents {
  /** Not undone yet, in the order they were made. */
  readonly open: readonly Entry[];
  /** Lines that are no entry, by number from 1. */
  readonly unreadable: readonly number[];
}

/** Throws EFORMAT for a file that is not this user's alone; then nothing in it is to be believed. */
export function readJournal(path: string): Contents {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { uid, nlink, mode, size } = fstatSync(fd);
    const isFile = (mode & constants.S_IFMT) === constants.S_IFREG;
    if (!isFile || uid !== process.geteuid?.() || nlink !== 1 || (mode & 0o022) !== 0 || size > LONGEST_FILE) {
      throw new PollmodeError('EFORMAT', `${path} is not a journal of this user's own: nothing in it was done; remove it.`);
    }
    return parseJournal(readFileSync(fd));
  } finally {
    closeSync(fd);
  }
}

export function parseJournal(bytes: Uint8Array): Contents {
  const lines = new TextDecoder().decode(bytes).split('\n');
  lines.pop(); // what a crash cut short, or nothing
  const open = new Map<number, Entry>();
  const unreadable: number[] = [];
  lines.forEach((line, index) => {
    const fields = parseLine(line);
    if (isNumber(fields?.['done'])) open.delete(fields['done']);
    else if (isNumber(fields?.['id'])) open.set(fields['id'], { id: fields['id'], fields });
    else unreadable.push(index + 1);
  });
  return { open: [...open.values()], unreadable };
}

function parseLine(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value as Fields : undefined;
  } catch {
    return undefined;
  }
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

/** The file of a journal that is being written. */
export class JournalFile {
  readonly path: string;
  readonly #fd: number;
  #size: number;

  /** Makes a new one with `wx`, or goes on with one that is there with `a`. */
  constructor(path: string, how: 'wx' | 'a') {
    this.path = path;
    const create = how === 'wx' ? constants.O_CREAT | constants.O_EXCL : 0;
    this.#fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW | create, 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  /** Returns when the line is on the disk; after a refusal the file is as it was. */
  append(fields: Fields): void {
    const line = new TextEncoder().encode(`${JSON.stringify(fields)}\n`);
    try {
      const written = writeSync(this.#fd, line);
      if (written < line.length) throw Object.assign(new Error('the disk is full'), { code: 'ENOSPC' });
      fdatasyncSync(this.#fd);
    } catch (cause) {
      ftruncateSync(this.#fd, this.#size);
      throw new PollmodeError('ESYSCALL', `The journal ${this.path} cannot be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)}), so nothing was changed: make room on its file system.`, { syscall: 'write', cause });
    }
    this.#size += line.length;
  }

  /** The entry is undone. One that cannot be struck out, for want of room, is undone again some time: twice is once. */
  strike(id: number): void {
    try {
      this.append({ done: id });
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
    }
  }

  /** Nothing in it is left to undo. */
  remove(): void {
    rmSync(this.path, { force: true });
    this.close();
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The result of a sweep and its file, `results.json`: the model, the reader that trusts nothing, and the writer. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PollmodeError } from '../errors.js';
import type { SweepResult } from './model.js';
import { parseSweepResult } from './parse.js';

export * from './model.js';
export { parseSweepResult } from './parse.js';

const FILE_BYTES_MAX = 64 * 1024 * 1024;

/** Reads a result file. Throws ENOTFOUND where it cannot be read, EFORMAT where it is no sweep result. */
export function readResults(path: string): SweepResult {
  const content = readText(path);
  try {
    return parseSweepResult(JSON.parse(content) as unknown);
  } catch (cause) {
    if (cause instanceof PollmodeError) throw cause;
    throw new PollmodeError('EFORMAT', `${path} is not JSON: make it with \`pollmode sweep --json\`.`, { cause });
  }
}

/** Writes a result as indented JSON, whole or not at all; folders are made as needed. Throws ESYSCALL. */
export function writeResults(path: string, result: SweepResult): void {
  writeWhole(path, `${JSON.stringify(result, null, 1)}\n`);
}

/** Writes a file under another name and renames it, so that a reader and a crash see the old one or the new one. Throws ESYSCALL. */
export function writeWhole(path: string, content: string): void {
  const partial = `${path}.${randomBytes(6).toString('hex')}.part`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(partial, content, { flag: 'wx' });
    renameSync(partial, path);
  } catch (cause) {
    discard(partial);
    throw cannotWrite(path, cause);
  }
}

function cannotWrite(path: string, cause: unknown): PollmodeError {
  return new PollmodeError('ESYSCALL', `Cannot write ${path} (${reason(cause)}): choose another folder with --out.`, { cause });
}

/**
 * Makes the folder and sees that a file can be written in it. For before a measurement, which would be lost otherwise.
 * Throws ESYSCALL.
 */
export function prepareFolder(folder: string): void {
  const probe = join(folder, `${randomBytes(6).toString('hex')}.part`);
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(probe, '', { flag: 'wx' });
  } catch (cause) {
    throw cannotWrite(folder, cause);
  } finally {
    discard(probe);
  }
}

/** The write's own failure is the one to report, not that of tidying up after it. */
function discard(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The folder itself is gone or was never one, and the file with it.
  }
}

function readText(path: string): string {
  let size: number;
  try {
    const status = statSync(path);
    // A pipe or a device has no size to check and may never end.
    if (!status.isFile()) throw new Error('not a regular file');
    size = status.size;
    if (size <= FILE_BYTES_MAX) return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PollmodeError('ENOTFOUND', `Cannot read ${path} (${reason(cause)}): name a results.json of an earlier sweep.`, { cause });
  }
  throw new PollmodeError('EFORMAT', `${path} has ${size} bytes, and a sweep result is far smaller: name a results.json of an earlier sweep.`);
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

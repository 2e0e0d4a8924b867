/**
 * Where journals are: /run/pollmode for root, otherwise a folder of the user's own. Nobody else may be able to write
 * there, since what a journal says is done with the rights of who reads it.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PollmodeError } from '../errors.js';

/** The environment variable POLLMODE_RUN_DIR names another folder. */
export function runDirectories(environment: NodeJS.ProcessEnv = process.env): string[] {
  const named = environment['POLLMODE_RUN_DIR'];
  if (named !== undefined && named !== '') return [named];
  const user = process.geteuid?.();
  if (user === undefined) return [];
  const session = environment['XDG_RUNTIME_DIR'];
  return [
    ...(user === 0 ? ['/run/pollmode'] : []),
    ...(session !== undefined && session.startsWith('/') ? [join(session, 'pollmode')] : []),
    // The last resort is not moved by TMPDIR: it must be found again by a run with another environment.
    join(process.platform === 'linux' ? '/tmp' : tmpdir(), `pollmode-${user}`),
  ];
}

/** The first of them that is this user's alone, made where it is missing. Throws ERIGHTS, with what is wrong with each. */
export function makeRunDirectory(directories: readonly string[] = runDirectories()): string {
  const refused: string[] = [];
  for (const directory of directories) {
    const why = makeOwn(directory);
    if (why === undefined) return directory;
    refused.push(`${directory} ${why}`);
  }
  throw new PollmodeError('ERIGHTS', `There is no place for a journal (${refused.join('; ')}): name a folder of your own with POLLMODE_RUN_DIR.`);
}

function makeOwn(directory: string): string | undefined {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'EEXIST') return `cannot be made (${code ?? String(cause)})`;
  }
  return refusal(directory);
}

/** Why a folder is not to be trusted; undefined when it is. */
export function refusal(directory: string): string | undefined {
  const found = lstatSync(directory, { throwIfNoEntry: false });
  if (found === undefined) return 'is not there';
  if (!found.isDirectory()) return 'is no folder';
  if (found.uid !== process.geteuid?.()) return `belongs to user ${found.uid}`;
  if ((found.mode & 0o022) !== 0) return 'can be written by others';
  return undefined;
}

/** `pollmode` as a user runs it. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const MAIN = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url));

/** To its end. */
export function pollmode(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], { encoding: 'utf8', timeout: 120_000 });
  return { status, stdout, stderr };
}


/** What the tests of `pollmode sweep` share: the smallest sweep, run to its end. Each file has a folder of its own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parseSweepResult, type SweepResult } from '../../lib/sweep/results.js';
import { needs } from '../kernel/rights.js';
import { TINY } from '../sweep/tiny.js';
import { MAIN } from './program_helper.js';
import type { Ended } from './unprivileged_helper.js';

export const admin = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');
export const QUICK = ['--frames', '64', '--bursts', '1,32', '--rounds', '1', '--seconds', '0.05', '--warmup', '0.02'];

/** The grid of QUICK. */
export const GRID = { ...TINY, rounds: 1 };

export const folder = mkdtempSync(join(tmpdir(), 'pollmode-sweep-cli-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

export function run(words: readonly string[], environment: Record<string, string> = {}, prefix: readonly string[] = []): Ended {
  const [program, ...rest] = [...prefix, process.execPath, MAIN, 'sweep', ...words];
  const { status, stdout, stderr } = spawnSync(program!, rest, { cwd: folder, encoding: 'utf8', timeout: 150_000, env: { ...process.env, ...environment } });
  return { status, stdout, stderr };
}

/** The same with longer and longer measured parts until it is as wanted: on a busy machine no round trip may fall into a short one. */
export function runUntil(wanted: (ended: Ended) => boolean, words: readonly string[]): Ended {
  for (let seconds = GRID.seconds; ; seconds *= 4) {
    const ended = run([...words, '--seconds', String(seconds)]);
    if (ended.status !== 0 || wanted(ended)) return ended;
  }
}

/** What --json printed. */
export function result({ status, stdout, stderr }: Ended): SweepResult {
  if (status !== 0) throw new Error(`exit ${String(status)}: ${stderr}`);
  return parseSweepResult(JSON.parse(stdout));
}

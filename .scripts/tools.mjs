// What the helper scripts share. Nothing here may need node_modules: it runs on a fresh clone.
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Progress goes to standard error, so that `npm start -- --json` can be piped. */
export function say(line) {
  process.stderr.write(`pollmode: ${line}\n`);
}

/**
 * Runs a program in the package's folder and keeps what it prints for when it fails.
 * Returns { ok, output }; a program that is not there, or that takes longer than `minutes`, is not ok.
 */
export function run(command, args, { env = {}, minutes = 5, cwd = root } = {}) {
  const done = spawnSync(command, args, {
    cwd, env: { ...process.env, ...env }, encoding: 'utf8', timeout: minutes * 60_000, maxBuffer: 64 << 20, stdio: ['ignore', 'pipe', 'pipe'],
  });
  const trouble = done.error === undefined ? '' : `${command}: ${done.error.message}\n`;
  return { ok: done.status === 0, output: `${done.stdout ?? ''}${done.stderr ?? ''}${trouble}` };
}

/** A JavaScript program of a development dependency, run by this very Node. */
export function runModule(path, args, options) {
  return run(process.execPath, [join(root, 'node_modules', path), ...args], options);
}

/** Whether a program can be run at all. */
export function has(command) {
  return run(command, ['--version'], { minutes: 0.5 }).ok;
}

/**
 * Where the running Node's headers are, if they came with it: then node-gyp downloads nothing. A `nodedir` that the
 * user set for npm goes before.
 */
export function headers() {
  const set = process.env['npm_config_nodedir'];
  if (set !== undefined && set !== '') return set;
  const prefix = join(dirname(realpathSync(process.execPath)), '..');
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : undefined;
}

/** The environment in which node-gyp finds those headers. */
export function gypEnvironment() {
  const found = headers();
  return found === undefined ? {} : { npm_config_nodedir: found };
}

/** The end of a long output. */
export function tail(output, lines = 40) {
  return output.trimEnd().split('\n').slice(-lines).join('\n');
}

/** Whether this file is what node was started with. */
export function isMain(url) {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(url));
}

// Runs the compiled tests, one file after the other (labs and pinned threads want the machine to themselves), each in
// a Node.js process of its own whose TAP is read here. Coverage stays off: its instrumentation distorts hot loops.
//
//   npm test -- [--no-skips] [--timeout SECONDS] [part of a file name ...]
//
// --guest takes the tests that run inside the VM lab (test/vm/guest) instead of all others; test/vm/main.ts gives it.
// POLLMODE_NO_SKIPS=1 is --no-skips; POLLMODE_LONG=1 (npm run test:long) lets a file take longer.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { filesBelow } from './sources.mjs';
import { TapReport } from './tap_report.mjs';
import { root, say } from './tools.mjs';

const { values, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: { 'no-skips': { type: 'boolean', default: process.env['POLLMODE_NO_SKIPS'] === '1' }, guest: { type: 'boolean', default: false }, timeout: { type: 'string' } },
});
const seconds = Number(values.timeout ?? (process.env['POLLMODE_LONG'] === '1' ? 1200 : 180));
if (!(seconds > 0)) fail(`--timeout=${values.timeout}: give a number of seconds.`);

// The sources are what says which tests there are: a compiled file may be older than its source's removal.
const wanted = filters.map(filter => filter.replace(/\.js$/, '.ts').replace(/^dist\//, ''));
const files = filesBelow('test', '.test.ts').filter(path => path.startsWith('test/vm/guest/') === values.guest).filter(path => wanted.length === 0 || wanted.some(part => path.includes(part)))
  .map(path => join('dist', path.replace(/\.ts$/, '.js')));
if (files.length === 0) fail(`no test file's name holds ${filters.map(filter => `"${filter}"`).join(' or ')}.`);
const missing = files.filter(path => !existsSync(join(root, path)));
if (missing.length > 0) fail(`not compiled: ${missing.join(', ')}; run \`npm run build\`.`);

let running;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => { stop(running, 'SIGKILL'); process.exit(1); });

const report = new TapReport(values['no-skips']);
for (const path of files) process.stdout.write(`${await runFile(path)}\n`);
process.stdout.write(`${report.summary().join('\n')}\n`);
process.exit(report.totals.fail === 0 ? 0 : 1);

/** Runs one file. At the end of its time tap itself ends it and says where; a file that cannot answer is killed, with all that it started. */
function runFile(path) {
  const start = Date.now();
  const file = report.file(path);
  // A process group of its own, so that what a test leaves running ends with it.
  const child = running = spawn(process.execPath, ['--enable-source-maps', path], {
    cwd: root, detached: true, stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TAP_TIMEOUT: String(seconds) },
  });
  const ending = {};
  const asked = setTimeout(() => { ending.timedOut = `${seconds} s`; stop(child, 'SIGTERM'); }, seconds * 1000 + 3000);
  const killed = setTimeout(() => stop(child, 'SIGKILL'), seconds * 1000 + 8000);
  child.stdout.on('data', chunk => file.write(chunk));
  child.on('exit', () => stop(child, 'SIGKILL'));
  return new Promise(resolve => child.on('close', (code, signal) => {
    clearTimeout(asked);
    clearTimeout(killed);
    resolve(file.close({ code, signal, ...ending }, (Date.now() - start) / 1000));
  }));
}

/** Signals the group; it may be gone already. */
function stop(child, signal) {
  try {
    if (child?.pid !== undefined) process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function fail(sentence) {
  say(sentence);
  process.exit(2);
}

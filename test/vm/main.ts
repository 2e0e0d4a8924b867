/**
 * `npm run test:vm -- [part of a suite's name ...]`: boots one virtual machine and runs the tests of test/vm/guest in
 * it, all or those that are named. Prints their report as it comes and ends with its exit code; the guest's kernel log,
 * where IOMMU faults stand, is left in dist/vm/kernel.log. When QEMU itself breaks down, which is no verdict on a test,
 * the suites that have not reported yet get another machine.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { devices, MONITOR_MARK, network } from './devices.js';
import { buildImage } from './image.js';
import { boot, type Outcome } from './machine.js';
import { Tally } from './tally.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** What the guest gets of this environment. */
const PASSED_ON = ['POLLMODE_LONG', 'POLLMODE_NO_SKIPS', 'POLLMODE_DEBUG', 'POLLMODE_BURST'];

/** QEMU's own assertions fail now and then: a virtual CPU that looks at the map of the memory while a device's reset changes it. */
const MOST_BOOTS = 3;
/** The guest's runner ends a file that takes longer, and says so: a guest that is silent for longer still is frozen. */
const FILE_SECONDS = { short: 180, long: 1200 };

const names = process.argv.slice(2);
const environment = PASSED_ON.flatMap(name => process.env[name] === undefined ? [] : [`${name}=${quote(process.env[name]!)}`]);
const long = process.env['POLLMODE_LONG'] === '1';
// A NIC without a function-level reset takes seconds to open, and the whole conformance suite opens it hundreds of times.
if (!long) environment.push('POLLMODE_CONFORMANCE=short');

// The machine goes with us: it is ended when this process exits by itself.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));

const seconds = long ? FILE_SECONDS.long : FILE_SECONDS.short;
const image = buildImage(say);
const tally = new Tally();
let outcome = await run(names);
for (let boots = 1; outcome.crash !== undefined && boots < MOST_BOOTS; boots++) {
  const left = tally.missing(suites(names));
  say(`QEMU ended by ${outcome.crash}${outcome.crash === 'silence' ? ` (the guest said nothing for longer than a test file may take); the end of its log:\n${tail(outcome.console)}\nvm:` : ', which is its own fault;'} booting again for the ${left.length} files that have not reported: ${left.join(' ')}`);
  outcome = await run(left);
  // The guest's summary is of this boot alone.
  if (outcome.code >= 0) process.stdout.write(`${tally.summary()}\n`);
}
if (outcome.code < 0) say(`the machine ended without a result; the end of its log:\n${tail(outcome.console)}`);
process.exit(outcome.code === 0 && tally.failed ? 1 : outcome.code < 0 ? 1 : outcome.code);

/** One boot, for the suites whose names hold one of these. */
async function run(parts: readonly string[]): Promise<Outcome> {
  say(`booting Linux ${image.version} ...`);
  const result = await boot(image, {
    script: [
      'export HOME=/tmp LANG=C',
      'ip link set lo up',
      `cd ${quote(root)}`,
      ['env', ...environment, quote(process.execPath), '.scripts/test.mjs', '--guest', '--timeout', String(seconds), ...parts.map(quote)].join(' '),
    ].join('\n'),
    devices: devices(),
    network,
    minutes: long ? 60 : 20,
    silentMinutes: seconds / 60 + 1,
    monitorMark: MONITOR_MARK,
    line: line => {
      tally.line(line);
      process.stdout.write(`${line}\n`);
    },
  });
  mkdirSync(`${root}dist/vm`, { recursive: true });
  writeFileSync(`${root}dist/vm/kernel.log`, result.console);
  return result;
}

/** The sources of the suites whose names hold one of these parts; all, without parts. */
function suites(parts: readonly string[]): string[] {
  const wanted = parts.map(part => part.replace(/\.js$/, '.ts').replace(/^dist\//, ''));
  return readdirSync(`${root}test/vm/guest`).filter(name => name.endsWith('.test.ts')).map(name => `test/vm/guest/${name}`).sort()
    .filter(path => wanted.length === 0 || wanted.some(part => path.includes(part)));
}

function tail(log: string): string {
  return log.split('\n').slice(-20).join('\n');
}

function say(line: string): void {
  process.stderr.write(`vm: ${line}\n`);
}

/** For the guest's shell. */
function quote(text: string): string {
  return `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}

/**
 * `npm run test:vm -- [part of a suite's name ...]`: boots one virtual machine and runs the tests of test/vm/guest in
 * it, all or those that are named. Prints their TAP report as it comes and ends with its exit code; the guest's kernel
 * log, where IOMMU faults stand, is left in dist/vm/kernel.log.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { devices, MONITOR_MARK, network } from './devices.js';
import { buildImage } from './image.js';
import { boot } from './machine.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** What the guest gets of this environment. */
const PASSED_ON = ['POLLMODE_LONG', 'POLLMODE_NO_SKIPS', 'POLLMODE_DEBUG', 'POLLMODE_BURST'];

const names = process.argv.slice(2).map(quote);
const environment = PASSED_ON.flatMap(name => process.env[name] === undefined ? [] : [`${name}=${quote(process.env[name]!)}`]);
const long = process.env['POLLMODE_LONG'] === '1';
// A NIC without a function-level reset takes seconds to open, and the whole conformance suite opens it hundreds of times.
if (!long) environment.push('POLLMODE_CONFORMANCE=short');

// The machine goes with us: it is ended when this process exits by itself.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));

const image = buildImage(say);
say(`booting Linux ${image.version} ...`);
const outcome = await boot(image, {
  script: [
    'export HOME=/tmp LANG=C',
    'ip link set lo up',
    `cd ${quote(root)}`,
    ['env', ...environment, quote(process.execPath), '.scripts/test.mjs', '--guest', ...names].join(' '),
  ].join('\n'),
  devices: devices(),
  network,
  minutes: long ? 60 : 20,
  monitorMark: MONITOR_MARK,
  line: line => { process.stdout.write(`${line}\n`); },
});
mkdirSync(`${root}dist/vm`, { recursive: true });
writeFileSync(`${root}dist/vm/kernel.log`, outcome.console);
if (outcome.code < 0) say(`the machine ended without a result; the end of its log:\n${outcome.console.split('\n').slice(-20).join('\n')}`);
process.exit(outcome.code < 0 ? 1 : outcome.code);

function say(line: string): void {
  process.stderr.write(`vm: ${line}\n`);
}

/** For the guest's shell. */
function quote(text: string): string {
  return `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}

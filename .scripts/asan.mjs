// `npm run test:asan`: the addon built with AddressSanitizer and UBSan through cmake-js, and the tests that touch native
// code run against it. Arguments go on to .scripts/test.mjs. Leaks are not looked for: Node itself never frees all.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { has, root, run, runModule, say, tail } from './tools.mjs';

const BUILD = 'build-asan';
const ROOMS = ['native', 'kernel', 'arena', 'port', 'lab'];

if (!has('cmake')) exit('Cannot find cmake: install it (Debian: apt-get install cmake g++ make libasan8 libubsan1) and run this again.');
say('building the addon with sanitizers ...');
const built = runModule('cmake-js/bin/cmake-js', ['compile', '--directory', join(root, 'native'), '--out', join(root, BUILD), '--CDSANITIZE=ON'], { minutes: 10 });
const addon = join(root, BUILD, 'Release', 'pollmode.node');
if (!built.ok || !existsSync(addon)) exit(`cmake-js failed:\n${tail(built.output)}`);

const environment = {
  ...process.env,
  // Native code is the same in the fifteenth run of a property as in the third.
  POLLMODE_CONFORMANCE: 'short',
  POLLMODE_ADDON: addon,
  // Node is not built with the sanitizers, so their libraries must be there before it starts.
  LD_PRELOAD: [library('libasan.so'), library('libubsan.so')].join(':'),
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
};
const asked = process.argv.slice(2);
const filters = asked.some(argument => !argument.startsWith('-')) ? [] : ROOMS.map(room => `test/${room}/`);
const done = spawnSync(process.execPath, [join(root, '.scripts/test.mjs'), ...asked, ...filters], { cwd: root, env: environment, stdio: 'inherit' });
process.exit(done.status ?? 1);

/** The compiler knows where its own run-time libraries are; it echoes the bare name when it has none. */
function library(name) {
  const { ok, output } = run(process.env['CXX'] ?? 'g++', [`-print-file-name=${name}`]);
  const path = output.trim();
  if (!ok || path === name) exit(`Cannot find ${name}: install the compiler's sanitizers (Debian: apt-get install libasan8 libubsan1) and run this again.`);
  return path;
}

function exit(sentence) {
  say(sentence);
  process.exit(1);
}

// Makes prebuilds/<platform>-<arch>/: the addon as the package carries it, one binary for every Node from 20 on, because
// it uses Node-API only. Skips itself when the binary there was made from these sources.
//
// (The script is not called `prebuild`: npm would run it before every `npm run build`.)
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ADDON, nativeStamp } from './build.mjs';
import { Stamp } from './sources.mjs';
import { gypEnvironment, root, run, runModule, say, tail } from './tools.mjs';

// The C library is in the name, so that a system with another one (musl) is told that there is none for it, instead of
// failing inside dlopen.
const OUTPUT = `prebuilds/${process.platform}-${process.arch}/pollmode.glibc.node`;

const stamp = new Stamp('prebuilds', nativeStamp().inputs, [OUTPUT]);
if (process.platform !== 'linux') exit(`the addon is for Linux; this is ${process.platform}: pack on Linux.`);
if (!stamp.fresh()) make();
const needed = symbolVersions();
if (needed.length > 0) say(`${OUTPUT} needs ${needed.join(', ')}`);

function make() {
  say('building the addon for the package ...');
  const { ok, output } = runModule('prebuildify/bin.js', ['--napi', '--strip', '--tag-libc', `--target=${process.versions.node}`], { env: gypEnvironment(), minutes: 10 });
  if (!ok) exit(`prebuildify failed:\n${tail(output)}\nIt needs g++, make, python3, binutils and Node's headers.`);
  // prebuildify moved it away from build/Release, where the tree itself looks for it.
  mkdirSync(join(root, 'build', 'Release'), { recursive: true });
  copyFileSync(join(root, OUTPUT), join(root, ADDON));
  nativeStamp().write();
  stamp.write();
}

/** The newest version of each system library's symbols that the binary asks for: the oldest system it runs on. */
function symbolVersions() {
  const { ok, output } = run('objdump', ['-T', join(root, OUTPUT)]);
  if (!ok) return [];
  const newest = new Map();
  for (const [, library, version] of output.matchAll(/\((GLIBC|GLIBCXX|CXXABI|GCC)_([0-9.]+)\)/g)) {
    if (isNewer(version, newest.get(library) ?? '0')) newest.set(library, version);
  }
  return [...newest].map(([library, version]) => `${library}_${version}`);
}

function isNewer(a, b) {
  return a.localeCompare(b, 'en', { numeric: true }) > 0;
}

function exit(sentence) {
  say(sentence);
  process.exit(1);
}

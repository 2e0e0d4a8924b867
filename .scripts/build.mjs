// The build's four steps: `node .scripts/build.mjs [native] [burst] [ts] [bundle]`, all when none is named. Each one skips
// itself when its outputs belong to its inputs. Exit code 1 when one fails.
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Stamp, filesBelow, importsOf, pruneCompiled } from './sources.mjs';
import { gypEnvironment, has, isMain, root, run, runModule, say, tail } from './tools.mjs';

/** Where node-gyp puts the addon, and node-gyp-build looks first. */
export const ADDON = 'build/Release/pollmode.node';
const WITHOUT = 'Going on without the native addon: the memory ports, pcap files and dgram work without it; AF_XDP, AF_PACKET, tap and the lab do not.';
const OFFLINE = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|getaddrinfo|network|bad response|self.signed|certificate/i;

/** What a step returns: built, fresh (nothing to do), lacking (a tool is not there; said already) or failed (said already). */
export const steps = {
  native: () => step('native addon', nativeStamp(), buildNative),
  burst: () => step('burst module (WebAssembly)', burstStamp(), buildBurst),
  ts: () => step('TypeScript', typescriptStamp(), buildTypeScript),
  bundle: () => step('bundle', bundleStamp(), buildBundle),
};

export function nativeStamp() {
  return new Stamp('native', ['binding.gyp', ...filesBelow('native').filter(path => /\.(cc|h)$/.test(path))], [ADDON]);
}

function burstStamp() {
  const inputs = [...importsOf('lib/burst/assembly/index.ts')].sort();
  return new Stamp('burst', [...inputs, 'package-lock.json'], burstModules.map(({ file }) => `dist/burst/${file}`));
}

function typescriptStamp() {
  const inputs = ['lib', 'bench', 'test', 'examples'].flatMap(folder => filesBelow(folder, '.ts'));
  return new Stamp('ts', [...inputs.filter(path => !path.startsWith('lib/burst/assembly/')), 'tsconfig.json', 'package-lock.json'], ['dist/.tsbuildinfo', 'dist/lib/errors.js']);
}

/** What programs import, and what runs in the threads that it starts. */
const BUNDLED = ['lib/index', 'lib/lcore/worker', 'lib/lcore/distribute'];
const BUNDLE = 'dist/lib/bundle';

function bundleStamp() {
  const inputs = filesBelow('dist/lib', '.js').filter(path => !path.startsWith(BUNDLE));
  return new Stamp('bundle', [...inputs, 'package-lock.json'], BUNDLED.map(path => `${BUNDLE}/${path.split('/').at(-1)}.js`));
}

function step(name, stamp, build) {
  if (stamp.fresh()) return 'fresh';
  const start = Date.now();
  say(`building the ${name} ...`);
  const outcome = build();
  if (outcome === 'built') {
    stamp.write();
    say(`built the ${name} in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  }
  return outcome;
}

function buildNative() {
  const lack = lackingTool();
  if (lack !== undefined) {
    say(`${lack} ${WITHOUT}`);
    return 'lacking';
  }
  const { ok, output } = runModule('node-gyp/bin/node-gyp.js', ['rebuild'], { env: { ...gypEnvironment(), ...compiler() }, minutes: 10 });
  if (ok && existsSync(join(root, ADDON))) return 'built';
  say(`node-gyp failed:\n${tail(output)}`);
  if (!output.includes('gyp http') || !OFFLINE.test(output)) return 'failed';
  say(`Node's headers are not beside ${process.execPath} and could not be downloaded: install Node with its headers (the official archives hold them; Debian: libnode-dev), or set npm_config_nodedir. ${WITHOUT}`);
  return 'lacking';
}

/** One sentence about the first tool that is not there. */
function lackingTool() {
  if (process.platform !== 'linux') return `The native addon is for Linux; this is ${process.platform}.`;
  const missing = [];
  if (findCompiler() === undefined) missing.push(['a C++ compiler', 'g++']);
  if (!has('make')) missing.push(['make', 'make']);
  if (!has('python3')) missing.push(['python3', 'python3']);
  if (missing.length === 0) return undefined;
  return `Cannot find ${missing.map(([what]) => what).join(', ')}: install it (Debian: apt-get install ${missing.map(([, name]) => name).join(' ')}) and run this again.`;
}

function findCompiler() {
  return [process.env['CXX'], 'g++', 'c++', 'clang++'].find(name => name !== undefined && name !== '' && has(name.split(' ')[0]));
}

function compiler() {
  const found = findCompiler();
  return found === undefined || found === 'g++' ? {} : { CXX: found };
}

/** One for any machine, one for x86-64's order of stores (assembly/publish.ts), one with assertions and hooks. */
const burstModules = [
  { file: 'burst.wasm', extra: ['--noAssert', '--use', 'X86_STORE_ORDER=0'] },
  { file: 'burst_x64.wasm', extra: ['--noAssert', '--use', 'X86_STORE_ORDER=1'] },
  { file: 'burst_checking.wasm', extra: ['--use', 'X86_STORE_ORDER=0'] },
];

function buildBurst() {
  mkdirSync(join(root, 'dist', 'burst'), { recursive: true });
  const features = ['--enable', 'simd', '--enable', 'threads', '--enable', 'bulk-memory'];
  // The memory is the arena: imported, shared, of any size. Its first 64 KiB page is the module's own.
  const memory = ['--runtime', 'stub', '--importMemory', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536', '--memoryBase', '1024'];
  for (const { file, extra } of burstModules) {
    const { ok, output } = runModule('assemblyscript/bin/asc.js', ['lib/burst/assembly/index.ts', ...memory, ...features, '-O3', ...extra, '--outFile', `dist/burst/${file}`]);
    if (!ok) return fail('asc', output);
  }
  return 'built';
}

function buildTypeScript() {
  const { ok, output } = runModule('typescript/bin/tsc', ['-p', 'tsconfig.json']);
  if (!ok) return fail('tsc', output);
  pruneCompiled();
  return 'built';
}

/**
 * The compiled library in a few files instead of a hundred: Node's loader takes longer to find and read a module than V8
 * to compile it. What the entries share is in chunks, so that each class is there once. Tests run on the single files.
 */
function buildBundle() {
  rmSync(join(root, BUNDLE), { recursive: true, force: true });
  const options = {
    entryPoints: BUNDLED.map(path => `dist/${path}.js`), outdir: BUNDLE, entryNames: '[name]', bundle: true, splitting: true,
    format: 'esm', platform: 'node', target: 'node20', packages: 'external', sourcemap: true, logLevel: 'warning',
  };
  // Its program is JavaScript or a binary, as it was installed with its script or without; its module is always the same.
  const { ok, output } = run(process.execPath, ['-e', 'require("esbuild").buildSync(JSON.parse(process.argv[1]))', JSON.stringify(options)]);
  if (!ok) return fail('esbuild', output);
  return 'built';
}

function fail(tool, output) {
  say(`${tool} failed:\n${tail(output)}`);
  return 'failed';
}

/** Runs the named steps; false when one of them failed (or, with `strict`, lacked a tool). */
export function build(names, strict) {
  for (const name of names) {
    const outcome = steps[name]();
    if (outcome === 'failed' || (strict && outcome === 'lacking')) return false;
  }
  return true;
}

if (isMain(import.meta.url)) {
  const asked = process.argv.slice(2);
  const unknown = asked.find(name => !(name in steps));
  if (unknown !== undefined) {
    say(`there is no build step "${unknown}": choose from ${Object.keys(steps).join(', ')}.`);
    process.exit(2);
  }
  process.exit(build(asked.length > 0 ? asked : Object.keys(steps), true) ? 0 : 1);
}

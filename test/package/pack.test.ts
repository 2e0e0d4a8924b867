/**
 * The tarball: what it holds, and that it works where nothing can be built. Runs with the Node that runs it;
 * POLLMODE_NODES="20,22,24,26" (CI) or POLLMODE_LONG=1 fetches those and runs with each.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { needs } from '../kernel/rights.js';
import { fetchNode, install, mustRun, pack, ROOT, run, scratch } from './installed_helper.js';
import { ADDON, AF_XDP, FORWARD, TYPED } from './programs_helper.js';

const elsewhere = process.platform === 'linux' ? {} : { skip: 'the package carries a prebuilt addon for Linux only' };
const LISTED = process.env['POLLMODE_NODES'] ?? (process.env['POLLMODE_LONG'] === '1' ? '20,22,24,26' : '');
const majors = LISTED.split(',').map(major => major.trim()).filter(major => major !== '');

t.test('the package', elsewhere, async t => {
  const folder = scratch();
  t.teardown(() => folder.remove());
  const packed = pack(folder.path);
  const home = install(packed.tarball, join(folder.path, 'home'));
  for (const [name, text] of Object.entries({ 'forward.mjs': FORWARD, 'addon.mjs': ADDON, 'af_xdp.mjs': AF_XDP, 'typed.ts': TYPED })) writeFileSync(join(home, name), text);
  const installed = join(home, 'node_modules', 'pollmode');
  const node = (program: string, binary = process.execPath): Record<string, unknown> => JSON.parse(mustRun(binary, [program], home)) as Record<string, unknown>;

  t.test('holds what it needs and nothing else', async t => {
    const paths = packed.files.map(file => file.path);
    for (const path of ['package.json', 'README.md', 'LICENSE', 'binding.gyp', 'native/addon.cc', 'dist/lib/index.js', 'dist/lib/bundle/index.js', 'dist/lib/index.d.ts', 'dist/lib/cli/main.js',
      'dist/burst/burst.wasm', 'examples/switch.json', 'examples/l3fwd.ts', 'dist/examples/l3fwd.js', 'examples/14-a-switch.ts', 'dist/examples/14-a-switch.js', 'dist/burst/burst_x64.wasm', 'dist/burst/burst_checking.wasm', `prebuilds/linux-${process.arch}/pollmode.glibc.node`]) t.ok(paths.includes(path), path);
    t.same(paths.filter(path => /(^|\/)(test|bench|\.scripts|\.ci|build)\/|\.tsbuildinfo|\.stamp/.test(path)), []);
    const sources = new Set(paths.filter(path => path.startsWith('lib/')));
    t.same(paths.filter(path => /^dist\/lib\/(?!bundle\/).*\.js$/.test(path) && !sources.has(path.slice(5).replace(/\.js$/, '.ts'))), [], 'nothing is left of a source that is gone');
    t.ok(packed.size < 3_500_000, `${packed.size} bytes: below 3.5 MB`);
  });

  const binaries: [string, () => string][] = majors.length === 0 ? [[process.versions.node, () => process.execPath]]
    : majors.map(major => [major, () => fetchNode(major, join(folder.path, `node-${major}`))]);
  for (const [version, binary] of binaries) {
    t.test(`works on Node ${version}, installed without scripts`, async t => {
      const executable = binary();
      t.equal(mustRun(executable, ['--version'], home).slice(1).split('.')[0], version.split('.')[0], 'is that Node');
      t.match(node('forward.mjs', executable), { forwarded: 3200, whole: true });
      const addon = node('addon.mjs', executable);
      t.equal(addon['thread'], addon['pid'], 'the main thread is what gettid says');
      t.equal(addon['file'], join(installed, 'prebuilds', `linux-${process.arch}`, 'pollmode.glibc.node'));
      t.test('and on real frames', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW'), async t => {
        t.match(node('af_xdp.mjs', executable), { sent: 320, received: 320 });
      });
    });
  }

  t.test('its lessons run', async t => {
    t.match(mustRun(process.execPath, [join(installed, 'dist', 'examples', '04-descriptor-rings.js')], home), /one report for the burst/);
  });

  t.test('its command runs', async t => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    t.equal(mustRun(join(home, 'node_modules', '.bin', 'pollmode'), ['--version'], home).trim(), version);
  });

  for (const lib of [['ES2023'], ['ES2023', 'DOM']]) {
    t.test(`its types resolve with ${lib.join(' and ')}`, async t => {
      writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({
        compilerOptions: { target: 'ES2022', lib, module: 'NodeNext', strict: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false, types: ['node'], typeRoots: [join(ROOT, 'node_modules', '@types')] },
        files: ['typed.ts'],
      }));
      const { status, stdout } = run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', home], home);
      t.equal(status, 0, stdout);
    });
  }

  t.test('without its addon it says what to do, and memory ports go on', async t => {
    rmSync(join(installed, 'prebuilds'), { recursive: true });
    const { code, message } = node('addon.mjs') as { code: string; message: string };
    t.equal(code, 'EADDON');
    for (const part of [`linux-${process.arch}`, /\b(glibc \d|musl)/, join(installed, 'prebuilds', `linux-${process.arch}`), 'node-gyp rebuild']) t.match(message, part);
    t.match(node('forward.mjs'), { forwarded: 3200, whole: true });
  });
});

// What `npm start` and `npm test` call first: installs and builds what is missing or old. On a tree that is ready it
// takes a fraction of a second. It needs nothing but Node and npm itself.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { isMain, root, run, say, tail } from './tools.mjs';

function main() {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    say(`this is Node ${process.versions.node}; pollmode needs Node 20 or newer: install one and run this again.`);
    return false;
  }
  return install() && build(['native', 'burst', 'ts', 'bundle'], false);
}

function install() {
  if (installed()) return true;
  const start = Date.now();
  say('installing the development dependencies (npm ci) ...');
  const { ok, output } = run('npm', ['ci', '--no-audit', '--no-fund'], { minutes: 10, env: { npm_config_update_notifier: 'false' } });
  if (!ok) say(`npm ci failed:\n${tail(output)}\nnpm must reach a package registry the first time: look at \`npm config get registry\` and your proxy settings, then run this again.`);
  else say(`installed in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  return ok;
}

/** npm notes what it installed in node_modules/.package-lock.json, last of all; it must be what the lockfile says. */
function installed() {
  const note = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(note)) return false;
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const there = packagesOf(note);
  return Object.entries(wanted).every(([path, entry]) => path === '' || there[path]?.version === entry.version || (entry.optional === true && there[path] === undefined));
}

function packagesOf(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages ?? {};
}

if (isMain(import.meta.url)) process.exit(main() ? 0 : 1);

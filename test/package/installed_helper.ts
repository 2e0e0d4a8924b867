/** The package as a user gets it: packed from this tree, installed without scripts into an empty folder. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The tree: this file is dist/test/package/installed_helper.js in it, or in a copy of its dist. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

export interface Outcome { readonly status: number | null; readonly stdout: string; readonly stderr: string }

/**
 * Runs a program to its end, at most `minutes`. The environment is this one's without what would change the package
 * under test: another addon, a sanitizer's preload, npm's idea of which package it is working on.
 */
export function run(command: string, args: readonly string[], cwd: string, minutes = 3): Outcome {
  const environment = Object.fromEntries(Object.entries(process.env)
    .filter(([name]) => !/^(POLLMODE_|LD_PRELOAD$|NODE_OPTIONS$|npm_config_local_prefix$|TAP)/.test(name)));
  const done = spawnSync(command, args, { cwd, env: environment, encoding: 'utf8', timeout: minutes * 60_000, maxBuffer: 32 << 20 });
  return { status: done.status, stdout: done.stdout ?? '', stderr: `${done.stderr ?? ''}${done.error?.message ?? ''}` };
}

/** Runs one that must succeed. */
export function mustRun(command: string, args: readonly string[], cwd: string, minutes?: number): string {
  const { status, stdout, stderr } = run(command, args, cwd, minutes);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${String(status)}\n${stdout}\n${stderr}`);
  return stdout;
}

/** An empty folder under the system's temporary one, removed by `remove`. */
export function scratch(): { readonly path: string; remove(): void } {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'pollmode-package-')));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export interface Packed {
  readonly tarball: string;
  readonly size: number;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

/** Makes the prebuilt addon where it is missing or old, and the tarball. The tree is built already: tests run from it. */
export function pack(into: string): Packed {
  mustRun(process.execPath, ['.scripts/prebuild.mjs'], ROOT, 10);
  const [described] = JSON.parse(mustRun('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', into], ROOT)) as [{ filename: string; size: number; files: Packed['files'] }];
  return { tarball: join(into, described.filename), size: described.size, files: described.files };
}

/** Installs the tarball, and its dependencies from npm's cache or registry, into a new folder. Returns that folder. */
export function install(tarball: string, folder: string): string {
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  npmInstall(folder, [tarball]);
  return folder;
}

/** Node of a major version, from the npm package that carries its binary and needs no script. Returns its path. */
export function fetchNode(major: string, folder: string): string {
  const carrier = `node-${process.platform}-${process.arch}`;
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  npmInstall(folder, ['--no-save', `${carrier}@${major}`]);
  return join(folder, 'node_modules', carrier, 'bin', 'node');
}

function npmInstall(folder: string, args: readonly string[]): void {
  mustRun('npm', ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', ...args], folder, 5);
}

/** The guest: Debian's kernel, and a small initramfs of busybox and the modules that the lab needs. Made once, kept in the user's cache. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PrivateApt } from './packages.js';

/** What the guest loads, in this order, each behind what it depends on. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'vfio_pci', 'vfio_iommu_type1', 'virtio_net', 'e1000e', 'igb', 'igbvf', '8021q', 'vxlan', 'veth', 'tun', 'bridge'];

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
  /** Of the kernel: "6.12.95+deb12-amd64". */
  readonly version: string;
}

/** Fetches Debian's kernel and builds the initramfs. */
export function buildImage(say: (line: string) => void): Image {
  const cache = process.env['POLLMODE_VM_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'pollmode-vm');
  mkdirSync(cache, { recursive: true });
  const root = kernelTree(cache, say);
  const version = readdirSync(join(root, 'lib', 'modules'))[0]!;
  const kernel = join(root, 'boot', `vmlinuz-${version}`);
  const initramfs = join(cache, `initramfs-${version}.cpio`);
  buildInitramfs(root, version, initramfs);
  return { kernel, initramfs, version };
}

function kernelTree(cache: string, say: (line: string) => void): string {
  const tree = join(cache, 'kernel');
  if (existsSync(tree)) return tree;
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    const apt = PrivateApt.open(join(work, 'apt'));
    const names = kernelPackages(apt);
    say(`fetching ${names.join(', ')} ...`);
    apt.unpack(names, work, join(work, 'root'));
    arrange(join(work, 'root'));
    renameSync(join(work, 'root'), tree);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return tree;
}

/** One package, or since Linux 7 one for the kernel, one for its modules, and one for the lists of what is built in. */
function kernelPackages(apt: PrivateApt): string[] {
  const image = /\b(linux-image-\d[^ ,]*)/.exec(apt.depends('linux-image-amd64'))?.[1];
  if (image === undefined) throw new Error('Debian\'s package linux-image-amd64 names no kernel: this lab is older than it; mend kernelPackages().');
  const parts = [...apt.depends(image).matchAll(/\b(linux-(?:base|binary|modules)-\d[^ ,]*)/g)].map(match => match[1]!);
  return parts.length > 0 ? parts : [image];
}

/** As in the one package of old: /lib/modules, and the kernel in /boot. */
function arrange(root: string): void {
  if (!existsSync(join(root, 'lib'))) symlinkSync('usr/lib', join(root, 'lib'));
  const version = readdirSync(join(root, 'lib', 'modules'))[0]!;
  const kernel = join(root, 'boot', `vmlinuz-${version}`);
  if (!existsSync(kernel)) {
    mkdirSync(join(root, 'boot'), { recursive: true });
    copyFileSync(join(root, 'lib', 'modules', version, 'vmlinuz'), kernel);
  }
  run('depmod', ['-b', root, version]);
}

function buildInitramfs(root: string, version: string, to: string): void {
  const work = mkdtempSync(join(tmpdir(), 'pollmode-initramfs-'));
  try {
    for (const folder of ['bin', 'modules', 'dev', 'proc', 'sys']) mkdirSync(join(work, folder));
    copyFileSync(busybox(), join(work, 'bin', 'busybox'));
    writeFileSync(join(work, 'modules.list'), copyModules(root, version, join(work, 'modules')).join('\n'));
    writeFileSync(join(work, 'init'), readFileSync(script(), 'utf8'), { mode: 0o755 });
    const files = run('find', ['.'], work);
    const archive = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: work, input: files, maxBuffer: 256 << 20 });
    // Another lab may be booting from the old one: a rename leaves it its file.
    writeFileSync(`${to}.new`, archive);
    renameSync(`${to}.new`, to);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Copies each module and what it needs, unpacked. Returns file names in loading order. */
function copyModules(root: string, version: string, to: string): string[] {
  const wanted = MODULES.flatMap(module => run('modprobe', ['-d', root, '-S', version, '--show-depends', module]).split('\n')
    .filter(line => line.startsWith('insmod ')).map(line => line.split(' ')[1]!));
  const names: string[] = [];
  for (const path of new Set(wanted)) {
    const name = basename(path).replace(/\.(xz|zst|gz)$/, '');
    const unpack = { xz: 'xzcat', st: 'zstdcat', gz: 'zcat' }[path.slice(-2)];
    if (unpack === undefined) copyFileSync(path, join(to, name));
    else writeFileSync(join(to, name), execFileSync(unpack, [path], { maxBuffer: 64 << 20 }));
    names.push(name);
  }
  return names;
}

/** Beside the source: this file runs compiled. */
function script(): string {
  return fileURLToPath(new URL('../../../test/vm/init.sh', import.meta.url));
}

function busybox(): string {
  const path = '/bin/busybox';
  if (!existsSync(path)) throw new Error('The lab\'s guest needs busybox: apt-get install busybox-static.');
  return path;
}

function run(program: string, args: string[], cwd?: string): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
  } catch (cause) {
    throw new Error(`${program} ${args.join(' ')} failed: ${(cause as { stderr?: string }).stderr ?? String(cause)}`, { cause });
  }
}

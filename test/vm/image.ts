/** The guest: Debian's kernel, and a small initramfs of busybox and the modules that the lab needs. Made once, kept in the user's cache. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What the guest loads, in this order, each behind what it depends on. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'vfio_pci', 'vfio_iommu_type1', 'virtio_net', 'e1000e', 'igb', 'igbvf', '8021q', 'vxlan', 'veth', 'tun', 'bridge'];

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
  /** Of the kernel: "6.12.95+deb12-amd64". */
  readonly version: string;
}

/** Fetches Debian's kernel package (the backports' where there is one, since it has zero-copy AF_XDP in virtio-net) and builds the initramfs. */
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
    const meta = run('apt-cache', ['policy', 'linux-image-amd64']);
    const version = /^ {5}(\S*bpo\S*) /m.exec(meta)?.[1] ?? /Candidate: (\S+)/.exec(meta)?.[1] ?? '';
    const depends = run('apt-cache', ['show', `linux-image-amd64=${version}`]);
    const name = /^Depends: (\S+)/m.exec(depends)?.[1];
    if (name === undefined) throw new Error('apt knows no package linux-image-amd64: the lab takes Debian\'s kernel, so it needs Debian, or POLLMODE_VM_CACHE with a folder kernel/ in it.');
    say(`fetching ${name} ...`);
    execFileSync('apt-get', ['download', '-qq', name], { cwd: work, stdio: ['ignore', 'ignore', 'pipe'] });
    const archive = readdirSync(work).find(file => file.endsWith('.deb'))!;
    run('dpkg', ['-x', join(work, archive), join(work, 'root')]);
    run('depmod', ['-b', join(work, 'root'), readdirSync(join(work, 'root', 'lib', 'modules'))[0]!]);
    renameSync(join(work, 'root'), tree);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return tree;
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

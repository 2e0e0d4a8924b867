/** Debian's packages for the guest, fetched and unpacked without a change to this machine's own apt. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Releases whose kernels the lab takes, the best first: virtio-net has zero-copy AF_XDP since Linux 6.13, igb since 6.14,
 * and the backports of Debian 13 have one newer than both.
 */
const SUITES = ['trixie-backports', 'bookworm-backports', 'bookworm'];

/** An apt of our own below `folder`, with one suite of the archive that this machine's packages come from. */
export class PrivateApt {
  readonly #options: readonly string[];

  private constructor(folder: string, source: string) {
    for (const name of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, name), { recursive: true });
    const list = join(folder, 'debian.list');
    writeFileSync(list, `${source}\n`);
    const places = { 'Etc::sourcelist': list, 'Etc::sourceparts': '-', 'State::lists': join(folder, 'lists'), Cache: join(folder, 'cache') };
    this.#options = Object.entries(places).flatMap(([name, path]) => ['-o', `Dir::${name}=${path}`]);
  }

  /** With the first suite that there is. Throws with the mend. */
  static open(folder: string): PrivateApt {
    const archive = debianArchive();
    const said: string[] = [];
    for (const suite of SUITES) {
      const apt = new PrivateApt(join(folder, suite), `deb ${archive.options}${archive.uri} ${suite} main`);
      try {
        apt.#run('apt-get', ['update', '-qq', '-o', 'APT::Update::Error-Mode=any']);
        return apt;
      } catch (cause) {
        said.push((cause as Error).message);
      }
    }
    throw new Error(`The lab takes Debian's kernel and could not fetch it: give it POLLMODE_VM_CACHE, a folder with kernel/ in it (boot/vmlinuz-VERSION and lib/modules/VERSION). ${said.join('; ')}`);
  }

  /** The field "Depends" of a package, of its newest version. */
  depends(name: string): string {
    return /^Depends: (.*)$/m.exec(this.#run('apt-cache', ['show', '--no-all-versions', name]))?.[1] ?? '';
  }

  /** Fetches packages and unpacks them into one tree. */
  unpack(names: readonly string[], work: string, root: string): void {
    this.#run('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', ...names], work);
    for (const file of readdirSync(work).filter(each => each.endsWith('.deb'))) execFileSync('dpkg', ['-x', join(work, file), root]);
  }

  #run(program: string, args: readonly string[], cwd?: string): string {
    try {
      return execFileSync(program, [...this.#options, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
    } catch (cause) {
      throw new Error(`${program} ${args.join(' ')} failed: ${String((cause as { stderr?: string }).stderr ?? cause).trim()}`, { cause });
    }
  }
}

/** The first of apt's sources here that has a Debian release in "main". */
function debianArchive(): { readonly uri: string; readonly options: string } {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder).map(name => join(folder, name)) : [];
  for (const file of files.filter(name => name.endsWith('.sources'))) {
    for (const stanza of readFileSync(file, 'utf8').replace(/^#.*\n/gm, '').split(/\n\s*\n/)) {
      const field = (name: string): string | undefined => new RegExp(`^${name}: *(\\S+)`, 'mi').exec(stanza)?.[1];
      if (!/^Suites:.*\b(bookworm|trixie)( |$)/mi.test(stanza) || field('URIs') === undefined) continue;
      const key = field('Signed-By');
      return { uri: field('URIs')!, options: key === undefined ? '' : `[signed-by=${key}] ` };
    }
  }
  for (const file of [...files.filter(name => name.endsWith('.list')), '/etc/apt/sources.list'].filter(existsSync)) {
    const line = /^deb +(\[[^\]]*\] +)?(\S+) +(?:bookworm|trixie) +.*\bmain\b/m.exec(readFileSync(file, 'utf8'));
    if (line !== null) return { uri: line[2]!, options: line[1] ?? '' };
  }
  throw new Error('The lab takes Debian\'s kernel, and apt has no source of Debian here: run it on Debian, or give it POLLMODE_VM_CACHE, a folder with kernel/ in it.');
}

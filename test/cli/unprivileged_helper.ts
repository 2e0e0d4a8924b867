/** The command as a user without any rights runs it, in a copy that this user can read. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../package/installed_helper.js';

export interface Ended { readonly status: number | null; readonly stdout: string; readonly stderr: string }

/** The overflow ids, which own nothing ("nobody"). */
const NOBODY = 65534;
const AS_NOBODY = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

/** tap's options: a reason to skip where no other user can be had, or cannot run this Node. */
export function needsNobody(): { skip: string | false } {
  if (process.getuid?.() !== 0) return { skip: 'needs root, to become another user' };
  const node = spawnSync('setpriv', [...AS_NOBODY, process.execPath, '-e', '0'], { cwd: '/', timeout: 10_000 });
  return { skip: node.status !== 0 && `another user cannot run ${process.execPath}, or there is no setpriv` };
}

export class NobodysCopy {
  readonly #folder = mkdtempSync(join(tmpdir(), 'pollmode-nobody-'));
  /** Where this user may write. */
  readonly home = join(this.#folder, 'home');

  constructor() {
    for (const part of ['package.json', 'dist/lib', 'dist/burst', 'build/Release']) cpSync(join(ROOT, part), join(this.#folder, part), { recursive: true });
    for (const name of dependencies()) cpSync(join(ROOT, 'node_modules', name), join(this.#folder, 'node_modules', name), { recursive: true });
    mkdirSync(this.home);
    chownSync(this.home, NOBODY, NOBODY);
    chmodSync(this.#folder, 0o755);
  }

  /** @param environment more of it, for example a PATH */
  run(words: readonly string[], environment: Record<string, string> = {}): Ended {
    const main = join(this.#folder, 'dist', 'lib', 'cli', 'main.js');
    const setpriv = spawnSync('sh', ['-c', 'command -v setpriv'], { encoding: 'utf8' }).stdout.trim();
    const { status, stdout, stderr } = spawnSync(setpriv, [...AS_NOBODY, process.execPath, main, ...words], {
      cwd: this.home, encoding: 'utf8', timeout: 60_000, env: { ...process.env, HOME: this.home, ...environment },
    });
    return { status, stdout, stderr };
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The packages that the installed one needs, and theirs. */
function dependencies(of = join(ROOT, 'package.json'), found = new Set<string>()): Set<string> {
  const { dependencies: names = {} } = JSON.parse(readFileSync(of, 'utf8')) as { dependencies?: Record<string, string> };
  for (const name of Object.keys(names)) {
    if (found.has(name)) continue;
    found.add(name);
    dependencies(join(ROOT, 'node_modules', name, 'package.json'), found);
  }
  return found;
}

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openLab, type Lab } from '../../lib/lab/veth.js';
import { Program, type ProgramOptions } from './program.js';

const HUGE_PAGES = '/proc/sys/vm/nr_hugepages';
/** 512 MiB in pages of 2 MiB: enough for a testpmd with 16384 mbufs, and for our own pool. */
const PAGES_WANTED = 256;

/** The package's folder: this file is dist/bench/peers/machine.js in it. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/**
 * What a run borrows from the machine: processes, huge pages, a temporary folder, a lab. `giveBack` undoes all of it,
 * and may be called at any moment, by Ctrl-C too.
 */
export class Machine {
  readonly folder = mkdtempSync(join(tmpdir(), 'pollmode-bench-'));
  readonly #programs = new Set<Program>();
  #pages = 0;

  /** Starts a program. It is killed by `giveBack` if it still runs then. */
  start(command: string, args: readonly string[], options?: ProgramOptions): Program {
    const program = new Program(command, args, options);
    this.#programs.add(program);
    void program.exited.then(() => this.#programs.delete(program));
    return program;
  }

  /** Runs `work` in a fresh lab: what a peer left attached to an interface goes with it. */
  async withLab<T>(work: (lab: Lab) => Promise<T>): Promise<T> {
    const lab = openLab();
    try {
      return await work(lab);
    } finally {
      lab.close();
    }
  }

  /** Sees to it that there are free huge pages. Returns why not, or undefined. */
  reserveHugePages(): string | undefined {
    const lack = PAGES_WANTED - freePages();
    if (lack <= 0) return undefined;
    const before = Number(readFileSync(HUGE_PAGES, 'utf8'));
    try {
      writeFileSync(HUGE_PAGES, String(before + lack));
    } catch {
      return `DPDK needs ${PAGES_WANTED} free huge pages and this user cannot reserve them: run as root, or echo ${before + lack} > ${HUGE_PAGES}`;
    }
    this.#pages = Number(readFileSync(HUGE_PAGES, 'utf8')) - before;
    return freePages() >= PAGES_WANTED ? undefined : `DPDK needs ${PAGES_WANTED} free huge pages and the kernel found ${freePages()}: free some memory`;
  }

  giveBack(): void {
    for (const program of this.#programs) program.kill();
    // As many as were added, not back to what it was: others may have changed the number in between.
    if (this.#pages > 0) writeFileSync(HUGE_PAGES, String(Math.max(0, Number(readFileSync(HUGE_PAGES, 'utf8')) - this.#pages)));
    this.#pages = 0;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** How busy the CPUs are with other work, 0 to 1, over a third of a second in which this program does nothing. */
export async function otherLoad(): Promise<number> {
  const read = (): [idle: number, all: number] => {
    const ticks = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.trim().split(/\s+/).slice(1, 9).map(Number);
    return [ticks[3]! + ticks[4]!, ticks.reduce((sum, each) => sum + each, 0)];
  };
  const [idle, all] = read();
  await sleep(333);
  const [idleNow, allNow] = read();
  return 1 - (idleNow - idle) / Math.max(1, allNow - all);
}

/** Is there such a program in the PATH? */
export function installed(command: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$0"', command]).status === 0;
}

/** The output of a short command, or undefined where it fails. */
export function ask(command: string, ...args: string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

function freePages(): number {
  return Number(/^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
}

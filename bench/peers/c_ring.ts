/** The small C program on rte_ring_*_elem, compiled for this very machine. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Cpus } from './dpdk.js';
import { ask, installed, root, type Machine } from './machine.js';

/** Of both programs' two-core runs: how long a side leaves the ring alone after a call that moved nothing. As bench/ours/ring-two-cores.ts. */
const REST_NANOSECONDS = 1000;
/** After DPDK's own flags, whose -march=corei7 it overrides. */
const FLAGS = ['-O3', '-march=native', '-D_GNU_SOURCE'];

export class CRing {
  readonly #machine: Machine;
  #compiled: string | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Why it cannot be compiled, or undefined; compiles it. */
  lacks(): string | undefined {
    if (this.#compiled !== undefined) return undefined;
    const missing = ['gcc', 'pkg-config'].filter(name => !installed(name));
    if (missing.length > 0) return `${missing.join(' and ')} not found: apt-get install gcc pkg-config`;
    const flags = ask('pkg-config', '--cflags', '--libs', 'libdpdk')?.split(/\s+/);
    if (flags === undefined) return 'DPDK\'s headers not found: apt-get install dpdk-dev';
    const output = join(this.#machine.folder, 'ring');
    const { status, stderr } = spawnSync('gcc', [join(root, 'bench/peers/ring.c'), '-o', output, ...flags, ...FLAGS, '-lpthread'], { encoding: 'utf8' });
    if (status !== 0) return `gcc refused bench/peers/ring.c: ${stderr.split('\n')[0] ?? ''}`;
    this.#compiled = output;
    return undefined;
  }

  /** Cycles per bulk of 32 elements of 4 bytes. */
  async run(what: 'sp-sc' | 'mp-mc' | 'two-cores', seconds: number, { measured, other }: Cpus): Promise<number> {
    const program = this.#machine.start(this.#compiled!, [what, String(seconds), String(measured), String(other), String(REST_NANOSECONDS)]);
    return Number(await program.finish(seconds + 10));
  }

  static flags(): string {
    return `${ask('gcc', '--version')?.split('\n')[0] ?? 'no gcc'} ${FLAGS.slice(0, 2).join(' ')}`;
  }
}

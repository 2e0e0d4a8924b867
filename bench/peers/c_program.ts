/** A C program of this folder, compiled for this very machine. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ask, installed, root, type Machine } from './machine.js';
import type { Program, ProgramOptions } from './program.js';

/** After DPDK's own flags, whose -march=corei7 it overrides. */
const FLAGS = ['-O3', '-march=native', '-D_GNU_SOURCE'];

export class CProgram {
  readonly #machine: Machine;
  readonly #name: string;
  readonly #dpdk: boolean;
  #compiled: string | undefined;

  /** @param name of bench/peers/NAME.c; `dpdk` where it is built on DPDK */
  constructor(machine: Machine, name: string, { dpdk }: { readonly dpdk: boolean }) {
    this.#machine = machine;
    this.#name = name;
    this.#dpdk = dpdk;
  }

  /** Why it cannot be compiled, or undefined; compiles it. */
  lacks(): string | undefined {
    if (this.#compiled !== undefined) return undefined;
    const missing = (this.#dpdk ? ['gcc', 'pkg-config'] : ['gcc']).filter(name => !installed(name));
    if (missing.length > 0) return `${missing.join(' and ')} not found: apt-get install ${missing.join(' ')}`;
    const flags = this.#dpdk ? ask('pkg-config', '--cflags', '--libs', 'libdpdk')?.split(/\s+/) : [];
    if (flags === undefined) return 'DPDK\'s headers not found: apt-get install dpdk-dev';
    const [source, output] = [`bench/peers/${this.#name}.c`, join(this.#machine.folder, this.#name)];
    const { status, stderr } = spawnSync('gcc', [join(root, source), '-o', output, ...flags, ...FLAGS, '-lpthread', '-lm', '-Wno-deprecated-declarations'], { encoding: 'utf8' });
    if (status !== 0) return `gcc refused ${source}: ${stderr.split('\n')[0] ?? ''}`;
    this.#compiled = output;
    return undefined;
  }

  /** Once nothing is lacking. */
  start(words: readonly string[], options?: ProgramOptions): Program {
    return this.#machine.start(this.#compiled!, words, options);
  }

  static flags(): string {
    return `${ask('gcc', '--version')?.split('\n')[0] ?? 'no gcc'} ${FLAGS.slice(0, 2).join(' ')}`;
  }
}

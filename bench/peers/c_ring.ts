/** The small C program on rte_ring_*_elem. */
import { CProgram } from './c_program.js';
import type { Cpus } from './dpdk.js';
import type { Machine } from './machine.js';

/** Of both programs' two-core runs: how long a side leaves the ring alone after a call that moved nothing. As bench/ours/ring-two-cores.ts. */
const REST_NANOSECONDS = 1000;

export class CRing {
  readonly #program: CProgram;

  constructor(machine: Machine) {
    this.#program = new CProgram(machine, 'ring', { dpdk: true });
  }

  /** Why it cannot be compiled, or undefined; compiles it. */
  lacks(): string | undefined {
    return this.#program.lacks();
  }

  /** Cycles per bulk of 32 elements of 4 bytes. */
  async run(what: 'sp-sc' | 'mp-mc' | 'two-cores', seconds: number, { measured, other }: Cpus): Promise<number> {
    return Number(await this.#program.start([what, String(seconds), String(measured), String(other), String(REST_NANOSECONDS)]).finish(seconds + 10));
  }
}

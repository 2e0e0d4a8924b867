/** The lookups, ours against a C program on DPDK's libraries (lookup.c), and against DPDK's own autotests where those are asked for. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { writeFiles } from '../ours/lookup_data.js';
import type { Bench, Figures, Measurement } from './bench.js';
import { CProgram } from './c_program.js';
import { autotest, dpdkLacks, printed } from './dpdk.js';
import type { Machine } from './machine.js';
import { startOurs } from './ours.js';

const WORKS = ['lpm-lookup', 'lpm-add', 'hash-lookup', 'hash-add', 'acl', 'l3fwd', 'l3fwd-few'] as const;
type Work = (typeof WORKS)[number];

/** What either program prints: `check` is the same when both did the same work. */
interface Result { readonly cycles: number; readonly check: number }

export function lookupMeasurements(machine: Machine): readonly Measurement[] {
  const c = new CLookup(machine);
  const checks = new Map<Work, number>();
  const keep = (work: Work, { cycles, check }: Result): Figures => {
    if ((checks.get(work) ?? check) !== check) throw new Error(`${work}: the C program and ours did not find the same`);
    checks.set(work, check);
    return { value: cycles };
  };
  return [
    ...WORKS.flatMap(work => [
      { name: `C ${work}`, lacks: () => c.lacks(), run: async (bench: Bench) => keep(work, await c.run(work, bench)) },
      { name: `lookup ${work}`, lacks: () => undefined, run: async (bench: Bench) => keep(work, await ours(work, bench, c)) },
    ]),
    ...(['l3fwd', 'l3fwd-few'] as const).map(work => ({ name: `lookup ${work}-plain`, lacks: () => undefined, run: async (bench: Bench) => keep(work, await ours(`${work}-plain`, bench, c)) })),
    { name: 'lookup lpm-add-all', lacks: () => undefined, run: async bench => ({ value: (await ours('lpm-add-all', bench, c)).cycles }) },
    { name: 'lpm_perf_autotest', lacks: () => dpdkLacks(machine), run: lpmPerf },
    { name: 'hash_perf_autotest', lacks: () => dpdkLacks(machine), run: hashPerf },
  ];
}

async function ours(work: Work | 'lpm-add-all' | 'l3fwd-plain' | 'l3fwd-few-plain', { machine, cpus, seconds }: Bench, c: CLookup): Promise<Result> {
  const output = await startOurs(machine, 'lookup', cpus, { seconds, more: [work, '--file', c.file(work)] }).finish(seconds + 60);
  return JSON.parse(output.trim().split('\n').at(-1)!) as Result;
}

class CLookup {
  readonly #machine: Machine;
  readonly #program: CProgram;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#program = new CProgram(machine, 'lookup', { dpdk: true });
  }

  /** Why it cannot be compiled or run, or undefined; compiles it. */
  lacks(): string | undefined {
    return this.#program.lacks() ?? dpdkLacks(this.#machine);
  }

  /** The routes or the rules; both are written before the first is asked for. */
  file(work: string): string {
    const [routes, rules] = ['routes', 'rules'].map(name => join(this.#machine.folder, name)) as [string, string];
    if (!existsSync(routes)) writeFiles(routes, rules);
    return work === 'acl' ? rules : routes;
  }

  async run(work: Work, { cpus, seconds }: Bench): Promise<Result> {
    const program = this.#program.start([work, String(seconds), String(cpus.measured), this.file(work)], { environment: { RUNTIME_DIRECTORY: this.#machine.folder } });
    return JSON.parse((await program.finish(seconds + 60)).trim().split('\n').at(-1)!) as Result;
  }
}

/** Some four minutes, most of them for adding the routes. */
async function lpmPerf({ machine, cpus }: Bench): Promise<Figures> {
  const output = await autotest(machine, cpus, 'lpm_perf_autotest', /BULK LPM Lookup/, 420);
  return { add: printed(output, /Average LPM Add: ([\d.e+]+) cycles/), bulk: printed(output, /BULK LPM Lookup: ([\d.]+) cycles/) };
}

async function hashPerf({ machine, cpus }: Bench): Promise<Figures> {
  const output = await autotest(machine, cpus, 'hash_perf_autotest', /Keysize[^\n]*\n(?:\d+[^\n]*\n){3}/, 300);
  const [, add, bulk] = /Keysize[^\n]*\n(?:\d+[^\n]*\n)*?16\s+([\d.]+)\s+[\d.]+\s+([\d.]+)/.exec(output) ?? [];
  if (bulk === undefined) throw new Error('hash_perf_autotest printed no line for keys of 16 bytes');
  return { add: Number(add), bulk: Number(bulk) };
}

/** The lookups, ours against a C program on DPDK's libraries (lookup.c), and against DPDK's own autotests where those are asked for. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { writeFiles } from '../ours/lookup_data.js';
import type { Bench, Figures, Measurement } from './bench.js';
import { dpdkLacks } from './dpdk.js';
import { ask, installed, root, type Machine } from './machine.js';
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
  #compiled: string | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Why it cannot be compiled or run, or undefined; compiles it. */
  lacks(): string | undefined {
    if (this.#compiled !== undefined) return undefined;
    const missing = ['gcc', 'pkg-config'].filter(name => !installed(name));
    if (missing.length > 0) return `${missing.join(' and ')} not found: apt-get install gcc pkg-config`;
    const flags = ask('pkg-config', '--cflags', '--libs', 'libdpdk')?.split(/\s+/);
    if (flags === undefined) return 'DPDK\'s headers not found: apt-get install dpdk-dev';
    const output = join(this.#machine.folder, 'lookup');
    const { status, stderr } = spawnSync('gcc', [join(root, 'bench/peers/lookup.c'), '-o', output, ...flags, '-O3', '-march=native', '-D_GNU_SOURCE', '-lm', '-Wno-deprecated-declarations'], { encoding: 'utf8' });
    if (status !== 0) return `gcc refused bench/peers/lookup.c: ${stderr.split('\n')[0] ?? ''}`;
    this.#compiled = output;
    return dpdkLacks(this.#machine);
  }

  /** The routes or the rules; both are written before the first is asked for. */
  file(work: string): string {
    const [routes, rules] = ['routes', 'rules'].map(name => join(this.#machine.folder, name)) as [string, string];
    if (!existsSync(routes)) writeFiles(routes, rules);
    return work === 'acl' ? rules : routes;
  }

  async run(work: Work, { cpus, seconds }: Bench): Promise<Result> {
    const words = [work, String(seconds), String(cpus.measured), this.file(work)];
    const program = this.#machine.start(this.#compiled!, words, { environment: { RUNTIME_DIRECTORY: this.#machine.folder } });
    return JSON.parse((await program.finish(seconds + 60)).trim().split('\n').at(-1)!) as Result;
  }
}

/** Some four minutes, most of them for adding the routes. */
async function lpmPerf(bench: Bench): Promise<Figures> {
  const output = await autotest(bench, 'lpm_perf_autotest', /BULK LPM Lookup/, 420);
  return { add: figure(output, /Average LPM Add: ([\d.e+]+) cycles/), bulk: figure(output, /BULK LPM Lookup: ([\d.]+) cycles/) };
}

async function hashPerf(bench: Bench): Promise<Figures> {
  const output = await autotest(bench, 'hash_perf_autotest', /Keysize[^\n]*\n(?:\d+[^\n]*\n){3}/, 300);
  const [, add, bulk] = /Keysize[^\n]*\n(?:\d+[^\n]*\n)*?16\s+([\d.]+)\s+[\d.]+\s+([\d.]+)/.exec(output) ?? [];
  if (bulk === undefined) throw new Error('hash_perf_autotest printed no line for keys of 16 bytes');
  return { add: Number(add), bulk: Number(bulk) };
}

/** Ends it once it has printed what is wanted: it goes on with other tests for minutes. */
async function autotest({ machine, cpus }: Bench, name: string, wanted: RegExp, seconds: number): Promise<string> {
  const words = ['-oL', 'dpdk-test', '--lcores', `0@${cpus.measured},1@${cpus.other}`, '--in-memory', '--no-pci', '--no-telemetry'];
  const program = machine.start('stdbuf', words, { environment: { DPDK_TEST: name, RUNTIME_DIRECTORY: machine.folder } });
  try {
    await program.expect(wanted, seconds);
    return program.output;
  } finally {
    program.kill();
    await program.exited;
  }
}

function figure(output: string, pattern: RegExp): number {
  const found = pattern.exec(output);
  if (found === null) throw new Error(`the autotest printed nothing like ${String(pattern)}`);
  return Number(found[1]);
}

/** Races a C program of this folder and one of bench/ours in turn, in one run: shared by the benches of steering. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../../lib/sweep/statistics.js';
import { benchOptions } from '../options.js';

/** The package's folder: this file is dist/bench/peers/race.js in it. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FLAGS = ['-O3', '-march=native', '-D_GNU_SOURCE'];

/** What either program prints as JSON: cycles of the time-stamp counter, and what must be the same on both sides. */
export interface Result {
  readonly cycles: number;
  readonly check?: number;
  readonly shares?: readonly number[];
}

export interface Row {
  readonly name: string;
  readonly unit: string;
  /** Words for the C program and for ours, before seconds and CPUs. */
  readonly c: string;
  readonly ours: string;
  /** How many times as good as the C program we have to be; absent for what is only shown. */
  readonly target?: number;
}

export interface Race {
  readonly title: string;
  /** Who is raced, for the help. */
  readonly against: string;
  /** bench/peers/NAME.c and bench/ours/NAME.ts */
  readonly program: string;
  readonly rows: readonly Row[];
  /** Throws when the two did not do the same work. */
  readonly same: (c: Result, ours: Result) => void;
}

interface Outcome extends Row {
  readonly peerCycles: number;
  readonly oursCycles: number;
  /** Of each round: how many times as good as the C program. */
  readonly rounds: readonly number[];
  readonly ratio: number;
}

/** Runs the whole bench, with the options that its help tells. */
export function race({ title, against, program, rows, same }: Race): void {
  const values = benchOptions({
    what: `${title}: ${[...new Set(rows.map(({ unit }) => unit))].join(' and ')} (${rows.map(({ name }) => name).join('; ')}).`,
    against,
    needs: 'gcc, pkg-config and DPDK\'s headers (apt-get install dpdk-dev)',
    options: {
      rounds: { value: 'N', default: '5', help: 'figures are medians' }, seconds: { value: 'S', default: '1', help: 'of each program in a round' }, cpu: { value: 'N', default: String(cpus().length - 1), help: 'the CPU that is measured' },
      'other-cpu': { value: 'N', default: '0', help: 'of a second thread, where there is one' }, json: { help: 'the figures as JSON' },
    },
  });
  const folder = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'pollmode-bench-'));
  try {
    const compiled = compile(program, folder);
    const rounds = Array.from({ length: Number(values.rounds) }, () => rows.map(row => {
      const c = parse(execFileSync(compiled, [row.c, values.seconds, values.cpu, values['other-cpu']], { encoding: 'utf8' }));
      const ours = parse(execFileSync(process.execPath, [join(ROOT, `dist/bench/ours/${program}.js`), row.ours, '--seconds', values.seconds, '--cpu', values.cpu, '--other-cpu', values['other-cpu']], { encoding: 'utf8' }));
      same(c, ours);
      return { c: c.cycles, ours: ours.cycles };
    }));
    const outcomes = rows.map((row, i): Outcome => {
      const pairs = rounds.map(round => round[i]);
      const ratios = pairs.map(({ c, ours }) => c / ours);
      return { ...row, peerCycles: median(pairs.map(({ c }) => c)), oursCycles: median(pairs.map(({ ours }) => ours)), rounds: ratios, ratio: median(ratios) };
    });
    process.stdout.write(values.json ? `${JSON.stringify({ title, about: about(), rows: outcomes }, null, 2)}\n` : `${title}\n${about()}\n\n${outcomes.map(line).join('\n')}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compile(program: string, folder: string): string {
  const dpdk = execFileSync('pkg-config', ['--cflags', '--libs', 'libdpdk'], { encoding: 'utf8' }).trim().split(/\s+/);
  const output = join(folder, program);
  const { status, stderr } = spawnSync('gcc', [join(ROOT, `bench/peers/${program}.c`), '-o', output, ...dpdk, ...FLAGS, '-lpthread', '-Wno-deprecated-declarations'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc refused bench/peers/${program}.c: ${stderr.split('\n')[0]}`);
  return output;
}

function about(): string {
  const gcc = execFileSync('gcc', ['--version'], { encoding: 'utf8' }).split('\n')[0];
  const dpdk = execFileSync('pkg-config', ['--modversion', 'libdpdk'], { encoding: 'utf8' }).trim();
  return `${cpus()[0].model}; Node.js ${process.versions.node}; DPDK ${dpdk} headers, ${gcc} ${FLAGS.slice(0, 2).join(' ')}; cycles are the time-stamp counter's, medians of short slices, then of rounds`;
}

function line({ name, unit, peerCycles, oursCycles, ratio, rounds, target }: Outcome): string {
  const verdict = target === undefined ? '' : ratio >= target ? `target ${target}x reached` : `target ${target}x NOT reached`;
  return `${name.padEnd(52)} C ${peerCycles.toFixed(1).padStart(8)}  ours ${oursCycles.toFixed(1).padStart(8)} ${unit}  ${ratio.toFixed(2)}x (${Math.min(...rounds).toFixed(2)} to ${Math.max(...rounds).toFixed(2)})  ${verdict}`;
}

function parse(output: string): Result {
  return JSON.parse(output) as Result;
}

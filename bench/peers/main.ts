/**
 * `npm run bench:peers`: other people's programs and ours in turn, on the same CPU, in one run. Every round measures
 * each thing once, a peer and its counterpart one after the other, so that what else the machine does falls on both;
 * a row's ratio is the median of its rounds' ratios.
 */
import { cpus as cpuList, release } from 'node:os';
import { parseArgs } from 'node:util';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import type { Bench, Figures, Measurement, Row } from './bench.js';
import { CProgram } from './c_program.js';
import { ask, Machine, otherLoad, quietMoment } from './machine.js';
import { measurements } from './measurements.js';
import { notes, outcome, table, type Outcome, type Round } from './report.js';
import { rows } from './rows.js';

const HELP = `Races DPDK's programs and pollmode's in turn on one CPU and prints medians and ratios.

  npm run bench:peers -- [options]

  --rounds N    how often everything is measured (default 3)
  --seconds S   of each measurement (default 1)
  --only PART   only rows whose name or peer holds this text; may be given several times
  --quiet S     before each measurement, wait up to so many seconds for the machine to be idle (default 0)
  --autotests   also the rows against DPDK's lookup autotests, which take it some five minutes a round
  --json        the whole result as JSON on standard output
  --help        this text

A full run takes some two and a half minutes a round. It needs root, DPDK (apt-get install dpdk dpdk-dev) and two CPUs; rows that
lack something say so, and the rest goes on. Huge pages, namespaces and files are given back at the end.
`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '1' }, only: { type: 'string', multiple: true },
    quiet: { type: 'string', default: '0' }, autotests: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit();
}
const rounds = positive('rounds', values.rounds);
const seconds = positive('seconds', values.seconds);
const chosen = rows.filter(row => values.autotests || row.slow !== true).filter(row => values.only?.some(part => `${row.name} ${row.peer}`.toLowerCase().includes(part.toLowerCase())) ?? true);
if (chosen.length === 0) refuse(`no row's name or peer holds ${values.only?.map(part => `"${part}"`).join(' or ') ?? ''}: leave --only out to see all.`);

const machine = new Machine();
process.once('exit', () => machine.giveBack());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1)); // 'exit' gives back

const allowed = allowedCpus();
const bench: Bench = { machine, cpus: { measured: allowed.at(-1) ?? 0, other: allowed.at(-2) ?? 0 }, seconds };
/** Before each round, 0 to 1. */
const loads: number[] = [];
const done = await race(chosen);
const outcomes = chosen.map(row => outcome(row, done));
process.stdout.write(values.json ? `${JSON.stringify({ about: about(), rounds, seconds, otherLoad: loads, rows: outcomes.map(plain) }, null, 2)}\n` : `${about().join('\n')}\n\n${table(outcomes)}\n\n${notes(outcomes)}\n`);

async function race(wanted: readonly Row[]): Promise<Round[]> {
  const names = new Set(wanted.flatMap(row => [row.peerFigure[0], row.oursFigure[0]]));
  const list = measurements(machine).filter(({ name }) => names.has(name));
  const lacking = new Map<string, string>();
  for (const { name, lacks } of list) {
    const lack = lacksCpus() ?? lacks(bench);
    if (lack !== undefined) lacking.set(name, lack);
  }
  // What only a row needs whose other side is lacking is not measured.
  const useful = list.filter(({ name }) => wanted.some(row => [row.peerFigure[0], row.oursFigure[0]].includes(name) && !lacking.has(row.peerFigure[0]) && !lacking.has(row.oursFigure[0])));
  const result: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    loads.push(await otherLoad());
    result.push(new Map<string, Figures | string>([...lacking, ...await oneRound(useful, `round ${round} of ${rounds}`)]));
  }
  return result;
}

async function oneRound(list: readonly Measurement[], title: string): Promise<[string, Figures | string][]> {
  const found: [string, Figures | string][] = [];
  for (const measurement of list) {
    await quietMoment(Number(values.quiet));
    process.stderr.write(`${title}: ${measurement.name} ... `);
    const result = await measurement.run(bench).catch((error: unknown) => error instanceof Error ? error.message : String(error));
    process.stderr.write(typeof result === 'string' ? `failed: ${result}\n` : `${Object.entries(result).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(', ')}\n`);
    found.push([measurement.name, result]);
  }
  return found;
}

/** The last two of them are used: the first one has most of a machine's interrupts. */
function allowedCpus(): number[] {
  const addon = tryBinding();
  return addon instanceof PollmodeError ? [] : addon.affinity();
}

/** Why nothing can be raced here, or undefined. */
function lacksCpus(): string | undefined {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) return addon.message;
  return allowed.length < 2 ? `two CPUs are needed and this process may use ${allowed.length}: see taskset -p` : undefined;
}

function about(): string[] {
  return [
    `${cpuList()[0]?.model ?? 'unknown CPU'}, Linux ${release()}; measured on CPU ${bench.cpus.measured}, senders on CPU ${bench.cpus.other}`,
    `ours: Node.js ${process.versions.node} (V8 ${process.versions.v8}), WebAssembly by asc -O3 with SIMD, TypeScript as it is`,
    `peers: DPDK ${ask('pkg-config', '--modversion', 'libdpdk') ?? 'unknown'}, a generic build; C: ${CProgram.flags()}`,
    `ratio: how many times as good as the peer, the median of ${rounds} rounds of ${seconds} s; frames of 64 bytes with FCS, bursts of 32`,
    `other work on the machine before each round: ${loads.map(load => `${Math.round(load * 100)}%`).join(', ')} of its CPU time`,
  ];
}

/** For JSON: the row's own members beside what came of it. */
function plain({ row, ...rest }: Outcome): object {
  const { peerFigure: _, oursFigure: __, ...about } = row;
  return { ...about, ...rest };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) refuse(`--${name}=${text}: give a number above 0.`);
  return value;
}

function refuse(sentence: string): never {
  process.stderr.write(`bench:peers: ${sentence}\n`);
  process.exit(2);
}

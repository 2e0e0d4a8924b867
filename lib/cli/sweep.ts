import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { GRIDS, SCALING, type SweepGrid } from '../sweep/grid.js';
import { POLICIES, type Policy } from '../sweep/model.js';
import { SWEEP_PATHS, type SweepPath } from '../sweep/plans.js';
import { prepareFolder, readResults, type SweepResult } from '../sweep/results.js';
import { sweep } from '../sweep/sweep.js';
import { sweepTables, tableStyle } from '../sweep/table.js';
import { writeReport } from '../sweep/write.js';
import { seconds, whole } from './forward.js';
import { ProgressLine } from './progress_line.js';
import { againInUserNamespace, missingRights } from './user_namespace.js';

interface Options {
  readonly full?: boolean;
  readonly quick?: boolean;
  readonly paths: SweepPath[];
  readonly bursts?: number[];
  readonly frames?: number[];
  readonly rounds?: number;
  readonly seconds?: number;
  readonly warmup?: number;
  readonly latencyRate?: number;
  readonly latencyBursts?: number[];
  readonly queues?: number[];
  readonly lcores?: number[];
  readonly policies?: Policy[];
  readonly xdp?: string;
  readonly out: string;
  readonly compare?: string;
  readonly json?: boolean;
}

const HELP = `
Nothing outside is touched: the interfaces are in network namespaces that go with the process, however it ends.
Without root it runs in a user namespace where that is allowed, does what can be done there, and says what root would add.

Ctrl-C stops after the run that is under way, writes tables and report of what was measured, and ends with code 130
(SIGTERM: 143); a second one ends it at once, without a report.
`;

export function sweepCommand(): Command {
  const { usual } = GRIDS;
  return new Command('sweep')
    .description('Measures packets per second, CPU time and round trips over burst and frame size: AF_XDP and AF_PACKET rings against kernel sockets, on a veth pair of its own, and ports in memory. Prints tables and writes a report.')
    .addOption(new Option('--full', 'every burst and frame size, about 6 minutes').conflicts('quick'))
    .option('--quick', 'about 15 seconds, and rough')
    .addOption(new Option('--paths <list>', `of ${SWEEP_PATHS.map(name => name.replaceAll(' ', '-')).join()}`).argParser(paths).default([...SWEEP_PATHS], 'all'))
    .option('--bursts <list>', `packets per call, each 1 to 512 (default: ${usual.bursts.join()})`, numbers(1, 512))
    .option('--frames <list>', `frame sizes with FCS (RFC 2544), each 64 to 1518 (default: ${usual.frames.join()})`, numbers(64, 1518))
    .option('--rounds <n>', `how often each cell is measured; the median counts (default: ${usual.rounds})`, whole(1, 100))
    .option('--seconds <s>', `per cell and round (default: ${usual.seconds})`, seconds)
    .option('--warmup <s>', `before each (default: ${usual.warmUp})`, seconds)
    .option('--latency-rate <pps>', `packets per second that the round trips are timed at; 0 for none (default: ${usual.latencyRate})`, whole(0, 10_000_000))
    .option('--latency-bursts <list>', `bursts that they are timed at (default: ${usual.latencyBursts.join()})`, numbers(1, 512))
    .option('--queues <list>', `queues of an AF_XDP port, each 1 to 64, for lcores to share; 0 for none of this (default: ${usual.scaling.queues.join()})`, numbers(0, 64))
    .option('--lcores <list>', `lcores that receive from them, each 1 to 64 (default: ${usual.scaling.lcores.join()})`, numbers(1, 64))
    .option('--policies <list>', `what an lcore does when nothing comes, of ${POLICIES.join()} (default: all)`, policies)
    .option('--xdp <options>', 'options of the af_xdp port, for example mode=generic')
    .option('--out <folder>', 'where the report goes', 'pollmode-report')
    .option('--compare <file>', 'results.json of an earlier sweep, drawn beside this one')
    .option('--json', 'the result as JSON on stdout instead of tables')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(options: Options): Promise<void> {
  const earlier = options.compare === undefined ? undefined : readResults(options.compare);
  prepareFolder(options.out);
  const missing = missingRights();
  if (missing !== undefined) process.stderr.write(`${missing}\n`);
  const code = missing === undefined ? undefined : await againInUserNamespace();
  if (code !== undefined) {
    process.exitCode = code;
    return;
  }
  const result = await sweepWithProgress(options, missing);
  // Before anything is written: a folder that went, or a full disk, must not take the figures with it.
  if (options.json === true) process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
  else process.stdout.write(sweepTables(result, tableStyle(process.stdout, process.env), earlier));
  const files = writeReport(options.out, result, earlier);
  if (options.json !== true) process.stdout.write(`\nReport: ${pathToFileURL(resolve(files.html)).href}\n`);
}

/** Ends early at a signal, with the exit code of a program that was ended by it (128 + its number). */
async function sweepWithProgress(options: Options, missing: string | undefined): Promise<SweepResult> {
  const stop = new AbortController();
  const line = new ProgressLine(process.stderr);
  const grid = gridOf(options);
  const interrupt = (signal: NodeJS.Signals): void => {
    line.say('stopping after this run; what was measured is kept');
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    stop.abort();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await sweep({
      ...grid, paths: options.paths, xdp: options.xdp ?? '', signal: stop.signal, notes: notes(options, grid, missing), progress: at => line.show(at),
    });
  } finally {
    line.end();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

function notes({ quick }: Options, { rounds, seconds: each }: SweepGrid, missing: string | undefined): string[] {
  const rough = quick === true ? [`A quick sweep: rough figures, from ${rounds === 1 ? 'one round' : `${rounds} rounds`} of ${each} s of each cell. \`pollmode sweep\` without --quick measures longer.`] : [];
  return missing === undefined ? rough : [...rough, missing];
}

/** The chosen grid, with what was asked for in its place. Round trips are timed at bursts that are swept, where not asked otherwise. */
function gridOf(options: Options): SweepGrid {
  const grid: SweepGrid = options.full === true ? GRIDS.full : options.quick === true ? GRIDS.quick : GRIDS.usual;
  const { bursts = grid.bursts, frames = grid.frames } = options;
  const changed = [options.bursts, options.frames, options.rounds, options.seconds, options.warmup, options.latencyBursts].some(each => each !== undefined);
  const common = grid.latencyBursts.filter(burst => bursts.includes(burst));
  return {
    bursts, frames, rounds: options.rounds ?? grid.rounds, seconds: options.seconds ?? grid.seconds, warmUp: options.warmup ?? grid.warmUp,
    latencyBursts: options.latencyBursts ?? (common.length > 0 ? common : bursts.slice(0, 1)),
    latencyFrames: options.frames ?? grid.latencyFrames, latencyRate: options.latencyRate ?? grid.latencyRate,
    ...(changed || grid.limit === undefined ? {} : { limit: grid.limit }),
    ...scalingOf(options, changed ? undefined : grid.scaling),
  };
}

/** Asked for by any of its words, or part of the grid that was chosen. */
function scalingOf({ queues, lcores, policies: wanted, rounds, seconds: each }: Options, chosen: SweepGrid['scaling']): Pick<SweepGrid, 'scaling'> {
  const asked = queues !== undefined || lcores !== undefined || wanted !== undefined;
  if ((!asked && chosen === undefined) || queues?.includes(0) === true) return {};
  const grid = chosen ?? SCALING;
  return { scaling: { ...grid, queues: queues ?? lcores ?? grid.queues, lcores: lcores ?? grid.lcores, policies: wanted ?? grid.policies, rounds: rounds ?? grid.rounds, seconds: each ?? grid.seconds } };
}

function policies(text: string): Policy[] {
  const wanted = unique(text.split(',').map(each => POLICIES.find(policy => policy === each.trim()) ?? noSuchPolicy(each)));
  return POLICIES.filter(policy => wanted.includes(policy));
}

function noSuchPolicy(name: string): never {
  throw new InvalidArgumentError(`There is no policy "${name.trim().slice(0, 40)}": choose of ${POLICIES.join(', ')}, separated by commas.`);
}

/** Spaces, "-" and "_" in a path's name are all one, so that a list needs no quotes. */
function paths(text: string): SweepPath[] {
  const plain = (name: string): string => name.trim().toLowerCase().replace(/[-_\s]+/g, ' ');
  return unique(text.split(',').map(each => SWEEP_PATHS.find(path => plain(path) === plain(each)) ?? noSuchPath(each)));
}

function noSuchPath(name: string): never {
  throw new InvalidArgumentError(`There is no path "${name.trim().slice(0, 40)}": choose of ${SWEEP_PATHS.join(', ')}, separated by commas.`);
}

/** Each once, in rising order. */
function numbers(min: number, max: number): (text: string) => number[] {
  return text => unique(text.split(',').map(each => whole(min, max)(each.trim()))).sort((a, b) => a - b);
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

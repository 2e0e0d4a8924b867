/** The conductor: opens the paths, runs the grid round by round, and puts together what came out. */
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { inUserNamespace } from '../kernel/caps.js';
import { openSyscallCounter, type SyscallCounter } from '../kernel/syscall_counter.js';
import { openLab } from '../lab/veth.js';
import { cells, latencyCells, runKey, takenByOthers, type Runs } from './cells.js';
import { Estimate, plannedRuns, type PlannedRun, type SweepGrid } from './grid.js';
import { header } from './header.js';
import { sweepResult, type ScalingCell, type SweepResult } from './model.js';
import { Path, type OpenedPath } from './path.js';
import { allowedCpus, planOf, twoCpus, type SweepPath } from './plans.js';
import { measureScaling, scalingRefusal, scalingShapes } from './scaling.js';
import { printable } from './text.js';

export interface SweepOptions extends SweepGrid {
  readonly paths: readonly SweepPath[];
  /** Options for the af_xdp port, as in a device string: "mode=generic". */
  readonly xdp: string;
  /** Sentences for the head of the result. */
  readonly notes?: readonly string[];
  /** Stops after the run that is under way; what was measured is kept. */
  readonly signal?: AbortSignal;
  readonly progress?: (at: SweepProgress) => void;
}

export interface SweepProgress {
  readonly done: number;
  readonly total: number;
  /** An estimate. */
  readonly secondsLeft: number;
  /** What runs now. */
  readonly what: string;
}

/**
 * Runs the sweep: every path, burst and frame size, each for several rounds. A path that cannot be opened is in the
 * result with its reason. Nothing is left behind: interfaces are in namespaces that descriptors alone hold.
 */
export async function sweep(options: SweepOptions): Promise<SweepResult> {
  const calls = openCounter();
  const counter = calls instanceof PollmodeError ? undefined : calls;
  const began = new Date();
  const cpus = twoCpus();
  const paths = new Map<SweepPath, OpenedPath>();
  try {
    const lab = noLab();
    for (const name of options.paths) paths.set(name, await openPath(name, options.xdp, lab, cpus, counter));
    const { runs, planned, stopped } = await runAll(paths, options);
    const rounds = Math.max(0, ...[...runs.values()].map(results => results.length));
    const { scaling, notes } = await scale(paths, options, cpus, planned);
    const head = header({ ...options, rounds, notes: [...options.notes ?? [], ...notes] }, { paths, began, cpus, calls, stopped, taken: takenByOthers(runs) });
    return sweepResult(head, cells(paths, options, runs), latencyCells(options, runs), scaling);
  } finally {
    for (const path of paths.values()) if (typeof path !== 'string') await path.close();
    counter?.close();
  }
}

/** Queues × lcores × policy, where it was asked for and AF_XDP could be opened; why not is in its cells already. */
async function scale(paths: ReadonlyMap<SweepPath, OpenedPath>, options: SweepOptions, [senderCpu, receiverCpu]: readonly [number, number], before: number): Promise<{ scaling: ScalingCell[]; notes: string[] }> {
  const { scaling: grid, xdp, signal, progress } = options;
  const { cells: total, seconds } = scalingOf(paths, options);
  if (grid === undefined || total === 0 || signal?.aborted === true) return { scaling: [], notes: [] };
  const others = allowedCpus().filter(cpu => cpu !== senderCpu && cpu !== receiverCpu);
  const lcoreCpus = [receiverCpu, ...others];
  let done = 0;
  const tell = (what: string): void => { progress?.({ done: before + done, total: before + total, secondsLeft: seconds * (1 - done++ / total), what }); };
  const most = Math.max(...grid.lcores);
  const notes = most > lcoreCpus.length && senderCpu !== receiverCpu ? [`${most} lcores shared ${lcoreCpus.length === 1 ? 'one CPU' : `${lcoreCpus.length} CPUs`}, because the sender has one of this process's ${lcoreCpus.length + 1}: more lcores show no more packets here.`] : [];
  try {
    return { scaling: await measureScaling(grid, { xdp, senderCpu, lcoreCpus, progress: tell, ...(signal === undefined ? {} : { signal }) }), notes };
  } catch (cause) {
    return { scaling: [], notes: [printable(scalingRefusal(cause), 700)] };
  }
}

/** How many cells and rounds of it there will be, and how long they take with the starting of threads. */
function scalingOf(paths: ReadonlyMap<SweepPath, OpenedPath>, { scaling: grid }: SweepOptions): { cells: number; seconds: number } {
  if (grid === undefined || typeof (paths.get('af_xdp') ?? '') === 'string') return { cells: 0, seconds: 0 };
  const count = scalingShapes(grid).length * grid.rounds;
  return { cells: count, seconds: count * 2 * (grid.seconds + grid.warmUp + 0.15) };
}

function openCounter(): SyscallCounter | PollmodeError {
  const addon = tryBinding();
  return addon instanceof PollmodeError ? addon : openSyscallCounter();
}

/** Why no namespaces can be made here; undefined where they can, which only trying tells. */
function noLab(): string | undefined {
  if (tryBinding() instanceof PollmodeError) return 'It needs the native addon, which could not be loaded.';
  return refusal(() => openLab().close());
}

function refusal(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (cause) {
    return sentence(cause);
  }
}

async function openPath(name: SweepPath, xdp: string, lab: string | undefined, cpus: readonly [number, number], calls: SyscallCounter | undefined): Promise<OpenedPath> {
  const plan = await planOf(name, xdp, lab);
  if (typeof plan === 'string') return plan;
  try {
    return await Path.open(plan, cpus, calls);
  } catch (cause) {
    const why = sentence(cause);
    return name === 'af_xdp' && inUserNamespace() ? `${NOT_IN_USER_NAMESPACE} (${why})` : why;
  }
}

const NOT_IN_USER_NAMESPACE = 'AF_XDP loads an XDP program and locks memory, and both need rights over the machine itself, which a user namespace does not give: run as root.';

/** One line of what was refused; what is no refusal goes on. */
function sentence(cause: unknown): string {
  if (cause instanceof PollmodeError) return printable(cause.message, 700);
  throw cause;
}

async function runAll(paths: ReadonlyMap<SweepPath, OpenedPath>, options: SweepOptions): Promise<{ runs: Runs; planned: number; stopped: string | undefined }> {
  const open = [...paths].filter(([, path]) => typeof path !== 'string').map(([name]) => name);
  const planned = plannedRuns(options, open);
  const estimate = new Estimate(planned.length, options);
  const after = scalingOf(paths, options);
  const runs: Runs = new Map();
  for (const [done, run] of planned.entries()) {
    if (options.signal?.aborted === true) return { runs, planned: planned.length, stopped: `The sweep was stopped after ${done} of ${planned.length} runs: cells have fewer rounds, or none.` };
    if (estimate.exceeds(done)) return { runs, planned: planned.length, stopped: `This machine was too busy for ${options.rounds} rounds in ${String(options.limit)} seconds: cells have ${done * options.rounds / planned.length}.` };
    options.progress?.({ done, total: planned.length + after.cells, secondsLeft: estimate.left(done) + after.seconds, what: describe(run) });
    const { path, ...order } = run;
    const result = await (paths.get(path) as Path).run(order, options.warmUp, options.seconds);
    const key = runKey(run);
    runs.set(key, [...runs.get(key) ?? [], result]);
  }
  return { runs, planned: planned.length, stopped: undefined };
}

function describe({ path, burst, frame, rate }: PlannedRun): string {
  return `${path}, burst ${burst}, ${frame} bytes${rate === undefined ? '' : ', round trips'}`;
}

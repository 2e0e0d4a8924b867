import { cpus, release } from 'node:os';
import { readFileSync } from 'node:fs';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { openSyscallCounter, type SyscallCounter } from '../kernel/syscall_counter.js';
import { sweepResult, type CellKey, type LatencyCell, type LossCounter, type MeasuredCell, type SweepCell, type SweepHeader, type SweepResult } from './model.js';
import type { RunOutcome } from './control.js';
import { Path, type PathPlan, type RunResult } from './path.js';
import { spread } from './statistics.js';

export interface SweepOptions {
  readonly paths: readonly string[];
  readonly bursts: readonly number[];
  /** RFC 2544 sizes, with FCS. */
  readonly frames: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUp: number;
  /** Packets per second of the latency runs; 0 leaves them out. */
  readonly latencyRate: number;
  /** Options for the af_xdp port, as in a device string: "mode=generic". */
  readonly xdp: string;
  readonly signal?: AbortSignal;
  readonly progress?: (done: number, total: number, what: string) => void;
}

/** Bursts of the latency runs: alone, and as many as DPDK's examples use. */
const LATENCY_BURSTS = [1, 32];

/** The paths that can be swept, and how each is opened. `%` stands for the interface's name. */
function plans(options: SweepOptions, cpus: readonly [number, number]): PathPlan[] {
  const [senderCpu, receiverCpu] = cpus;
  const endpoints: Record<string, PathPlan['endpoint']> = {
    'af_xdp': { kind: 'port', device: `af_xdp:%${options.xdp === '' ? '' : `,${options.xdp}`}` },
    'af_packet ring': { kind: 'port', device: 'af_packet:%,qdisc_bypass=1' },
    'raw socket': { kind: 'raw socket' },
    'dgram': { kind: 'dgram' },
  };
  return options.paths.map(name => ({ name, endpoint: endpoints[name]!, senderCpu, receiverCpu }));
}

export const SWEEP_PATHS = ['af_xdp', 'af_packet ring', 'raw socket', 'dgram'] as const;

/**
 * Runs the sweep: every path, burst and frame size, each for several rounds, the rounds interleaved so that a slow
 * minute of the machine falls on all paths alike. A path that cannot be opened is in the result with its reason.
 */
export async function sweep(options: SweepOptions): Promise<SweepResult> {
  const calls = openSyscallCounter();
  const counter = calls instanceof PollmodeError ? undefined : calls;
  const began = new Date();
  const cpuPair = twoCpus();
  const paths = new Map<string, Path | string>();
  try {
    for (const plan of plans(options, cpuPair)) paths.set(plan.name, await openPath(plan, counter));
    const runs = await runAll(paths, options);
    return sweepResult(header(options, paths, began, cpuPair, calls), cells(paths, options, runs.cells), latencyCells(options, runs.latency));
  } finally {
    for (const path of paths.values()) if (typeof path !== 'string') await path.close();
    counter?.close();
  }
}

async function openPath(plan: PathPlan, calls: SyscallCounter | undefined): Promise<Path | string> {
  try {
    return await Path.open(plan, calls);
  } catch (cause) {
    if (cause instanceof PollmodeError) return cause.message;
    throw cause;
  }
}

type Runs = Map<string, RunResult[]>;

async function runAll(paths: ReadonlyMap<string, Path | string>, options: SweepOptions): Promise<{ cells: Runs; latency: Runs }> {
  const open = [...paths.values()].filter(path => typeof path !== 'string');
  const latencyBursts = options.latencyRate > 0 ? LATENCY_BURSTS : [];
  const total = options.rounds * open.length * (options.frames.length * options.bursts.length + latencyBursts.length);
  const runs = { cells: new Map<string, RunResult[]>(), latency: new Map<string, RunResult[]>() };
  let done = 0;
  for (let round = 0; round < options.rounds; round++) {
    for (const frame of options.frames) {
      for (const burst of options.bursts) {
        for (const path of open) await once(runs.cells, path, burst, frame);
      }
    }
    for (const burst of latencyBursts) {
      for (const path of open) await once(runs.latency, path, burst, options.frames[0]!, options.latencyRate);
    }
  }
  return runs;

  async function once(into: Runs, path: Path, burst: number, frame: number, rate?: number): Promise<void> {
    if (options.signal?.aborted === true) return;
    options.progress?.(done++, total, `${path.name}, burst ${burst}, ${frame} bytes${rate === undefined ? '' : ', latency'}`);
    const result = await path.run({ burst, frame, ...(rate === undefined ? {} : { rate }) }, options.warmUp, options.seconds);
    const key = keyOf(path.name, burst, frame);
    into.set(key, [...into.get(key) ?? [], result]);
  }
}

function cells(paths: ReadonlyMap<string, Path | string>, options: SweepOptions, runs: Runs): SweepCell[] {
  const made: SweepCell[] = [];
  for (const [path, opened] of paths) {
    for (const frame of options.frames) {
      for (const burst of options.bursts) {
        for (const direction of ['send', 'receive'] as const) {
          const key: CellKey = { path, burst, frame, direction };
          const results = runs.get(keyOf(path, burst, frame)) ?? [];
          made.push(results.length > 0 ? measuredCell(key, results)
            : { ...key, status: 'missing', reason: typeof opened === 'string' ? opened : 'The sweep was stopped before this cell: let it run to its end.' });
        }
      }
    }
  }
  return made;
}

function measuredCell(key: CellKey, results: readonly RunResult[]): MeasuredCell {
  const side = (result: RunResult): RunOutcome => (key.direction === 'send' ? result.sender : result.receiver);
  const calls = (result: RunResult): number | undefined => (key.direction === 'send' ? result.senderCalls : result.receiverCalls);
  const perPacket = (value: (result: RunResult) => number): number[] => results.map(result => value(result) / Math.max(1, side(result).measured.packets));
  const counted = results.every(result => calls(result) !== undefined);
  return {
    ...key, status: 'measured',
    packetsPerSecond: spread(results.map(result => side(result).measured.packets / side(result).measured.seconds)),
    sent: sum(results.map(result => result.sender.packets)),
    received: sum(results.map(result => result.receiver.packets)),
    loss: losses(results),
    userNs: spread(perPacket(result => side(result).measured.userSeconds * 1e9)),
    systemNs: spread(perPacket(result => side(result).measured.systemSeconds * 1e9)),
    syscalls: counted ? spread(perPacket(result => calls(result)!)) : null,
  };
}

function losses(results: readonly RunResult[]): LossCounter[] {
  const total = new Map<string, number>();
  for (const { receiver } of results) {
    for (const [name, packets] of Object.entries(receiver.counters)) total.set(name, (total.get(name) ?? 0) + packets);
  }
  return [...total].filter(([, packets]) => packets > 0).map(([name, packets]) => ({ name, packets }));
}

function latencyCells(options: SweepOptions, runs: Runs): LatencyCell[] {
  return [...runs].flatMap(([key, results]) => {
    const [path, burst, frame] = JSON.parse(key) as [string, number, number];
    const timed = results.flatMap(result => result.receiver.latency ?? []);
    if (timed.length === 0) return [];
    return [{
      path, burst, frame, kind: 'one-way' as const, offered: options.latencyRate, samples: sum(timed.map(each => each.samples)),
      p50: spread(timed.map(each => each.p50)), p99: spread(timed.map(each => each.p99)), p999: spread(timed.map(each => each.p999)),
    }];
  });
}

function header(options: SweepOptions, paths: ReadonlyMap<string, Path | string>, began: Date, [senderCpu, receiverCpu]: readonly [number, number], calls: SyscallCounter | PollmodeError): SweepHeader {
  const xdp = paths.get('af_xdp');
  const ran = xdp !== undefined && typeof xdp !== 'string';
  return {
    kernel: release(), cpu: cpus()[0]?.model ?? 'unknown', cores: binding().affinity().length, node: process.versions.node,
    pollmode: packageVersion(), link: 'veth pair between two network namespaces', mode: ran ? xdp.mode : 'none',
    needWakeup: ran ? !xdp.mode.includes('no need-wakeup') : null, senderCpu, receiverCpu, date: began.toISOString(),
    secondsPerCell: options.seconds, warmupSeconds: options.warmUp, rounds: options.rounds, notes: notes(paths, calls, senderCpu === receiverCpu),
  };
}

function notes(paths: ReadonlyMap<string, Path | string>, calls: SyscallCounter | PollmodeError, oneCpu: boolean): string[] {
  const found: string[] = [];
  for (const [name, path] of paths) if (typeof path === 'string') found.push(`${name} was left out: ${path}`);
  if (calls instanceof PollmodeError) found.push(`System calls were not counted: ${calls.message}`);
  if (oneCpu) found.push('Sender and receiver shared one CPU, because this process may use no other: rates are lower than on two.');
  return found;
}

/** The first two CPUs that the process may use. */
function twoCpus(): readonly [number, number] {
  const [first = 0, second = first] = binding().affinity();
  return [first, second];
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}

function keyOf(path: string, burst: number, frame: number): string {
  return JSON.stringify([path, burst, frame]);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

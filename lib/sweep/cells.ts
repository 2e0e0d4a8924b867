/** From the runs of a sweep to the cells of its result. */
import type { RunOutcome } from './control.js';
import type { PlannedRun, SweepGrid } from './grid.js';
import { DIRECTIONS, type CellKey, type LatencyCell, type LossCounter, type MeasuredCell, type SweepCell } from './model.js';
import type { OpenedPath, RunResult } from './path.js';
import type { SweepPath } from './plans.js';
import { median, spread, type Spread } from './statistics.js';

/** The results of each cell, a round after the other; the key is `runKey`'s. */
export type Runs = Map<string, RunResult[]>;

export function runKey({ path, burst, frame, rate }: PlannedRun): string {
  return JSON.stringify([path, burst, frame, rate ?? 0]);
}

/** Every cell of the grid, measured or missing. */
export function cells(paths: ReadonlyMap<SweepPath, OpenedPath>, grid: SweepGrid, runs: Runs): SweepCell[] {
  return [...paths].flatMap(([path, opened]) => grid.frames.flatMap(frame => grid.bursts.flatMap(burst => DIRECTIONS.map(direction => {
    const key: CellKey = { path, burst, frame, direction };
    const results = runs.get(runKey({ path, burst, frame })) ?? [];
    if (results.length > 0) return measuredCell(key, results, typeof opened !== 'string' && opened.plan.between === 'nothing');
    return { ...key, status: 'missing' as const, reason: typeof opened === 'string' ? opened : 'The sweep was stopped before this cell: let it run to its end.' };
  }))));
}

/** @param apart nothing lies between the two sides: a sink takes all it is given, and a source gives what is taken */
function measuredCell(key: CellKey, results: readonly RunResult[], apart: boolean): MeasuredCell {
  const sides = results.map(result => (key.direction === 'send' ? result.sender : result.receiver));
  const packets = (of: (result: RunResult) => RunOutcome): number => sum(apart ? sides.map(side => side.packets) : results.map(result => of(result).packets));
  return {
    ...key, status: 'measured',
    packetsPerSecond: spread(sides.map(({ measured }) => measured.packets / measured.seconds)),
    sent: packets(result => result.sender), received: packets(result => result.receiver), loss: losses(results),
    userNs: perPacket(sides, side => scaled(side.measured.userSeconds, 1e9)),
    systemNs: perPacket(sides, side => scaled(side.measured.systemSeconds, 1e9)),
    syscalls: perPacket(sides, side => side.measured.calls),
  };
}

function scaled(value: number | undefined, by: number): number | undefined {
  return value === undefined ? undefined : value * by;
}

/** Of the rounds that had packets; null where there is none, or one could not tell. */
function perPacket(sides: readonly RunOutcome[], value: (side: RunOutcome) => number | undefined): Spread | null {
  const moved = sides.filter(({ measured }) => measured.packets > 0);
  const values = moved.flatMap(side => scaled(value(side), 1 / side.measured.packets) ?? []);
  return values.length === 0 || values.length < moved.length ? null : spread(values);
}

/** What both sides counted, by name. */
function losses(results: readonly RunResult[]): LossCounter[] {
  const total = new Map<string, number>();
  for (const { counters } of results.flatMap(({ sender, receiver }) => [sender, receiver])) {
    for (const [name, packets] of Object.entries(counters)) total.set(name, (total.get(name) ?? 0) + packets);
  }
  return [...total].filter(([, packets]) => packets > 0).map(([name, packets]) => ({ name, packets }));
}

/** Cells of which no round timed a packet are left out. */
export function latencyCells(grid: SweepGrid, runs: Runs): LatencyCell[] {
  return [...runs].flatMap(([key, results]) => {
    const [path, burst, frame, rate] = JSON.parse(key) as [string, number, number, number];
    const timed = results.flatMap(result => result.sender.latency ?? []).filter(each => each.samples > 0);
    if (rate === 0 || timed.length === 0) return [];
    return [{
      path, burst, frame, kind: 'round-trip' as const, offered: grid.latencyRate, samples: sum(timed.map(each => each.samples)),
      sent: sum(results.map(({ sender }) => sender.packets)), returned: sum(timed.map(each => each.returned)),
      p50: spread(timed.map(each => each.p50)), p99: spread(timed.map(each => each.p99)), p999: spread(timed.map(each => each.p999)),
    }];
  });
}

/**
 * The part of the two CPUs that others had while it ran: both threads poll, so what they do not get of the time somebody
 * else got. The median over the runs; undefined where CPU time could not be had.
 */
export function takenByOthers(runs: Runs): number | undefined {
  const parts = [...runs.values()].flat().flatMap(({ sender, receiver }) => [sender, receiver]).flatMap(({ measured }) => {
    const { seconds, userSeconds, systemSeconds } = measured;
    return userSeconds === undefined || systemSeconds === undefined ? [] : Math.max(0, 1 - (userSeconds + systemSeconds) / seconds);
  });
  return parts.length === 0 ? undefined : median(parts);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

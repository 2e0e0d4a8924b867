import { median, spread, type Spread } from '../../lib/sweep/statistics.js';
import type { Figures, Row } from './bench.js';

/** What became of a row. A row that could not be raced has `skipped`, with what to do. */
export interface Outcome {
  readonly row: Row;
  readonly skipped?: string;
  readonly peer?: Spread;
  readonly ours?: Spread;
  /** Of each round: how many times as good as the peer. */
  readonly ratio?: Spread;
  /** Of rows with a target. */
  readonly reached?: boolean;
  /** Of our CPU time, the part that was spent outside the kernel. */
  readonly userShare?: number;
  /** The same of the peer's: what it would gain by taking no time itself, and so how far anybody can get ahead of it. */
  readonly peerUserShare?: number;
  /** Of our time, the part in which there was nothing to move: the other end is the limit. */
  readonly idle?: number;
  /** Rounds that do not count, since the host below moved a CPU between the two measurements. */
  readonly moved: number;
}

/** One round's figures by measurement; a text where it failed. */
export type Round = ReadonlyMap<string, Figures | string>;

export function outcome(row: Row, rounds: readonly Round[]): Outcome {
  const pairs: [peer: number, ours: number][] = [];
  const more: Record<'userShare' | 'peerUserShare' | 'idle', number[]> = { userShare: [], peerUserShare: [], idle: [] };
  let skipped = '';
  let moved = 0;
  for (const round of rounds) {
    const [peer, ours] = [round.get(row.peerFigure[0]), round.get(row.oursFigure[0])];
    if (typeof peer !== 'object' || typeof ours !== 'object') {
      skipped ||= [peer, ours].find(each => typeof each === 'string') ?? 'not measured';
      continue;
    }
    if (!sameDistance(peer, ours)) {
      moved++;
      continue;
    }
    pairs.push([peer[row.peerFigure[1]]!, ours[row.oursFigure[1]]!]);
    if (ours['userShare'] !== undefined) more.userShare.push(ours['userShare']);
    if (peer['userShare'] !== undefined) more.peerUserShare.push(peer['userShare']);
    if (ours['idle'] !== undefined) more.idle.push(ours['idle']);
  }
  if (pairs.length === 0) return { row, moved, skipped: skipped || 'in each round the two CPUs were nearer to each other for one than for the other: run it again, with more rounds' };
  const ratio = spread(pairs.map(([peer, ours]) => row.unit === 'cycles' ? peer / ours : ours / peer));
  return {
    row, moved, ratio, peer: spread(pairs.map(([peer]) => peer)), ours: spread(pairs.map(([, ours]) => ours)),
    ...(row.target === undefined ? {} : { reached: ratio.median >= row.target }),
    ...Object.fromEntries(Object.entries(more).filter(([, values]) => values.length > 0).map(([name, values]) => [name, median(values)])),
  };
}

/** The ways between CPUs that share a cache and CPUs that do not differ by much more, those of one kind by less. */
const SAME = 1.5;

/** Were the two CPUs as far apart, all the time, for the peer as for ours? True of what has nothing to do with that. */
function sameDistance(peer: Figures, ours: Figures): boolean {
  const ways = [peer, ours].flatMap(({ apart, apartAfterwards }) => [apart, apartAfterwards]).filter(way => way !== undefined);
  return ways.length === 0 || Math.max(...ways) <= SAME * Math.min(...ways);
}

export function table(outcomes: readonly Outcome[]): string {
  const lines = [['', 'peer', 'ours', '', 'ratio', 'rounds', 'target', '', 'our user time', 'the peer\'s'], ...outcomes.map(cells)];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map(line => line[column]?.length ?? 0)));
  return lines.map(line => line.map((cell, column) => [0, 3, 7].includes(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join('  ').trimEnd()).join('\n');
}

/** At least so much of the time, or it is chance. */
const IDLE = 0.05;

function verdict({ row, reached, idle = 0 }: Outcome): string {
  if (reached === undefined) return '';
  if (reached) return 'reached';
  if (idle < IDLE) return 'NOT reached';
  return `${row.orIdle === true ? '' : 'NOT reached, '}idle ${(idle * 100).toFixed(0)}%: the other end is the limit`;
}

function cells(outcome: Outcome): string[] {
  const { row, peer, ours, ratio, userShare, peerUserShare } = outcome;
  const name = `${row.name}${row.unit === 'cycles' ? peerKind(row.peerFigure[0]) : ''}`;
  if (ratio === undefined) return [name, '', '', 'not raced, see below'];
  return [
    name, figure(peer!.median), figure(ours!.median), row.unit, `${ratio.median.toFixed(2)}x`, `${ratio.min.toFixed(2)}..${ratio.max.toFixed(2)}`,
    row.target === undefined ? '' : `${row.target}x`, verdict(outcome), percent(userShare), percent(peerUserShare),
  ];
}

function percent(share: number | undefined): string {
  return share === undefined ? '' : `${(share * 100).toFixed(0)}%`;
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3);
}

/** Who was raced and what was counted, once for each row. */
export function notes(outcomes: readonly Outcome[]): string {
  return outcomes.map(({ row, skipped, moved }) => {
    const leftOut = moved === 0 ? '' : `\n    left out: ${moved} round${moved === 1 ? '' : 's'}, in which the two CPUs were nearer to each other for one than for the other (a virtual machine's CPUs move)`;
    const text = `${row.name}\n    peer: ${row.peer}\n    ours: ${row.ours}\n    counted: ${row.counted}${row.limit === undefined ? '' : `\n    limit: ${row.limit}`}${leftOut}`;
    return skipped === undefined ? text : `${text}\n    NOT RACED: ${skipped}`;
  }).join('\n');
}

/** Rows of one name are told apart by who the peer is. */
function peerKind(measurement: string): string {
  if (measurement.startsWith('C ')) return ' (C)';
  return measurement.endsWith('autotest') ? ' (autotest)' : '';
}

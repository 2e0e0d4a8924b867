/**
 * What each chart of the report shows, as plain data: the page's script only draws it. A view is one frame size and one
 * direction; every chart of a view has the burst on a log2 x axis and one line per path.
 */
import { burstsOf, directionsOf, findMeasured, framesOf, pathsOf } from './model.js';
import type { Direction, LatencyCell, MeasuredCell, SweepResult } from './model.js';
import type { Spread } from './statistics.js';

/** One line. `values` runs over the chart's bursts, null where there is no cell; `low` and `high` are the rounds' range. */
export interface Line {
  /** Index into the report's list of paths. */
  readonly path: number;
  /** True for the line of the earlier sweep that this one is compared with. */
  readonly earlier: boolean;
  readonly values: readonly (number | null)[];
  readonly low: readonly (number | null)[];
  readonly high: readonly (number | null)[];
}

/** One set of axes. Panels of a chart share the y scale, so that they can be read against each other. */
export interface Panel { readonly title: string; readonly lines: readonly Line[] }

export interface Chart {
  readonly id: string;
  readonly title: string;
  /** The y axis, with its unit. */
  readonly unit: string;
  readonly panels: readonly Panel[];
  /** Log y: set where the lines are too far apart for a linear axis to show the lower ones. */
  readonly logarithmic: boolean;
  /** A zero cannot stand on a log axis: it is drawn at the axis' foot, and the page says so. */
  readonly zeros: boolean;
}

export interface View { readonly frame: number; readonly direction: Direction; readonly charts: readonly Chart[] }

export interface ChartData { readonly paths: readonly string[]; readonly bursts: readonly number[]; readonly views: readonly View[] }

type Pick = (frame: number, direction: Direction) => (result: SweepResult, path: string, burst: number) => Spread | null | undefined;
interface Plan { id: string; title: string; unit: string; panels: readonly (readonly [title: string, pick: Pick])[]; linear: boolean }

/** A linear axis is kept up to this ratio of the highest to the lowest value. */
const LINEAR_UP_TO = 40;

const PLANS: readonly Plan[] = [
  { id: 'rate', title: 'Packets per second', unit: 'Mpps', panels: [['', measured((cell) => scale(cell.packetsPerSecond, 1e-6))]], linear: true },
  { id: 'syscalls', title: 'System calls per packet', unit: 'calls per packet', panels: [['', measured((cell) => cell.syscalls)]], linear: false },
  {
    id: 'cpu', title: 'CPU time per packet', unit: 'ns per packet', linear: false,
    panels: [['in the program (user)', measured((cell) => cell.userNs)], ['in the kernel (system)', measured((cell) => cell.systemNs)]],
  },
  {
    id: 'latency', title: 'Latency', unit: 'µs', linear: false,
    panels: [['p50', timed((cell) => cell.p50)], ['p99', timed((cell) => cell.p99)], ['p99.9', timed((cell) => cell.p999)]],
  },
];

/** Everything the charts need. Bursts and paths that only `earlier` has are left out: it is a background, not a result. */
export function chartData(result: SweepResult, earlier?: SweepResult): ChartData {
  const paths = pathsOf(result);
  const bursts = burstsOf(result);
  const sources = earlier === undefined ? [result] : [result, earlier];
  const views = framesOf(result).flatMap((frame) => directionsOf(result).map((direction) =>
    ({ frame, direction, charts: PLANS.map((plan) => chart(plan, sources, paths, bursts, frame, direction)) })));
  return { paths, bursts, views };
}

function chart(plan: Plan, sources: readonly SweepResult[], paths: readonly string[], bursts: readonly number[], frame: number, direction: Direction): Chart {
  const panels = plan.panels.map(([title, pick]) => {
    const at = pick(frame, direction);
    const lines = sources.flatMap((source, order) => paths.map((path, index) => line(index, order > 0, bursts.map((burst) => at(source, path, burst)))));
    return { title, lines: lines.filter(({ values }) => values.some((value) => value !== null)) };
  }).filter(({ lines }) => lines.length > 0);
  const values = panels.flatMap(({ lines }) => lines.flatMap((one) => [...one.low, ...one.high])).filter((value) => value !== null);
  const positive = values.filter((value) => value > 0);
  const logarithmic = positive.length > 0 && (!plan.linear || Math.max(...positive) > LINEAR_UP_TO * Math.min(...positive));
  return { id: plan.id, title: plan.title, unit: plan.unit, panels, logarithmic, zeros: positive.length < values.length };
}

function line(path: number, earlier: boolean, spreads: readonly (Spread | null | undefined)[]): Line {
  return {
    path, earlier, values: spreads.map((one) => one?.median ?? null),
    low: spreads.map((one) => one?.min ?? null), high: spreads.map((one) => one?.max ?? null),
  };
}

function measured(figure: (cell: MeasuredCell) => Spread | null): Pick {
  return (frame, direction) => (result, path, burst) => {
    const cell = findMeasured(result, { path, burst, frame, direction });
    return cell && figure(cell);
  };
}

function timed(figure: (cell: LatencyCell) => Spread): Pick {
  return (frame) => (result, path, burst) => {
    const cell = result.latency.find((one) => one.path === path && one.burst === burst && one.frame === frame);
    return cell && scale(figure(cell), 1e-3);
  };
}

function scale(spread: Spread, by: number): Spread {
  return { median: spread.median * by, min: spread.min * by, max: spread.max * by, rounds: [] };
}

/**
 * What each chart of the report shows, as plain data: the page's script only draws it. A view is one frame size and one
 * direction; every chart of a view has the burst on a log2 x axis and one line per path.
 */
import { burstsOf, directionsOf, findMeasured, framesOf, isOverLink, pathsOf } from './model.js';
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
  /** Those that any line has a value at. */
  readonly bursts: readonly number[];
  /** Log y: set where the lines are too far apart for a linear axis to show the lower ones. */
  readonly logarithmic: boolean;
  /** Values below it are drawn at the foot of a log axis, and the page says so: 0, which has no place there, and next to nothing. */
  readonly floor: number;
}

export interface View { readonly frame: number; readonly direction: Direction; readonly charts: readonly Chart[] }

export interface ChartData { readonly paths: readonly string[]; readonly views: readonly View[] }

type Pick = (frame: number, direction: Direction) => (result: SweepResult, path: string, burst: number) => Spread | null | undefined;
type Panels = readonly (readonly [title: string, pick: Pick])[];

/** `of` says which paths have a line in it. */
interface Plan { id: string; title: string; unit: string; panels: Panels; linear: boolean; of: (path: string) => boolean; floor?: number }

/** A linear axis is kept up to this ratio of the highest to the lowest value. */
const LINEAR_UP_TO = 40;

const everyPath = (): boolean => true;
const inMemory = (path: string): boolean => !isOverLink(path);
const rate: Panels = [['', measured((cell) => scale(cell.packetsPerSecond, 1e-6))]];

/** Rates in memory have a chart of their own: beside them a network's would all look alike. */
const PLANS: readonly Plan[] = [
  { id: 'rate', title: 'Packets per second over the link', unit: 'Mpps (million packets per second)', panels: rate, linear: true, of: isOverLink },
  {
    id: 'cpu', title: 'CPU time per packet', unit: 'ns per packet', linear: false, of: everyPath, floor: 1,
    panels: [['in the program (user)', measured((cell) => cell.userNs)], ['in the kernel (system)', measured((cell) => cell.systemNs)]],
  },
  {
    id: 'latency', title: 'Round trip', unit: 'µs', linear: false, of: everyPath,
    panels: [['p50: half are faster', timed((cell) => cell.p50)], ['p99: one in 100 is slower', timed((cell) => cell.p99)], ['p99.9: one in 1000 is slower', timed((cell) => cell.p999)]],
  },
  { id: 'syscalls', title: 'System calls per packet', unit: 'calls per packet', panels: [['', measured((cell) => cell.syscalls)]], linear: false, of: isOverLink, floor: 0.001 },
  { id: 'memory', title: 'Packets per second in memory, without a link', unit: 'Mpps (million packets per second)', panels: rate, linear: true, of: inMemory },
];

/** Everything the charts need. Bursts and paths that only `earlier` has are left out: it is a background, not a result. */
export function chartData(result: SweepResult, earlier?: SweepResult): ChartData {
  const paths = pathsOf(result);
  const bursts = burstsOf(result);
  const plans = PLANS.filter((plan) => paths.some(plan.of));
  const sources = earlier === undefined ? [result] : [result, earlier];
  const views = framesOf(result).flatMap((frame) => directionsOf(result).map((direction) =>
    ({ frame, direction, charts: plans.map((plan) => chart(plan, sources, paths, bursts, frame, direction)) })));
  return { paths, views };
}

function chart(plan: Plan, sources: readonly SweepResult[], paths: readonly string[], bursts: readonly number[], frame: number, direction: Direction): Chart {
  const drawn = plan.panels.map(([title, pick]) => {
    const at = pick(frame, direction);
    const lines = sources.flatMap((source, order) => paths.map((path, index) => line(index, order > 0, bursts.map((burst) => plan.of(path) ? at(source, path, burst) : null))));
    return { title, lines: lines.filter(({ values }) => values.some((value) => value !== null)) };
  }).filter(({ lines }) => lines.length > 0);
  const at = bursts.flatMap((_, index) => drawn.some(({ lines }) => lines.some((one) => one.values[index] !== null)) ? index : []);
  const panels = drawn.map(({ title, lines }) => ({ title, lines: lines.map((one) => only(one, at)) }));
  const values = panels.flatMap(({ lines }) => lines.flatMap((one) => [...one.low, ...one.high])).filter((value) => value !== null);
  const positive = values.filter((value) => value > 0);
  const logarithmic = positive.length > 0 && (!plan.linear || Math.max(...positive) > LINEAR_UP_TO * Math.min(...positive));
  return { id: plan.id, title: plan.title, unit: plan.unit, panels, bursts: at.map((index) => bursts[index]), logarithmic, floor: plan.floor ?? 0 };
}

function line(path: number, earlier: boolean, spreads: readonly (Spread | null | undefined)[]): Line {
  return {
    path, earlier, values: spreads.map((one) => one?.median ?? null),
    low: spreads.map((one) => one?.min ?? null), high: spreads.map((one) => one?.max ?? null),
  };
}

/** The line at some of the bursts, by their places. */
function only(one: Line, places: readonly number[]): Line {
  const pick = (values: readonly (number | null)[]): (number | null)[] => places.map((place) => values[place]);
  return { ...one, values: pick(one.values), low: pick(one.low), high: pick(one.high) };
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

/**
 * Queues × lcores × policy as one chart of three panels, an SVG inside the report: a bar for each policy, in groups for
 * each number of queues and lcores; a thin line from the least to the greatest round. A letter under each bar says what
 * its colour says too, and the legend above says both. Bars begin at 0; values too far apart for that are dots on a log scale.
 */
import { linearAxis, logAxis, type Axis } from './axis.js';
import { POLICIES, shapesOf, type Policy, type ScalingCell, type SweepResult } from './model.js';
import type { Spread } from './statistics.js';
import { count, figure } from './text.js';

const WIDTH = 980;
const HEIGHT = 350;
const PLOT = { top: 82, height: 210, left: 48, right: 14 };
const COLOURS: Readonly<Record<Policy, string>> = { busy: '#c24e00', adaptive: '#2f7fbd', interrupt: '#2a9470' };

const WHAT: Readonly<Record<Policy, string>> = { busy: 'asks again at once', adaptive: 'asks a while, then sleeps', interrupt: 'sleeps' };
/** The ratio of the greatest to the least value up to which bars from 0 show both. */
const LINEAR_UP_TO = 40;

interface PanelPlan { readonly title: string; readonly pick: (cell: ScalingCell) => Spread | null; readonly scale: number }

/** Empty where nothing of it was measured. */
export function scalingChart(result: SweepResult): string {
  const { scaling } = result;
  if (scaling.length === 0) return '';
  const offered = `at ${count(scaling[0]!.offered)} packets/s`;
  const plans: PanelPlan[] = [
    { title: 'Mpps received, at full load', pick: cell => cell.packetsPerSecond, scale: 1e-6 },
    { title: `CPUs that the lcores take, ${offered}`, pick: cell => cell.cpu, scale: 1 },
    { title: `µs one way, p99, ${offered}`, pick: cell => cell.p99, scale: 1e-3 },
  ];
  const width = WIDTH / plans.length;
  const panels = plans.map((plan, index) => panel(result, plan, index * width, width));
  const legend = POLICIES.map((policy, index) => `<rect x="${round(8 + index * width)}" y="8" width="12" height="12" fill="${COLOURS[policy]}"/>${label(26 + index * width, 18, `${policy[0]!} = ${policy}: ${WHAT[policy]}`, 'start')}`);
  const foot = label(8, HEIGHT - 8, 'queues × lcores; thin lines: least and greatest round', 'start');
  return `<svg class="scaling" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Packets per second, CPU and latency by queues, lcores and policy">${[...legend, ...panels, foot].join('')}</svg>`;
}

function panel(result: SweepResult, { title, pick, scale }: PanelPlan, left: number, width: number): string {
  const values = result.scaling.flatMap(cell => pick(cell) ?? []);
  if (values.length === 0) return label(left + 8, PLOT.top - 24, `${title}: not measured`, 'start');
  const positive = values.map(({ min }) => min * scale).filter(value => value > 0);
  const most = Math.max(...values.map(({ max }) => max * scale));
  const logarithmic = positive.length > 0 && most > LINEAR_UP_TO * Math.min(...positive);
  const axis = logarithmic ? logAxis(Math.min(...positive), most) : linearAxis(most);
  const shapes = shapesOf(result);
  const [x0, room] = [left + PLOT.left, width - PLOT.left - PLOT.right];
  const group = room / shapes.length;
  const bar = Math.min(22, group * 0.8 / POLICIES.length);
  const grid = axis.ticks.map(tick => `<path d="M${round(x0)} ${round(height(axis, tick))}h${round(room)}" stroke="var(--rule)"/>${label(x0 - 6, height(axis, tick) + 4, tick === 0 ? '0' : String(Number(figure(tick))), 'end')}`);
  const groups = shapes.map(({ queues, lcores }, index) => {
    const middle = x0 + (index + 0.5) * group;
    const bars = POLICIES.map((policy, place) => {
      const cell = result.scaling.find(each => each.queues === queues && each.lcores === lcores && each.policy === policy);
      const value = cell === undefined ? null : pick(cell);
      return value === null ? '' : drawValue(logarithmic, axis, value, scale, middle + (place - 1.5) * bar, bar, policy);
    });
    return `${bars.join('')}${label(middle, PLOT.top + PLOT.height + 32, `${queues} × ${lcores}`, 'middle')}`;
  });
  return `${label(left + 8, PLOT.top - 24, logarithmic ? `${title} (log scale)` : title, 'start')}${grid.join('')}${groups.join('')}`;
}

function drawValue(logarithmic: boolean, axis: Axis, { median, min, max }: Spread, scale: number, x: number, width: number, policy: Policy): string {
  const [top, foot] = [height(axis, median * scale), PLOT.top + PLOT.height];
  const middle = x + width / 2;
  const drawn = logarithmic ? `<circle cx="${round(middle - 1)}" cy="${round(top)}" r="5" fill="${COLOURS[policy]}"/>`
    : `<rect x="${round(x)}" y="${round(top)}" width="${round(width - 2)}" height="${round(Math.max(1, foot - top))}" fill="${COLOURS[policy]}"/>`;
  return drawn +
    `<path d="M${round(middle - 1)} ${round(height(axis, max * scale))}V${round(height(axis, min * scale))}" stroke="var(--ink)"/>${label(middle - 1, foot + 14, policy[0]!, 'middle')}`;
}

function height(axis: Axis, value: number): number {
  return PLOT.top + PLOT.height * (1 - Math.min(1, axis.place(value)));
}

function label(x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${text}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

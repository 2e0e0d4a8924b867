/**
 * Queues × lcores × policy as one chart of three panels, an SVG inside the report: a bar for each policy, in groups for
 * each number of queues and lcores; a thin line from the least to the greatest round. A letter under each bar says what
 * its colour says too.
 */
import { linearAxis, logAxis, type Axis } from './axis.js';
import { POLICIES, shapesOf, type Policy, type ScalingCell, type SweepResult } from './model.js';
import type { Spread } from './statistics.js';
import { count, figure } from './text.js';

const WIDTH = 980;
const HEIGHT = 330;
const PLOT = { top: 46, height: 210, left: 48, right: 14 };
const COLOURS: Readonly<Record<Policy, string>> = { busy: '#c24e00', adaptive: '#2f7fbd', interrupt: '#2a9470' };

interface PanelPlan { readonly title: string; readonly logarithmic: boolean; readonly pick: (cell: ScalingCell) => Spread | null; readonly scale: number }

/** Empty where nothing of it was measured. */
export function scalingChart(result: SweepResult): string {
  const { scaling } = result;
  if (scaling.length === 0) return '';
  const offered = `at ${count(scaling[0]!.offered)} packets/s`;
  const plans: PanelPlan[] = [
    { title: 'Mpps received, at full load', logarithmic: false, pick: cell => cell.packetsPerSecond, scale: 1e-6 },
    { title: `CPUs that the lcores take, ${offered}`, logarithmic: false, pick: cell => cell.cpu, scale: 1 },
    { title: `µs one way, p99, ${offered}`, logarithmic: true, pick: cell => cell.p99, scale: 1e-3 },
  ];
  const width = WIDTH / plans.length;
  const panels = plans.map((plan, index) => panel(result, plan, index * width, width));
  const legend = POLICIES.map((policy, index) => `<rect x="${PLOT.left + index * 130}" y="${HEIGHT - 18}" width="12" height="12" fill="${COLOURS[policy]}"/>${label(PLOT.left + 18 + index * 130, HEIGHT - 8, `${policy} (${policy[0]!})`, 'start')}`);
  return `<svg class="scaling" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Packets per second, CPU and latency by queues, lcores and policy">${[...panels, ...legend].join('')}</svg>`;
}

function panel(result: SweepResult, { title, logarithmic, pick, scale }: PanelPlan, left: number, width: number): string {
  const values = result.scaling.flatMap(cell => pick(cell) ?? []);
  if (values.length === 0) return label(left + PLOT.left, 22, `${title}: not measured`, 'start');
  const positive = values.map(({ min }) => min * scale).filter(value => value > 0);
  const most = Math.max(...values.map(({ max }) => max * scale));
  const axis = logarithmic && positive.length > 0 ? logAxis(Math.min(...positive), most) : linearAxis(most);
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
      return value === null ? '' : drawBar(axis, value, scale, middle + (place - 1.5) * bar, bar, policy);
    });
    return `${bars.join('')}${label(middle, PLOT.top + PLOT.height + 32, `${queues} × ${lcores}`, 'middle')}`;
  });
  return `${label(x0, 22, title, 'start')}${grid.join('')}${groups.join('')}`;
}

function drawBar(axis: Axis, { median, min, max }: Spread, scale: number, x: number, width: number, policy: Policy): string {
  const [top, foot] = [height(axis, median * scale), PLOT.top + PLOT.height];
  const middle = x + width / 2;
  return `<rect x="${round(x)}" y="${round(top)}" width="${round(width - 2)}" height="${round(Math.max(1, foot - top))}" fill="${COLOURS[policy]}"/>` +
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

/**
 * The main chart as a small SVG for a README: packets per second over the burst size at the smallest frame, one panel
 * per direction, median lines with the rounds' range as a band. No script, no outside reference; it follows the
 * reader's light or dark setting and stands on either by itself.
 */
import { burstAxis, linearAxis, logAxis } from './axis.js';
import type { Axis } from './axis.js';
import { chartData } from './chart.js';
import type { Chart, Line } from './chart.js';
import { conclusions } from './conclusion.js';
import type { SweepResult } from './model.js';
import { looksOf, markerPath } from './palette.js';
import type { Look } from './palette.js';
import { escapeHtml, figure, printable } from './text.js';

const WIDTH = 820;
const PLOT = { top: 64, height: 220, left: 52, right: 16 };
const LEGEND_TOP = PLOT.top + PLOT.height + 62;
const LEGEND_COLUMNS = 4;

interface Box { readonly left: number; readonly width: number }
interface Scene { readonly bursts: readonly number[]; readonly x: Axis; readonly y: Axis; readonly looks: readonly Look[] }

/** A standalone SVG document. A result without a measured cell gives one that says so. */
export function sweepSvg(result: SweepResult): string {
  const data = chartData(result);
  const frame = data.views[0]?.frame;
  const views = data.views.filter((view) => view.frame === frame && view.charts[0].panels.length > 0);
  if (views.length === 0) return document('No cell was measured', 80, text(WIDTH / 2, 48, 'No cell was measured', 'middle'), [], result);
  const looks = [...looksOf(data.paths).values()];
  const charts = views.map((view) => view.charts[0]);
  const y = rateAxis(charts);
  const boxes = charts.map((_, index): Box => ({ left: index * WIDTH / charts.length + PLOT.left, width: WIDTH / charts.length - PLOT.left - PLOT.right }));
  const panels = views.map((view, index) => panel(boxes[index], sceneOf(charts[index], y, looks), view.charts[0].panels[0].lines, view.direction, index === 0));
  const unit = `Mpps, ${frame}-byte frames (RFC 2544, with FCS)${charts.some((chart) => chart.logarithmic) ? ', log scale' : ''}; bands: least and most of ${result.header.rounds} rounds`;
  const drawn = [...new Set(charts.flatMap((chart) => chart.panels.flatMap(({ lines }) => lines.map(({ path }) => path))))].sort((a, b) => a - b);
  const body = [text(8, 22, `${charts[0].title}, by burst size`, 'start', 'title'), text(8, 42, unit, 'start'), ...panels, legend(drawn, data.paths, looks)].join('\n');
  return document(`${charts[0].title} by burst size, ${frame}-byte frames`, LEGEND_TOP + 24 * Math.ceil(drawn.length / LEGEND_COLUMNS), body, looks, result);
}

function sceneOf({ bursts }: Chart, y: Axis, looks: readonly Look[]): Scene {
  return { bursts, x: burstAxis(bursts), y, looks };
}

function rateAxis(charts: readonly Chart[]): Axis {
  const values = charts.flatMap((chart) => chart.panels.flatMap((one) => one.lines.flatMap((line) => [...line.low, ...line.high]))).filter((value) => value !== null);
  const positive = values.filter((value) => value > 0);
  return charts.some((chart) => chart.logarithmic) ? logAxis(Math.min(...positive), Math.max(...positive)) : linearAxis(Math.max(0, ...values));
}

function panel(box: Box, scene: Scene, lines: readonly Line[], title: string, labelled: boolean): string {
  const x = (burst: number): number => box.left + scene.x.place(burst) * box.width;
  const y = (value: number): number => PLOT.top + PLOT.height * (1 - scene.y.place(value));
  const foot = PLOT.top + PLOT.height;
  const grid = scene.y.ticks.map((tick) => `<path class="grid" d="M${at(box.left, y(tick))}h${round(box.width)}"/>${text(box.left - 8, y(tick) + 4, figureTick(tick), 'end')}`);
  const ticks = apart(scene.bursts, x).map((burst) => text(x(burst), foot + 18, String(burst), 'middle'));
  const heads = [text(box.left + 4, PLOT.top - 6, title, 'start', 'strong'), text(box.left + box.width / 2, foot + 36, labelled ? 'burst: packets per call (log2 scale)' : 'burst', 'middle')];
  const drawn = lines.map((line) => series(line, scene, x, y));
  return [...grid, ...ticks, ...heads, ...drawn].join('\n');
}

/** The bursts whose labels do not touch the one before. */
function apart(bursts: readonly number[], x: (burst: number) => number): number[] {
  let last = -Infinity;
  return bursts.filter((burst) => {
    const free = x(burst) - last >= 8 + 7 * String(burst).length;
    if (free) last = x(burst);
    return free;
  });
}

function series(line: Line, scene: Scene, x: (burst: number) => number, y: (value: number) => number): string {
  const points = scene.bursts.flatMap((burst, index) => {
    const [value, low, high] = [line.values[index], line.low[index], line.high[index]];
    return value === null || low === null || high === null ? [] : [{ x: x(burst), y: y(value), low: y(low), high: y(high) }];
  });
  const outline = [...points.map((point) => at(point.x, point.high)), ...points.map((point) => at(point.x, point.low)).reverse()].join('L');
  const look = scene.looks[line.path];
  const stroke = `<path class="line p${line.path}"${dash(look)} d="M${points.map((point) => at(point.x, point.y)).join('L')}"/>`;
  const markers = `<path class="mark p${line.path}" d="${points.map((point) => markerPath(look.marker, point.x, point.y)).join('')}"/>`;
  return `<path class="band p${line.path}" d="M${outline}z"/>${stroke}${markers}`;
}

/** @param drawn indices of the paths that have a line */
function legend(drawn: readonly number[], paths: readonly string[], looks: readonly Look[]): string {
  return drawn.map((index, place) => {
    const left = 52 + (place % LEGEND_COLUMNS) * 190;
    const y = LEGEND_TOP + 24 * Math.floor(place / LEGEND_COLUMNS);
    return `<path class="line p${index}"${dash(looks[index])} d="M${at(left, y)}h36"/><path class="mark p${index}" d="${markerPath(looks[index].marker, left + 18, y)}"/>${text(left + 44, y + 4, printable(paths[index], 20), 'start')}`;
  }).join('\n');
}

function document(title: string, height: number, body: string, looks: readonly Look[], result: SweepResult): string {
  const description = [...conclusions(result), `${result.header.cpu}, Linux ${result.header.kernel}, ${result.header.link}.`].join(' ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${escapeHtml(title)}</title>
<desc id="desc">${escapeHtml(description)}</desc>
<style>${style(looks)}</style>
<rect class="page" width="${WIDTH}" height="${height}" rx="6"/>
${body}
</svg>
`;
}

function style(looks: readonly Look[]): string {
  const colours = (theme: 'light' | 'dark'): string => looks.map((look, index) => `.p${index}{stroke:${look[theme]};fill:${look[theme]}}`).join('');
  return `text{font:12px system-ui,sans-serif;fill:#3d444d}.title{font-size:16px;font-weight:600}.strong{font-weight:600}.page{fill:#fff}` +
    `.grid{stroke:#d8dce1;fill:none}${colours('light')}.line{fill:none;stroke-width:2}.mark{stroke-width:1.5}.band{stroke:none;fill-opacity:.07}` +
    `@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.page{fill:#0d1117}.grid{stroke:#30363d}${colours('dark')}.line{fill:none}.band{stroke:none}}`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end', className = ''): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"${className === '' ? '' : ` class="${className}"`}>${escapeHtml(content)}</text>`;
}

function dash(look: Look): string {
  return look.dash.length === 0 ? '' : ` stroke-dasharray="${look.dash.join(' ')}"`;
}

function at(x: number, y: number): string {
  return `${round(x)} ${round(y)}`;
}

function figureTick(value: number): string {
  return value === 0 ? '0' : Number(figure(value)).toString();
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

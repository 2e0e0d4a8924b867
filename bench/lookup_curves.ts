/**
 * What does a lookup cost, and an entry take, as tables grow? For each structure, entries from 10 to 10 million or its
 * limit: cycles per lookup in bulks of 32, of keys at random among those that are there, and bytes of the arena per entry.
 *
 *   node dist/bench/lookup_curves.js [--only lpm4,lpm6,hash,acl,maglev] [--most 10000000] [--seconds 0.3] [--huge] [--cpu N] [--json] [--svg FILE]
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Arena } from '../lib/arena/arena.js';
import { logAxis, type Axis } from '../lib/sweep/axis.js';
import { median } from '../lib/sweep/statistics.js';
import { benchOptions } from './options.js';
import { cyclesPerSecond, pin } from './ours/common.js';
import { STRUCTURES, type Structure } from './ours/lookup_structures.js';

interface Point { readonly entries: number; readonly cycles: number; readonly bytes: number }
interface Curve { readonly name: string; readonly title: string; readonly limit: string; readonly points: readonly Point[] }

const values = benchOptions({
  what: 'Cycles per lookup, in bulks of 32, and bytes per entry, as tables grow from 10 entries to 10 million or their limit.',
  against: 'nobody; `npm run bench:peers -- --only lookup --autotests` races DPDK\'s at one size',
  options: {
    only: { value: 'LIST', default: STRUCTURES.map(({ name }) => name).join(), help: 'which structures' }, most: { value: 'N', default: '10000000', help: 'entries' }, seconds: { value: 'S', default: '0.3', help: 'of each point' },
    huge: { help: 'on huge pages, where there are any' }, cpu: { value: 'N', default: String(cpus().length - 1), help: 'the CPU to be on' }, json: { help: 'the figures as JSON' }, svg: { value: 'FILE', help: 'draws the curves into it' },
  },
});
pin(Number(values.cpu));
const perNanosecond = cyclesPerSecond() / 1e9;
const curves = STRUCTURES.filter(({ name }) => values.only.split(',').includes(name)).map(curve);
if (values.svg !== undefined) writeFileSync(values.svg, svg());
process.stdout.write(values.json ? `${JSON.stringify(curves, null, 1)}\n` : text());

function curve(structure: Structure): Curve {
  const sizes = Array.from({ length: 7 }, (_, power) => 10 ** (power + 1)).filter(size => size <= Math.min(structure.most, Number(values.most)));
  if (structure.most < Number(values.most) && sizes.at(-1) !== structure.most) sizes.push(structure.most);
  return { name: structure.name, title: structure.title, limit: structure.limit, points: sizes.map(entries => point(structure, entries)) };
}

function point(structure: Structure, entries: number): Point {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${structure.name} ${entries}`);
  const arena = Arena.create({ size: structure.arena(entries) });
  const made = structure.make(arena, entries, values.huge ? 'try' : 'never');
  const slices: number[] = [];
  for (const until = performance.now() + Number(values.seconds) * 1000; performance.now() < until || slices.length < 16;) slices.push(made.slice());
  const result = { entries, cycles: median(slices.slice(slices.length >> 3)) * perNanosecond, bytes: made.bytes / entries };
  arena.close();
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return result;
}

function text(): string {
  const table = ({ title, limit, points }: Curve): string => [title, `  limit: ${limit}`, '     entries   cycles/lookup   bytes/entry', ...points.map(({ entries, cycles, bytes }) => (
    `${entries.toLocaleString('en').padStart(12)}  ${cycles.toFixed(1).padStart(13)}  ${(bytes < 1000 ? bytes.toFixed(1) : Math.round(bytes).toLocaleString('en')).padStart(12)}`
  ))].join('\n');
  return `Lookups, bulks of 32; ${cpus()[0].model}, pages of ${values.huge ? '2 MiB where there are any' : '4 KiB'} (ACL and Maglev: 4 KiB)\n\n${curves.map(table).join('\n\n')}\n`;
}

/** Cycles and bytes side by side, over entries; all axes logarithmic. */
function svg(): string {
  const points = curves.flatMap(each => each.points);
  const x = logAxis(10, Math.max(...points.map(({ entries }) => entries)));
  const panels = [panel('cycles per lookup', 60, x, ({ cycles }) => cycles), panel('bytes per entry', 480, x, ({ bytes }) => bytes)];
  const legend = curves.map(({ name }, i) => `<text x="${60 + i * 90}" y="314" class="c${i}">● ${name}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 324" width="860" height="324" role="img"><title>Lookups: cycles and bytes over entries</title>
<style>text{font:12px system-ui,sans-serif;fill:#3d444d}.page{fill:#fff}.grid{stroke:#d8dce1}path.line{fill:none;stroke-width:2}${['#0969da', '#8250df', '#1a7f37', '#cf222e', '#9a6700'].map((colour, i) => `.c${i}{stroke:${colour}}text.c${i}{stroke:none;fill:${colour}}`).join('')}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.page{fill:#0d1117}.grid{stroke:#30363d}}</style>
<rect class="page" width="860" height="324" rx="6"/>${panels.join('\n')}${legend.join('')}</svg>
`;
}

function panel(title: string, left: number, x: Axis, of: (point: Point) => number): string {
  const found = curves.flatMap(({ points }) => points.map(of));
  const y = logAxis(Math.min(...found), Math.max(...found));
  const [across, up] = [(entries: number) => left + x.place(entries) * 340, (value: number) => 260 - y.place(value) * 210];
  const short = (tick: number): string => tick >= 1e6 ? `${tick / 1e6}M` : tick >= 1000 ? `${tick / 1000}k` : String(tick);
  const rows = y.ticks.map(tick => `<path class="grid" d="M${left} ${up(tick).toFixed(1)}h340"/><text x="${left - 6}" y="${(up(tick) + 4).toFixed(1)}" text-anchor="end">${short(tick)}</text>`);
  const columns = x.ticks.map(tick => `<text x="${across(tick).toFixed(1)}" y="278" text-anchor="middle">${short(tick)}</text>`);
  const lines = curves.map(({ points }, i) => `<path class="line c${i}" d="M${points.map(each => `${across(each.entries).toFixed(1)} ${up(of(each)).toFixed(1)}`).join('L')}"/>`);
  return `<text x="${left}" y="30">${title}</text><text x="${left + 170}" y="296" text-anchor="middle">entries</text>${rows.join('')}${columns.join('')}${lines.join('')}`;
}

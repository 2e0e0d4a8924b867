/**
 * The sweep as text for a terminal: per frame size and direction one table, bursts down, paths across, and the
 * sentences that the figures carry. Widths are counted in characters; what is too wide loses its ratios first and is
 * then set in several tables one below the other.
 */
import { conclusions } from './conclusion.js';
import { BASELINE_PATH, burstsOf, directionsOf, findMeasured, framesOf, lost, pathsOf } from './model.js';
import type { CellKey, Direction, MeasuredCell, SweepResult } from './model.js';
import { ratioTo, relativeRange } from './statistics.js';
import { mpps, percent, printable, times } from './text.js';

export interface TableStyle {
  /** Characters per line. */
  readonly width: number;
  readonly colour: boolean;
}

interface Column { readonly title: string; readonly cells: readonly Entry[] }
interface Entry { readonly text: string; readonly ratio: string; readonly look: 'best' | 'missing' | 'plain' }

const SEPARATOR = '  ';
const WIDTH_MIN = 20;
const LOOKS = { best: '\u001b[1;32m', missing: '\u001b[2m', plain: '', title: '\u001b[1m' };
const RESET = '\u001b[0m';

/** What a stream can show: colour on a terminal only, and none with NO_COLOR (no-color.org) or TERM=dumb; 80 wide where unknown. */
export function tableStyle(stream: { isTTY?: boolean; columns?: number }, env: Readonly<Record<string, string | undefined>>): TableStyle {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return { width: Math.max(WIDTH_MIN, stream.columns ?? 80), colour: stream.isTTY === true && !refused };
}

/**
 * All tables, what was left out, and the conclusion; ends in a line end. With `earlier`, the second figure of each
 * entry is the ratio to that result's same cell instead of to dgram.
 */
export function sweepTables(result: SweepResult, style: TableStyle, earlier?: SweepResult): string {
  const blocks = framesOf(result).flatMap((frame) => directionsOf(result).map((direction) => block(result, frame, direction, style, earlier)));
  const sentences = [...conclusions(result), ...result.header.notes].map((sentence) => wrap(printable(sentence, 1000), style.width).join('\n'));
  return [...blocks, leftOut(result, style), sentences.join('\n')].filter((part) => part !== '').join('\n\n') + '\n';
}

function block(result: SweepResult, frame: number, direction: Direction, style: TableStyle, earlier: SweepResult | undefined): string {
  const against = earlier === undefined ? `× of ${BASELINE_PATH}` : '× of the earlier sweep';
  const title = `${frame}-byte frames, ${direction}: Mpps (median of ${result.header.rounds} rounds), ${against}`;
  const bursts = burstsOf(result);
  const rows = bursts.map((burst) => pathsOf(result).map((path) => entry(result, { path, burst, frame, direction }, earlier)));
  const columns = pathsOf(result).map((path, index) => ({ title: printable(path, style.width - 8), cells: markBest(rows)(index) }));
  const heading = wrap(title, style.width).map((line) => paint(line, 'title', style));
  return [...heading, ...layOut(bursts, columns, style), ...wrap(caption(result, frame, direction), style.width)].join('\n');
}

function entry(result: SweepResult, key: CellKey, earlier: SweepResult | undefined): Entry & { rate: number } {
  const cell = findMeasured(result, key);
  if (cell === undefined) return { text: '-', ratio: '', look: 'missing', rate: -1 };
  const other = earlier === undefined ? findMeasured(result, { ...key, path: BASELINE_PATH }) : findMeasured(earlier, key);
  const ratio = other && ratioTo(cell.packetsPerSecond, other.packetsPerSecond);
  const rate = cell.packetsPerSecond.median;
  return { text: mpps(rate), ratio: ratio === undefined ? '' : times(ratio.ratio), look: 'plain', rate };
}

/** The fastest of each row stands out, unless it is the only one. */
function markBest(rows: readonly (readonly (Entry & { rate: number })[])[]): (column: number) => Entry[] {
  return (column) => rows.map((row) => {
    const best = Math.max(...row.map(({ rate }) => rate));
    const alone = row.filter(({ rate }) => rate >= 0).length < 2;
    return row[column].rate === best && best > 0 && !alone ? { ...row[column], look: 'best' } : row[column];
  });
}

/** Lines of as many tables as the width asks for. */
function layOut(bursts: readonly number[], columns: readonly Column[], style: TableStyle): string[] {
  const first = Math.max(5, ...bursts.map((burst) => String(burst).length));
  const room = style.width - first;
  const withRatios = columns.map((column) => columnWidth(column, true) + SEPARATOR.length).reduce((a, b) => a + b, 0) <= room;
  return inGroups(columns, room, withRatios).flatMap((group, index) => {
    const widths = group.map((column) => columnWidth(column, withRatios));
    const head = ['burst'.padStart(first), ...group.map((column, at) => column.title.padStart(widths[at]))].join(SEPARATOR);
    const lines = bursts.map((burst, row) => [String(burst).padStart(first),
      ...group.map((column, at) => draw(column, column.cells[row], withRatios, widths[at], style))].join(SEPARATOR));
    return [...(index === 0 ? [] : ['']), head, ...lines];
  });
}

function inGroups(columns: readonly Column[], room: number, withRatios: boolean): Column[][] {
  const groups: Column[][] = [];
  let used = Infinity;
  for (const column of columns) {
    const width = columnWidth(column, withRatios) + SEPARATOR.length;
    if (used + width > room) { groups.push([]); used = 0; }
    groups[groups.length - 1].push(column);
    used += width;
  }
  return groups;
}

function ratioWidth(column: Column): number {
  return Math.max(0, ...column.cells.map(({ ratio }) => ratio.length));
}

function body(column: Column, cell: Entry, withRatios: boolean): string {
  const width = ratioWidth(column);
  return withRatios && width > 0 ? `${cell.text} ${cell.ratio.padStart(width)}` : cell.text;
}

function columnWidth(column: Column, withRatios: boolean): number {
  return Math.max(column.title.length, ...column.cells.map((cell) => body(column, cell, withRatios).length));
}

function draw(column: Column, cell: Entry, withRatios: boolean, width: number, style: TableStyle): string {
  return paint(body(column, cell, withRatios).padStart(width), cell.look, style);
}

function paint(text: string, look: keyof typeof LOOKS, style: TableStyle): string {
  return style.colour && LOOKS[look] !== '' ? `${LOOKS[look]}${text}${RESET}` : text;
}

/** How far the rounds lie apart and what was lost: a median alone hides both. */
function caption(result: SweepResult, frame: number, direction: Direction): string {
  const cells = result.cells.filter((cell): cell is MeasuredCell => cell.status === 'measured' && cell.frame === frame && cell.direction === direction);
  if (cells.length === 0) return 'nothing measured';
  const widest = Math.max(...cells.map((cell) => relativeRange(cell.packetsPerSecond)));
  const worst = Math.max(...cells.map((cell) => cell.sent === 0 ? 0 : lost(cell) / cell.sent));
  return `rounds of a cell lie at most ${percent(widest)} of its median apart; greatest loss ${percent(Math.max(0, worst))}`;
}

function leftOut(result: SweepResult, style: TableStyle): string {
  const lines = missingReasons(result).flatMap(({ path, reason, cells }) => wrap(`${path} (${cells} ${cells === 1 ? 'cell' : 'cells'}): ${reason}`, style.width));
  return lines.length === 0 ? '' : ['Left out:', ...lines].join('\n');
}

/** What was not measured, by path and reason; the strings are printable. */
export function missingReasons(result: SweepResult): { path: string; reason: string; cells: number }[] {
  const counts = new Map<string, { path: string; reason: string; cells: number }>();
  for (const cell of result.cells) {
    if (cell.status !== 'missing') continue;
    const key = JSON.stringify([cell.path, cell.reason]);
    const found = counts.get(key) ?? { path: printable(cell.path), reason: printable(cell.reason, 1000), cells: 0 };
    counts.set(key, { ...found, cells: found.cells + 1 });
  }
  return [...counts.values()];
}

/** Lines of at most `width` characters, broken at spaces; a longer word has a line of its own. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1];
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

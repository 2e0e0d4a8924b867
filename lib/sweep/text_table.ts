/** Tables for a terminal. Widths are counted in characters; what is too wide is set in several tables one below the other. */
export interface TableStyle {
  /** Characters per line. */
  readonly width: number;
  readonly colour: boolean;
}

export interface Entry {
  readonly text: string;
  /** A second figure beside it, the first to go when the width is short. */
  readonly more: string;
  readonly look: 'best' | 'missing' | 'plain';
}

export interface Column { readonly title: string; readonly cells: readonly Entry[] }

/** The column that names the rows; all alike in width, the title too. */
export interface Labels { readonly title: string; readonly rows: readonly string[] }

const SEPARATOR = '  ';
const WIDTH_MIN = 20;
const LOOKS = { best: '\u001b[1;32m', missing: '\u001b[2m', plain: '', title: '\u001b[1m' };
const RESET = '\u001b[0m';

/** What a stream can show: colour on a terminal only, and none with NO_COLOR (no-color.org) or TERM=dumb; 80 wide where unknown. */
export function tableStyle(stream: { isTTY?: boolean; columns?: number }, env: Readonly<Record<string, string | undefined>>): TableStyle {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return { width: Math.max(WIDTH_MIN, stream.columns ?? 80), colour: stream.isTTY === true && !refused };
}

export function plain(text: string): Entry {
  return { text, more: '', look: 'plain' };
}

export const MISSING: Entry = { text: '-', more: '', look: 'missing' };

/** Labels padded to the same width, on the left for names and on the right for numbers. */
export function labels(title: string, rows: readonly string[], side: 'left' | 'right'): Labels {
  const width = Math.max(title.length, ...rows.map((row) => row.length));
  const pad = (text: string): string => side === 'left' ? text.padEnd(width) : text.padStart(width);
  return { title: pad(title), rows: rows.map(pad) };
}

/** Lines of as many tables as the width asks for. */
export function layOut({ title, rows }: Labels, columns: readonly Column[], style: TableStyle): string[] {
  const room = style.width - title.length;
  const withMore = hasRoomForMore(columns, room);
  return inGroups(columns, room, withMore).flatMap((group, index) => {
    const widths = group.map((column) => columnWidth(column, withMore));
    const head = [title, ...group.map((column, at) => column.title.padStart(widths[at]))].join(SEPARATOR);
    const lines = rows.map((label, row) => [label, ...group.map((column, at) => draw(column, column.cells[row], withMore, widths[at], style))].join(SEPARATOR));
    return [...(index === 0 ? [] : ['']), head, ...lines];
  });
}

/** Whether `layOut` shows second figures: there are some, and the width is enough for them. */
export function showsMore({ title }: Labels, columns: readonly Column[], style: TableStyle): boolean {
  return columns.some((column) => moreWidth(column) > 0) && hasRoomForMore(columns, style.width - title.length);
}

function hasRoomForMore(columns: readonly Column[], room: number): boolean {
  return columns.map((column) => columnWidth(column, true) + SEPARATOR.length).reduce((a, b) => a + b, 0) <= room;
}

export function heading(text: string, style: TableStyle): string[] {
  return wrap(text, style.width).map((line) => paint(line, 'title', style));
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

function inGroups(columns: readonly Column[], room: number, withMore: boolean): Column[][] {
  const groups: Column[][] = [];
  let used = Infinity;
  for (const column of columns) {
    const width = columnWidth(column, withMore) + SEPARATOR.length;
    if (used + width > room) { groups.push([]); used = 0; }
    groups[groups.length - 1].push(column);
    used += width;
  }
  return groups;
}

function moreWidth(column: Column): number {
  return Math.max(0, ...column.cells.map(({ more }) => more.length));
}

function body(column: Column, cell: Entry, withMore: boolean): string {
  const width = moreWidth(column);
  return withMore && width > 0 ? `${cell.text} ${cell.more.padStart(width)}` : cell.text;
}

function columnWidth(column: Column, withMore: boolean): number {
  return Math.max(column.title.length, ...column.cells.map((cell) => body(column, cell, withMore).length));
}

function draw(column: Column, cell: Entry, withMore: boolean, width: number, style: TableStyle): string {
  return paint(body(column, cell, withMore).padStart(width), cell.look, style);
}

function paint(text: string, look: keyof typeof LOOKS, style: TableStyle): string {
  return style.colour && LOOKS[look] !== '' ? `${LOOKS[look]}${text}${RESET}` : text;
}

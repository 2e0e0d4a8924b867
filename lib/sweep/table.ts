/**
 * The sweep as text for a terminal: per frame size and direction the rates, bursts down and paths across; at the
 * smallest frame what a packet costs; the round trips; what was left out; and the sentences that the figures carry.
 */
import { conclusions } from './conclusion.js';
import { BASELINE_PATH, burstsOf, directionsOf, findMeasured, framesOf, isOverLink, lost, ownShare, pathsOf } from './model.js';
import type { CellKey, Direction, LatencyCell, MeasuredCell, SweepResult } from './model.js';
import { ratioTo, relativeRange, type Spread } from './statistics.js';
import { count, figure, mpps, percent, printable, roughPercent, times } from './text.js';
import { MISSING, heading, labels, layOut, plain, showsMore, wrap, type Column, type Entry, type Labels, type TableStyle } from './text_table.js';

export { tableStyle, wrap, type TableStyle } from './text_table.js';

/**
 * All tables, what was left out, and the conclusion; ends in a line end. With `earlier`, the second figure of each
 * rate is the ratio to that result's same cell instead of to dgram.
 */
export function sweepTables(result: SweepResult, style: TableStyle, earlier?: SweepResult): string {
  const blocks = framesOf(result).flatMap((frame) => directionsOf(result).map((direction) => rateBlock(result, frame, direction, style, earlier)));
  const sentences = [...conclusions(result), ...result.header.notes].map((sentence) => wrap(printable(sentence, 1000), style.width).join('\n'));
  return [...blocks, costBlock(result, style), ...framesOf(result).map((frame) => latencyBlock(result, frame, style)), scalingBlock(result, style), leftOut(result, style), sentences.join('\n')]
    .filter((part) => part !== '').join('\n\n') + '\n';
}

/** Empty where no cell of it was measured. */
function rateBlock(result: SweepResult, frame: number, direction: Direction, style: TableStyle, earlier: SweepResult | undefined): string {
  if (!measuredCells(result).some((cell) => cell.frame === frame && cell.direction === direction)) return '';
  const bursts = burstsOf(result);
  const rows = bursts.map((burst) => pathsOf(result).map((path) => rate(result, { path, burst, frame, direction }, earlier)));
  const columns = pathsOf(result).map((path, index) => ({ title: printable(path, style.width - 8), cells: markBest(rows)(index) }));
  const names = labels('burst', bursts.map(String), 'right');
  const against = !showsMore(names, columns, style) ? '' : earlier === undefined ? `, × of ${BASELINE_PATH}` : ', × of the earlier sweep';
  const title = `${frame}-byte frames, ${direction}: Mpps (median of ${rounds(result)})${against}`;
  return [...heading(title, style), ...layOut(names, columns, style), ...wrap(caption(result, frame, direction), style.width)].join('\n');
}

interface Rate extends Entry { readonly rate: number; readonly overLink: boolean }

/** A memory port is not compared with a socket. */
function rate(result: SweepResult, key: CellKey, earlier: SweepResult | undefined): Rate {
  const cell = findMeasured(result, key);
  const overLink = isOverLink(key.path);
  if (cell === undefined) return { ...MISSING, rate: -1, overLink };
  const baseline = overLink && key.path !== BASELINE_PATH ? findMeasured(result, { ...key, path: BASELINE_PATH }) : undefined;
  const other = earlier === undefined ? baseline : findMeasured(earlier, key);
  const ratio = other && ratioTo(cell.packetsPerSecond, other.packetsPerSecond);
  return { text: mpps(cell.packetsPerSecond.median), more: ratio === undefined ? '' : times(ratio.ratio), look: 'plain', rate: cell.packetsPerSecond.median, overLink };
}

/** The fastest over the link stands out in each row, unless it is the only one. */
function markBest(rows: readonly (readonly Rate[])[]): (column: number) => Entry[] {
  return (column) => rows.map((row) => {
    const rivals = row.filter(({ rate, overLink }) => rate >= 0 && overLink);
    const best = Math.max(0, ...rivals.map(({ rate }) => rate));
    const own = row[column];
    return own.overLink && own.rate === best && best > 0 && rivals.length > 1 ? { ...own, look: 'best' } : own;
  });
}

/** How far the rounds lie apart and what was lost where: a median alone hides both. */
function caption(result: SweepResult, frame: number, direction: Direction): string {
  const cells = measuredCells(result).filter((cell) => cell.frame === frame && cell.direction === direction);
  const [first] = cells;
  if (first === undefined) return '';
  const widest = Math.max(...cells.map((cell) => relativeRange(cell.packetsPerSecond)));
  const worst = cells.reduce((a, b) => lossOf(b) > lossOf(a) ? b : a, first);
  const where = worst.loss.length === 0 ? '' : `, in ${worst.loss.map(({ name }) => name).join(' and ')}`;
  const place = lossOf(worst) > 0 ? ` (${worst.path} at burst ${worst.burst}${where})` : '';
  return printable(`rounds of a cell lie at most ${percent(widest)} of its median apart; greatest loss ${percent(Math.max(0, lossOf(worst)))}${place}`, 1000);
}

function measuredCells(result: SweepResult): MeasuredCell[] {
  return result.cells.filter((cell): cell is MeasuredCell => cell.status === 'measured');
}

function lossOf(cell: MeasuredCell): number {
  return cell.sent === 0 ? 0 : lost(cell) / cell.sent;
}

/** What a packet costs at the smallest frame; the report has it for all. */
function costBlock(result: SweepResult, style: TableStyle): string {
  const frame = framesOf(result)[0];
  const sent = measuredCells(result).filter((cell) => cell.frame === frame && cell.direction === 'send');
  if (sent.length === 0) return '';
  const rows = pathsOf(result).flatMap((path) => burstsOf(result).flatMap((burst) => sent.find((cell) => cell.path === path && cell.burst === burst) ?? []));
  const received = rows.map((cell) => findMeasured(result, { ...cell, direction: 'receive' }));
  const columns: Column[] = [
    column('send ns', rows, (cell) => optional(cpuTime(cell), figure)),
    column('own share', rows, (cell) => optional(ownShare(cell), roughPercent)),
    column('calls', rows, (cell) => optional(cell.syscalls?.median, perPacket)),
    column('receive ns', received, (cell) => optional(cpuTime(cell), figure)),
    column('calls', received, (cell) => optional(cell.syscalls?.median, perPacket)),
    column('lost', rows, (cell) => percent(lossOf(cell))),
  ];
  const title = `Cost per packet, ${frame}-byte frames: CPU time of each thread, our own share of the sender's (user time over all), system calls`;
  return [...heading(title, style), ...layOut(placeLabels(rows, style), columns, style), ...wrap('A receiver polls all the time: its ns are the whole of its core, idle polling too.', style.width)].join('\n');
}

function cpuTime({ userNs, systemNs }: MeasuredCell): number | undefined {
  return userNs === null || systemNs === null ? undefined : userNs.median + systemNs.median;
}

/** Calls per packet: next to none is none. */
function perPacket(calls: number): string {
  return calls < 0.0005 ? '0' : calls.toFixed(calls < 0.1 ? 3 : 2);
}

function latencyBlock(result: SweepResult, frame: number, style: TableStyle): string {
  const rows = pathsOf(result).flatMap((path) => result.latency.filter((cell) => cell.path === path && cell.frame === frame).sort((a, b) => a.burst - b.burst));
  const [first] = rows;
  if (first === undefined) return '';
  const micro = (value: number): string => figure(value / 1000);
  const range = (of: (cell: LatencyCell) => Spread) => (cell: LatencyCell): string => `${micro(of(cell).min)}-${micro(of(cell).max)}`;
  const columns: Column[] = [
    column('p50', rows, (cell) => micro(cell.p50.median)), column('p99', rows, (cell) => micro(cell.p99.median)), column('p99.9', rows, (cell) => micro(cell.p999.median)),
    column('p50 range', rows, range((cell) => cell.p50)), column('p99.9 range', rows, range((cell) => cell.p999)),
    column('lost', rows, (cell) => percent(cell.sent === 0 ? 0 : (cell.sent - cell.returned) / cell.sent)),
  ];
  const title = `Round trip, ${frame}-byte frames: µs at ${count(Math.round(first.offered))} packets/s (median and range of ${rounds(result)})`;
  return [...heading(title, style), ...layOut(placeLabels(rows, style), columns, style)].join('\n');
}

/** Queues × lcores × policy. */
function scalingBlock(result: SweepResult, style: TableStyle): string {
  const { scaling } = result;
  const [first] = scaling;
  if (first === undefined) return '';
  const columns: Column[] = [
    column('Mpps', scaling, (cell) => mpps(cell.packetsPerSecond.median)),
    column('CPU', scaling, (cell) => percent(cell.cpu.median)),
    column('p50 µs', scaling, (cell) => optional(cell.p50?.median, microseconds)),
    column('p99 µs', scaling, (cell) => optional(cell.p99?.median, microseconds)),
  ];
  const title = `AF_XDP by queues × lcores and idle policy: Mpps received at full load; CPU of all lcores and µs one way at ${count(Math.round(first.offered))} packets/s`;
  const names = labels('policy', scaling.map(({ policy }) => policy), 'left');
  const shapes = labels('queues × lcores', scaling.map(({ queues, lcores }) => `${queues} × ${lcores}`), 'right');
  return [...heading(title, style), ...layOut({ title: `${shapes.title} ${names.title}`, rows: shapes.rows.map((shape, index) => `${shape} ${names.rows[index]}`) }, columns, style)].join('\n');
}

function microseconds(nanoseconds: number): string {
  return figure(nanoseconds / 1000);
}

/** "af_xdp          32" */
function placeLabels(rows: readonly { readonly path: string; readonly burst: number }[], style: TableStyle): Labels {
  const names = labels('path', rows.map(({ path }) => printable(path, Math.max(4, style.width - 20))), 'left');
  const bursts = labels('burst', rows.map(({ burst }) => String(burst)), 'right');
  return { title: `${names.title} ${bursts.title}`, rows: names.rows.map((name, index) => `${name} ${bursts.rows[index]}`) };
}

function column<Row>(title: string, rows: readonly (Row | undefined)[], text: (row: Row) => string | undefined): Column {
  return { title, cells: rows.map((row) => { const shown = row && text(row); return shown === undefined ? MISSING : plain(shown); }) };
}

function optional(value: number | undefined, format: (value: number) => string): string | undefined {
  return value === undefined ? undefined : format(value);
}

function leftOut(result: SweepResult, style: TableStyle): string {
  const lines = missingReasons(result).flatMap((sentence) => wrap(sentence, style.width));
  return lines.length === 0 ? '' : ['Left out:', ...lines].join('\n');
}

/** What was not measured, a printable sentence for each reason: "raw socket (4 cells): ..." */
export function missingReasons(result: SweepResult): string[] {
  const found = new Map<string, { paths: Set<string>; cells: number }>();
  for (const cell of result.cells) {
    if (cell.status !== 'missing') continue;
    const { paths, cells } = found.get(cell.reason) ?? { paths: new Set(), cells: 0 };
    found.set(cell.reason, { paths: paths.add(printable(cell.path, 40)), cells: cells + 1 });
  }
  return [...found].map(([reason, { paths, cells }]) => `${[...paths].join(', ')} (${cells} ${cells === 1 ? 'cell' : 'cells'}): ${printable(reason, 1000)}`);
}

function rounds({ header }: SweepResult): string {
  return header.rounds === 1 ? 'one round' : `${header.rounds} rounds`;
}

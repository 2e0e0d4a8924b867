/** The cells as CSV (RFC 4180: CRLF, quotes doubled), one line per cell and figure group, for spreadsheets and pandas. */
import { frameBits, lineBits, lost, ownShare, unaccounted } from './model.js';
import type { LatencyCell, MeasuredCell, SweepCell, SweepResult } from './model.js';
import type { Spread } from './statistics.js';
import { printable } from './text.js';

const FIGURES = ['packets_per_second', 'frame_bits_per_second', 'line_bits_per_second', 'user_ns_per_packet', 'system_ns_per_packet', 'syscalls_per_packet'];
const PERCENTILES = ['p50_ns', 'p99_ns', 'p999_ns'];
const KEY = ['path', 'burst', 'frame_bytes_with_fcs'];

/** Throughput, loss and cost; a missing cell has its reason and empty figures. */
export function sweepCsv(result: SweepResult): string {
  const head = [...KEY, 'direction', 'status', ...FIGURES.flatMap(columns), 'own_share', 'sent', 'received', 'lost', 'lost_where', 'lost_unaccounted', 'reason'];
  return lines([head, ...result.cells.map((cell) => row(cell, head.length))]);
}

/** The latency cells, nanoseconds. */
export function latencyCsv(result: SweepResult): string {
  const head = [...KEY, 'kind', 'offered_packets_per_second', 'samples', 'sent', 'returned', ...PERCENTILES.flatMap(columns)];
  return lines([head, ...result.latency.map(latencyRow)]);
}

/** Queues × lcores × policy. */
export function scalingCsv(result: SweepResult): string {
  const head = ['queues', 'lcores', 'policy', ...columns('packets_per_second'), 'offered_packets_per_second', ...columns('cpus'), ...['p50_ns', 'p99_ns'].flatMap(columns)];
  return lines([head, ...result.scaling.map(({ queues, lcores, policy, packetsPerSecond, offered, cpu, p50, p99 }) => (
    [String(queues), String(lcores), policy, ...values(packetsPerSecond), String(offered), ...[cpu, p50, p99].flatMap(values)]
  ))]);
}

function row(cell: SweepCell, width: number): string[] {
  const key = [field(cell.path), String(cell.burst), String(cell.frame), cell.direction, cell.status];
  if (cell.status === 'measured') return [...key, ...figures(cell), ''];
  return [...key, ...Array.from({ length: width - key.length - 1 }, () => ''), field(cell.reason)];
}

function figures(cell: MeasuredCell): string[] {
  const rate = cell.packetsPerSecond;
  const spreads = [rate, scaled(rate, (value) => frameBits(value, cell.frame)), scaled(rate, (value) => lineBits(value, cell.frame)), cell.userNs, cell.systemNs, cell.syscalls];
  const where = cell.loss.map((counter) => `${counter.name}=${counter.packets}`).join(' ');
  return [...spreads.flatMap(values), String(ownShare(cell) ?? ''), ...[cell.sent, cell.received, lost(cell)].map(String), field(where), String(unaccounted(cell))];
}

function latencyRow(cell: LatencyCell): string[] {
  return [field(cell.path), ...[cell.burst, cell.frame].map(String), cell.kind, ...[cell.offered, cell.samples, cell.sent, cell.returned].map(String), ...[cell.p50, cell.p99, cell.p999].flatMap(values)];
}

type Range = Omit<Spread, 'rounds'>;

function scaled(spread: Range, by: (value: number) => number): Range {
  return { median: by(spread.median), min: by(spread.min), max: by(spread.max) };
}

/** Empty where the figure could not be had, which is not 0. */
function values(spread: Range | null): string[] {
  return spread === null ? ['', '', ''] : [spread.median, spread.min, spread.max].map(String);
}

function columns(name: string): string[] {
  return [`${name}_median`, `${name}_min`, `${name}_max`];
}

/** A spreadsheet runs text that begins with one of these as a formula; an apostrophe makes it text again. */
function field(text: string): string {
  const clean = printable(text, 1000);
  const safe = /^\s*[=+\-@]/.test(clean) ? `'${clean}` : clean;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

function lines(rows: readonly (readonly string[])[]): string {
  return rows.map((fields) => `${fields.join(',')}\r\n`).join('');
}

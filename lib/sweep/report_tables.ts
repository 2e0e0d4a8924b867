/** The report's tables: every figure of every cell, as the alternative to the charts for eyes, screen readers and paper. */
import { BASELINE_PATH, burstsOf, directionsOf, findCell, findMeasured, frameBits, framesOf, isOverLink, lineBits, lost, ownShare, pathsOf, unaccounted } from './model.js';
import type { Direction, LatencyCell, LossCounter, MeasuredCell, SweepCell, SweepResult } from './model.js';
import { ratioTo } from './statistics.js';
import type { Spread } from './statistics.js';
import { count, escapeHtml, figure, gbps, mpps, percent, roughPercent, times } from './text.js';

const WHERE = 'lost where';
const HEADS = ['burst', 'Mpps', `× of ${BASELINE_PATH}`, 'Gbit/s<br>frame bits', 'Gbit/s<br>layer 1', 'user ns<br>per packet', 'system ns<br>per packet', 'own<br>share', 'calls<br>per packet', 'sent', 'received', 'lost', WHERE];
const LATENCY_HEADS = ['burst', 'offered<br>packets/s', 'timed', 'p50 ns', 'p99 ns', 'p99.9 ns', 'sent', 'came back'];

const SCALING_HEADS = ['policy', 'Mpps', 'offered<br>packets/s', 'CPU', 'p50 ns', 'p99 ns'];

/** One table per frame size and direction, the first one open. */
export function cellTables(result: SweepResult, earlier?: SweepResult): string {
  return framesOf(result).flatMap((frame) => directionsOf(result).map((direction) => ({ frame, direction })))
    .map((view, index) => details(`${view.frame}-byte frames, ${view.direction}`, index === 0, cellTable(result, view.frame, view.direction, earlier)))
    .join('\n');
}

/** One table per frame size; empty where no latency was measured. */
export function latencyTables(result: SweepResult): string {
  return framesOf(result).filter((frame) => result.latency.some((cell) => cell.frame === frame))
    .map((frame) => details(`Round trips, ${frame}-byte frames`, false, latencyTable(result, frame))).join('\n');
}

/** Empty where it was not measured. */
export function scalingTable(result: SweepResult): string {
  const { scaling } = result;
  if (scaling.length === 0) return '';
  const rows = scaling.map((cell, index) => {
    const first = index > 0 && scaling[index - 1].lcores !== cell.lcores ? ' class="first"' : '';
    return `<tr${first}><th scope="row">${cell.queues} × ${cell.lcores}</th><td class="text">${cell.policy}</td>${range(cell.packetsPerSecond, mpps)}${data(count(Math.round(cell.offered)))}${range(cell.cpu, percent)}${rangeOrNone(cell.p50)}${rangeOrNone(cell.p99)}</tr>`;
  });
  const caption = 'AF_XDP, 64-byte frames: Mpps received at full load; at the offered rate, CPU time of all lcores over the time that went by (100 % is one CPU), and ns one way. Median over the rounds, below it the least and the greatest.';
  return details('Queues × lcores × policy', false, table(caption, SCALING_HEADS, rows, 'queues × lcores'));
}

/** Opens by default where `open`; the script opens all for printing. */
function details(title: string, open: boolean, table: string): string {
  return `<details${open ? ' open' : ''}><summary>${title}</summary>${table}</details>`;
}

function table(caption: string, heads: readonly string[], rows: readonly string[], first = 'path'): string {
  const cells = [first, ...heads].map((head) => `<th scope="col"${head === WHERE ? ' class="text"' : ''}>${head}</th>`).join('');
  return `<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption><thead><tr>${cells}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>`;
}

function cellTable(result: SweepResult, frame: number, direction: Direction, earlier: SweepResult | undefined): string {
  const heads = earlier === undefined ? HEADS : [...HEADS, 'earlier<br>Mpps', '× of<br>earlier'];
  const rows = pathsOf(result).flatMap((path) => burstsOf(result).flatMap((burst) => findCell(result, { path, burst, frame, direction }) ?? []))
    .map((cell, index, all) => row(cell, index > 0 && all[index - 1].path !== cell.path, cellColumns(result, cell, heads.length, earlier)));
  const caption = `${frame}-byte frames, ${direction}: median over the rounds, below it the least and the greatest. Sent, received and lost are packets of all rounds.`;
  return table(caption, heads, rows);
}

function row(cell: { path: string }, first: boolean, columns: readonly string[]): string {
  return `<tr${first ? ' class="first"' : ''}><th scope="row" title="${escapeHtml(cell.path)}">${escapeHtml(cell.path)}</th>${columns.join('')}</tr>`;
}

function cellColumns(result: SweepResult, cell: SweepCell, width: number, earlier: SweepResult | undefined): string[] {
  if (cell.status === 'missing') return [data(String(cell.burst)), `<td class="text" colspan="${width - 1}">not measured: ${escapeHtml(cell.reason)}</td>`];
  const own = [data(String(cell.burst)), range(cell.packetsPerSecond, mpps), ratio(cell, isOverLink(cell.path) ? findMeasured(result, { ...cell, path: BASELINE_PATH }) : undefined),
    range(cell.packetsPerSecond, (rate) => gbps(frameBits(rate, cell.frame))), range(cell.packetsPerSecond, (rate) => gbps(lineBits(rate, cell.frame))),
    rangeOrNone(cell.userNs), rangeOrNone(cell.systemNs), share(cell), rangeOrNone(cell.syscalls, calls), ...[cell.sent, cell.received].map((packets) => data(count(packets))),
    data(count(lost(cell)), cell.sent === 0 ? '' : percent(lost(cell) / cell.sent)), whereLost(cell)];
  if (earlier === undefined) return own;
  const before = findMeasured(earlier, cell);
  return [...own, before === undefined ? data('-') : range(before.packetsPerSecond, mpps), ratio(cell, before)];
}

function whereLost(cell: MeasuredCell): string {
  const rest = unaccounted(cell);
  const named: readonly LossCounter[] = rest === 0 ? cell.loss : [...cell.loss, { name: 'no counter names it', packets: rest }];
  return `<td class="text">${named.map((counter) => `${escapeHtml(counter.name)} ${count(counter.packets)}`).join(', ')}</td>`;
}

function ratio(cell: MeasuredCell, other: MeasuredCell | undefined): string {
  const found = other && ratioTo(cell.packetsPerSecond, other.packetsPerSecond);
  return found === undefined ? data('-') : data(times(found.ratio), `${times(found.low)} – ${times(found.high)}`);
}

function latencyTable(result: SweepResult, frame: number): string {
  const paths = pathsOf(result);
  const cells = result.latency.filter((cell) => cell.frame === frame).sort((a, b) => paths.indexOf(a.path) - paths.indexOf(b.path) || a.burst - b.burst);
  const rows = cells.map((cell, index) => row(cell, index > 0 && cells[index - 1].path !== cell.path, latencyColumns(cell)));
  return table(`Round trips in ns, ${frame}-byte frames: median over the rounds, below it the least and the greatest. Sent and came back are packets of all rounds, warm-up included.`, LATENCY_HEADS, rows);
}

function latencyColumns(cell: LatencyCell): string[] {
  return [data(String(cell.burst)), data(count(Math.round(cell.offered))), data(count(cell.samples)), ...[cell.p50, cell.p99, cell.p999].map((one) => range(one)), ...[cell.sent, cell.returned].map((packets) => data(count(packets)))];
}

/** Our own part of the CPU time, where it was measured. */
function share(cell: MeasuredCell): string {
  const part = ownShare(cell);
  return part === undefined ? data('-') : data(roughPercent(part));
}

function range(spread: Spread, format: (value: number) => string = figure): string {
  return data(format(spread.median), `${format(spread.min)} – ${format(spread.max)}`);
}

function data(main: string, small = ''): string {
  return `<td>${main}${small === '' ? '' : `<small>${small}</small>`}</td>`;
}

function rangeOrNone(spread: Spread | null, format = figure): string {
  return spread === null ? data('-', 'not counted') : range(spread, format);
}

/** A thread that makes none for its packets makes one now and then for itself. */
function calls(value: number): string {
  return value > 0 && value < 0.0005 ? '&lt; 0.0005' : figure(value);
}

/**
 * Sentences that the figures carry, and no others. Each states both medians beside the ratio; where the rounds of two
 * cells overlap, nothing is said of which is faster, and one round says nothing of how the rate goes with the burst.
 */
import { BASELINE_PATH, burstsOf, directionsOf, findCell, findMeasured, framesOf, isOverLink, ownShare, pathsOf } from './model.js';
import type { Direction, LatencyCell, MeasuredCell, SweepResult } from './model.js';
import { overlap, ratioTo, relativeRange } from './statistics.js';
import { figure, mpps, percent, printable, roughPercent, times } from './text.js';

/** The path that the sentences are about, where it was measured. */
const SUBJECT_PATH = 'af_xdp';
/** The burst that they quote, DPDK's usual one. */
const USUAL_BURST = 32;
/** A gain has flattened where every larger burst stays within this part of the best. */
const FLAT = 0.9;
/** A machine is called busy from here on, and from here on that is said before any figure. */
const BUSY = 0.03;
const SPOILED = 0.3;

/**
 * One sentence per direction, at the smallest frame, where packets and not bytes are the limit; where AF_XDP is missing,
 * that, and one about the next kernel path. Then AF_XDP's own share of the CPU time, and round trips. How busy the machine was
 * stands behind them, or before them where the figures are more others' than ours. Empty for an empty sweep.
 */
export function conclusions(result: SweepResult): string[] {
  const frame = framesOf(result)[0];
  if (frame === undefined) return [];
  if (!isMeasured(result)) return [NOTHING];
  const rates = directionsOf(result).flatMap((direction) => subjectsOf(result, direction, frame).map((path) => conclude(result, path, direction, frame)));
  const said = [...new Set([...rates, ...ownPart(result, frame), ...roundTrips(result, frame)])];
  const { takenByOthers: taken } = result.header;
  if (taken === null || taken <= BUSY) return said;
  return taken > SPOILED ? [busy(taken), ...said] : [...said, busy(taken)];
}

const NOTHING = 'Nothing was measured.';

function isMeasured({ cells, latency, scaling }: SweepResult): boolean {
  return latency.length > 0 || scaling.length > 0 || cells.some(({ status }) => status === 'measured');
}

function busy(taken: number): string {
  return `The machine was busy: other programs had ${Math.round(taken * 100)} % of the two CPUs while this ran, so rates are lower, and losses and round trips greater, than on an idle one.`;
}

function conclude(result: SweepResult, path: string, direction: Direction, frame: number): string {
  const series = seriesOf(result, path, direction, frame);
  const cell = usual(series);
  if (cell === undefined) return `${name(path)} was not measured; the reason stands with what was left out.`;
  const ending = series.length > 1 && series.every((each) => roundsOf(each) > 1) ? `; ${growth(series)}` : '';
  return `${comparison(result, cell)}${ending}.`;
}

/** How much of the CPU time is ours, on the way out, where there is no idle polling in it. */
function ownPart(result: SweepResult, frame: number): string[] {
  const cell = usual(seriesOf(result, SUBJECT_PATH, 'send', frame));
  const share = cell && ownShare(cell);
  if (cell === undefined || share === undefined) return [];
  return [`Of the CPU time that AF_XDP takes to send at burst ${cell.burst}, ${roughPercent(share)} is the program and this library (user time over all); the rest is the kernel.`];
}

/** Of single packets, at the smallest frame: what a request and its answer wait for. */
function roundTrips(result: SweepResult, frame: number): string[] {
  const find = (path: string): LatencyCell | undefined => result.latency.filter((cell) => cell.path === path && cell.frame === frame).sort((a, b) => a.burst - b.burst)[0];
  const [own, baseline] = [find(SUBJECT_PATH), find(BASELINE_PATH)];
  if (own === undefined || baseline === undefined || own.burst !== baseline.burst) return [];
  const times = (cell: LatencyCell): string => `${microseconds(cell.p50.median)} µs (99 % within ${microseconds(cell.p99.median)} µs)`;
  return [`A packet there and back takes ${times(own)} by AF_XDP and ${times(baseline)} by ${BASELINE_PATH}, at burst ${own.burst}${overlap(own.p50, baseline.p50) ? ': they cannot be told apart here, rounds overlap' : ''}.`];
}

function microseconds(nanoseconds: number): string {
  return figure(nanoseconds / 1000);
}

/** The cell at the usual burst, or at the largest. `series` is in rising order of the burst. */
function usual(series: readonly MeasuredCell[]): MeasuredCell | undefined {
  return series.find(({ burst }) => burst === USUAL_BURST) ?? series[series.length - 1];
}

function comparison(result: SweepResult, cell: MeasuredCell): string {
  const { path, direction, frame, burst, packetsPerSecond: rate } = cell;
  const does = `${name(path)} ${direction === 'send' ? 'sends' : 'receives'} ${frame}-byte frames`;
  const own = mpps(rate.median);
  const baseline = findMeasured(result, { ...cell, path: BASELINE_PATH });
  const ratio = baseline && ratioTo(rate, baseline.packetsPerSecond);
  if (baseline === undefined || ratio === undefined || path === BASELINE_PATH || !isOverLink(path)) return `${does} at ${own} Mpps at burst ${burst}`;
  const other = mpps(baseline.packetsPerSecond.median);
  if (overlap(rate, baseline.packetsPerSecond)) return `${does} at burst ${burst} at a rate that cannot be told apart from ${BASELINE_PATH}'s here: medians ${own} and ${other} Mpps, rounds overlap`;
  const slower = ratio.ratio < 1 ? ', so slower,' : '';
  return `${does} ${times(ratio.ratio)} as fast as ${BASELINE_PATH}${slower} at burst ${burst} (${own} against ${other} Mpps${roundsOf(cell) > 1 ? '' : ', in one round'})`;
}

function roundsOf(cell: MeasuredCell): number {
  return cell.packetsPerSecond.rounds.length;
}

/** How the rate goes with the burst. `series` is in rising order of the burst and has at least two cells. */
function growth(series: readonly MeasuredCell[]): string {
  const rates = series.map((cell) => cell.packetsPerSecond.median);
  const best = Math.max(...rates);
  const lastLow = rates.findLastIndex((rate) => rate < FLAT * best);
  const peak = series[rates.indexOf(best)];
  const widest = Math.max(...series.map((cell) => relativeRange(cell.packetsPerSecond)));
  // What is said rests on the last low cell being lower than the best one, or on no cell being so.
  const shown = lastLow === -1 ? widest <= 2 * (1 - FLAT) : !overlap(series[lastLow].packetsPerSecond, peak.packetsPerSecond);
  if (!shown) return `what the burst size does to it cannot be told here: rounds of a cell lie up to ${percent(widest)} of its median apart`;
  if (lastLow === -1) return 'the burst size makes less than a tenth of difference';
  if (lastLow === rates.length - 1) return `the rate peaks at burst ${peak.burst} and falls after it`;
  if (lastLow === rates.length - 2) return `the rate is highest at the largest burst, ${series[lastLow + 1].burst}`;
  return `the gain flattens from burst ${series[lastLow + 1].burst} on`;
}

function seriesOf(result: SweepResult, path: string, direction: Direction, frame: number): MeasuredCell[] {
  return burstsOf(result).flatMap((burst) => findMeasured(result, { path, burst, frame, direction }) ?? []);
}

/**
 * AF_XDP where the sweep tried it, and where that failed also the first path that has figures: a kernel path before
 * dgram, which is the measure, and memory ports last, since no frame of theirs crosses a link.
 */
function subjectsOf(result: SweepResult, direction: Direction, frame: number): string[] {
  const paths = pathsOf(result).filter((path) => path !== SUBJECT_PATH);
  const ranked = [...paths.filter(isOverLink), ...paths.filter((path) => !isOverLink(path))];
  const tried = burstsOf(result).some((burst) => findCell(result, { path: SUBJECT_PATH, burst, frame, direction }));
  const done = (path: string): boolean => seriesOf(result, path, direction, frame).length > 0;
  if (done(SUBJECT_PATH)) return [SUBJECT_PATH];
  return [...(tried ? [SUBJECT_PATH] : []), ...ranked.filter(done).slice(0, 1)];
}

function name(path: string): string {
  return path === SUBJECT_PATH ? 'AF_XDP' : printable(path);
}

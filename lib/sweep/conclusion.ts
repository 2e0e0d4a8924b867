/**
 * Sentences that the figures carry, and no others. Each states both medians beside the ratio, and says so where the
 * rounds of the two paths overlap.
 */
import { BASELINE_PATH, burstsOf, directionsOf, findCell, findMeasured, framesOf, isOverLink, ownShare, pathsOf } from './model.js';
import type { Direction, LatencyCell, MeasuredCell, SweepResult } from './model.js';
import { overlap, ratioTo } from './statistics.js';
import { figure, mpps, printable, roughPercent, times } from './text.js';

/** The path that the sentences are about, where it was measured. */
const SUBJECT_PATH = 'af_xdp';
/** The burst that they quote, DPDK's usual one. */
const USUAL_BURST = 32;
/** A gain has flattened where every larger burst stays within this part of the best. */
const FLAT = 0.9;

/**
 * One sentence per direction, at the smallest frame, where packets and not bytes are the limit; where AF_XDP is missing,
 * that, and one about the next kernel path. Then AF_XDP's own share of the CPU time, and round trips. Empty for an empty sweep.
 */
export function conclusions(result: SweepResult): string[] {
  const frame = framesOf(result)[0];
  if (frame === undefined) return [];
  const rates = directionsOf(result).flatMap((direction) => subjectsOf(result, direction, frame).map((path) => conclude(result, path, direction, frame)));
  return [...new Set([...rates, ...ownPart(result, frame), ...roundTrips(result, frame)])];
}

function conclude(result: SweepResult, path: string, direction: Direction, frame: number): string {
  const series = seriesOf(result, path, direction, frame);
  const cell = usual(series);
  if (cell === undefined) return `${name(path)} was not measured; the reason stands with what was left out.`;
  const ending = series.length > 1 ? `; ${growth(series)}` : '';
  return `${name(path)} ${direction === 'send' ? 'sends' : 'receives'} ${frame}-byte frames ${comparison(result, cell)}${ending}.`;
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
  return [`A packet there and back takes ${times(own)} by AF_XDP and ${times(baseline)} by ${BASELINE_PATH}, at burst ${own.burst}.`];
}

function microseconds(nanoseconds: number): string {
  return figure(nanoseconds / 1000);
}

/** The cell at the usual burst, or at the largest. `series` is in rising order of the burst. */
function usual(series: readonly MeasuredCell[]): MeasuredCell | undefined {
  return series.find(({ burst }) => burst === USUAL_BURST) ?? series[series.length - 1];
}

function comparison(result: SweepResult, cell: MeasuredCell): string {
  const at = `at burst ${cell.burst}`;
  const own = mpps(cell.packetsPerSecond.median);
  const baseline = findMeasured(result, { ...cell, path: BASELINE_PATH });
  const ratio = baseline && ratioTo(cell.packetsPerSecond, baseline.packetsPerSecond);
  if (baseline === undefined || ratio === undefined || cell.path === BASELINE_PATH || !isOverLink(cell.path)) return `at ${own} Mpps ${at}`;
  const figures = `${own} against ${mpps(baseline.packetsPerSecond.median)} Mpps`;
  if (overlap(cell.packetsPerSecond, baseline.packetsPerSecond)) return `about as fast as ${BASELINE_PATH} ${at}: the rounds of both overlap (${figures})`;
  const slower = ratio.ratio < 1 ? ', so slower,' : '';
  return `${times(ratio.ratio)} as fast as ${BASELINE_PATH}${slower} ${at} (${figures})`;
}

/** How the rate goes with the burst. `series` is in rising order of the burst and has at least two cells. */
function growth(series: readonly MeasuredCell[]): string {
  const rates = series.map((cell) => cell.packetsPerSecond.median);
  const best = Math.max(...rates);
  const lastLow = rates.findLastIndex((rate) => rate < FLAT * best);
  const peak = series[rates.indexOf(best)].burst;
  if (lastLow === -1) return 'the burst size makes less than a tenth of difference';
  if (lastLow === rates.length - 1) return `the rate peaks at burst ${peak} and falls after it`;
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

/**
 * From an untrusted value to a `SweepResult`. The result is built anew from the fields that the model names: what else
 * a file holds is dropped. Medians and ranges are computed again from the rounds and not believed.
 */
import { field, integer, isNumber, list, number, object, oneOf, refuse, text } from './fields.js';
import type { Fields } from './fields.js';
import { DIRECTIONS, POLICIES, SWEEP_FORMAT, SWEEP_VERSION, burstsOf, framesOf, pathsOf, shapesOf } from './model.js';
import type { CellKey, LatencyCell, LossCounter, MeasuredCell, ScalingCell, SweepCell, SweepHeader, SweepResult } from './model.js';
import { spread } from './statistics.js';
import type { Spread } from './statistics.js';

// Bounds on what a file may ask of the report: a full grid has 7 paths, 10 bursts and 3 frame sizes.
const LIMITS = { paths: 16, bursts: 32, frames: 16, cells: 16_384, rounds: 1000, counters: 64, notes: 32, queues: 256, shapes: 64 };
const BURST_MAX = 65_536;
const FRAME_MIN = 64;
const FRAME_MAX = 65_554;
const PACKETS_MAX = Number.MAX_SAFE_INTEGER;
const FIGURE_MAX = 1e15;

/** Throws EFORMAT, naming the place and what it should be, for anything that is not a complete sweep result. */
export function parseSweepResult(value: unknown): SweepResult {
  const file = object(value, '');
  oneOf(file, 'format', '', [SWEEP_FORMAT]);
  integer(file, 'version', '', SWEEP_VERSION, SWEEP_VERSION);
  const header = readHeader(object(field(file, 'header'), 'header'));
  const cells = list(file, 'cells', '', LIMITS.cells, readCell);
  const latency = list(file, 'latency', '', LIMITS.cells, readLatency);
  // Files from before there was such an experiment have none.
  const scaling = field(file, 'scaling') === undefined ? [] : list(file, 'scaling', '', LIMITS.cells, readScaling);
  const result: SweepResult = { format: SWEEP_FORMAT, version: SWEEP_VERSION, header, cells, latency, scaling };
  checkGrid(result);
  return result;
}

function readHeader(from: Fields): SweepHeader {
  const at = 'header.';
  return {
    kernel: text(from, 'kernel', at), cpu: text(from, 'cpu', at), cores: integer(from, 'cores', at, 1, 65_536),
    node: text(from, 'node', at), pollmode: text(from, 'pollmode', at), link: text(from, 'link', at),
    mode: text(from, 'mode', at), needWakeup: readNeedWakeup(field(from, 'needWakeup')),
    senderCpu: integer(from, 'senderCpu', at, -1, 65_535), receiverCpu: integer(from, 'receiverCpu', at, -1, 65_535),
    date: readDate(text(from, 'date', at)),
    secondsPerCell: number(from, 'secondsPerCell', at, 0, 86_400), warmupSeconds: number(from, 'warmupSeconds', at, 0, 86_400),
    rounds: integer(from, 'rounds', at, 0, LIMITS.rounds), takenByOthers: readTaken(from, at),
    notes: list(from, 'notes', at, LIMITS.notes, (item, where) => text({ note: item }, 'note', `${where}.`, 1000)),
  };
}

/** Files from before it was kept have none. */
function readTaken(from: Fields, at: string): number | null {
  return (field(from, 'takenByOthers') ?? null) === null ? null : number(from, 'takenByOthers', at, 0, 1);
}

function readNeedWakeup(value: unknown): boolean | null {
  if (typeof value !== 'boolean' && value !== null) refuse('header.needWakeup', 'true, false or null', value);
  return value;
}

function readDate(value: string): string {
  if (!/^\d{4}-\d\d-\d\dT[\d:.]{5,15}Z$/.test(value) || Number.isNaN(Date.parse(value))) refuse('header.date', 'a date such as 2026-01-31T12:00:00Z', value);
  return value;
}

function readCell(value: unknown, where: string): SweepCell {
  const from = object(value, where);
  const at = `${where}.`;
  const key: CellKey = { ...readPlace(from, at), direction: oneOf(from, 'direction', at, DIRECTIONS) };
  const status = oneOf(from, 'status', at, ['measured', 'missing']);
  return status === 'missing' ? { ...key, status, reason: text(from, 'reason', at, 1000) } : { ...key, status, ...readFigures(from, at) };
}

function readFigures(from: Fields, at: string): Omit<MeasuredCell, keyof CellKey | 'status'> {
  return {
    packetsPerSecond: readSpread(from, 'packetsPerSecond', at),
    sent: integer(from, 'sent', at, 0, PACKETS_MAX), received: integer(from, 'received', at, 0, PACKETS_MAX),
    loss: list(from, 'loss', at, LIMITS.counters, readLoss),
    userNs: readSpreadOrNull(from, 'userNs', at), systemNs: readSpreadOrNull(from, 'systemNs', at), syscalls: readSpreadOrNull(from, 'syscalls', at),
  };
}

function readLoss(value: unknown, where: string): LossCounter {
  const from = object(value, where);
  return { name: text(from, 'name', `${where}.`, 100), packets: integer(from, 'packets', `${where}.`, 0, PACKETS_MAX) };
}

function readLatency(value: unknown, where: string): LatencyCell {
  const from = object(value, where);
  const at = `${where}.`;
  return {
    ...readPlace(from, at), kind: oneOf(from, 'kind', at, ['round-trip']),
    offered: number(from, 'offered', at, 0, FIGURE_MAX), samples: integer(from, 'samples', at, 0, PACKETS_MAX),
    sent: integer(from, 'sent', at, 0, PACKETS_MAX), returned: integer(from, 'returned', at, 0, PACKETS_MAX),
    p50: readSpread(from, 'p50', at), p99: readSpread(from, 'p99', at), p999: readSpread(from, 'p999', at),
  };
}

function readScaling(value: unknown, where: string): ScalingCell {
  const from = object(value, where);
  const at = `${where}.`;
  return {
    queues: integer(from, 'queues', at, 1, LIMITS.queues), lcores: integer(from, 'lcores', at, 1, LIMITS.queues), policy: oneOf(from, 'policy', at, POLICIES),
    packetsPerSecond: readSpread(from, 'packetsPerSecond', at), offered: number(from, 'offered', at, 0, FIGURE_MAX), cpu: readSpread(from, 'cpu', at),
    p50: readSpreadOrNull(from, 'p50', at), p99: readSpreadOrNull(from, 'p99', at),
  };
}

function readPlace(from: Fields, at: string): { path: string; burst: number; frame: number } {
  return { path: text(from, 'path', at, 100), burst: integer(from, 'burst', at, 1, BURST_MAX), frame: integer(from, 'frame', at, FRAME_MIN, FRAME_MAX) };
}

function readSpreadOrNull(fields: Fields, name: string, at: string): Spread | null {
  return field(fields, name) === null ? null : readSpread(fields, name, at);
}

function readSpread(fields: Fields, name: string, at: string): Spread {
  const from = object(field(fields, name), `${at}${name}`);
  const where = `${at}${name}.`;
  const rounds = list(from, 'rounds', where, LIMITS.rounds, (item, place) => isNumber(item, 0, FIGURE_MAX) ? item : refuse(place, 'a number that is not negative', item));
  return rounds.length === 0 ? refuse(`${where}rounds`, 'a list with at least one number', rounds) : spread(rounds);
}

/** Two cells at one place would make every table depend on their order; too many distinct values would swamp the report. */
function checkGrid(result: SweepResult): void {
  if (pathsOf(result).length > LIMITS.paths) refuse('cells', `on at most ${LIMITS.paths} paths`, pathsOf(result));
  if (burstsOf(result).length > LIMITS.bursts) refuse('cells', `at no more than ${LIMITS.bursts} burst sizes`, burstsOf(result));
  if (framesOf(result).length > LIMITS.frames) refuse('cells', `at no more than ${LIMITS.frames} frame sizes`, framesOf(result));
  checkUnique('cells', result.cells.map((cell) => JSON.stringify([cell.path, cell.burst, cell.frame, cell.direction])));
  if (shapesOf(result).length > LIMITS.shapes) refuse('scaling', `of no more than ${LIMITS.shapes} numbers of queues and lcores`, shapesOf(result).length);
  checkUnique('scaling', result.scaling.map(({ queues, lcores, policy }) => JSON.stringify([queues, lcores, policy])));
  checkUnique('latency', result.latency.map((cell) => JSON.stringify([cell.path, cell.burst, cell.frame])));
}

function checkUnique(where: string, keys: readonly string[]): void {
  const seen = new Set<string>();
  for (const [index, key] of keys.entries()) {
    if (seen.has(key)) refuse(`${where}[${index}]`, 'at a place of its own', key);
    seen.add(key);
  }
}

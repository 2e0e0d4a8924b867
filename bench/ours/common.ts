/**
 * What the programs of this folder share: each runs one loop, pinned, for a given time, and prints one line of JSON at
 * the end. Those that `measure` print the line "measuring" when their warm-up is over.
 */
import { parseArgs } from 'node:util';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import type { FrameEnds } from '../../lib/sweep/frame.js';

export const WARM_UP_SECONDS = 0.5;

export interface Settings {
  readonly seconds: number;
  /** CPU to pin to; -1 for none. The second one is for programs of two threads. */
  readonly cpu: number;
  readonly otherCpu: number;
  readonly interface: string;
  readonly burst: number;
  /** Bytes of a frame without FCS. */
  readonly size: number;
  /** Of the frames that a sender sends. */
  readonly ends: FrameEnds;
  /** Packets per second that a sender offers at most; 0 for all it can. */
  readonly rate: number;
}

export function settings(): Settings {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '2' }, cpu: { type: 'string', default: '-1' }, 'other-cpu': { type: 'string', default: '-1' },
      interface: { type: 'string', default: 'veth0' }, burst: { type: 'string', default: '32' }, size: { type: 'string', default: '60' },
      from: { type: 'string', default: '02:00:00:00:00:0a,10.77.0.1' }, to: { type: 'string', default: '02:00:00:00:00:0b,10.77.0.2' },
      rate: { type: 'string', default: '0' },
    },
  });
  return {
    seconds: Number(values.seconds), cpu: Number(values.cpu), otherCpu: Number(values['other-cpu']),
    interface: values.interface, burst: Number(values.burst), size: Number(values.size),
    ends: { from: end(values.from), to: end(values.to) }, rate: Number(values.rate),
  };
}

/** "MAC,IP" */
function end(text: string): FrameEnds['from'] {
  const [mac = '', ip = ''] = text.split(',');
  return { mac, ip };
}

export function pin(cpu: number): void {
  const addon = tryBinding();
  if (cpu >= 0 && !(addon instanceof PollmodeError)) addon.setAffinity(cpu);
}

export interface PortResult {
  readonly packets: number;
  readonly seconds: number;
  readonly userSeconds: number;
  readonly systemSeconds: number;
  /** The part of the time that went by in turns that moved nothing. */
  readonly idle: number;
}

/** Thread's user and system time in µs; 0 without the addon. */
function usage(): Float64Array {
  const into = new Float64Array(4);
  const addon = tryBinding();
  if (!(addon instanceof PollmodeError)) addon.usage(false, into);
  return into;
}

/**
 * Runs `turn` (some bursts; returns packets) first for a warm-up of half a second, then for `seconds`, and prints what
 * the second part did. A turn should last some ten microseconds, so that the clock is not what is measured.
 */
export function measure(seconds: number, turn: () => number): PortResult {
  spin(WARM_UP_SECONDS, turn);
  process.stdout.write('measuring\n');
  const start = usage();
  const begun = performance.now();
  const { packets, idle } = spin(seconds, turn);
  const elapsed = (performance.now() - begun) / 1000;
  const end = usage();
  return { packets, seconds: elapsed, idle: idle / 1000 / elapsed, userSeconds: (end[0]! - start[0]!) / 1e6, systemSeconds: (end[1]! - start[1]!) / 1e6 };
}

function spin(seconds: number, turn: () => number): { packets: number; idle: number } {
  let [packets, idle, now] = [0, 0, performance.now()];
  const until = now + seconds * 1000;
  do {
    const before = now;
    const moved = turn();
    packets += moved;
    now = performance.now();
    if (moved === 0) idle += now - before;
  } while (now < until);
  return { packets, idle };
}

export function print(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** The time-stamp counter's cycles in a second, measured against the monotonic clock. */
export function cyclesPerSecond(): number {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) throw addon;
  const [from, to] = [new Float64Array(2), new Float64Array(2)];
  addon.clock(from);
  const until = performance.now() + 50;
  while (performance.now() < until);
  addon.clock(to);
  return (to[0]! - from[0]!) / ((to[1]! - from[1]!) / 1e9);
}

/** The ring programs: slots, as ring_perf_autotest has them. */
export const RING_SLOTS = 4096;
/** Bulks of a slice. */
const SLICE = 4000;

export interface RingResult {
  /** Time-stamp counter cycles per bulk: the median of many short slices, as other work disturbs some. */
  readonly cycles: number;
  /** Over all slices, disturbed or not: as a program counts that takes the time once before and once after. */
  readonly meanCycles: number;
}

/** Runs `slice` (so many bulks) for so long. The first eighth of the slices is warm-up. */
export function slices(seconds: number, slice: (bulks: number) => void): RingResult {
  const found: number[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until;) {
    const start = performance.now();
    slice(SLICE);
    found.push(performance.now() - start);
  }
  const counted = found.slice(found.length >> 3).sort((a, b) => a - b);
  const factor = cyclesPerSecond() / 1000 / SLICE;
  const sum = counted.reduce((total, milliseconds) => total + milliseconds, 0);
  return { cycles: counted[counted.length >> 1]! * factor, meanCycles: sum / counted.length * factor };
}

/** What the programs of this folder share: each runs one loop, pinned, for a given time, and prints one line of JSON. */
import { parseArgs } from 'node:util';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';

export interface Settings {
  readonly seconds: number;
  /** CPU to pin to; -1 for none. The second one is for programs of two threads. */
  readonly cpu: number;
  readonly otherCpu: number;
  readonly interface: string;
  readonly burst: number;
  /** Bytes of a frame without FCS. */
  readonly size: number;
}

export function settings(): Settings {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '2' }, cpu: { type: 'string', default: '-1' }, 'other-cpu': { type: 'string', default: '-1' },
      interface: { type: 'string', default: 'veth0' }, burst: { type: 'string', default: '32' }, size: { type: 'string', default: '60' },
    },
  });
  return {
    seconds: Number(values.seconds), cpu: Number(values.cpu), otherCpu: Number(values['other-cpu']),
    interface: values.interface, burst: Number(values.burst), size: Number(values.size),
  };
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
export function measure(seconds: number, turn: () => number, before: () => void = () => undefined): PortResult {
  spin(0.5, turn);
  before();
  const start = usage();
  const begun = performance.now();
  const packets = spin(seconds, turn);
  const elapsed = (performance.now() - begun) / 1000;
  const end = usage();
  return { packets, seconds: elapsed, userSeconds: (end[0]! - start[0]!) / 1e6, systemSeconds: (end[1]! - start[1]!) / 1e6 };
}

function spin(seconds: number, turn: () => number): number {
  const until = performance.now() + seconds * 1000;
  let packets = 0;
  do packets += turn(); while (performance.now() < until);
  return packets;
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

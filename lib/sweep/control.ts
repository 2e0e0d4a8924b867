import { binding } from '../binding.js';
import type { ArenaShare } from '../arena/arena.js';

/** What a run of a cell is told. */
export interface RunOrder {
  readonly burst: number;
  /** RFC 2544 size, with FCS. */
  readonly frame: number;
  /**
   * Packets per second to offer; absent: as fast as it goes, one way. Given, the receiver sends each packet back and the
   * sender times the round trip.
   */
  readonly rate?: number;
}

/** What one side of a run did. */
export interface RunOutcome {
  /** Packets over the whole run, warm-up and drain included: for the loss. */
  readonly packets: number;
  /** In the measured part. */
  readonly measured: { readonly packets: number; readonly seconds: number; readonly userSeconds: number; readonly systemSeconds: number };
  /** Of the whole run, by name: packets that ended here. */
  readonly counters: Readonly<Record<string, number>>;
  /** Round trips in nanoseconds, of the sender of a timed run. */
  readonly latency?: { readonly p50: number; readonly p99: number; readonly p999: number; readonly samples: number };
}

/** The phases of a run, in one i32 that the conductor writes and both sides look at. */
export const IDLE = 0;
export const WARM_UP = 1;
export const MEASURE = 2;
/** The sender has stopped; the receiver takes what is still under way. */
export const DRAIN = 3;
export const STOP = 4;

/** What a turn does, by the side and the order. */
export type Part = 'send' | 'receive' | 'ping' | 'echo';

export function partOf(sends: boolean, order: RunOrder): Part {
  if (order.rate === undefined) return sends ? 'send' : 'receive';
  return sends ? 'ping' : 'echo';
}

/** One side's half of a path. `turn` does some bursts and returns packets; it never waits. */
export interface Endpoint {
  readonly mode: string;
  /** Of a memory path: what the other side attaches to. */
  readonly share?: MemoryShare;
  start(order: RunOrder): void;
  turn(): number;
  /** Running totals by name of packets that ended here. */
  counters(): Record<string, number>;
  close(): void;
  /** Endpoints of the event loop (dgram) are given turns by it. */
  readonly eventLoop?: boolean;
}

export interface MemoryShare {
  readonly arena: ArenaShare;
  readonly pool: string;
}

/** What times a round trip that took so many nanoseconds. */
export type Timer = (nanoseconds: number) => void;

/** Counts, clock and CPU time of the calling thread at a moment. */
export interface Reading {
  readonly packets: number;
  readonly at: number;
  readonly user: number;
  readonly system: number;
}

const usage = new Float64Array(4);

export function read(packets: number): Reading {
  binding().usage(false, usage);
  return { packets, at: performance.now(), user: usage[0]!, system: usage[1]! };
}

export function between(from: Reading, to: Reading): RunOutcome['measured'] {
  return {
    packets: to.packets - from.packets, seconds: (to.at - from.at) / 1000,
    userSeconds: (to.user - from.user) / 1e6, systemSeconds: (to.system - from.system) / 1e6,
  };
}

const clock = new Float64Array(2);

/** CLOCK_MONOTONIC in nanoseconds, the same in every thread. */
export function nanoseconds(): number {
  binding().clock(clock);
  return clock[1]!;
}

/** When the next burst is due, for an offered rate. Falls behind rather than bunching up. */
export class Pacer {
  readonly #interval: number;
  #due = performance.now();

  /** @param rate packets per second */
  constructor(rate: number, burst: number) {
    this.#interval = burst / rate * 1000;
  }

  ready(): boolean {
    const now = performance.now();
    if (now < this.#due) return false;
    this.#due = Math.max(this.#due + this.#interval, now);
    return true;
  }
}

/** What the conductor of a sweep and its measuring threads say to each other. */
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
  readonly measured: Measured;
  /** Of the whole run, by name: packets that ended here. */
  readonly counters: Readonly<Record<string, number>>;
  /** Of the sender of a timed run. */
  readonly latency?: RoundTrips;
}

/** The measured part of a run. CPU time and system calls are this thread's own; undefined where they cannot be had. */
export interface Measured {
  readonly packets: number;
  readonly seconds: number;
  readonly userSeconds?: number;
  readonly systemSeconds?: number;
  readonly calls?: number;
}

/** Nanoseconds from handing a burst over to having each of its packets back. */
export interface RoundTrips {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Timed in the measured part. */
  readonly samples: number;
  /** Came back over the whole run. */
  readonly returned: number;
}

/** The phases of a run, in one i32 that both sides look at. The conductor enters the first four, */
export const IDLE = 0;
export const WARM_UP = 1;
export const MEASURE = 2;
/** Nothing new is sent; what is still under way is taken. */
export const DRAIN = 3;
/** the sender this one, when it has stopped for certain, */
export const SENT = 4;
/** and the receiver the last, when nothing came any more. */
export const RECEIVED = 5;

/** What a turn does, by the side and the order. */
export type Part = 'send' | 'receive' | 'ping' | 'echo';

export function partOf(sends: boolean, order: RunOrder): Part {
  if (order.rate === undefined) return sends ? 'send' : 'receive';
  return sends ? 'ping' : 'echo';
}

/** One side's half of a path. It never waits. */
export interface Endpoint {
  readonly mode: string;
  /** Of a memory path: what the other side attaches to. */
  readonly share?: MemoryShare;
  start(order: RunOrder): void;
  /** Some bursts. Returns packets sent, received, or sent back. */
  turn(): number;
  /** A turn of the drain: nothing new is sent. Returns how many packets still moved. */
  drain(): number;
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

/** Told of each packet that came back: when it was sent and when it was seen, by `nanoseconds()`. */
export type Timer = (sentAt: number, now: number) => void;

/** How many bursts a turn does: about as many packets for every burst, so that none overruns the measured part by much. */
export function burstsPerTurn(burst: number): number {
  return Math.max(1, Math.min(16, Math.floor(512 / burst)));
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

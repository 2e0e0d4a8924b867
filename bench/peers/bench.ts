import type { Cpus } from './dpdk.js';
import type { Machine } from './machine.js';

/** What every measurement is given. */
export interface Bench {
  readonly machine: Machine;
  readonly cpus: Cpus;
  /** Of the measured part. */
  readonly seconds: number;
}

/**
 * What a measurement found: `value` in the row's unit, or several by name; `userShare`, where it is known, is the
 * measured thread's user time over its CPU time; `apart` and `apartAfterwards`, nanoseconds of a cache line's way to the
 * other CPU and back.
 */
export type Figures = Readonly<Record<string, number>>;

export interface Measurement {
  readonly name: string;
  /** Why it cannot be made here, with what mends it. */
  readonly lacks: (bench: Bench) => string | undefined;
  readonly run: (bench: Bench) => Promise<Figures>;
}

export type FigureName = readonly [measurement: string, figure: string];

export interface Row {
  readonly name: string;
  readonly peer: string;
  readonly ours: string;
  readonly peerFigure: FigureName;
  readonly oursFigure: FigureName;
  /** Of cycles less is better, of packets more. */
  readonly unit: 'cycles' | 'Mpps';
  /** How many times as good as the peer we have to be; absent where the peer is a measure only. */
  readonly target?: number;
  /** Or else idle part of the time, because the other end is the limit. */
  readonly orIdle?: boolean;
  /** What is counted, by whom. */
  readonly counted: string;
  /** What bounds it, whoever runs; see limits.ts. */
  readonly limit?: string;
  /** Takes minutes: only with --autotests. */
  readonly slow?: boolean;
}

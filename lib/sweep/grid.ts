/** What a sweep runs through, and how long that takes. */
import { POLICIES } from './model.js';
import type { SweepPath } from './plans.js';
import type { ScalingGrid } from './scaling.js';

export interface SweepGrid {
  readonly bursts: readonly number[];
  /** RFC 2544 sizes, with FCS. */
  readonly frames: readonly number[];
  /** How often each cell is measured, the rounds interleaved. */
  readonly rounds: number;
  /** Measured time per cell and round. */
  readonly seconds: number;
  readonly warmUp: number;
  /** Of the round-trip runs. */
  readonly latencyBursts: readonly number[];
  readonly latencyFrames: readonly number[];
  /** Packets per second that they offer; 0 leaves them out. */
  readonly latencyRate: number;
  /** Queues × lcores × idle policies of AF_XDP, after the rest. Absent: not. */
  readonly scaling?: ScalingGrid;
  /** Seconds that the runs should take at most: a round that would not end by then is left out, but never the first. */
  readonly limit?: number;
}

const LATENCY_RATE = 20_000;

/** A thin one: a round of it takes about 7 seconds. */
export const SCALING: ScalingGrid = { queues: [1, 2], lcores: [1, 2], policies: POLICIES, rounds: 1, seconds: 0.2, warmUp: 0.05, rate: 10_000 };

/** The grids that `pollmode sweep` has names for; times are for all six paths. A cell is measured for half a second or more but in the quick one. */
export const GRIDS = {
  /** About 72 seconds; with opening and report within 90 on a busy machine too. */
  usual: {
    bursts: [1, 8, 32, 128, 512], frames: [64, 1518], rounds: 3, seconds: 0.17, warmUp: 0.05,
    latencyBursts: [1, 32], latencyFrames: [64, 1518], latencyRate: LATENCY_RATE, limit: 75,
    scaling: { ...SCALING, queues: [1, 2], lcores: [1, 2] },
  },
  /** Everything: about 7 minutes. */
  full: {
    bursts: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512], frames: [64, 512, 1518], rounds: 3, seconds: 0.25, warmUp: 0.05,
    latencyBursts: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512], latencyFrames: [64, 512, 1518], latencyRate: LATENCY_RATE,
    scaling: { ...SCALING, queues: [1, 2, 4], lcores: [1, 2, 4], rounds: 3, seconds: 0.25 },
  },
  /** About 15 seconds, and rough: two short rounds. */
  quick: {
    bursts: [1, 8, 32, 256], frames: [64], rounds: 2, seconds: 0.12, warmUp: 0.04,
    latencyBursts: [1, 32], latencyFrames: [64], latencyRate: LATENCY_RATE,
  },
} as const satisfies Record<string, SweepGrid>;

/** One run: a path, a burst, a frame size, and for round trips the rate. */
export interface PlannedRun {
  readonly path: SweepPath;
  readonly burst: number;
  readonly frame: number;
  readonly rate?: number;
}

/** All runs in order: whole rounds one after the other, so that a slow minute of the machine falls on all cells alike. */
export function plannedRuns(grid: SweepGrid, paths: readonly SweepPath[]): PlannedRun[] {
  const { latencyBursts, latencyFrames, latencyRate } = grid;
  const round = [
    ...cellsOf(grid.frames, grid.bursts, paths),
    ...(latencyRate > 0 ? cellsOf(latencyFrames, latencyBursts, paths.filter(hasWayBack)).map(run => ({ ...run, rate: latencyRate })) : []),
  ];
  return Array.from({ length: grid.rounds }, () => round).flat();
}

function cellsOf(frames: readonly number[], bursts: readonly number[], paths: readonly SweepPath[]): PlannedRun[] {
  return frames.flatMap(frame => bursts.flatMap(burst => paths.map(path => ({ path, burst, frame }))));
}

function hasWayBack(path: SweepPath): boolean {
  return path !== 'memory null';
}

/** What a run takes beside warm-up and measured time: arming both threads, and the drain. */
const AROUND_RUN = 0.03;

/** How long it takes, first by the plan, then by what the runs so far took. */
export class Estimate {
  readonly #total: number;
  readonly #grid: SweepGrid;
  readonly #now: () => number;
  readonly #began: number;

  /** @param now seconds */
  constructor(total: number, grid: SweepGrid, now = () => performance.now() / 1000) {
    this.#total = total;
    this.#grid = grid;
    this.#now = now;
    this.#began = now();
  }

  /** Seconds until the end. */
  left(done: number): number {
    return this.#perRun(done) * (this.#total - done);
  }

  /** At the border of two rounds: would the next one end after the limit? */
  exceeds(done: number): boolean {
    const { limit = Infinity, rounds } = this.#grid;
    const round = this.#total / rounds;
    return done > 0 && done % round === 0 && this.#now() - this.#began + this.#perRun(done) * round > limit;
  }

  #perRun(done: number): number {
    const { seconds, warmUp } = this.#grid;
    return done === 0 ? seconds + warmUp + AROUND_RUN : (this.#now() - this.#began) / done;
  }
}

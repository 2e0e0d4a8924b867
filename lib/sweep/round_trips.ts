import { createRequire } from 'node:module';
import type { Histogram } from 'hdr-histogram-js';
import type { RoundTrips } from './control.js';
import { nanoseconds } from './thread.js';

const hdr = createRequire(import.meta.url)('hdr-histogram-js') as typeof import('hdr-histogram-js');

/** Longer round trips are counted as this long: 10 s. */
const LONGEST_NS = 10_000_000_000;

/**
 * The round trips of one run, in an HDR histogram of three digits (hdrhistogram.org): those of packets that were sent
 * in the measured part, whenever they come back, so that the slowest are not cut off with it.
 */
export class RoundTripTimer {
  readonly #histogram: Histogram = hdr.build({ lowestDiscernibleValue: 1, highestTrackableValue: LONGEST_NS, numberOfSignificantValueDigits: 3 });
  #started = 0;
  #from = Infinity;
  #to = Infinity;
  /** In this run. */
  returned = 0;

  reset(): void {
    this.#histogram.reset();
    this.#started = nanoseconds();
    this.#from = this.#to = Infinity;
    this.returned = 0;
  }

  begin(): void {
    this.#from = nanoseconds();
  }

  end(): void {
    this.#to = nanoseconds();
  }

  /** A Timer. What was not sent in this run (a straggler of the last one, or no clock of ours) is not one of its packets. */
  readonly time = (sentAt: number, now: number): void => {
    if (!(sentAt >= this.#started && sentAt <= now)) return;
    this.returned++;
    if (sentAt >= this.#from && sentAt < this.#to) this.#histogram.recordValue(Math.min(LONGEST_NS, Math.max(1, Math.round(now - sentAt))));
  };

  read(): RoundTrips {
    const at = (percentile: number): number => this.#histogram.getValueAtPercentile(percentile);
    return { p50: at(50), p99: at(99), p999: at(99.9), samples: this.#histogram.totalCount, returned: this.returned };
  }
}

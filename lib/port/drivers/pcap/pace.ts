import type { CaptureTime } from '../../../wire/pcap_time.js';

/** When the next frame may be handed out. */
export interface Pace {
  /** Looks at the clock, once a burst. */
  tick(): void;
  due(time: CaptureTime): boolean;
  /** A frame was handed out. */
  took(): void;
  /** The file starts again. */
  restart(): void;
}

/** Milliseconds, from anywhere. */
export type Clock = () => number;

const monotonic: Clock = () => performance.now();

/** As fast as it is asked for. */
export class NoPace implements Pace {
  tick(): void {}
  due(): boolean {
    return true;
  }
  took(): void {}
  restart(): void {}
}

/** So many frames a second from the first call on. Frames that were not asked for in time are handed out as soon as they are. */
export class RatePace implements Pace {
  readonly #perMillisecond: number;
  readonly #clock: Clock;
  #start = -1;
  #due = 0;
  #taken = 0;

  constructor(perSecond: number, clock: Clock = monotonic) {
    this.#perMillisecond = perSecond / 1000;
    this.#clock = clock;
  }

  tick(): void {
    const now = this.#clock();
    if (this.#start < 0) this.#start = now;
    this.#due = (now - this.#start) * this.#perMillisecond;
  }

  /** Frame n is due at n / rate: the first one at once. */
  due(): boolean {
    return this.#taken <= this.#due;
  }

  took(): void {
    this.#taken++;
  }

  restart(): void {}
}

/** With the capture's own gaps, from its first frame on; a frame that goes back in time, or has none, is due at once. */
export class RecordedPace implements Pace {
  readonly #clock: Clock;
  #now = 0;
  #start = -1;
  #seconds = 0;
  #nanoseconds = 0;

  constructor(clock: Clock = monotonic) {
    this.#clock = clock;
  }

  tick(): void {
    this.#now = this.#clock();
  }

  due(time: CaptureTime): boolean {
    if (!time.known) return true;
    if (this.#start < 0) {
      this.#start = this.#now;
      this.#seconds = time.seconds;
      this.#nanoseconds = time.nanoseconds;
    }
    return (time.seconds - this.#seconds) * 1e3 + (time.nanoseconds - this.#nanoseconds) / 1e6 <= this.#now - this.#start;
  }

  took(): void {}

  restart(): void {
    this.#start = -1;
  }
}

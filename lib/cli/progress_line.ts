import type { SweepProgress } from '../sweep/sweep.js';

/** Between two lines where they cannot be overwritten. */
const SECONDS_PER_LINE = 5;

/** How far a sweep is, on a line that is written again and again; on a stream that is no terminal, a new one now and then. */
export class ProgressLine {
  readonly #out: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  #last = -Infinity;

  constructor(out: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }) {
    this.#out = out;
  }

  show({ done, total, secondsLeft, what }: SweepProgress): void {
    const line = `${String(Math.floor(done / total * 100)).padStart(3)} %  about ${duration(secondsLeft)} left  ${what}`;
    if (this.#out.isTTY === true) this.#out.write(`\r\u001b[K${line.slice(0, (this.#out.columns ?? 80) - 1)}`);
    else if (performance.now() - this.#last > SECONDS_PER_LINE * 1000) {
      this.#last = performance.now();
      this.#out.write(`${line}\n`);
    }
  }

  /** A line that stays. */
  say(text: string): void {
    this.end();
    this.#out.write(`${text}\n`);
  }

  end(): void {
    if (this.#out.isTTY === true) this.#out.write('\r\u001b[K');
  }
}

function duration(seconds: number): string {
  const whole = Math.max(1, Math.ceil(seconds));
  return whole < 100 ? `${whole} s` : `${Math.ceil(whole / 60)} min`;
}

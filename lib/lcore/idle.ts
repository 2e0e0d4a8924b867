import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { RxQueue, WakeSource } from '../port/port.js';

/**
 * What a poll loop does when there is nothing: NAPI's bargain, in user space.
 * - `busy`: asks again at once. Best latency, a whole CPU.
 * - `interrupt`: sleeps in the kernel at once, until the first packet wakes it.
 * - `adaptive`: asks again for as long as it is likely that the next packet comes sooner than a sleep would cost, then sleeps.
 *   On a queue that has nothing to sleep on (memory ports, capture files) it is `busy`.
 *   On a CPU that others want too it sleeps at once for a while: the scheduler lets who slept run as soon as a packet
 *   wakes him, and has who spun wait for his turn again, which is what his slowest packets then wait for.
 */
export type IdlePolicy = 'busy' | 'adaptive' | 'interrupt';

export interface IdleOptions {
  readonly policy: IdlePolicy;
  /** What to sleep on. */
  readonly queues: readonly Pick<RxQueue, 'wake'>[];
  /** Who has something to do at a time of its own, packets or none: a QdiscQueue whose packets wait. No sleep goes beyond it. */
  readonly deadlines?: readonly { readonly sleepMs: number }[];
  /** The longest that `adaptive` spins before it sleeps, in microseconds. Default 50: about what a sleep and its wake-up cost. */
  readonly spinUs?: number;
  /** The longest sleep, in milliseconds, so that timers and a stop are not kept waiting. Default 10. */
  readonly sleepMs?: number;
}

/** What an idle policy did, and how long it spins now. */
export interface IdleStats {
  readonly policy: IdlePolicy;
  /** Sleeps, and of these the ones that a packet ended. */
  readonly sleeps: number;
  readonly wakeups: number;
  /** Microseconds that `adaptive` spins now before it sleeps, and the gap between two arrivals that it expects. */
  readonly spinUs: number;
  readonly expectedGapUs: number;
  /** How often `adaptive` gave up spinning for a while, because others had too much of its CPU. */
  readonly gaveWay: number;
}

/** Words that `Idle.write` writes: the policy by its place here, from 1 on, then the figures of IdleStats in their order. */
export const IDLE_WORDS = 6;
const POLICIES: readonly IdlePolicy[] = ['busy', 'adaptive', 'interrupt'];

/** What an Idle wrote, in another thread perhaps, some moments ago; undefined before it wrote anything. */
export function readIdle(words: Float64Array): IdleStats | undefined {
  const [code, sleeps, wakeups, spinUs, expectedGapUs, gaveWay] = words as unknown as [number, number, number, number, number, number];
  const policy = POLICIES[code - 1];
  return policy === undefined ? undefined : { policy, sleeps, wakeups, spinUs, expectedGapUs, gaveWay };
}

const POLLIN = 1;
/** Weight of the newest gap in the expected one: an eighth, as TCP smooths its round trips (RFC 6298). */
const SMOOTHING = 1 / 8;
/** Between two looks of a spin, in milliseconds: who is away for longer was pushed off the CPU. */
const AWAY_MS = 0.01;
/** So much of its spinning is looked at together, and so great a part of it may others have: less than the hundredth that p99 is about. */
const PROBE_MS = 50;
const MOST_LOST = 0.004;
/**
 * For how long it then sleeps instead, in milliseconds: twice as long each time that the next probe ends like that too.
 * At least so long that the probes are a few hundredths of the time: what they have late is no part of p99 then.
 */
export const YIELD_MS = { least: 1600, most: 6400 };

/** One loop's idling. Belongs to its thread. */
export class Idle {
  readonly policy: IdlePolicy;
  readonly #sources: readonly WakeSource[];
  readonly #most: number;
  readonly #sleepMs: number;
  readonly #deadlines: readonly { readonly sleepMs: number }[];
  /** Pairs (descriptor, events) for poll(2). */
  readonly #fds: Int32Array;
  #since = 0;
  /** When it last looked, in a spin. */
  #last = 0;
  #yieldUntil = 0;
  #yieldMs: number = YIELD_MS.least;
  /** Milliseconds of spinning that were not looked at yet, and what of them the scheduler gave to others. */
  #spun = 0;
  #lost = 0;
  #gaveWay = 0;
  #expected = 0;
  #sleeps = 0;
  #wakeups = 0;

  /** Throws EUNSUPPORTED when it is to be woken by a queue that has nothing to sleep on, EOPTION without queues. */
  constructor({ policy, queues, deadlines = [], spinUs = 50, sleepMs = 10 }: IdleOptions) {
    this.policy = policy === 'adaptive' && queues.some(({ wake }) => wake === undefined) ? 'busy' : policy;
    this.#most = spinUs / 1000;
    this.#sleepMs = sleepMs;
    this.#deadlines = deadlines;
    this.#sources = this.policy === 'busy' ? [] : queues.map(sourceOf);
    this.#fds = new Int32Array(2 * this.#sources.length);
    if (this.policy !== 'busy' && this.#sources.length === 0) throw new PollmodeError('EOPTION', `Idle policy ${policy}: say which queues it shall wait for.`);
  }

  /** The loop found something. */
  work(): void {
    if (this.#since === 0) return;
    this.#learn(performance.now() - this.#since);
    this.#since = 0;
  }

  /** The loop found nothing. Returns whether it is time to sleep. */
  shouldSleep(): boolean {
    if (this.policy === 'busy') return false;
    if (this.policy === 'interrupt') return true;
    const now = performance.now();
    if (this.#since === 0) this.#since = now;
    else if (now >= this.#yieldUntil) this.#account(now);
    this.#last = now;
    return now - this.#since >= (now < this.#yieldUntil ? 0 : this.#spin);
  }

  /** The loop is back from something else that it did by itself, such as a turn of the event loop. */
  back(): void {
    this.#last = performance.now();
  }

  /** Sleeps until one of the queues has something, at most `sleepMs` and no deadline over; not at all when one is less than a millisecond away. */
  sleep(): void {
    const most = this.#longest();
    if (most === 0) return;
    for (let i = 0; i < this.#sources.length; i++) {
      const source = this.#sources[i]!;
      if (source.arm?.() === false) return;
      this.#fds[2 * i] = source.fd;
      this.#fds[2 * i + 1] = POLLIN;
    }
    this.#sleeps++;
    if (binding().poll(this.#fds, most) > 0) this.#wakeups++;
    else if (this.#since !== 0) this.#learn(performance.now() - this.#since); // nothing came: the gap is at least so long
    this.back();
  }

  /** poll(2) counts whole milliseconds. */
  #longest(): number {
    let most = this.#sleepMs;
    for (const deadline of this.#deadlines) most = Math.min(most, Math.floor(deadline.sleepMs));
    return most;
  }

  stats(): IdleStats {
    return { policy: this.policy, sleeps: this.#sleeps, wakeups: this.#wakeups, spinUs: this.#spinUs, expectedGapUs: this.#expected * 1000, gaveWay: this.#gaveWay };
  }

  /** The same into IDLE_WORDS words that others can see, and without an object: before every sleep. */
  write(words: Float64Array): void {
    words[0] = POLICIES.indexOf(this.policy) + 1;
    words[1] = this.#sleeps;
    words[2] = this.#wakeups;
    words[3] = this.#spinUs;
    words[4] = this.#expected * 1000;
    words[5] = this.#gaveWay;
  }

  get #spinUs(): number {
    return this.policy === 'adaptive' && performance.now() >= this.#yieldUntil ? this.#spin * 1000 : 0;
  }

  #account(now: number): void {
    const gap = now - this.#last;
    this.#spun += gap;
    if (gap > AWAY_MS) this.#lost += gap;
    if (this.#spun >= PROBE_MS) this.#judge(now);
  }

  #judge(now: number): void {
    if (this.#lost > this.#spun * MOST_LOST) {
      this.#gaveWay++;
      this.#yieldUntil = now + this.#yieldMs;
      this.#yieldMs = Math.min(2 * this.#yieldMs, YIELD_MS.most);
    } else {
      this.#yieldMs = YIELD_MS.least;
    }
    this.#spun = this.#lost = 0;
  }

  /** Twice the expected gap, which most gaps are shorter than, when that is less than a sleep costs; else not at all. */
  get #spin(): number {
    return 2 * this.#expected <= this.#most ? Math.max(2 * this.#expected, this.#most / 10) : 0;
  }

  #learn(gap: number): void {
    this.#expected += (Math.min(gap, 4 * this.#most) - this.#expected) * SMOOTHING;
  }
}

function sourceOf({ wake }: Pick<RxQueue, 'wake'>): WakeSource {
  if (wake === undefined) throw new PollmodeError('EUNSUPPORTED', 'A queue of this port has no descriptor to sleep on (memory ports have none): poll it with the policy busy.');
  return wake;
}

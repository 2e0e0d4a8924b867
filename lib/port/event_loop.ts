/**
 * Packets on Node's event loop: a queue's descriptor is watched by libuv, so that a packet program lives beside timers
 * and HTTP in one process. Under load it takes bursts back to back and gives the loop a turn every millisecond; when
 * there is nothing it costs nothing.
 */
import { binding } from '../binding.js';
import type { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import { kernelError } from '../kernel/errno.js';
import type { BurstsOptions, RxQueue, WakeSource } from './port.js';

/** Queues without a descriptor (memory ports) are looked at again after so long when they were empty, in milliseconds. */
const LOOK_AGAIN_MS = 1;
/** How often a wait looks whether its descriptor is still what it was, where it can become another. */
const REPLACED_MS = 100;

/**
 * Bursts of a queue as they come; `burst.count` says how many of its handles are packets, which are the loop body's to
 * send or free. The same `Burst` object each time. Ends at the signal, when the body breaks, and with a
 * queue that is finished.
 */
export async function* bursts(queue: RxQueue, make: (capacity: number) => Burst, options: BurstsOptions = {}): AsyncGenerator<Burst, void, undefined> {
  const { signal, capacity = 32, turnMs = 1 } = options;
  const burst = make(capacity);
  const watch = new ReadableWatch(queue, signal);
  try {
    let turnEnds = performance.now() + turnMs;
    while (signal?.aborted !== true) {
      burst.count = queue.rxBurst(burst);
      if (burst.count > 0) {
        yield burst;
        if (performance.now() < turnEnds) continue;
        await turn();
      } else if (queue.finished === true) {
        return;
      } else {
        await watch.readable();
      }
      turnEnds = performance.now() + turnMs;
    }
  } finally {
    watch.close();
    burst.close();
  }
}

/** Calls back whenever the queue has become readable, until the returned function is called. The callback should take all there is. Throws EUNSUPPORTED for a queue without a descriptor. */
export function onReadable(queue: RxQueue, callback: () => void): () => void {
  if (queue.wake === undefined) throw new PollmodeError('EUNSUPPORTED', 'This queue has no descriptor to wait on: poll it, or use bursts().');
  const watch = new ReadableWatch(queue, undefined);
  let on = true;
  const again = (): void => void watch.readable().then(() => {
    if (!on) return;
    callback();
    again();
  });
  again();
  return () => {
    on = false;
    watch.close();
  };
}

/** One descriptor on the event loop. */
class ReadableWatch {
  readonly #queue: RxQueue;
  readonly #signal: AbortSignal | undefined;
  #watch = 0;
  #generation: number | undefined;
  #guard: NodeJS.Timeout | undefined;
  #resolve: () => void = () => undefined;

  constructor(queue: RxQueue, signal: AbortSignal | undefined) {
    this.#queue = queue;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#wake);
  }

  /** Resolves when there may be something, at the signal, and at close. */
  readable(): Promise<void> {
    const { wake } = this.#queue;
    if (this.#signal?.aborted === true) return Promise.resolve();
    return new Promise(resolve => {
      this.#resolve = resolve;
      if (wake === undefined || wake.fd < 0) {
        setTimeout(this.#wake, LOOK_AGAIN_MS);
      } else if (wake.arm?.() === false) {
        resolve();
      } else {
        if (this.#watch === 0) this.#watch = watchOf(wake.fd, this.#wake);
        this.#generation = wake.generation;
        if (wake.generation !== undefined) this.#guard ??= setInterval(() => this.#look(wake), REPLACED_MS).unref();
        binding().rearm(this.#watch);
      }
    });
  }

  /** Another file behind the number is news that the descriptor itself does not tell. */
  #look({ fd, generation }: WakeSource): void {
    if (fd < 0 || generation !== this.#generation) this.#wake();
  }

  close(): void {
    clearInterval(this.#guard);
    this.#signal?.removeEventListener('abort', this.#wake);
    if (this.#watch > 0) binding().unwatch(this.#watch);
    this.#watch = 0;
    this.#wake();
  }

  readonly #wake = (): void => this.#resolve();
}

function watchOf(fd: number, wake: () => void): number {
  const watch = binding().watch(fd, wake);
  if (watch < 0) throw kernelError(-watch, 'uv_poll_init');
  return watch;
}

function turn(): Promise<void> {
  return new Promise(resolve => { setImmediate(resolve); });
}

import type { Arena } from '../arena/arena.js';
import { Burst } from '../burst/burst.js';
import { bursts, onReadable } from './event_loop.js';
import type { BurstsOptions, RxQueue, WakeSource } from './port.js';

/** What every receive queue has besides `rxBurst`: the ways of Node's event loop. */
export abstract class ReceiveQueue implements RxQueue {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  abstract rxBurst(burst: Burst, max?: number): number;

  /** What a thread can sleep on; undefined for queues that can only be polled. */
  get wake(): WakeSource | undefined {
    return undefined;
  }

  bursts(options?: BurstsOptions): AsyncGenerator<Burst, void, undefined> {
    return bursts(this, capacity => new Burst(this.#arena, capacity), options);
  }

  onReadable(callback: () => void): () => void {
    return onReadable(this, callback);
  }
}

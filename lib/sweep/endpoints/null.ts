import type { Endpoint, RunOrder, Timer } from '../control.js';
import { frameBytes, type FrameEnds } from '../frame.js';
import { PortEndpoint } from './port.js';

/**
 * Null ports: the sender's is a sink, the receiver's a source, and nothing lies between. What is left is the library's
 * own work (mbufs from the pool and back, a header each), the floor under every other path. A source's frames have the
 * size it was opened with, so there is a port for each.
 */
export class NullEndpoint implements Endpoint {
  readonly mode = 'source and sink in memory';
  readonly #bySize = new Map<number, PortEndpoint>();
  readonly #open: (bytes: number) => PortEndpoint;
  #current: PortEndpoint;

  constructor(ends: FrameEnds, sends: boolean, time: Timer) {
    this.#open = bytes => new PortEndpoint(`null:,size=${bytes}`, ends, sends, time);
    this.#current = this.#of(frameBytes(64));
  }

  start(order: RunOrder): void {
    this.#current = this.#of(frameBytes(order.frame));
    this.#current.start(order);
  }

  turn(): number {
    return this.#current.turn();
  }

  /** A source never falls quiet: nothing is under way. */
  drain(): number {
    return 0;
  }

  counters(): Record<string, number> {
    return {};
  }

  close(): void {
    for (const endpoint of this.#bySize.values()) endpoint.close();
  }

  #of(bytes: number): PortEndpoint {
    const endpoint = this.#bySize.get(bytes) ?? this.#open(bytes);
    this.#bySize.set(bytes, endpoint);
    return endpoint;
  }
}

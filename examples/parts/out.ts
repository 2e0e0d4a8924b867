import type { Burst, Host, Port } from '../../lib/index.js';

/** What goes out by one port: packets are put in one by one, and sent a burst at a time. */
export class Out {
  readonly #host: Host;
  readonly #port: Port;
  readonly #burst: Burst;
  #count = 0;

  constructor(host: Host, port: Port, capacity = 64) {
    this.#host = host;
    this.#port = port;
    this.#burst = host.burst(capacity);
  }

  /** The packet is this object's now. */
  put(handle: number): void {
    this.#burst.handles[this.#count++] = handle;
    if (this.#count === this.#burst.capacity) this.flush();
  }

  /** At the end of each turn. What the port does not take is freed; its `txRefused` counts it. */
  flush(): void {
    if (this.#count === 0) return;
    const sent = this.#port.tx[0]!.txBurst(this.#burst, this.#count);
    if (sent < this.#count) this.#host.pool.free(this.#burst, sent, this.#count);
    this.#count = 0;
  }
}

/** Packets that end here, with a counter for each reason; freed a burst at a time. */
export class Drops {
  readonly counts: Record<string, number> = {};
  readonly #host: Host;
  readonly #burst: Burst;
  #count = 0;

  constructor(host: Host) {
    this.#host = host;
    this.#burst = host.burst(64);
  }

  /** Of a packet that ends here, and whose mbuf goes on as something else. */
  count(reason: string): void {
    this.counts[reason] = (this.counts[reason] ?? 0) + 1;
  }

  /** The packet is this object's now. */
  put(handle: number, reason: string): void {
    this.count(reason);
    this.#burst.handles[this.#count++] = handle;
    if (this.#count === this.#burst.capacity) this.flush();
  }

  flush(): void {
    this.#host.pool.free(this.#burst, 0, this.#count);
    this.#count = 0;
  }
}

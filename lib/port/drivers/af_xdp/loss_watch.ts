import type { PortEvent } from '../../port.js';

/** What can be seen of, and done to, a port by its sockets alone. */
export interface Losable {
  readonly device: string;
  /** Is it on an interface that exists? */
  isBound(): boolean;
  /** The interface is gone. To be called until nothing of the port is on the move; returns whether that is so. */
  lose(): boolean;
}

const PERIOD_MS = 1000;

/**
 * Watches whether a port that lives on another's rights still has its interface. That may be in a namespace into which
 * we cannot see, so only the socket is asked, in the port's thread.
 *
 * Such a port does not come back: the broker ends with its interface, and the device plugin answers a pod only once.
 * When the interface is gone its bursts return 0 for good, what it held is the pool's when it is closed, and whoever
 * wants the next interface of that name opens a new port. A broker that ends while the interface stays is counted
 * (broker_gone): then nothing is received any more, and sending goes on.
 */
export class LossWatch {
  readonly counts = { interface_gone: 0 };
  readonly #port: Losable;
  readonly #listeners = new Set<(event: PortEvent) => void>();
  readonly #timer: NodeJS.Timeout;

  constructor(port: Losable) {
    this.#port = port;
    this.#timer = setInterval(() => this.#look(), PERIOD_MS).unref();
  }

  listen(listener: (event: PortEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#port.isBound()) return;
    this.close();
    this.counts.interface_gone = 1;
    this.#port.lose(); // nothing of it is ever on the move: there is no other socket
    const text = `${this.#port.device} is gone, and what was borrowed for it: close the port, and open it again when there is one`;
    for (const listener of this.#listeners) listener({ kind: 'gone', text });
  }
}

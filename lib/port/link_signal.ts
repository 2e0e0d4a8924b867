import { binding } from '../binding.js';
import { EFD_NONBLOCK } from '../kernel/constants.js';
import type { LinkState, PortEvent, PortLink } from './port.js';

const ONE = new Uint8Array(BigUint64Array.of(1n).buffer);
/** As fast as memory; there is no number for that. */
const MBPS = 0xffffffff;

/** The link of a port whose other end is a program: up while that is there. In the port's thread. */
export class LinkSignal implements PortLink {
  readonly wake: PortLink['wake'];
  readonly #listeners = new Set<(event: PortEvent) => void>();
  #fd: number;
  #up = false;

  /** Where the process has no descriptor more, the port works, and nobody is woken by its link. */
  constructor() {
    const fd = this.#fd = binding().eventfd(0, EFD_NONBLOCK);
    const signal = (): number => this.#fd;
    this.wake = {
      get fd() { return signal(); },
      arm: () => {
        if (this.#fd >= 0) binding().read(fd, new Uint8Array(8));
        return true;
      },
    };
  }

  read(): LinkState {
    return { up: this.#up, mbps: this.#up ? MBPS : 0, fullDuplex: true };
  }

  /** Tells everybody who wants to know, if it is news. */
  set(up: boolean, text: string): void {
    if (up === this.#up) return;
    this.#up = up;
    if (this.#fd >= 0) binding().write(this.#fd, ONE);
    for (const listener of this.#listeners) listener({ kind: up ? 'up' : 'down', text });
  }

  listen(listener: (event: PortEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  close(): void {
    this.#listeners.clear();
    this.#up = false;
    if (this.#fd >= 0) binding().close(this.#fd);
    this.#fd = -1;
  }
}

/** What receive queues share whose other side tells of packets by an eventfd, and only when it was asked to: the virtqueues' ports. */
import { binding, type Binding } from '../binding.js';
import type { Burst } from '../burst/burst.js';
import type { WakeSource } from './port.js';
import { PortRxQueue } from './port_queue.js';
import type { QueueView } from './queue_view.js';

/** A burst call, and telling the other side of it where it wants to be told. */
export interface BurstCaller {
  call(burst: Burst, count: number): number;
}

/** A driver says how the other side is asked, and that it need not tell any more. The queue polls until it is armed. */
export abstract class ArmedRxQueue extends PortRxQueue {
  protected readonly state: QueueView;
  private readonly caller: BurstCaller;
  private armed = false;
  readonly #wake: WakeSource;
  readonly #binding: Binding;
  readonly #count = new Uint8Array(8);
  #closed = false;

  /** @param generation of the descriptor, where another file may come behind its number (WakeSource) */
  constructor(state: QueueView, caller: BurstCaller, generation?: () => number) {
    super(state);
    this.state = state;
    this.caller = caller;
    this.#binding = binding();
    const arm = (): boolean => this.#arm();
    this.#wake = generation === undefined ? { fd: state.fd, arm } : { fd: state.fd, arm, get generation() { return generation(); } };
  }

  override get wake(): WakeSource {
    return this.#wake;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.admits()) return 0;
    if (this.armed) this.#disarm();
    const most = burst.bounded(max);
    return most > 0 ? this.caller.call(burst, most) : 0;
  }

  override close(): void {
    this.#closed = true;
    super.close();
  }

  /** Asks to be told. Returns false when something has come already. */
  protected abstract ask(): boolean;
  protected abstract unask(): void;

  /** Forgets what it was told before, asks, and looks whether something came in between. */
  #arm(): boolean {
    if (this.#closed) return true;
    this.#binding.read(this.state.fd, this.#count);
    this.armed = true;
    return this.ask();
  }

  #disarm(): void {
    this.armed = false;
    this.unask();
  }
}

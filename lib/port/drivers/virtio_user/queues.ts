/** A virtio_user port's queues: the burst module does it all; here is how a thread sleeps. */
import { binding } from '../../../binding.js';
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { hasUsed, wishInterrupts } from '../../../virtqueue/driver.js';
import { VQ_READY } from '../../../virtqueue/layout.js';
import { withQueue } from '../../../virtqueue/state.js';
import type { WakeSource } from '../../port.js';
import { PortRxQueue, PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { noTurn, VirtqueueCaller } from '../../virtqueue_caller.js';

export class VirtioRxQueue extends PortRxQueue {
  private readonly caller: VirtqueueCaller;
  readonly #state: QueueView;
  readonly #wake: WakeSource;
  readonly #count = new Uint8Array(8);
  private armed = false;
  #closed = false;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state);
    this.caller = new VirtqueueCaller(state, functions.virtioRx, turn);
    this.#state = state;
    this.#wake = { fd: state.fd, arm: () => this.#arm() };
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

  /** Forgets old interrupts, asks for new ones, and looks whether something came before that. */
  #arm(): boolean {
    if (this.#closed) return true;
    binding().read(this.#state.fd, this.#count);
    this.armed = true;
    return withQueue(this.#state, () => {
      if (this.#state.get(VQ_READY) === 0) return true;
      wishInterrupts(this.#state, true);
      return !hasUsed(this.#state);
    });
  }

  #disarm(): void {
    this.armed = false;
    withQueue(this.#state, () => { if (this.#state.get(VQ_READY) !== 0) wishInterrupts(this.#state, false); });
  }
}

export class VirtioTxQueue extends PortTxQueue {
  private readonly caller: VirtqueueCaller;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state);
    this.caller = new VirtqueueCaller(state, functions.virtioTx, turn);
  }

  /** A count of 0 frees what was sent. */
  txBurst(burst: Burst, count: number): number {
    return this.admits() ? this.caller.call(burst, burst.bounded(count)) : 0;
  }
}

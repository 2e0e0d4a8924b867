/** A vhost port's queues: the burst module does it all; here is how the guest is told and how a thread sleeps. */
import { binding } from '../../../binding.js';
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { hasAvailable, wishKicks } from '../../../virtqueue/device.js';
import { VQ_GENERATION, VQ_READY } from '../../../virtqueue/layout.js';
import { withQueue } from '../../../virtqueue/state.js';
import type { WakeSource } from '../../port.js';
import { PortRxQueue, PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { noTurn, VirtqueueCaller } from '../../virtqueue_caller.js';

export class VhostRxQueue extends PortRxQueue {
  private readonly caller: VirtqueueCaller;
  readonly #state: QueueView;
  readonly #wake: WakeSource;
  readonly #count = new Uint8Array(8);
  private armed = false;
  #closed = false;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state);
    this.caller = new VirtqueueCaller(state, functions.vhostRx, turn);
    this.#state = state;
    this.#wake = {
      fd: state.fd,
      get generation() { return state.get(VQ_GENERATION); },
      arm: () => this.#arm(),
    };
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

  /** Forgets old kicks, asks for new ones, and looks whether something came before that. */
  #arm(): boolean {
    if (this.#closed) return true;
    binding().read(this.#state.fd, this.#count);
    this.armed = true;
    return withQueue(this.#state, () => {
      if (this.#state.get(VQ_READY) === 0) return true;
      wishKicks(this.#state, true);
      return !hasAvailable(this.#state);
    });
  }

  #disarm(): void {
    this.armed = false;
    withQueue(this.#state, () => { if (this.#state.get(VQ_READY) !== 0) wishKicks(this.#state, false); });
  }
}

export class VhostTxQueue extends PortTxQueue {
  private readonly caller: VirtqueueCaller;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state);
    this.caller = new VirtqueueCaller(state, functions.vhostTx, turn);
  }

  txBurst(burst: Burst, count: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(count);
    return most > 0 ? this.caller.call(burst, most) : 0;
  }
}

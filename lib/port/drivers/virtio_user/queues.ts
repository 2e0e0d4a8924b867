/** A virtio_user port's queues: the burst module does it all; here is how the device is asked to tell of its frames. */
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { armDriver, disarmDriver } from '../../../virtqueue/driver.js';
import { ArmedRxQueue } from '../../armed_queue.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { noTurn, VirtqueueCaller } from '../../virtqueue_caller.js';

export class VirtioRxQueue extends ArmedRxQueue {
  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state, new VirtqueueCaller(state, functions.virtioRx, turn));
  }

  protected ask(): boolean {
    return armDriver(this.state);
  }

  protected unask(): void {
    disarmDriver(this.state);
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

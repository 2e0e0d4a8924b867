/** A vhost port's queues: the burst module does it all; here is how the guest is asked to tell of its frames. */
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { hasAvailable, wishKicks } from '../../../virtqueue/device.js';
import { VQ_GENERATION, VQ_READY } from '../../../virtqueue/layout.js';
import { withQueue } from '../../../virtqueue/state.js';
import { ArmedRxQueue } from '../../armed_queue.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { noTurn, VirtqueueCaller } from '../../virtqueue_caller.js';

export class VhostRxQueue extends ArmedRxQueue {
  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state, new VirtqueueCaller(state, functions.vhostRx, turn), () => state.get(VQ_GENERATION));
  }

  protected ask(): boolean {
    return withQueue(this.state, () => {
      if (this.state.get(VQ_READY) === 0) return true;
      wishKicks(this.state, true);
      return !hasAvailable(this.state);
    });
  }

  protected unask(): void {
    withQueue(this.state, () => { if (this.state.get(VQ_READY) !== 0) wishKicks(this.state, false); });
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

/** A memif port's queues: the burst module does it all; here is how the other end is asked to tell of its frames. */
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { VQ_GENERATION, VQ_READY } from '../../../virtqueue/layout.js';
import { withQueue } from '../../../virtqueue/state.js';
import { ArmedRxQueue } from '../../armed_queue.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { noTurn, VirtqueueCaller } from '../../virtqueue_caller.js';
import { MEMIF_SIDE } from './layout.js';
import { hasCome, wishInterrupts } from './ring.js';

/** A client's queue that shares its pool has a side table. */
function sharesPool(state: QueueView): boolean {
  return state.get(MEMIF_SIDE) !== 0;
}

export class MemifRxQueue extends ArmedRxQueue {
  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state, new VirtqueueCaller(state, sharesPool(state) ? functions.memifZcRx : functions.memifRx, turn), () => state.get(VQ_GENERATION));
  }

  protected ask(): boolean {
    return withQueue(this.state, () => {
      if (this.state.get(VQ_READY) === 0) return true;
      wishInterrupts(this.state, true);
      return !hasCome(this.state);
    });
  }

  protected unask(): void {
    withQueue(this.state, () => { if (this.state.get(VQ_READY) !== 0) wishInterrupts(this.state, false); });
  }
}

export class MemifTxQueue extends PortTxQueue {
  private readonly caller: VirtqueueCaller;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state);
    this.caller = new VirtqueueCaller(state, sharesPool(state) ? functions.memifZcTx : functions.memifTx, turn);
  }

  /** A count of 0 frees what the server has taken, where the pool is shared. */
  txBurst(burst: Burst, count: number): number {
    return this.admits() ? this.caller.call(burst, burst.bounded(count)) : 0;
  }
}

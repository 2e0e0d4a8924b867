/** A vhost port's queues: the burst module does it all; here is how the guest is asked to tell of its frames. */
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { hasAvailable, wishKicks } from '../../../virtqueue/device.js';
import { VQ_GENERATION, VQ_PASSES, VQ_READY } from '../../../virtqueue/layout.js';
import { withQueue } from '../../../virtqueue/state.js';
import { ArmedRxQueue } from '../../armed_queue.js';
import { QUEUE_LCORE } from '../../layout.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { noTurn, VirtqueueCaller } from '../../virtqueue_caller.js';
import { FinishingReceiver, FinishingSender } from './finishing.js';

export class VhostRxQueue extends ArmedRxQueue {
  readonly #finishing: FinishingReceiver | undefined;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    const caller = new VirtqueueCaller(state, functions.vhostRx, turn);
    const finishing = state.get(VQ_PASSES) === 0 ? new FinishingReceiver(state, caller) : undefined;
    super(state, finishing ?? caller, () => state.get(VQ_GENERATION));
    this.#finishing = finishing;
  }

  override close(): void {
    super.close();
    this.#finishing?.close();
  }

  protected ask(): boolean {
    if (this.#finishing?.hasMore === true) return false;
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
  private readonly state: QueueView;
  private readonly caller: FinishingSender;

  constructor(state: QueueView, functions: BurstFunctions, turn: () => void = noTurn) {
    super(state);
    this.state = state;
    this.caller = new FinishingSender(state, new VirtqueueCaller(state, functions.vhostTx, turn));
  }

  override close(): void {
    super.close();
    this.caller.close();
  }

  txBurst(burst: Burst, count: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(count);
    return most > 0 ? this.caller.call(burst, most) : 0;
  }

  /** Pieces of a packet that was taken may wait for room: now and then, by the thread that has the socket, while it has the queue too. */
  flush(): void {
    if (this.state.get(QUEUE_LCORE) === this.state.arena.lcore + 1) this.caller.flush();
  }
}

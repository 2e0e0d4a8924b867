/** A virtio-net device's queues: the burst module does it all, but for the doorbell; and how a thread sleeps. */
import type { Burst } from '../../../../burst/burst.js';
import type { BurstFunctions } from '../../../../burst/functions.js';
import { armDriver, disarmDriver } from '../../../../virtqueue/driver.js';
import { VQ_NOTIFY, VQ_TELL } from '../../../../virtqueue/layout.js';
import { withQueue } from '../../../../virtqueue/state.js';
import { ArmedRxQueue, type BurstCaller } from '../../../armed_queue.js';
import { PortTxQueue } from '../../../port_queue.js';
import type { QueueFunction } from '../../../queue.js';
import type { QueueView } from '../../../queue_view.js';

/** 5.1.2: receive and send take turns. The low byte of the owner word is the queue's number. */
export function virtqueueIndex(state: QueueView): number {
  return 2 * (state.owner & 0xff) + (state.direction === 'tx' ? 1 : 0);
}

/** A burst call, and the store to the doorbell when the device wants to be told (4.1.5.2: the queue's number, 16 bits). */
class Caller implements BurstCaller {
  private readonly move: QueueFunction;
  private readonly u16: Uint16Array;
  private readonly u32: Uint32Array;
  private readonly queue: number;
  private readonly lcore: number;
  private readonly index: number;
  /** Indices of VQ_NOTIFY and of the doorbell. */
  private readonly notify: number;
  private readonly doorbell: number;

  constructor(state: QueueView, move: QueueFunction) {
    this.move = move;
    this.u16 = state.arena.u16;
    this.u32 = state.arena.u32;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
    this.index = virtqueueIndex(state);
    this.notify = (state.offset + VQ_NOTIFY) >>> 2;
    this.doorbell = state.get(VQ_TELL) >>> 1;
  }

  call(burst: Burst, count: number): number {
    const moved = this.move(this.queue, burst.offset, count, this.lcore);
    if (this.u32[this.notify] !== 0) {
      this.u32[this.notify] = 0;
      this.u16[this.doorbell] = this.index;
    }
    return moved;
  }
}

export class VirtioPciRxQueue extends ArmedRxQueue {
  constructor(state: QueueView, functions: BurstFunctions) {
    super(state, new Caller(state, functions.virtioRx));
  }

  protected ask(): boolean {
    return armDriver(this.state);
  }

  protected unask(): void {
    disarmDriver(this.state);
  }
}

export class VirtioPciTxQueue extends PortTxQueue {
  private readonly caller: Caller;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.caller = new Caller(state, functions.virtioTx);
  }

  /** A count of 0 frees what was sent. */
  txBurst(burst: Burst, count: number): number {
    return this.admits() ? this.caller.call(burst, burst.bounded(count)) : 0;
  }
}

/** After the death of the lcore that polled it: its lock is taken away. What it had not published stays the queue's until close. */
export function repair(state: QueueView): void {
  withQueue(state, () => undefined);
}

/** What the queues of every port have: one holder, a close, and counts of the calls that should not have come. */
import type { Burst } from '../burst/burst.js';
import { QUEUE_LCORE } from './layout.js';
import type { PortStats, TxQueue, WakeSource } from './port.js';
import type { QueueView } from './queue_view.js';
import { ReceiveQueue } from './receive_queue.js';

/** Burst calls that were answered with 0: after close, or from a thread that does not hold the queue. */
export class RefusedCalls {
  afterClose = 0;
  wrongThread = 0;
}

/**
 * Who may poll a queue: looked at in every burst, one load and one comparison. The fields of a queue are `private` and
 * not #, as a # field is undefined before it is set and V8 then never knows what kind it holds.
 */
class Holder {
  readonly refused = new RefusedCalls();
  private readonly u32: Uint32Array;
  /** Index of QUEUE_LCORE, and what stands there while this thread holds the queue. */
  private readonly word: number;
  private readonly mine: number;
  private open = true;

  constructor(state: QueueView) {
    this.u32 = state.arena.u32;
    this.word = (state.offset + QUEUE_LCORE) >>> 2;
    this.mine = state.arena.lcore + 1;
  }

  admits(): boolean {
    if (this.open === true && this.u32[this.word] === this.mine) return true;
    if (this.open) this.refused.wrongThread++;
    else this.refused.afterClose++;
    return false;
  }

  close(): void {
    this.open = false;
  }
}

/** A receive queue over a state in the arena. A driver adds `rxBurst`, which asks `admits` first. */
export abstract class PortRxQueue extends ReceiveQueue {
  private readonly holder: Holder;
  readonly #wake: WakeSource | undefined;

  constructor(state: QueueView) {
    super(state.arena);
    this.holder = new Holder(state);
    this.#wake = state.fd < 0 ? undefined : { fd: state.fd };
  }

  get refused(): RefusedCalls {
    return this.holder.refused;
  }

  override get wake(): WakeSource | undefined {
    return this.#wake;
  }

  close(): void {
    this.holder.close();
  }

  protected admits(): boolean {
    return this.holder.admits();
  }
}

/** A send queue over a state in the arena, likewise. */
export abstract class PortTxQueue implements TxQueue {
  private readonly holder: Holder;

  constructor(state: QueueView) {
    this.holder = new Holder(state);
  }

  abstract txBurst(burst: Burst, count: number): number;

  get refused(): RefusedCalls {
    return this.holder.refused;
  }

  close(): void {
    this.holder.close();
  }

  protected admits(): boolean {
    return this.holder.admits();
  }
}

/** What a port says of the refused calls: rx_after_close, rx_wrong_thread, and the same for tx. */
export function countRefused(into: PortStats, rx: readonly { readonly refused: RefusedCalls }[], tx: readonly { readonly refused: RefusedCalls }[]): void {
  for (const [name, queues] of [['rx', rx], ['tx', tx]] as const) {
    into.xstats[`${name}_after_close`] = queues.reduce((sum, queue) => sum + queue.refused.afterClose, 0);
    into.xstats[`${name}_wrong_thread`] = queues.reduce((sum, queue) => sum + queue.refused.wrongThread, 0);
  }
}

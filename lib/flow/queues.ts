import type { Arena } from '../arena/arena.js';
import type { Burst } from '../burst/burst.js';
import type { RxQueue, WakeSource } from '../port/port.js';
import { ReceiveQueue } from '../port/receive_queue.js';
import type { Ring } from '../ring/ring.js';

/** What goes over a burst and says how many stay. */
export interface Processor {
  process(burst: Burst, count: number): number;
}

/** A receive queue whose packets went through the rules; 0 may mean that none of a burst stayed. */
export class FlowRxQueue extends ReceiveQueue {
  private readonly inner: RxQueue;
  private readonly table: Processor;

  constructor(arena: Arena, inner: RxQueue, table: Processor) {
    super(arena);
    this.inner = inner;
    this.table = table;
  }

  override get wake(): WakeSource | undefined {
    return this.inner.wake;
  }

  get finished(): boolean {
    return this.inner.finished === true;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    return this.table.process(burst, this.inner.rxBurst(burst, max));
  }
}

/** What rules sent to a queue. */
export class FlowQueue extends ReceiveQueue {
  private readonly ring: Ring;

  constructor(arena: Arena, ring: Ring) {
    super(arena);
    this.ring = ring;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    return this.ring.dequeueBurst(burst, burst.bounded(max));
  }
}

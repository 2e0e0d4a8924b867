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

/** What rules sent to a queue: in software through a ring, and where there is one, by a NIC's queue. Each has its turn to be asked first. */
export class FlowQueue extends ReceiveQueue {
  private readonly ring: Ring;
  private readonly nic: RxQueue | undefined;
  private nicFirst = false;

  constructor(arena: Arena, ring: Ring, nic?: RxQueue) {
    super(arena);
    this.ring = ring;
    this.nic = nic;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    const most = burst.bounded(max);
    if (this.nic === undefined) return this.ring.dequeueBurst(burst, most);
    this.nicFirst = !this.nicFirst;
    if (this.nicFirst) return this.nic.rxBurst(burst, most) || this.ring.dequeueBurst(burst, most);
    return this.ring.dequeueBurst(burst, most) || this.nic.rxBurst(burst, most);
  }
}

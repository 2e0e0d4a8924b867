import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortStats } from './port.js';
import { countRefused, type PortRxQueue, type PortTxQueue } from './port_queue.js';
import { QueueState } from './queue.js';

/** What is different from driver to driver. */
export interface QueuePortParts {
  readonly capabilities: PortCapabilities;
  readonly mac: string | undefined;
  readonly rx: (state: QueueState, queue: number) => PortRxQueue;
  readonly tx: (state: QueueState, queue: number) => PortTxQueue;
  /** The driver's own counters. Called for the last time just before `release`. */
  readonly xstats: (into: Record<string, number>, rx: readonly QueueState[], tx: readonly QueueState[]) => void;
  /** Gives back what the queues hold, once no burst can come any more and before their state goes. */
  readonly release: () => void;
}

/** A port of queues that do more than one burst function: system calls, mbufs held in advance. */
export class QueuePort implements Port {
  readonly name: string;
  readonly number: number;
  readonly mac?: string;
  readonly capabilities: PortCapabilities;
  readonly rx: readonly PortRxQueue[];
  readonly tx: readonly PortTxQueue[];
  readonly #rxStates: QueueState[] = [];
  readonly #txStates: QueueState[] = [];
  readonly #parts: QueuePortParts;
  #final: PortStats | undefined;

  /** When it throws, no state is left; what `release` gives back is the caller's to give back. */
  constructor(host: PortHost, parts: QueuePortParts) {
    this.name = host.device;
    this.number = host.number;
    if (parts.mac !== undefined) this.mac = parts.mac;
    this.capabilities = parts.capabilities;
    this.#parts = parts;
    const state = (list: QueueState[], direction: 'rx' | 'tx', queue: number): QueueState => {
      const made = new QueueState(host, direction, queue);
      list.push(made);
      return made;
    };
    const each = <Queue>(count: number, make: (queue: number) => Queue): Queue[] => Array.from({ length: count }, (_, queue) => make(queue));
    try {
      this.rx = each(parts.capabilities.rxQueues, queue => parts.rx(state(this.#rxStates, 'rx', queue), queue));
      this.tx = each(parts.capabilities.txQueues, queue => parts.tx(state(this.#txStates, 'tx', queue), queue));
    } catch (cause) {
      this.#closeStates();
      throw cause;
    }
  }

  readStats(into: PortStats): void {
    Object.assign(into, this.#final === undefined ? this.#readNow() : { ...this.#final, xstats: { ...this.#final.xstats } });
    countRefused(into, this.rx, this.tx);
  }

  close(): void {
    if (this.#final !== undefined) return;
    for (const queue of [...this.rx, ...this.tx]) queue.close();
    // The last counts stay readable, when what they were read from is gone.
    this.#final = this.#readNow();
    this.#parts.release();
    this.#closeStates();
  }

  #readNow(): PortStats {
    const stats = emptyStats();
    for (const state of [...this.#rxStates, ...this.#txStates]) state.addTo(stats);
    this.#parts.xstats(stats.xstats, this.#rxStates, this.#txStates);
    return stats;
  }

  #closeStates(): void {
    for (const state of [...this.#rxStates, ...this.#txStates]) state.close();
  }
}

/** Sum of a driver's counter over its queues. */
export function total(states: readonly QueueState[], field: number): number {
  return states.reduce((sum, state) => sum + state.counter(field), 0);
}

import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortStats } from './port.js';
import { countRefused } from './port_queue.js';
import { FunctionRxQueue, FunctionTxQueue, queueStates, type QueueFunction, type QueueState } from './queue.js';

/** How a port's queues are made. */
export interface FunctionPortParts {
  readonly capabilities: PortCapabilities;
  readonly rx: QueueFunction;
  readonly tx: QueueFunction;
  /** Fills in the driver's part of a queue's state; reserves nothing and does not throw. */
  readonly prepare?: (state: QueueState, queue: number) => void;
  readonly xstats?: (into: Record<string, number>) => void;
  /** Gives back what the queues hold, once no burst can come any more and before their state goes. */
  readonly release?: () => void;
}

/** A port whose queues are burst functions and nothing else. */
export class FunctionPort implements Port {
  readonly name: string;
  readonly number: number;
  readonly capabilities: PortCapabilities;
  readonly rx: readonly FunctionRxQueue[];
  readonly tx: readonly FunctionTxQueue[];
  readonly #states: readonly QueueState[];
  readonly #parts: FunctionPortParts;
  #last: Record<string, number> | undefined;

  constructor(host: PortHost, parts: FunctionPortParts) {
    this.name = host.device;
    this.number = host.number;
    this.#parts = parts;
    this.capabilities = parts.capabilities;
    const { rx, tx } = queueStates(host, parts.capabilities.rxQueues, parts.capabilities.txQueues);
    for (const states of [rx, tx]) states.forEach((state, queue) => parts.prepare?.(state, queue));
    this.#states = [...rx, ...tx];
    this.rx = rx.map(state => new FunctionRxQueue(state, parts.rx));
    this.tx = tx.map(state => new FunctionTxQueue(state, parts.tx));
  }

  readStats(into: PortStats): void {
    Object.assign(into, emptyStats());
    for (const state of this.#states) state.addTo(into);
    countRefused(into, this.rx, this.tx);
    if (this.#last === undefined) this.#parts.xstats?.(into.xstats);
    else Object.assign(into.xstats, this.#last);
  }

  close(): void {
    if (this.#last !== undefined) return;
    for (const queue of [...this.rx, ...this.tx]) queue.close();
    // The last counts stay readable after close, when what they were read from is gone.
    this.#last = {};
    this.#parts.xstats?.(this.#last);
    this.#parts.release?.();
    for (const state of this.#states) state.close();
  }
}

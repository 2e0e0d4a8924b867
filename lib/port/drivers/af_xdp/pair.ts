import { binding } from '../../../binding.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { QUEUE_BYTES, QUEUE_FD, QUEUE_LCORE, QUEUE_PACKETS } from '../../layout.js';
import type { QueueState } from '../../queue.js';
import { settle } from './closing.js';
import { XSK_GONE, XSK_LIVE, XSK_LONGEST, XSK_MOST_SEGMENTS, XSK_NEXT_LONGEST, XSK_NEXT_MOST_SEGMENTS, XSK_NEXT_SERIAL, XSK_OFFERED, XSK_STABLE_FD } from './layout.js';
import { attend, phaseOf, serialOf, step } from './moving.js';
import { XskRxQueue, XskTxQueue } from './queues.js';
import { takeBack, unread } from './rings.js';
import type { XskSocket } from './socket.js';

/** What a frame has besides its IP packet: the Ethernet header, and one VLAN tag, as the kernel reckons (is_skb_forwardable in net/core/dev.c). */
const ETHERNET_AND_TAG = 14 + 4;

/**
 * One queue of the device: an rx and a tx queue of the port over one socket, and after a rebind for a while over two,
 * since each of them moves over when its own thread next polls it (moving.ts).
 */
export class XskPair {
  readonly rx: XskRxQueue;
  readonly tx: XskTxQueue;
  readonly rxState: QueueState;
  readonly txState: QueueState;
  readonly #functions: BurstFunctions;
  /** By serial. */
  readonly #sockets = new Map<number, XskSocket>();
  /** Serial of the last offer; -1 when there is none. */
  #offered = -1;
  /** What sockets that are closed have counted. */
  readonly #past: Record<string, number> = {};

  /** Fills the fill ring; frames flow from the socket's bind on. */
  constructor(states: { readonly rx: QueueState; readonly tx: QueueState }, socket: XskSocket, mtu: number, functions: BurstFunctions) {
    this.rxState = states.rx;
    this.txState = states.tx;
    this.#functions = functions;
    this.#sockets.set(0, socket);
    for (const state of this.#states) socket.describe(state);
    this.txState.set(XSK_LONGEST, mtu + ETHERNET_AND_TAG);
    functions.xskFill(this.rxState.offset, this.rxState.arena.lcore);
    this.rx = new XskRxQueue(this.rxState, functions);
    this.tx = new XskTxQueue(this.txState, functions);
  }

  get #states(): readonly [QueueState, QueueState] {
    return [this.rxState, this.txState];
  }

  /** The interface is gone: bursts return 0 from now on. To be called again while a queue is on the move. */
  lose(): void {
    for (const socket of this.#sockets.values()) socket.stopCounting();
    for (const state of this.#states) {
      if (step(state, XSK_LIVE, XSK_GONE)) {
        if (state.direction === 'rx') state.set(QUEUE_FD, -1);
      } else {
        step(state, XSK_OFFERED, XSK_GONE);
      }
    }
    if (!this.#states.some(state => phaseOf(state) === XSK_OFFERED)) this.#offered = -1;
    this.#retire();
  }

  /** Is nothing of it on the move? */
  get lost(): boolean {
    return this.#states.every(state => phaseOf(state) === XSK_GONE);
  }

  /** Once its first socket is bound: buffers of a frame at most. */
  opened(mostSegments: number): void {
    for (const state of this.#states) state.set(XSK_MOST_SEGMENTS, mostSegments);
  }

  /** A socket on the interface that is back. Only while it is `lost`. */
  offer(serial: number, socket: XskSocket, mtu: number, mostSegments: number): void {
    this.#sockets.set(serial, socket);
    this.#offered = serial;
    for (const state of this.#states) {
      socket.offer(state);
      state.set(XSK_NEXT_SERIAL, serial);
      state.set(XSK_NEXT_LONGEST, mtu + ETHERNET_AND_TAG);
      state.set(XSK_NEXT_MOST_SEGMENTS, mostSegments);
      step(state, XSK_GONE, XSK_OFFERED);
    }
  }

  /** Moves the queues that this thread holds, or nobody, and closes sockets that none uses any more. Returns whether there is nothing left to do. */
  tend(): boolean {
    for (const state of this.#states) if (phaseOf(state) === XSK_OFFERED) whileHeld(state, () => attend(state, this.#functions));
    this.#retire();
    return this.#sockets.size === 1;
  }

  #retire(): void {
    for (const [serial, socket] of this.#sockets) {
      if (serial === this.#offered || this.#states.some(state => serialOf(state) === serial)) continue;
      socket.addStatistics(this.#past);
      // The first socket's number is the one that others wait on, and another socket's since the rx queue was moved.
      socket.close(socket.fd !== this.rxState.get(XSK_STABLE_FD));
      this.#sockets.delete(serial);
    }
  }

  /** XDP_STATISTICS of all its sockets. */
  addStatistics(into: Record<string, number>): void {
    for (const [name, count] of Object.entries(this.#past)) into[name] = (into[name] ?? 0) + count;
    for (const socket of this.#sockets.values()) socket.addStatistics(into);
  }

  /** Has a busy poll of its queues something to run? */
  get knowsNapi(): boolean {
    return [...this.#sockets.values()].some(socket => socket.knowsNapi);
  }

  /** Packets and bytes, and what the kernel says of this queue's own sockets. */
  addQueueCounts(into: Record<string, number>, queue: number): void {
    const kernel: Record<string, number> = {};
    this.addStatistics(kernel);
    for (const state of this.#states) {
      into[`${state.direction}_q${queue}_packets`] = state.counter(QUEUE_PACKETS);
      into[`${state.direction}_q${queue}_bytes`] = state.counter(QUEUE_BYTES);
    }
    for (const [name, count] of Object.entries(kernel)) if (count > 0) into[`${name}_q${queue}`] = count;
  }

  /** No burst comes any more, from any thread. */
  refuse(): void {
    this.rx.close();
    this.tx.close();
    for (const state of this.#states) state.set(QUEUE_LCORE, state.arena.lcore + 1);
  }

  /** Sends what is to be sent. Returns what stays where it is. */
  settle(): { unread: number; unsent: number; uncompleted: number } {
    const left = settle(this.tx, this.txState, this.#functions);
    return { unread: unread(this.rxState), ...left };
  }

  /** After `refuse` and `settle`. */
  close(): void {
    const stable = this.rxState.get(XSK_STABLE_FD);
    if (!this.#sockets.has(0)) binding().close(stable);
    for (const [serial, socket] of this.#sockets) {
      socket.addStatistics(this.#past);
      // Until the rx queue is moved, the first socket is behind its own number; afterwards the number is closed once, here.
      socket.close(true);
      this.#sockets.delete(serial);
    }
    for (const state of this.#states) takeBack(state, this.#functions);
    for (const state of this.#states) {
      state.set(QUEUE_FD, -1);
      state.close();
    }
  }
}

/** Does something with a queue that this thread holds or takes for the moment; nothing where another thread polls it. */
function whileHeld(state: QueueState, work: () => void): void {
  const { u32, lcore } = state.arena;
  const word = (state.offset + QUEUE_LCORE) >>> 2;
  const held = Atomics.compareExchange(u32, word, 0, lcore + 1);
  if (held !== 0 && held !== lcore + 1) return;
  work();
  if (held === 0) Atomics.store(u32, word, 0);
}

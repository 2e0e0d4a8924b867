import type { BurstFunctions } from '../../../burst/functions.js';
import type { Link } from '../../../kernel/link.js';
import { QUEUE_FD, QUEUE_LCORE } from '../../layout.js';
import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortStats } from '../../port.js';
import { countRefused } from '../../port_queue.js';
import { queueStates, type QueueState } from '../../queue.js';
import { settle, takeBack, unread } from './closing.js';
import { XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_LONGEST, XSK_MULTI_BUFFER, XSK_NOT_IN_UMEM, XSK_RING_FULL } from './layout.js';
import { release, type Steering } from './program.js';
import { countWakeups, XskRxQueue, XskTxQueue } from './queues.js';
import type { XskSocket } from './socket.js';

/** What a frame has besides its IP packet: the Ethernet header, and one VLAN tag, as the kernel reckons (is_skb_forwardable in net/core/dev.c). */
const ETHERNET_AND_TAG = 14 + 4;

/** An open AF_XDP port: one socket, one rx and one tx queue. */
export class XskPort implements Port {
  readonly name: string;
  readonly number: number;
  readonly mac: string;
  readonly rx: readonly [XskRxQueue];
  readonly tx: readonly [XskTxQueue];
  readonly #host: PortHost;
  readonly #functions: BurstFunctions;
  readonly #socket: XskSocket;
  readonly #states: readonly [QueueState, QueueState];
  readonly #txBudget: number;
  readonly #room: number;
  readonly #mtu: number;
  #steering: Steering | undefined;
  #mode = { zeroCopy: false, needWakeup: true };
  #final: PortStats | undefined;

  /** Fills the fill ring; frames flow from the socket's bind on. */
  constructor(host: PortHost, socket: XskSocket, functions: BurstFunctions, link: Link, txBudget: number) {
    this.name = host.device;
    this.number = host.number;
    this.mac = link.mac;
    this.#mtu = link.mtu;
    this.#room = host.pool.room;
    this.#host = host;
    this.#functions = functions;
    this.#socket = socket;
    this.#txBudget = txBudget;
    const { rx: [rx], tx: [tx] } = queueStates(host, 1, 1) as { rx: [QueueState]; tx: [QueueState] };
    this.#states = [rx, tx];
    for (const state of this.#states) socket.describe(state);
    tx.set(XSK_LONGEST, link.mtu + ETHERNET_AND_TAG);
    functions.xskFill(rx.offset, host.arena.lcore);
    this.rx = [new XskRxQueue(rx, functions)];
    this.tx = [new XskTxQueue(tx, functions)];
  }

  /** What came of opening it. */
  opened(steering: Steering, mode: { zeroCopy: boolean; needWakeup: boolean }): void {
    this.#steering = steering;
    this.#mode = mode;
  }

  get capabilities(): PortCapabilities {
    const { zeroCopy, needWakeup } = this.#mode;
    const { attached, whose } = this.#steering ?? { attached: 'closed', whose: '' };
    const words = [`${attached}${whose}`, zeroCopy ? 'zero-copy' : 'copy', needWakeup ? 'need-wakeup' : 'no need-wakeup', `tx budget ${this.#txBudget}`];
    return { mtu: Math.min(this.#mtu, this.#room - 14), rxQueues: 1, txQueues: 1, timestamps: 'none', zeroCopy: true, mode: words.join(', ') };
  }

  readStats(into: PortStats): void {
    Object.assign(into, this.#final === undefined ? this.#readNow(this.#steering?.gone?.()) : { ...this.#final, xstats: { ...this.#final.xstats } });
    countRefused(into, this.rx, this.tx);
  }

  /**
   * In this order: no frame is steered here any more, those to be sent are sent, and the socket goes.
   *
   * When close(2) returns the kernel copies no frame into a buffer any more (xsk_unbind_dev waits for who is in it), and
   * what a stuck device still has to send keeps the socket's memory alive until its destructor has run; the pages are
   * the UMEM's until then (xsk_destruct, xp_put_pool). So nothing is read or written that is not there; `settle` sees to
   * it that it is not another packet's. In zero-copy the driver lets go of the queue only afterwards, in a work item
   * (xp_release_deferred): unproven here, where no driver has it.
   */
  close(): void {
    if (this.#final !== undefined) return;
    const [rx, tx] = this.#states;
    this.rx[0].close();
    this.tx[0].close();
    // A thread that still polls one of them is refused from here on.
    for (const state of this.#states) state.set(QUEUE_LCORE, this.#host.arena.lcore + 1);
    const brokerGone = this.#steering?.gone?.();
    if (this.#steering !== undefined) release(this.#steering.fds);
    const left = settle(this.tx[0], tx, this.#functions);
    this.#final = this.#readNow(brokerGone);
    Object.assign(this.#final.xstats, { rx_unread_at_close: unread(rx), tx_unsent_at_close: left.unsent, tx_uncompleted_at_close: left.uncompleted });
    this.#socket.close();
    takeBack(this.#host.pool, this.#states, this.#functions);
    for (const state of this.#states) {
      state.set(QUEUE_FD, -1);
      state.close();
    }
  }

  #readNow(brokerGone: boolean | undefined): PortStats {
    const stats = emptyStats();
    const [rx, tx] = this.#states;
    rx.addTo(stats);
    tx.addTo(stats);
    this.#socket.statistics(stats.xstats);
    Object.assign(stats.xstats, {
      rx_bad_descriptor: rx.counter(XSK_BAD_DESCRIPTOR), rx_multi_buffer: rx.counter(XSK_MULTI_BUFFER),
      tx_not_in_umem: tx.counter(XSK_NOT_IN_UMEM), tx_bad_frame: tx.counter(XSK_BAD_FRAME), tx_ring_full: tx.counter(XSK_RING_FULL),
      tx_bad_completion: tx.counter(XSK_BAD_COMPLETION), rx_unread_at_close: 0, tx_unsent_at_close: 0, tx_uncompleted_at_close: 0,
    });
    for (const state of this.#states) countWakeups(state, stats.xstats);
    if (brokerGone !== undefined) stats.xstats['broker_gone'] = Number(brokerGone);
    return stats;
  }
}

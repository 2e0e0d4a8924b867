import type { BurstFunctions } from '../../../burst/functions.js';
import { errnoName } from '../../../kernel/errno.js';
import type { Link } from '../../../kernel/link.js';
import { handles } from '../../../mbuf/audit.js';
import { HEADER_SHIFT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../../mbuf/layout.js';
import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortStats } from '../../port.js';
import { queueStates, type QueueState } from '../../queue.js';
import { XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_LONGEST, XSK_MULTI_BUFFER, XSK_NOT_IN_UMEM, XSK_RING_FULL, XSK_SCRATCH, XSK_SCRATCH_COUNT } from './layout.js';
import { release, type Steering } from './program.js';
import { XskRxQueue, XskTxQueue } from './queues.js';
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
    this.rx = [new XskRxQueue(rx, functions, socket.fd)];
    this.tx = [new XskTxQueue(tx, functions, socket.fd)];
  }

  /** What came of opening it. */
  opened(steering: Steering, mode: { zeroCopy: boolean; needWakeup: boolean }): void {
    this.#steering = steering;
    this.#mode = mode;
  }

  get capabilities(): PortCapabilities {
    const { zeroCopy, needWakeup } = this.#mode;
    const words = [this.#steering?.attached === 'by another' ? 'program of another' : this.#steering?.attached ?? 'closed', zeroCopy ? 'zero-copy' : 'copy', needWakeup ? 'need-wakeup' : 'no need-wakeup', `tx budget ${this.#txBudget}`];
    return { mtu: Math.min(this.#mtu, this.#room - 14), rxQueues: 1, txQueues: 1, timestamps: 'none', zeroCopy: true, mode: words.join(', ') };
  }

  readStats(into: PortStats): void {
    Object.assign(into, this.#final === undefined ? this.#readNow() : { ...this.#final, xstats: { ...this.#final.xstats } });
    into.xstats['rx_after_close'] = this.rx[0].afterClose;
    into.xstats['tx_after_close'] = this.tx[0].afterClose;
  }

  close(): void {
    if (this.#final !== undefined) return;
    this.rx[0].close();
    this.tx[0].close();
    this.#final = this.#readNow();
    // The link first: nothing is steered here any more. Then the socket: the kernel lets go of the buffers before close(2) returns.
    if (this.#steering !== undefined) release(this.#steering.fds);
    this.#socket.close();
    this.#takeBack();
    for (const state of this.#states) state.close();
  }

  #readNow(): PortStats {
    const stats = emptyStats();
    const [rx, tx] = this.#states;
    rx.addTo(stats);
    tx.addTo(stats);
    this.#socket.statistics(stats.xstats);
    Object.assign(stats.xstats, {
      rx_bad_descriptor: rx.counter(XSK_BAD_DESCRIPTOR), rx_multi_buffer: rx.counter(XSK_MULTI_BUFFER), rx_wakeups: this.rx[0].wakeups,
      tx_not_in_umem: tx.counter(XSK_NOT_IN_UMEM), tx_bad_frame: tx.counter(XSK_BAD_FRAME), tx_ring_full: tx.counter(XSK_RING_FULL),
      tx_bad_completion: tx.counter(XSK_BAD_COMPLETION), tx_wakeups: this.tx[0].wakeups,
    });
    for (const [errno, count] of this.rx[0].refusals) stats.xstats[`rx_wakeup_${errnoName(errno)}`] = count;
    for (const [errno, count] of this.tx[0].refusals) stats.xstats[`tx_wakeup_${errnoName(errno)}`] = count;
    return stats;
  }

  /** Every mbuf that the kernel had goes back to the pool: its owner word says so. Nothing is reserved for it: the arena may be full. */
  #takeBack(): void {
    const { arena, pool } = this.#host;
    const owners = this.#states.map(state => state.owner);
    const scratch = this.#states[0].offset + XSK_SCRATCH;
    let count = 0;
    const free = (): void => {
      this.#functions.mbufFree(pool.offset, arena.lcore, scratch, count);
      count = 0;
    };
    for (const handle of handles(arena, pool.offset)) {
      const owner = (arena.table + (handle << HEADER_SHIFT) + MBUF_OWNER) >>> 2;
      if (!owners.includes(arena.u32[owner]!)) continue;
      arena.u32[owner] = (OWNER_APP << OWNER_SHIFT) | arena.lcore;
      arena.u32[(scratch >>> 2) + count++] = handle;
      if (count === XSK_SCRATCH_COUNT) free();
    }
    free();
  }
}

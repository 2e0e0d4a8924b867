import type { BurstFunctions } from '../../../burst/functions.js';
import { burstFunctions } from '../../../burst/module.js';
import { emptyStats, type Port, type PortCapabilities, type PortEvent, type PortHost, type PortRss, type PortStats } from '../../port.js';
import type { PortFlowRules } from '../../flow_rules.js';
import { countRefused } from '../../port_queue.js';
import { queueStates } from '../../queue.js';
import { attachTo, isBound, REBIND_TRIES, type Attachment } from './attachment.js';
import { giveBackChannels } from './channels.js';
import { restoreInterrupts } from './deferral.js';
import {
  XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BROKEN_CHAIN, XSK_COPIED, XSK_COPY_NOMBUF, XSK_LOST, XSK_NOT_IN_UMEM, XSK_RING_FULL, XSK_RX_TOO_MANY_SEGMENTS,
  XSK_TX_TOO_MANY_SEGMENTS,
} from './layout.js';
import { LossWatch } from './loss_watch.js';
import { NtupleRules } from './ntuple.js';
import { isBorrowed, type Settings } from './options.js';
import { XskPair } from './pair.js';
import { release } from './program.js';
import { countWakeups, type XskRxQueue, type XskTxQueue } from './queues.js';
import { NicScaling } from './scaling.js';
import type { XskSocket } from './socket.js';
import { InterfaceWatch } from './watch.js';

/** In the calling thread's network namespace. Leaves nothing behind when it fails. */
export function openPort(options: Settings, host: PortHost): Port {
  let port: XskPort | undefined;
  try {
    const attachment = attachTo(options, host, {
      serial: 0, tries: REBIND_TRIES,
      prepare: (sockets, link) => { port = new XskPort(host, options, sockets, link); },
    });
    port!.opened(attachment);
    return port!;
  } catch (cause) {
    port?.close();
    throw cause;
  }
}

/** An open AF_XDP port: one pair of queues for each queue of the device that it has. */
class XskPort implements Port {
  readonly name: string;
  readonly number: number;
  readonly mac: string;
  readonly rx: readonly XskRxQueue[];
  readonly tx: readonly XskTxQueue[];
  readonly #host: PortHost;
  readonly #options: Settings;
  readonly #pairs: readonly XskPair[];
  readonly #txBudget: number;
  #mtu: number;
  #attachment: Attachment | undefined;
  #mode = 'closed';
  #serial = 0;
  #watch: InterfaceWatch | LossWatch | undefined;
  #rules: NtupleRules | undefined;
  #scaling: NicScaling | undefined;
  #final: PortStats | undefined;

  constructor(host: PortHost, options: Settings, sockets: readonly XskSocket[], link: { readonly mac: string; readonly mtu: number }) {
    this.name = host.device;
    this.number = host.number;
    this.mac = link.mac;
    this.#mtu = link.mtu;
    this.#host = host;
    this.#options = options;
    this.#txBudget = sockets[0]!.txBudget;
    const functions: BurstFunctions = burstFunctions(host.arena);
    const { rx, tx } = queueStates(host, sockets.length, sockets.length);
    this.#pairs = sockets.map((socket, index) => new XskPair({ rx: rx[index]!, tx: tx[index]! }, socket, link.mtu, functions));
    this.rx = this.#pairs.map(pair => pair.rx);
    this.tx = this.#pairs.map(pair => pair.tx);
  }

  opened(attachment: Attachment): void {
    this.#attached(attachment);
    for (const pair of this.#pairs) pair.opened(attachment.mostSegments);
    if (!isBorrowed(this.#options)) {
      this.#rules = new NtupleRules(this.#options.device, this.#options.queue);
      this.#scaling = NicScaling.of(this.#options);
    }
    const bound = { device: this.#options.device, isBound: () => isBound(this.#attachment!), lose: () => this.#lose() };
    this.#watch = isBorrowed(this.#options) ? new LossWatch(bound) : new InterfaceWatch({
      ...bound,
      ifindex: () => this.#attachment!.link.ifindex,
      rebind: () => this.#rebind(),
      tend: () => this.#pairs.map(pair => pair.tend()).every(done => done),
    });
  }

  onEvent(listener: (event: PortEvent) => void): () => void {
    return this.#watch?.listen(listener) ?? (() => undefined);
  }

  /** Who has borrowed rights changes nothing of the interface. */
  get flowRules(): PortFlowRules | undefined {
    return this.#rules;
  }

  /** Likewise; absent where the driver has none that it lets be read. */
  get rss(): PortRss | undefined {
    return this.#scaling;
  }

  get #mostSegments(): number {
    return this.#attachment?.mostSegments ?? 1;
  }

  get capabilities(): PortCapabilities {
    const queues = this.#pairs.length;
    return { mtu: Math.min(this.#mtu, this.#mostSegments * this.#host.pool.room - 14), rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy: true, mode: this.#mode };
  }

  readStats(into: PortStats): void {
    Object.assign(into, this.#final === undefined ? this.#readNow(this.#attachment?.steering.gone?.()) : { ...this.#final, xstats: { ...this.#final.xstats } });
    countRefused(into, this.rx, this.tx);
  }

  /**
   * In this order: no frame is dropped or steered by rules any more, none comes here any more, those to be sent are sent, and the sockets go.
   *
   * When close(2) returns the kernel copies no frame into a buffer any more (xsk_unbind_dev waits for who is in it), and
   * what a stuck device still has to send keeps the socket's memory alive until its destructor has run; the pages are
   * the UMEM's until then (xsk_destruct, xp_put_pool). So nothing is read or written that is not there; `settle` sees to
   * it that it is not another packet's. In zero-copy the driver lets go of the queue only afterwards, in a work item
   * (xp_release_deferred): the VM lab opens and closes such ports in turn.
   */
  close(): void {
    if (this.#final !== undefined) return;
    for (const pair of this.#pairs) pair.refuse();
    this.#rules?.close();
    const attachment = this.#attachment;
    // With its descriptors goes what is known of a broker.
    const brokerGone = attachment?.steering.gone?.();
    if (attachment !== undefined) {
      // First: some drivers' NAPIs go with the program.
      restoreInterrupts(attachment.deferral);
      release(attachment.steering.fds);
    }
    const left = this.#pairs.map(pair => pair.settle());
    this.#final = this.#readNow(brokerGone);
    const sum = (field: 'unread' | 'unsent' | 'uncompleted'): number => left.reduce((total, each) => total + each[field], 0);
    Object.assign(this.#final.xstats, { rx_unread_at_close: sum('unread'), tx_unsent_at_close: sum('unsent'), tx_uncompleted_at_close: sum('uncompleted') });
    this.#watch?.close();
    for (const pair of this.#pairs) pair.close();
    this.#scaling?.close();
    if (attachment?.channels !== undefined) giveBackChannels(attachment.channels);
  }

  #attached(attachment: Attachment): void {
    this.#attachment = attachment;
    const { steering: { attached, whose }, sockets, mostSegments } = attachment;
    const words = [`${attached}${whose}`, sockets[0]!.zeroCopy ? 'zero-copy' : 'copy', ...(mostSegments > 1 ? ['frags'] : []), this.#options.needWakeup ? 'need-wakeup' : 'no need-wakeup', `tx budget ${this.#txBudget}`, ...(this.#options.busyPoll === undefined ? [] : ['busy-poll'])];
    this.#mode = words.join(', ');
  }

  #lose(): boolean {
    for (const pair of this.#pairs) pair.lose();
    return this.#pairs.every(pair => pair.lost);
  }

  /** Every socket, the UMEM's registration and the program are new: nothing depends on what went with the old interface. */
  #rebind(): void {
    const serial = this.#serial + 1;
    const attachment = attachTo(this.#options, this.#host, { serial, tries: 0, prepare: () => undefined });
    this.#serial = serial;
    const { steering, channels, deferral } = this.#attachment!;
    release(steering.fds);
    restoreInterrupts(deferral); // of an interface that is gone
    channels?.undo();
    this.#mtu = attachment.link.mtu;
    this.#attached(attachment);
    this.#rules?.renew();
    this.#scaling?.renew();
    this.#pairs.forEach((pair, index) => pair.offer(serial, attachment.sockets[index]!, attachment.link.mtu, attachment.mostSegments));
  }

  #readNow(brokerGone: boolean | undefined): PortStats {
    const stats = emptyStats();
    const { xstats } = stats;
    const sum = (direction: 'rx' | 'tx', field: number): number => this.#pairs.reduce((total, pair) => total + pair[`${direction}State`].counter(field), 0);
    for (const pair of this.#pairs) {
      pair.rxState.addTo(stats);
      pair.txState.addTo(stats);
      pair.addStatistics(xstats);
    }
    Object.assign(xstats, {
      rx_bad_descriptor: sum('rx', XSK_BAD_DESCRIPTOR), rx_too_many_segments: sum('rx', XSK_RX_TOO_MANY_SEGMENTS), rx_broken_chain: sum('rx', XSK_BROKEN_CHAIN),
      tx_not_in_umem: sum('tx', XSK_NOT_IN_UMEM), tx_bad_frame: sum('tx', XSK_BAD_FRAME), tx_ring_full: sum('tx', XSK_RING_FULL),
      tx_too_many_segments: sum('tx', XSK_TX_TOO_MANY_SEGMENTS), tx_copied: sum('tx', XSK_COPIED), tx_copy_no_mbuf: sum('tx', XSK_COPY_NOMBUF),
      tx_bad_completion: sum('tx', XSK_BAD_COMPLETION), tx_lost_at_rebind: sum('tx', XSK_LOST),
      rx_unread_at_close: 0, tx_unsent_at_close: 0, tx_uncompleted_at_close: 0, ...this.#watch?.counts,
    });
    for (const pair of this.#pairs) for (const state of [pair.rxState, pair.txState]) countWakeups(state, xstats);
    if (this.#pairs.length > 1) this.#pairs.forEach((pair, queue) => pair.addQueueCounts(xstats, queue));
    if (this.#options.busyPoll !== undefined) xstats['busy_poll_napis'] = this.#pairs.filter(pair => pair.knowsNapi).length;
    if (brokerGone !== undefined) xstats['broker_gone'] = Number(brokerGone);
    return stats;
  }
}

import type { Memzone } from '../../../../arena/directory.js';
import type { BurstFunctions } from '../../../../burst/functions.js';
import { burstFunctions } from '../../../../burst/module.js';
import { PollmodeError } from '../../../../errors.js';
import { ETHER_HEADER_BYTES, VLAN_TAG_BYTES } from '../../../../wire/protocol_layout.js';
import { QUEUE_FD, QUEUE_LCORE } from '../../../layout.js';
import {
  RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH, RX_VLAN_STRIPPED, TX_IP_CKSUM, TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../../../../mbuf/layout.js';
import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortLink, type PortRss, type PortStats, type VirtualFunctions } from '../../../port.js';
import type { PortFlowRules } from '../../../flow_rules.js';
import { countRefused } from '../../../port_queue.js';
import { queueStates, type QueueState } from '../../../queue.js';
import { VFIO_DEVICE, VFIO_INTEL } from '../layout.js';
import { takeBack } from '../pci/closing.js';
import type { Nic } from '../pci/device.js';
import type { Chip, RingPlace } from './chip.js';
import {
  INTEL_BAD_FRAME, INTEL_BAD_LENGTH, INTEL_BUFFER_MASK, INTEL_CAUSE, INTEL_COMMAND, INTEL_CONTEXT_KIND, INTEL_DESCRIPTOR_SHIFT,
  INTEL_ERRORED, INTEL_ERRORS, INTEL_FORGET_REGISTER, INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_LASTS,
  INTEL_MASK, INTEL_MASK_REGISTER, INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_NEXT, INTEL_NOT_MAPPED, INTEL_OFFERS, INTEL_PAYLOAD, INTEL_POOL,
  INTEL_POOL_BYTES, INTEL_REPORTS, INTEL_RING, INTEL_RING_FULL, INTEL_SCRATCH, INTEL_SCRATCH_COUNT, INTEL_SEGMENT, INTEL_SIDE, INTEL_SPLIT_FRAMES,
  INTEL_TAIL,
} from './layout.js';
import { IntelRxQueue, IntelTxQueue, unread } from './queues.js';
import { Statistics } from './statistics.js';

export interface IntelSettings {
  /** In each direction. */
  readonly queues: number;
  /** Descriptors of one queue, powers of two. */
  readonly rxRing: number;
  readonly txRing: number;
  readonly mtu: number;
  /** Tags are taken off what comes, and put into what is sent. */
  readonly vlanOffload: boolean;
  readonly promiscuous: boolean;
  /** Least time between two interrupts of a queue, in microseconds. */
  readonly throttleUs: number;
}

/** Maps what it needs, and knows the device from then on. */
export type MakeChip = (name: string, nic: Nic) => Chip;

const TX_CHECKSUMS = TX_IP_CKSUM | TX_TCP_CKSUM | TX_UDP_CKSUM;
const RX_CHECKSUMS = RX_IP_CKSUM_GOOD | RX_IP_CKSUM_BAD | RX_L4_CKSUM_GOOD | RX_L4_CKSUM_BAD;
const USUAL_MTU = 1500;
/** Longer chains are refused: no device that is known here takes more fragments of a frame. */
const MOST_SEGMENTS = 32;
/** How long a close waits for packets on their way: a link that is down never sends them. */
const SETTLE_TRIES = 100;
/** How often virtual functions are asked for messages. */
const SERVE_MS = 5;

/** An open NIC of Intel's. */
export class IntelPort implements Port {
  readonly name: string;
  readonly number: number;
  readonly mac: string;
  readonly rx: readonly IntelRxQueue[];
  readonly tx: readonly IntelTxQueue[];
  readonly capabilities: PortCapabilities;
  readonly link: PortLink;
  readonly removal: number;
  readonly rss?: PortRss;
  readonly flowRules?: PortFlowRules;
  readonly virtualFunctions?: VirtualFunctions;
  readonly #host: PortHost;
  readonly #functions: BurstFunctions;
  readonly #nic: Nic;
  readonly #chip: Chip;
  readonly #settings: IntelSettings;
  readonly #statistics: Statistics;
  readonly #states: { readonly rx: readonly QueueState[]; readonly tx: readonly QueueState[] };
  #timer: NodeJS.Timeout | undefined;
  #final: PortStats | undefined;

  /** In the datasheets' order (82574 4.6, 82576 4.5, 82599 4.6); each step undoes those before it when it fails. `nic` is the port's, to close. */
  constructor(settings: IntelSettings, host: PortHost, nic: Nic, make: MakeChip) {
    this.name = host.device;
    this.number = host.number;
    this.#host = host;
    this.#settings = settings;
    this.#functions = burstFunctions(host.arena);
    const { queues } = settings;
    this.#nic = nic;
    let states: QueueState[] = [];
    try {
      nic.busMaster(false);
      const chip = this.#chip = make(host.device, nic);
      refuseImpossible(host.device, settings, chip);
      chip.reset();
      this.mac = chip.mac;
      this.#states = queueStates(host, queues, queues);
      states = [...this.#states.rx, ...this.#states.tx];
      const vectors = nic.vectors(queues + 1);
      const rx = this.#states.rx.map((state, queue) => this.#prepareRx(state, queue, vectors[queue]!));
      const tx = this.#states.tx.map((state, queue) => this.#prepareTx(state, queue));
      nic.busMaster(true);
      chip.linkUp();
      this.#statistics = new Statistics(chip.counters, at => chip.registers.readAt(at));
      chip.prepareReceive(rx, { segment: this.#segment, longest: this.#longest, vlanStrip: settings.vlanOffload, promiscuous: settings.promiscuous });
      chip.startReceive(() => {
        for (const state of this.#states.rx) this.#functions.intelFill(state.offset, host.arena.lcore);
      });
      chip.startTransmit(tx);
      chip.startInterrupts(queues, settings.throttleUs);
      this.link = this.#linkOf(vectors[queues]!);
      if (chip.rss !== undefined) this.rss = chip.rss;
      if (chip.flowRules !== undefined) this.flowRules = chip.flowRules;
      if (chip.virtualFunctions !== undefined) this.virtualFunctions = this.#serve(chip.virtualFunctions);
    } catch (cause) {
      this.#abandon(states);
      throw cause;
    }
    this.removal = nic.removal;
    this.rx = this.#states.rx.map(state => new IntelRxQueue(state, this.#functions));
    this.tx = this.#states.tx.map(state => new IntelTxQueue(state, this.#functions));
    this.capabilities = {
      mtu: this.#isJumbo ? settings.mtu : Math.min(settings.mtu, host.pool.room - ETHER_HEADER_BYTES), rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy: true, txOffloads: this.#txOffloads,
      rxOffloads: RX_CHECKSUMS | (settings.vlanOffload ? RX_VLAN_STRIPPED : 0) | (this.rss === undefined ? 0 : RX_RSS_HASH),
      mode: `${this.#chip.model}, IOVA base 0x${nic.iova.toString(16)}, interrupts at most every ${settings.throttleUs} us`,
    };
  }

  promiscuous(on: boolean): void {
    if (this.#final === undefined) this.#chip.promiscuous(on);
  }

  multicast(groups: readonly string[]): void {
    if (this.#final === undefined) this.#chip.multicast(groups);
  }

  vlanFilter(ids: readonly number[] | undefined): void {
    if (this.#final === undefined) this.#chip.vlanFilter(ids);
  }

  readStats(into: PortStats): void {
    Object.assign(into, this.#final === undefined ? this.#readNow() : { ...this.#final, xstats: { ...this.#final.xstats } });
    countRefused(into, this.rx, this.tx);
  }

  /** In this order: what is to be sent is sent, the device stops, it loses its reach into memory, and the mbufs go back. */
  close(): void {
    if (this.#final !== undefined) return;
    const states = [...this.#states.rx, ...this.#states.tx];
    for (const queue of [...this.rx, ...this.tx]) queue.close();
    // A thread that still polls one of them is refused from here on.
    for (const state of states) state.set(QUEUE_LCORE, this.#host.arena.lcore + 1);
    const unsent = this.#states.tx.reduce((sum, state) => sum + this.#settle(state), 0);
    const left = this.#states.rx.reduce((sum, state) => sum + unread(state), 0);
    this.#final = this.#readNow();
    Object.assign(this.#final.xstats, { rx_unread_at_close: left, tx_unsent_at_close: unsent });
    this.#abandon(states);
  }

  /** In the turns that the event loop has; a link that changed is passed on. */
  #serve(functions: NonNullable<Chip['virtualFunctions']>): VirtualFunctions {
    let up = false;
    this.#timer = setInterval(() => {
      functions.serve();
      if (this.#chip.link.up === up) return;
      up = !up;
      functions.tell();
    }, SERVE_MS).unref();
    return functions;
  }

  get #txOffloads(): number {
    return TX_CHECKSUMS | (this.#settings.vlanOffload ? TX_VLAN : 0);
  }

  get #isJumbo(): boolean {
    return this.#settings.mtu > USUAL_MTU;
  }

  /** With a VLAN tag, without FCS. */
  get #longest(): number {
    return this.#settings.mtu + ETHER_HEADER_BYTES + VLAN_TAG_BYTES;
  }

  /** A device writes buffers of whole KiB; at the usual MTU it is told how long a frame is at most, and that fits. */
  get #segment(): number {
    const { room } = this.#host.pool;
    return this.#isJumbo ? Math.floor(room / 1024) * 1024 : Math.min(this.#longest, room);
  }

  /** Stops and gives everything back, from whatever stage of opening. */
  #abandon(states: readonly QueueState[]): void {
    clearInterval(this.#timer);
    (this.#chip as Chip | undefined)?.flowRules?.close();
    (this.#chip as Chip | undefined)?.stop();
    try {
      this.#nic.busMaster(false);
    } catch {
      // it has gone already
    }
    this.#nic.close();
    if (states.length > 0) takeBack(this.#host.pool, states, this.#functions, INTEL_SCRATCH, INTEL_SCRATCH_COUNT);
    for (const state of states) {
      state.set(QUEUE_FD, -1);
      state.close();
    }
  }

  #prepareRx(state: QueueState, queue: number, vector: number): RingPlace {
    const { errors, ipBadShift, l4BadShift } = this.#chip.descriptors;
    const { mask, cause, forget } = this.#chip.interrupt(queue);
    const fields = [
      [QUEUE_FD, vector], [INTEL_MASK_REGISTER, mask], [INTEL_CAUSE, cause], [INTEL_FORGET_REGISTER, forget],
      [INTEL_SEGMENT, this.#segment], [INTEL_MOST, this.#isJumbo ? this.#longest : this.#segment],
      [INTEL_ERRORS, errors], [INTEL_IP_BAD_SHIFT, ipBadShift], [INTEL_L4_BAD_SHIFT, l4BadShift],
    ] as const;
    for (const [field, value] of fields) state.set(field, value);
    return this.#prepare(state, queue, this.#settings.rxRing);
  }

  #prepareTx(state: QueueState, queue: number): RingPlace {
    const { txRing } = this.#settings;
    const { command, payload, context, reports } = this.#chip.descriptors;
    const fields = [
      [INTEL_MOST, this.#longest], [INTEL_COMMAND, command], [INTEL_PAYLOAD, payload], [INTEL_CONTEXT_KIND, context],
      [INTEL_MOST_SEGMENTS, MOST_SEGMENTS], [INTEL_OFFERS, this.#txOffloads], [INTEL_REPORTS, reports ?? 0], [INTEL_LASTS, this.#side(`tx${queue}/lasts`, txRing).offset],
    ] as const;
    for (const [field, value] of fields) state.set(field, value);
    return this.#prepare(state, queue, txRing);
  }

  /** A ring and its side ring; what of it the burst functions must know. */
  #prepare(state: QueueState, queue: number, size: number): RingPlace {
    const { pool } = this.#host;
    const name = `${state.direction}${queue}`;
    const ring = this.#nic.dma(name, size << INTEL_DESCRIPTOR_SHIFT);
    const fields = [
      [VFIO_DEVICE, VFIO_INTEL], [INTEL_RING, ring.offset], [INTEL_SIDE, this.#side(`${name}/side`, size).offset],
      [INTEL_TAIL, this.#chip.tail(state.direction, queue)], [INTEL_MASK, size - 1], [INTEL_IOVA_HIGH, this.#nic.iova / 2 ** 32],
      [INTEL_POOL, pool.buffers.offset], [INTEL_POOL_BYTES, pool.size * pool.bufferSize], [INTEL_BUFFER_MASK, pool.bufferSize - 1],
    ] as const;
    for (const [field, value] of fields) state.set(field, value);
    return { iova: this.#nic.iova + ring.offset, bytes: size << INTEL_DESCRIPTOR_SHIFT };
  }

  #side(name: string, size: number): Memzone {
    return this.#nic.memory(name, size * 4);
  }

  /** After close there are no registers any more. */
  #linkOf(fd: number): PortLink {
    return {
      read: () => this.#final === undefined ? this.#chip.link : { up: false, mbps: 0, fullDuplex: false },
      wake: {
        fd,
        arm: () => {
          if (this.#final === undefined) this.#chip.watchLink();
          return true;
        },
      },
    };
  }

  /** Returns how many stayed. */
  #settle(state: QueueState): number {
    const left = (): number => (state.get(INTEL_NEXT) - state.get(INTEL_HEAD)) >>> 0;
    for (let tries = 0; tries < SETTLE_TRIES && left() > 0; tries++) {
      if (this.#functions.intelClean(state.offset, this.#host.arena.lcore) === 0) this.#chip.registers.pause(1);
    }
    return left();
  }

  #readNow(): PortStats {
    const stats = emptyStats();
    for (const state of [...this.#states.rx, ...this.#states.tx]) state.addTo(stats);
    const sum = (states: readonly QueueState[], field: number): number => states.reduce((total, state) => total + state.counter(field), 0);
    const { rx, tx } = this.#states;
    Object.assign(stats.xstats, {
      rx_bad_length: sum(rx, INTEL_BAD_LENGTH), rx_split_frames: sum(rx, INTEL_SPLIT_FRAMES), rx_errored: sum(rx, INTEL_ERRORED),
      tx_not_mapped: sum(tx, INTEL_NOT_MAPPED), tx_bad_frame: sum(tx, INTEL_BAD_FRAME), tx_ring_full: sum(tx, INTEL_RING_FULL),
      rx_unread_at_close: 0, tx_unsent_at_close: 0,
    });
    this.#statistics.addTo(stats.xstats);
    return stats;
  }
}

function refuseImpossible(name: string, { queues, mtu }: IntelSettings, chip: Chip): void {
  if (queues > chip.queues) throw new PollmodeError('EOPTION', `${name}: the ${chip.model} has ${chip.queues} queues in each direction, not ${queues}: ask for those, or fewer.`);
  if (mtu > chip.mtu) throw new PollmodeError('EOPTION', `${name}: the ${chip.model} takes an MTU of up to ${chip.mtu}, not ${mtu}: ask for that, or less.`);
}

import type { Memzone } from '../../../../arena/directory.js';
import type { BurstFunctions } from '../../../../burst/functions.js';
import { burstFunctions } from '../../../../burst/module.js';
import { QUEUE_FD, QUEUE_LCORE } from '../../../layout.js';
import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortLink, type PortStats } from '../../../port.js';
import { countRefused } from '../../../port_queue.js';
import { queueStates, type QueueState } from '../../../queue.js';
import { takeBack } from '../pci/closing.js';
import { NicDevice } from '../pci/device.js';
import { pause, Registers } from '../pci/registers.js';
import { VFIO_DEVICE, VFIO_E1000E } from '../layout.js';
import { E1000eDevice, VECTORS, type RingPlace } from './device.js';
import {
  E1000E_BAD_FRAME, E1000E_BAD_LENGTH, E1000E_BUFFER_MASK, E1000E_CAUSE, E1000E_DESCRIPTOR_SHIFT, E1000E_ERRORED, E1000E_HEAD,
  E1000E_IOVA_HIGH, E1000E_LASTS, E1000E_MASK, E1000E_MASK_REGISTER, E1000E_MOST, E1000E_NEXT, E1000E_NOT_MAPPED, E1000E_POOL,
  E1000E_POOL_BYTES, E1000E_RING, E1000E_RING_FULL, E1000E_SCRATCH, E1000E_SCRATCH_COUNT, E1000E_SIDE, E1000E_SPLIT_FRAMES, E1000E_TAIL,
} from './layout.js';
import { E1000eRxQueue, E1000eTxQueue, unread } from './queues.js';
import { BAR0_BYTES, CAUSE_RXQ0, QUEUE_STRIDE, REGISTERS } from './registers.js';
import { Statistics } from './statistics.js';

export interface E1000eSettings {
  /** The NIC's PCI address. */
  readonly device: string;
  /** Descriptors, powers of two. */
  readonly rxRing: number;
  readonly txRing: number;
  readonly promiscuous: boolean;
  /** Least time between two interrupts, in microseconds. */
  readonly throttleUs: number;
}

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
const MTU = 1500;
/** What the device writes at most with long packets off (RCTL.LPE): 1522 bytes less the FCS. */
const LONGEST_RECEIVED = 1518;
/** How long a close waits for packets on their way: a link that is down never sends them. */
const SETTLE_TRIES = 100;

/** An open 82574L. */
export class E1000ePort implements Port {
  readonly name: string;
  readonly number: number;
  readonly mac: string;
  readonly rx: readonly E1000eRxQueue[];
  readonly tx: readonly E1000eTxQueue[];
  readonly capabilities: PortCapabilities;
  readonly link: PortLink;
  readonly removal: number;
  readonly #host: PortHost;
  readonly #functions: BurstFunctions;
  readonly #nic: NicDevice;
  readonly #device: E1000eDevice;
  readonly #statistics: Statistics;
  readonly #states: { readonly rx: readonly QueueState[]; readonly tx: readonly QueueState[] };
  #final: PortStats | undefined;

  /** In the datasheet's order (4.6); each step undoes those before it when it fails. */
  constructor(settings: E1000eSettings, host: PortHost) {
    this.name = host.device;
    this.number = host.number;
    this.#host = host;
    this.#functions = burstFunctions(host.arena);
    const nic = this.#nic = new NicDevice(host, settings.device);
    let states: QueueState[] = [];
    try {
      nic.vfio.busMaster(false);
      const registers = new Registers(host.arena, nic.bar(0, BAR0_BYTES).offset, REGISTERS);
      const device = this.#device = new E1000eDevice(host.device, registers);
      device.reset();
      this.mac = device.mac;
      this.#statistics = new Statistics(registers);
      this.#states = queueStates(host, 1, 1);
      states = [...this.#states.rx, ...this.#states.tx];
      const vectors = nic.vectors(VECTORS);
      const rings = [
        ...this.#states.rx.map((state, queue) => this.#prepare(state, `rx${queue}`, settings.rxRing, registers.at('RDT', queue * QUEUE_STRIDE))),
        ...this.#states.tx.map((state, queue) => this.#prepare(state, `tx${queue}`, settings.txRing, registers.at('TDT', queue * QUEUE_STRIDE))),
      ];
      this.#states.rx.forEach((state, queue) => {
        state.set(QUEUE_FD, vectors[queue]!);
        state.set(E1000E_MASK_REGISTER, registers.at('IMS'));
        state.set(E1000E_CAUSE, CAUSE_RXQ0 << queue);
      });
      nic.vfio.busMaster(true);
      device.linkUp();
      this.#statistics.clear();
      device.prepareReceive(rings.slice(0, 1));
      device.startReceive(settings.promiscuous);
      // Once it is enabled: a tail that is written before may be forgotten.
      for (const state of this.#states.rx) this.#functions.e1000eFill(state.offset, host.arena.lcore);
      device.startTransmit(rings.slice(1));
      device.startInterrupts(settings.throttleUs);
      this.link = this.#linkOf(device, vectors[VECTORS - 1]!);
    } catch (cause) {
      this.#abandon(states);
      throw cause;
    }
    this.removal = nic.removal;
    this.rx = this.#states.rx.map(state => new E1000eRxQueue(state, this.#functions));
    this.tx = this.#states.tx.map(state => new E1000eTxQueue(state, this.#functions));
    this.capabilities = {
      mtu: Math.min(MTU, host.pool.room - ETHERNET_HEADER), rxQueues: 1, txQueues: 1, timestamps: 'none', zeroCopy: true,
      mode: `82574L, IOVA base 0x${nic.iova.toString(16)}, interrupts at most every ${settings.throttleUs} us`,
    };
  }

  promiscuous(on: boolean): void {
    if (this.#final === undefined) this.#device.promiscuous(on);
  }

  multicast(groups: readonly string[]): void {
    if (this.#final === undefined) this.#device.multicast(groups);
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

  /** Stops and gives everything back, from whatever stage of opening. */
  #abandon(states: readonly QueueState[]): void {
    (this.#device as E1000eDevice | undefined)?.stop();
    try {
      this.#nic.vfio.busMaster(false);
    } catch {
      // it has gone already
    }
    this.#nic.close();
    if (states.length > 0) takeBack(this.#host.pool, states, this.#functions, E1000E_SCRATCH, E1000E_SCRATCH_COUNT);
    for (const state of states) {
      state.set(QUEUE_FD, -1);
      state.close();
    }
  }

  /** A ring and its side rings; what of it the burst functions must know. */
  #prepare(state: QueueState, name: string, size: number, tail: number): RingPlace {
    const { pool } = this.#host;
    const ring = this.#nic.dma(name, size << E1000E_DESCRIPTOR_SHIFT);
    const side = this.#side(`${name}/side`, size);
    state.set(VFIO_DEVICE, VFIO_E1000E);
    state.set(E1000E_RING, ring.offset);
    state.set(E1000E_SIDE, side.offset);
    state.set(E1000E_TAIL, tail);
    state.set(E1000E_MASK, size - 1);
    state.set(E1000E_IOVA_HIGH, this.#nic.iova / 2 ** 32);
    state.set(E1000E_POOL, pool.buffers.offset);
    state.set(E1000E_POOL_BYTES, pool.size * pool.bufferSize);
    state.set(E1000E_BUFFER_MASK, pool.bufferSize - 1);
    state.set(E1000E_MOST, state.direction === 'rx' ? Math.min(LONGEST_RECEIVED, pool.room) : MTU + ETHERNET_HEADER + VLAN_TAG);
    if (state.direction === 'tx') state.set(E1000E_LASTS, this.#side(`${name}/lasts`, size).offset);
    return { iova: this.#nic.iova + ring.offset, bytes: size << E1000E_DESCRIPTOR_SHIFT };
  }

  #side(name: string, size: number): Memzone {
    return this.#nic.memory(name, size * 4);
  }

  /** After close there are no registers any more. */
  #linkOf(device: E1000eDevice, fd: number): PortLink {
    return {
      read: () => this.#final === undefined ? device.link : { up: false, mbps: 0, fullDuplex: false },
      wake: {
        fd,
        arm: () => {
          if (this.#final === undefined) device.watchLink();
          return true;
        },
      },
    };
  }

  /** Returns how many stayed. */
  #settle(state: QueueState): number {
    const left = (): number => (state.get(E1000E_NEXT) - state.get(E1000E_HEAD)) >>> 0;
    for (let tries = 0; tries < SETTLE_TRIES && left() > 0; tries++) {
      if (this.#functions.e1000eClean(state.offset, this.#host.arena.lcore) === 0) pause(1);
    }
    return left();
  }

  #readNow(): PortStats {
    const stats = emptyStats();
    for (const state of [...this.#states.rx, ...this.#states.tx]) state.addTo(stats);
    const sum = (states: readonly QueueState[], field: number): number => states.reduce((total, state) => total + state.counter(field), 0);
    const { rx, tx } = this.#states;
    Object.assign(stats.xstats, {
      rx_bad_length: sum(rx, E1000E_BAD_LENGTH), rx_split_frames: sum(rx, E1000E_SPLIT_FRAMES), rx_errored: sum(rx, E1000E_ERRORED),
      tx_not_mapped: sum(tx, E1000E_NOT_MAPPED), tx_bad_frame: sum(tx, E1000E_BAD_FRAME), tx_ring_full: sum(tx, E1000E_RING_FULL),
      rx_unread_at_close: 0, tx_unsent_at_close: 0,
    });
    this.#statistics.addTo(stats.xstats);
    return stats;
  }
}

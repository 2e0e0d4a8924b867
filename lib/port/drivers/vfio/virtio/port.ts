import type { BurstFunctions } from '../../../../burst/functions.js';
import { burstFunctions } from '../../../../burst/module.js';
import { binding } from '../../../../binding.js';
import { RX_L4_CKSUM_GOOD, RX_RSS_HASH, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM } from '../../../../mbuf/layout.js';
import { usedCount } from '../../../../virtqueue/driver.js';
import {
  DRIVER_BAD_FRAME, DRIVER_BAD_LENGTH, DRIVER_BAD_OFFLOAD, DRIVER_BAD_USED, DRIVER_FOREIGN, DRIVER_RING_FULL, OFFLOAD_CSUM, OFFLOAD_FINISH, OFFLOAD_HASH, OFFLOAD_TSO4, OFFLOAD_TSO6, VQ_ROOM, VQ_SIZE,
} from '../../../../virtqueue/layout.js';
import { takeBack } from '../../../../virtqueue/returning.js';
import { stopQueue } from '../../../../virtqueue/state.js';
import { QUEUE_FD, QUEUE_LCORE } from '../../../layout.js';
import type { PortCapabilities, PortHost, PortLink, PortRss } from '../../../port.js';
import type { QueueState } from '../../../queue.js';
import { QueuePort, total, type QueuePortParts } from '../../../queue_port.js';
import { VFIO_DEVICE, VFIO_VIRTIO } from '../layout.js';
import { NicDevice } from '../pci/device.js';
import { pause } from '../pci/registers.js';
import { VirtioNetDevice } from './device.js';
import { VirtioPciRxQueue, VirtioPciTxQueue } from './queues.js';

export interface VirtioSettings {
  /** The NIC's PCI address. */
  readonly device: string;
  /** Pairs of queues. */
  readonly queues: number;
  /** Descriptors, powers of two; fewer where the device has fewer. */
  readonly rxRing: number;
  readonly txRing: number;
  readonly promiscuous: boolean;
  /** Lets `vlanFilter` be used. */
  readonly vlanFilter?: boolean;
  /** Frames come with what was left to be done, as TX_* flags. */
  readonly passOffloads?: boolean;
  readonly mtu?: number;
}

/** How long a close waits for packets on their way. */
const SETTLE_TRIES = 100;

/** What an open port has besides its queues' objects. */
class Side {
  readonly counts = { rx_unread_at_close: 0, tx_unsent_at_close: 0 };
  readonly nic: NicDevice;
  readonly device: VirtioNetDevice;
  readonly functions: BurstFunctions;
  readonly states: QueueState[] = [];
  readonly linkFd: number;
  readonly #settings: VirtioSettings;
  readonly #host: PortHost;
  readonly #vectors: readonly number[];
  #closed = false;

  constructor(settings: VirtioSettings, host: PortHost) {
    this.#settings = settings;
    this.#host = host;
    this.functions = burstFunctions(host.arena);
    this.nic = new NicDevice(host, settings.device);
    try {
      const { queues, vlanFilter = false, passOffloads = false, mtu = 1500 } = settings;
      this.nic.vfio.busMaster(false);
      this.device = new VirtioNetDevice(this.nic, host, { queues, vlanFilter, passOffloads, mtu });
      this.#vectors = this.nic.vectors(1 + queues);
      this.linkFd = this.#vectors[0]!;
      // Its rings are looked up when they are placed, so it must reach them by then.
      this.nic.vfio.busMaster(true);
      this.device.watchConfig();
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  add(state: QueueState, queue: number): void {
    const { direction } = state;
    this.states.push(state);
    state.set(VFIO_DEVICE, VFIO_VIRTIO);
    if (direction === 'rx') state.set(QUEUE_FD, this.#vectors[1 + queue]!);
    this.device.place(state, direction === 'rx' ? this.#settings.rxRing : this.#settings.txRing);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Waits for what is to be sent, and counts what stays. */
  settle(): void {
    // A thread that still polls one of them is refused from here on.
    for (const state of this.states) state.set(QUEUE_LCORE, this.#host.arena.lcore + 1);
    for (const state of this.states) {
      if (state.direction === 'rx') this.counts.rx_unread_at_close += usedCount(state);
      else this.counts.tx_unsent_at_close += this.#settle(state);
    }
  }

  /** The queues' states are gone, and nothing was given to the device yet. */
  abandon(): void {
    this.states.length = 0;
    this.close();
  }

  /** From whatever stage of opening: the device stops, loses its reach into memory, and the mbufs go back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const state of this.states) stopQueue(state);
    (this.device as VirtioNetDevice | undefined)?.stop();
    try {
      this.nic.vfio.busMaster(false);
    } catch {
      // it has gone already
    }
    this.nic.vfio.close();
    for (const state of this.states) {
      takeBack(state, this.#host.pool);
      state.set(QUEUE_FD, -1);
    }
    this.nic.close();
  }

  /** Descriptors that stayed. */
  #settle(state: QueueState): number {
    const left = (): number => state.get(VQ_SIZE) - state.get(VQ_ROOM);
    for (let tries = 0; tries < SETTLE_TRIES && left() > 0; tries++) {
      if (this.functions.virtioClean(state.offset, this.#host.arena.lcore) === 0) pause(1);
    }
    return left();
  }
}

/** An open virtio-net device. */
export class VirtioPort extends QueuePort {
  readonly link: PortLink;
  readonly removal: number;
  readonly rss?: PortRss;
  private readonly side: Side;

  /** Each step undoes those before it when it fails. */
  constructor(settings: VirtioSettings, host: PortHost) {
    const side = new Side(settings, host);
    try {
      super(host, parts(settings, side));
    } catch (cause) {
      side.abandon();
      throw cause;
    }
    this.side = side;
    this.removal = side.nic.removal;
    this.link = linkOf(side);
    if (side.device.rss !== undefined) this.rss = side.device.rss;
    try {
      side.device.start(side.states, settings.promiscuous);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  promiscuous(on: boolean): void {
    if (!this.side.closed) this.side.device.promiscuous(on);
  }

  multicast(groups: readonly string[]): void {
    if (!this.side.closed) this.side.device.multicast(groups);
  }

  /** Takes tagged frames of these VLANs alone, and untagged ones; undefined: of every VLAN, as at first. Throws EOPTION, EUNSUPPORTED. */
  vlanFilter(ids: readonly number[] | undefined): void {
    if (!this.side.closed) this.side.device.vlanFilter(ids);
  }

  override close(): void {
    if (!this.side.closed) this.side.settle();
    super.close();
  }
}

function parts({ queues }: VirtioSettings, side: Side): QueuePortParts {
  const { device, nic, functions } = side;
  return {
    mac: device.mac,
    capabilities: {
      mtu: device.mtu, rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy: true, ...offered(device.offloads),
      mode: `virtio-net, ${device.format.packed ? 'packed' : 'split'} rings, IOVA base 0x${nic.iova.toString(16)}`,
    },
    rx(state, queue) {
      side.add(state, queue);
      return new VirtioPciRxQueue(state, functions);
    },
    tx(state, queue) {
      side.add(state, queue);
      return new VirtioPciTxQueue(state, functions);
    },
    xstats(into, rx, tx) {
      Object.assign(into, {
        rx_bad_used: total(rx, DRIVER_BAD_USED), rx_bad_length: total(rx, DRIVER_BAD_LENGTH) + total(rx, DRIVER_BAD_FRAME), rx_bad_offload: total(rx, DRIVER_BAD_OFFLOAD), tx_bad_used: total(tx, DRIVER_BAD_USED),
        tx_bad_frame: total(tx, DRIVER_BAD_FRAME), tx_ring_full: total(tx, DRIVER_RING_FULL), tx_not_mapped: total(tx, DRIVER_FOREIGN), ...side.counts,
      });
    },
    release: () => side.close(),
  };
}

/** What the port's capabilities say of OFFLOAD_*. */
function offered({ rx, tx }: VirtioNetDevice['offloads']): Pick<PortCapabilities, 'txOffloads' | 'rxOffloads' | 'rxLeaves'> {
  const checksums = TX_TCP_CKSUM | TX_UDP_CKSUM;
  const segments = (bits: number): number => (bits & OFFLOAD_TSO4) !== 0 && (bits & OFFLOAD_TSO6) !== 0 ? TX_TCP_SEG : 0;
  return {
    ...((tx & OFFLOAD_CSUM) === 0 ? {} : { txOffloads: checksums | segments(tx) }),
    ...((rx & (OFFLOAD_CSUM | OFFLOAD_HASH)) === 0 ? {} : { rxOffloads: ((rx & OFFLOAD_CSUM) === 0 ? 0 : RX_L4_CKSUM_GOOD) | ((rx & OFFLOAD_HASH) === 0 ? 0 : RX_RSS_HASH) }),
    ...((rx & OFFLOAD_CSUM) === 0 || (rx & OFFLOAD_FINISH) !== 0 ? {} : { rxLeaves: checksums | ((rx & (OFFLOAD_TSO4 | OFFLOAD_TSO6)) === 0 ? 0 : TX_TCP_SEG) }),
  };
}

/** After close there are no registers any more. */
function linkOf(side: Side): PortLink {
  const count = new Uint8Array(8);
  return {
    read: () => side.closed ? { up: false, mbps: 0, fullDuplex: false } : side.device.link,
    wake: {
      fd: side.linkFd,
      arm: () => {
        if (!side.closed) binding().read(side.linkFd, count);
        return true;
      },
    },
  };
}

import type { Memzone } from '../../../arena/directory.js';
import { burstFunctions } from '../../../burst/module.js';
import { unixAddress } from '../../../kernel/unix.js';
import { TX_IP_CKSUM, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM } from '../../../mbuf/layout.js';
import {
  VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
} from '../../../virtqueue/features.js';
import {
  DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX, DEVICE_BAD_OFFLOAD, DEVICE_FOREIGN, DEVICE_RING_FULL, DEVICE_TOO_SMALL, SCRATCH_BYTES,
  VQ_FINISHED, VQ_PASSES, VQ_PIECES, VQ_UNFINISHABLE,
} from '../../../virtqueue/layout.js';
import type { Port, PortDriver, PortEvent, PortHost, PortLink } from '../../port.js';
import { probeAddon } from '../../probe.js';
import type { QueueState } from '../../queue.js';
import { QueuePort, total, type QueuePortParts } from '../../queue_port.js';
import { ofThisProcess, repairVirtqueue } from '../../virtqueue_attach.js';
import { VhostControl } from './control.js';
import { Inflights } from './inflight.js';
import { GuestMemory, ROUNDING } from './memory.js';
import { VhostRxQueue, VhostTxQueue } from './queues.js';
import { Vring } from './vring.js';

export interface VhostOptions {
  /** Path of the Unix socket. */
  readonly device: string;
  /** Connects to a front-end that listens, instead of listening for one. Default off. */
  readonly client?: boolean;
  /** Pairs of queues at most. Default 1. */
  readonly queues?: number;
  /** Bytes of the largest IP packet. Default 1500. */
  readonly mtu?: number;
  /** What the guest is offered: packed rings, buffers that a frame may take several of, and tables of descriptors. Default all on. */
  readonly packed?: boolean;
  readonly mergeable?: boolean;
  readonly indirect?: boolean;
  /** Checksums and the cutting of TCP packets: what the guest may leave to be done, and what it is offered to do itself. Default on. */
  readonly offloads?: boolean;
  /** Frames come as the guest has left them, with TX_* flags, for a port that does what they say (another vhost port) or for `Offloads`. Default off: it is done first. */
  readonly passOffloads?: boolean;
  /** Room in the arena for the guest's memory, in MiB. Address space only. Default 1024. */
  readonly guestMemory?: number;
}

type Settings = Required<VhostOptions>;

const OVERHEAD = 14 + 4;
const MIB = 1 << 20;

/**
 * `vhost:/run/vm0.sock`: the network card of a virtual machine, or of any other vhost-user front-end (QEMU's
 * docs/interop/vhost-user.rst): DPDK's net_virtio_user, or our own. Its memory is mapped over the arena, and frames are
 * copied out of its buffers and into them, one burst at a time, without a system call. A front-end that goes may come
 * back, or another; until then what is sent is refused.
 */
export const vhostDriver: PortDriver<VhostOptions> = {
  name: 'vhost',
  summary: 'a virtual machine\'s network card, over a vhost-user socket',
  options: {
    device: { type: 'text', help: 'path of the Unix socket', required: true },
    client: { type: 'flag', help: 'connect to a front-end that listens (default off: listen)' },
    queues: { type: 'count', help: 'pairs of queues at most (default 1)', min: 1, max: 64 },
    mtu: { type: 'count', help: 'bytes of IP packet (default 1500)', min: 68, max: 65_500 },
    packed: { type: 'flag', help: 'offer packed rings (default on)' },
    mergeable: { type: 'flag', help: 'offer mergeable receive buffers (default on)' },
    indirect: { type: 'flag', help: 'offer indirect descriptors (default on)' },
    offloads: { type: 'flag', help: 'offer checksum and TCP segmentation offloads (default on)' },
    passOffloads: { type: 'flag', help: 'receive frames with their offloads still to be done, for ports that do them (default off)' },
    guestMemory: { type: 'count', help: 'room for the guest\'s memory in MiB (default 1024)', min: 1, max: 4000 },
  },
  probe: probeAddon,
  plan(options) {
    const { device, guestMemory } = settings(options);
    unixAddress(device);
    return { mbufs: 0, bufferSize: 2048, registered: false, overlays: guestMemory * MIB + ROUNDING };
  },
  open: (options, host) => VhostPort.open(settings(options), host),
  attach: {
    rx: state => new VhostRxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    tx: state => new VhostTxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    repair: repairVirtqueue,
  },
};

function settings(options: VhostOptions): Settings {
  return { client: false, queues: 1, mtu: 1500, packed: true, mergeable: true, indirect: true, offloads: true, passOffloads: false, guestMemory: 1024, ...options };
}

const OFFLOADS = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6;
/** What frames may want of it: what the guest does not do is done here. */
const TX_OFFERS = TX_IP_CKSUM | TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG;
/** What a guest can leave: its struct virtio_net_hdr knows nothing of an IP header's checksum. */
const RX_LEAVES = TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG;

function offered({ packed, mergeable, indirect, queues, offloads }: Settings): bigint {
  return VIRTIO_F_VERSION_1 | VIRTIO_F_ANY_LAYOUT | VIRTIO_RING_F_EVENT_IDX | VIRTIO_F_IN_ORDER | VHOST_USER_F_PROTOCOL_FEATURES
    | (packed ? VIRTIO_F_RING_PACKED : 0n) | (mergeable ? VIRTIO_NET_F_MRG_RXBUF : 0n) | (indirect ? VIRTIO_RING_F_INDIRECT_DESC : 0n)
    | (offloads ? OFFLOADS : 0n) | (queues > 1 ? VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_VQ : 0n);
}

/** An open one: the port's queues, and its socket. */
export class VhostPort extends QueuePort {
  readonly control: VhostControl;

  private constructor(host: PortHost, parts: QueuePortParts, control: () => VhostControl) {
    super(host, parts);
    try {
      this.control = control();
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  static open(settings: Settings, host: PortHost): Port {
    const { arena } = host;
    const functions = burstFunctions(arena);
    const undo: (() => void)[] = [];
    const [receivers, senders]: [Vring[], Vring[]] = [[], []];
    const queues: VhostTxQueue[] = [];
    let control: VhostControl | undefined;
    const release = (): void => { for (const step of undo.splice(0).reverse()) step(); };
    try {
      const scratch: Memzone = arena.reserve(`port/${host.number}/vhost/scratch`, 2 * settings.queues * SCRATCH_BYTES, { align: 64 });
      undo.push(() => { arena.release(scratch); });
      const memory = new GuestMemory(host, settings.guestMemory * MIB);
      undo.push(() => memory.close());
      const inflights = new Inflights(host, 2 * settings.queues);
      undo.push(() => inflights.clear());
      const vring = (list: Vring[], state: QueueState, index: number): void => {
        const made = new Vring(state, scratch.offset + index * SCRATCH_BYTES);
        undo.push(() => made.close());
        list.push(made);
      };
      const service = (): void => control?.service();
      const longest = settings.mtu + OVERHEAD;
      return new VhostPort(host, {
        mac: undefined,
        capabilities: {
          mtu: settings.mtu, rxQueues: settings.queues, txQueues: settings.queues, timestamps: 'none', zeroCopy: false,
          txOffloads: TX_OFFERS,
          ...(settings.passOffloads && settings.offloads ? { rxLeaves: RX_LEAVES } : {}),
          mode: `vhost-user ${settings.client ? 'client' : 'server'}, one copy`,
        },
        rx(state, queue) {
          vring(receivers, state, 2 * queue + 1);
          state.set(VQ_PASSES, settings.passOffloads ? 1 : 0);
          return new VhostRxQueue(state, functions, service);
        },
        tx(state, queue) {
          vring(senders, state, 2 * queue);
          const made = new VhostTxQueue(state, functions, service);
          queues.push(made);
          return made;
        },
        xstats: (into, rx, tx) => count(into, rx, tx, control, memory),
        release,
      }, () => {
        const vrings = senders.flatMap((sender, queue) => [sender, receivers[queue]!]);
        control = new VhostControl({ path: settings.device, client: settings.client, memory, inflights, vrings, features: offered(settings), longest, flush: () => { for (const queue of queues) queue.flush(); } });
        undo.push(() => control!.close());
        return control;
      });
    } catch (cause) {
      release();
      throw cause;
    }
  }

  get link(): PortLink {
    return this.control.link;
  }

  onEvent(listener: (event: PortEvent) => void): () => void {
    return this.control.link.listen(listener);
  }
}

function count(into: Record<string, number>, rx: readonly QueueState[], tx: readonly QueueState[], control: VhostControl | undefined, memory: GuestMemory): void {
  for (const [direction, states] of [['rx', rx], ['tx', tx]] as const) {
    const counters = { bad_index: DEVICE_BAD_INDEX, bad_chain: DEVICE_BAD_CHAIN, bad_address: DEVICE_BAD_ADDRESS, bad_frame: DEVICE_BAD_FRAME };
    for (const [name, field] of Object.entries(counters)) into[`${direction}_${name}`] = total(states, field);
  }
  Object.assign(into, {
    tx_buffer_too_small: total(tx, DEVICE_TOO_SMALL), tx_ring_full: total(tx, DEVICE_RING_FULL), tx_not_in_pool: total(tx, DEVICE_FOREIGN),
    rx_bad_offload: total(rx, DEVICE_BAD_OFFLOAD), rx_offload_dropped: total(rx, VQ_UNFINISHABLE), tx_offload_dropped: total(tx, VQ_UNFINISHABLE),
    rx_finished: total(rx, VQ_FINISHED), rx_pieces: total(rx, VQ_PIECES), tx_finished: total(tx, VQ_FINISHED), tx_pieces: total(tx, VQ_PIECES),
    guest_memory: memory.bytes, guest_memory_beside: memory.beside ? memory.bytes : 0, ...control?.counts,
  });
}

/** A virtio-net device: found, negotiated with, its queues placed and begun, in the order of section 3.1.1; and its control commands. In the thread that opened the port. */
import { burstFunctions } from '../../../../burst/module.js';
import { PollmodeError } from '../../../../errors.js';
import { macBytes, macText } from '../../../../kernel/address.js';
import { driverPrivateBytes, resetDriver, ringPlaces } from '../../../../virtqueue/driver.js';
import {
  offloads, ringFormat, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU, VIRTIO_NET_F_RSS,
  VIRTIO_NET_F_SPEED_DUPLEX, VIRTIO_NET_F_STATUS, type RingFormat,
} from '../../../../virtqueue/features.js';
import { OFFLOAD_FINISH, OFFLOAD_HASH, VQ_NOTIFY, VQ_READY, VQ_TELL } from '../../../../virtqueue/layout.js';
import { openQueue } from '../../../../virtqueue/state.js';
import { ETHER_HEADER_BYTES, VLAN_TAG_BYTES } from '../../../../wire/protocol_layout.js';
import type { LinkState, PortHost } from '../../../port.js';
import type { QueueState } from '../../../queue.js';
import type { NicDevice } from '../pci/device.js';
import { CONTROL_BYTES, ControlQueue } from './control.js';
import { chooseFeatures, type Wishes } from './features.js';
import { virtqueueIndex } from './queues.js';
import { VirtioRss } from './rss.js';
import {
  CTRL_MAC_TABLE_SET, CTRL_MQ_PAIRS_SET, CTRL_MQ_RSS_CONFIG, CTRL_RX_ALLMULTI, CTRL_RX_PROMISC, CTRL_VLAN_ADD, CTRL_VLAN_DEL, NET_DUPLEX, NET_MAC, NET_MAX_PAIRS, NET_MTU, NET_SPEED,
  NET_STATUS, NET_S_LINK_UP, NO_VECTOR, STATUS_ACKNOWLEDGE, STATUS_DRIVER, STATUS_DRIVER_OK, STATUS_FEATURES_OK, STATUS_NEEDS_RESET,
} from './registers.js';
import { Transport } from './transport.js';

const OVERHEAD = ETHER_HEADER_BYTES + VLAN_TAG_BYTES;
const VLANS = 4096;
/** What LinkState says of a device that does not know its speed. */
const UNKNOWN_SPEED = 0xffffffff;
/** MSI-X: changes of the configuration, then a vector for each receive queue. */
const CONFIG_VECTOR = 0;

export class VirtioNetDevice {
  readonly features: bigint;
  readonly format: RingFormat;
  readonly mtu: number;
  /** OFFLOAD_* of its receive and of its send queues. */
  readonly offloads: { readonly rx: number; readonly tx: number };
  /** With several queues, on a device that has it. */
  readonly rss: VirtioRss | undefined;
  readonly #name: string;
  readonly #host: PortHost;
  readonly #nic: NicDevice;
  readonly #transport: Transport;
  readonly #wishes: Wishes;
  /** Those that pass the filter, where there is one. */
  readonly #vlans = new Set<number>();
  #control: ControlQueue | undefined;

  /** Steps 1 to 6: reset, hello, features. Throws EUNSUPPORTED. */
  constructor(nic: NicDevice, host: PortHost, wishes: Wishes) {
    this.#name = host.device;
    this.#host = host;
    this.#nic = nic;
    this.#wishes = wishes;
    const transport = this.#transport = new Transport(host.device, host.arena, nic);
    if (!transport.reset()) throw this.#unsupported('it did not come back from its reset');
    transport.addStatus(STATUS_ACKNOWLEDGE);
    transport.addStatus(STATUS_DRIVER);
    this.features = chooseFeatures(host.device, transport.deviceFeatures, wishes);
    transport.driverFeatures = this.features;
    transport.addStatus(STATUS_FEATURES_OK);
    if ((transport.status & STATUS_FEATURES_OK) === 0) throw this.#unsupported('it does not work with the features that it offers');
    this.format = ringFormat(this.features);
    const rx = offloads(this.features, 'receive');
    const finish = rx === 0 || wishes.passOffloads ? 0 : OFFLOAD_FINISH;
    this.offloads = { rx: rx | finish | (this.#has(VIRTIO_NET_F_HASH_REPORT) ? OFFLOAD_HASH : 0), tx: offloads(this.features, 'send') };
    const most = this.#has(VIRTIO_NET_F_MTU) ? transport.config.u16(NET_MTU) : 65_535;
    // A frame that is longer than a buffer comes in several where they are mergeable (5.1.6.3.1), and goes in several always.
    const room = this.#has(VIRTIO_NET_F_MRG_RXBUF) ? wishes.mtu : host.pool.room - ETHER_HEADER_BYTES;
    this.mtu = Math.min(wishes.mtu, most, room);
    const { queues } = wishes;
    const pairs = this.#pairs;
    if (queues > pairs) throw this.#unsupported(`it has ${pairs} pairs of queues, and ${queues} are asked for`);
    if (this.#has(VIRTIO_NET_F_RSS)) this.rss = VirtioRss.of(host.device, queues, transport.config, bytes => this.#command(CTRL_MQ_RSS_CONFIG, bytes));
  }

  /** Undefined for a device that has none of its own. */
  get mac(): string | undefined {
    if (!this.#has(VIRTIO_NET_F_MAC)) return undefined;
    return macText(this.#transport.readConfig(config => Uint8Array.from({ length: 6 }, (_, i) => config.u8(NET_MAC + i))));
  }

  get link(): LinkState {
    const { status, config } = this.#transport;
    // Broken, or reset by somebody else; one that has gone reads as all ones.
    if ((status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) !== STATUS_DRIVER_OK) return { up: false, mbps: 0, fullDuplex: false };
    const up = !this.#has(VIRTIO_NET_F_STATUS) || (config.u16(NET_STATUS) & NET_S_LINK_UP) !== 0;
    if (!up) return { up, mbps: 0, fullDuplex: false };
    if (!this.#has(VIRTIO_NET_F_SPEED_DUPLEX)) return { up, mbps: UNKNOWN_SPEED, fullDuplex: true };
    return { up, mbps: config.u32(NET_SPEED), fullDuplex: config.u8(NET_DUPLEX) !== 0 };
  }

  /** The port's bus mastering is on from here; the vectors are the kernel's already. */
  watchConfig(): void {
    this.#transport.configVector = CONFIG_VECTOR;
  }

  /** Step 7: a queue's rings, empty. `wanted`: descriptors, a power of two; fewer where the device has fewer. */
  place(state: QueueState, wanted: number): void {
    const index = virtqueueIndex(state);
    const most = this.#transport.queueSize(index);
    if (most === 0) throw this.#unsupported(`it has no queue ${index}`);
    const size = Math.min(wanted, 2 ** Math.floor(Math.log2(most)));
    const places = ringPlaces(this.format.packed, size);
    const name = `${state.direction}${state.owner & 0xff}`;
    const shared = this.#nic.dma(name, places.bytes).offset;
    const own = this.#nic.memory(`${name}/own`, driverPrivateBytes(size)).offset;
    const iova = this.#nic.iova;
    resetDriver(state, { format: this.format, size, shared, own, iova: BigInt(iova), pool: this.#host.pool, longest: this.mtu + OVERHEAD, offloads: this.offloads[state.direction] });
    const at = iova + shared;
    const doorbell = this.#transport.placeQueue(index, {
      size, desc: at + places.desc, driver: at + places.avail, device: at + places.used, vector: state.direction === 'rx' ? CONFIG_VECTOR + 1 + index / 2 : NO_VECTOR,
    });
    state.set(VQ_TELL, doorbell);
  }

  /** The rest of step 7, step 8, and the first commands. */
  start(states: readonly QueueState[], promiscuous: boolean): void {
    this.#placeControl();
    const { arena } = this.#host;
    for (const state of states) {
      openQueue(state);
      if (state.direction === 'rx') burstFunctions(arena).virtioFill(state.offset, arena.lcore);
    }
    this.#transport.addStatus(STATUS_DRIVER_OK);
    for (const state of states.filter(each => each.get(VQ_NOTIFY) !== 0 && each.get(VQ_READY) !== 0)) {
      state.set(VQ_NOTIFY, 0);
      arena.u16[state.get(VQ_TELL) >>> 1] = virtqueueIndex(state);
    }
    if (this.rss !== undefined) this.rss.write();
    else if (this.#wishes.queues > 1) this.#command(CTRL_MQ_PAIRS_SET, u16(this.#wishes.queues));
    if (this.#has(VIRTIO_NET_F_CTRL_RX)) this.promiscuous(promiscuous);
    if (this.#has(VIRTIO_NET_F_CTRL_VLAN)) this.vlanFilter(undefined);
  }

  /** 5.1.6.5.1. A device without CTRL_RX takes every frame, always. Throws EUNSUPPORTED. */
  promiscuous(on: boolean): void {
    if (!this.#has(VIRTIO_NET_F_CTRL_RX)) {
      if (on) return;
      throw this.#unsupported('it has no filter, and takes every frame');
    }
    this.#command(CTRL_RX_PROMISC, Uint8Array.of(on ? 1 : 0));
    this.#command(CTRL_RX_ALLMULTI, Uint8Array.of(on ? 1 : 0));
  }

  /** 5.1.6.5.2: no further addresses of its own, and these groups. Throws EOPTION, EUNSUPPORTED. */
  multicast(groups: readonly string[]): void {
    const addresses = groups.map(group => {
      const bytes = macBytes(group);
      if ((bytes[0]! & 1) === 0) throw new PollmodeError('EOPTION', `${group} is no multicast address: the lowest bit of its first byte is 0.`);
      return bytes;
    });
    if (!this.#has(VIRTIO_NET_F_CTRL_RX)) return;
    this.#command(CTRL_MAC_TABLE_SET, Uint8Array.from([...u32(0), ...u32(groups.length), ...addresses.flatMap(bytes => [...bytes])]));
  }

  /** 5.1.6.5.3. Throws EOPTION, EUNSUPPORTED. */
  vlanFilter(ids: readonly number[] | undefined): void {
    if (!this.#has(VIRTIO_NET_F_CTRL_VLAN)) throw this.#unsupported('VLANs are filtered in a port that was opened with vlan_filter');
    const wanted = new Set(ids ?? Array.from({ length: VLANS }, (_, id) => id));
    for (const id of wanted) if (!Number.isInteger(id) || id < 0 || id >= VLANS) throw new PollmodeError('EOPTION', `${id} is no VLAN: they are 0 to ${VLANS - 1}.`);
    for (const id of this.#vlans) if (!wanted.has(id)) this.#command(CTRL_VLAN_DEL, u16(id));
    for (const id of wanted) if (!this.#vlans.has(id)) this.#command(CTRL_VLAN_ADD, u16(id));
    this.#vlans.clear();
    for (const id of wanted) this.#vlans.add(id);
  }

  /** The device lets go of every ring and buffer. */
  stop(): void {
    this.#transport.reset();
  }

  /** 5.1.2: behind all pairs that the device has, when several were negotiated. */
  #placeControl(): void {
    if (!this.#has(VIRTIO_NET_F_CTRL_VQ)) return;
    const index = 2 * this.#pairs;
    const control = new ControlQueue(this.#name, this.#host.arena, this.#nic.dma('control', CONTROL_BYTES), this.#nic.iova, this.format.packed, index);
    if (this.#transport.queueSize(index) < control.addresses.size) throw this.#unsupported('its control queue is not there');
    control.doorbell = this.#transport.placeQueue(index, control.addresses);
    this.#control = control;
  }

  get #pairs(): number {
    return this.#has(VIRTIO_NET_F_MQ) || this.#has(VIRTIO_NET_F_RSS) ? this.#transport.config.u16(NET_MAX_PAIRS) : 1;
  }

  #command(command: readonly [number, number], data: Uint8Array): void {
    if (this.#control === undefined) throw this.#unsupported('it has no control queue');
    this.#control.send(command, data);
  }

  #has(bits: bigint): boolean {
    return (this.features & bits) === bits;
  }

  #unsupported(why: string): PollmodeError {
    return new PollmodeError('EUNSUPPORTED', `${this.#name}: the virtio device cannot be used so, ${why}.`);
  }
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >>> 8);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

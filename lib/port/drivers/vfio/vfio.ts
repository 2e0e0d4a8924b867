import { existsSync } from 'node:fs';
import { ZONE_OVERLAY } from '../../../arena/layout.js';
import { tryBinding } from '../../../binding.js';
import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { readDevice } from '../../../kernel/pci.js';
import { VQ_TELL } from '../../../virtqueue/layout.js';
import { QUEUE_LCORE } from '../../layout.js';
import type { Availability, Port, PortDriver, PortHost } from '../../port.js';
import { NO_ADDON } from '../../probe.js';
import type { QueueView } from '../../queue_view.js';
import { E1000eChip } from './e1000e/chip.js';
import { IgbChip } from './igb/chip.js';
import { INTEL_TAIL } from './intel/layout.js';
import { IgbvfChip } from './igbvf/chip.js';
import { IntelPort, type MakeChip } from './intel/port.js';
import { IntelRxQueue, IntelTxQueue, repair } from './intel/queues.js';
import { IxgbeChip } from './ixgbe/chip.js';
import { NicDevice } from './pci/device.js';
import { VFIO_DEVICE, VFIO_VIRTIO } from './layout.js';
import { VirtioPort } from './virtio/port.js';
import { repair as repairVirtio, VirtioPciRxQueue, VirtioPciTxQueue } from './virtio/queues.js';

export interface VfioOptions {
  /** The NIC's PCI address, "0000:01:00.0" or "01:00.0". */
  readonly device: string;
  /** Queues in each direction. With more than one, RSS chooses among them. Default 1. */
  readonly queues?: number;
  /** Descriptors of a queue's receive ring and transmit ring; powers of two. Default 512. */
  readonly rxRing?: number;
  readonly txRing?: number;
  /** IP bytes, without Ethernet header and FCS. Above 1500, frames come in chains of mbufs of 4096 bytes. Default 1500. */
  readonly mtu?: number;
  /** VLAN tags are taken off what comes (RX_VLAN_STRIPPED), and put into what is sent (TX_VLAN). Default off. */
  readonly vlanOffload?: boolean;
  /** Takes frames for any address. Default off. */
  readonly promiscuous?: boolean;
  /** Lets `port.vlanFilter` be used, where the device has it. Default off. */
  readonly vlanFilter?: boolean;
  /** virtio-net: frames come with the checksums and segments that their sender has left to be done, as TX_* flags. Default off. */
  readonly passOffloads?: boolean;
  /** Least time between two interrupts, in microseconds. Default 20. */
  readonly throttleUs?: number;
  /** UUID that a physical function of vfio-pci's keeps its virtual ones with; see igbvf/README.md. Default none. */
  readonly vfToken?: string;
}

type Settings = Required<VfioOptions>;

/** Which driver has which device. A new one is a folder here and a line. */
const DEVICES: readonly { readonly vendor: number; readonly device: number; readonly name: string; readonly open: (settings: Settings, host: PortHost) => Port }[] = [
  { vendor: 0x8086, device: 0x10d3, name: '82574L (e1000e)', open: intel(({ queues }) => (name, nic) => new E1000eChip(name, nic, queues)) },
  ...[0x10c9, 0x10e6, 0x10e7, 0x10e8].map(device => ({ vendor: 0x8086, device, name: '82576 (igb)', open: intel(({ queues }) => (name, nic) => new IgbChip(name, nic, queues)) })),
  { vendor: 0x8086, device: 0x10ca, name: '82576 virtual function (igbvf)', open: intel(() => (name, nic) => new IgbvfChip(name, nic)) },
  // SFP+: others of the family are no different here, but for the link, which nobody has tried.
  ...[0x10fb, 0x154d, 0x1557].map(device => ({ vendor: 0x8086, device, name: '82599 (ixgbe)', open: intel(({ queues }) => (name, nic) => new IxgbeChip(name, nic, queues)) })),
  { vendor: 0x1af4, device: 0x1041, name: 'virtio-net', open: virtio },
];

/**
 * `vfio:0000:01:00.0`: a NIC that this process drives itself (Documentation/driver-api/vfio.rst). Its registers and
 * descriptor rings are in the arena, and the pool's buffers are what it reads and writes, behind an IOMMU that lets it
 * reach nothing else. After set-up no system call is made. `pollmode bind` takes the NIC from the kernel.
 */
export const vfioDriver: PortDriver<VfioOptions> = {
  name: 'vfio',
  summary: 'a NIC driven in this process, by VFIO',
  options: {
    device: { type: 'text', help: 'PCI address of the NIC, bound to vfio-pci (pollmode bind)', required: true },
    queues: { type: 'count', help: 'queues in each direction, RSS among them (default 1)', min: 1, max: 16 },
    rxRing: { type: 'count', help: 'descriptors of a receive ring, a power of two (default 512)', min: 64, max: 4096 },
    txRing: { type: 'count', help: 'descriptors of a transmit ring, a power of two (default 512)', min: 64, max: 4096 },
    mtu: { type: 'count', help: 'IP bytes of the largest packet (default 1500); above that, frames come in chains of mbufs', min: 68, max: 9000 },
    vlanOffload: { type: 'flag', help: 'VLAN tags are taken off what comes, and put into what is sent (default off)' },
    promiscuous: { type: 'flag', help: 'frames for any address (default off)' },
    throttleUs: { type: 'count', help: 'least time between two interrupts in microseconds (default 20)', min: 0, max: 8000 },
    vfToken: { type: 'text', help: 'UUID that a physical function of vfio-pci\'s shares with its virtual ones' },
    passOffloads: { type: 'flag', help: 'virtio-net: receive frames with their offloads still to be done, for ports that do them (default off)' },
    vlanFilter: { type: 'flag', help: 'lets frames of chosen VLANs alone come in, where the device can (default off: of all)' },
  },
  probe(): Availability {
    const addon = tryBinding();
    if (addon instanceof PollmodeError) return { usable: false, reason: NO_ADDON, mend: addon.message };
    // Missing rights, and what binds the NIC, are for `open` to name.
    return existsSync('/dev/vfio/vfio') ? { usable: true } : { usable: false, reason: 'the kernel has no VFIO', mend: 'as root: modprobe vfio-pci (a kernel without modules needs CONFIG_VFIO_PCI=y)' };
  },
  plan(options) {
    const { queues, rxRing, txRing, mtu } = settings(options);
    for (const size of [rxRing, txRing]) {
      if ((size & (size - 1)) !== 0) throw new PollmodeError('EOPTION', `vfio: a ring of ${size} descriptors: choose a power of two.`);
    }
    return { mbufs: queues * (rxRing + txRing), bufferSize: mtu > 1500 ? 4096 : 2048, registered: true };
  },
  open(options, host) {
    const { vendor, device, address } = readDevice(options.device);
    const found = DEVICES.find(each => each.vendor === vendor && each.device === device);
    if (found !== undefined) return found.open(settings(options), host);
    const id = [vendor, device].map(number => number.toString(16).padStart(4, '0')).join(':');
    throw new PollmodeError('EUNSUPPORTED', `${host.device}: pollmode has no driver for the device ${id} at ${address}: there are ${[...new Set(DEVICES.map(each => each.name))].join(', ')}; any other NIC can be used through af_xdp.`);
  },
  attach: {
    rx: state => isVirtio(ofThisProcess(state)) ? new VirtioPciRxQueue(state, burstFunctions(state.arena)) : new IntelRxQueue(state, burstFunctions(state.arena)),
    tx: state => isVirtio(ofThisProcess(state)) ? new VirtioPciTxQueue(state, burstFunctions(state.arena)) : new IntelTxQueue(state, burstFunctions(state.arena)),
    repair: state => { (isVirtio(state) ? repairVirtio : repair)(state); },
  },
};

function isVirtio(state: QueueView): boolean {
  return state.get(VFIO_DEVICE) === VFIO_VIRTIO;
}

/** The registers are mapped in the opening process; its threads share them. */
function ofThisProcess(state: QueueView): QueueView {
  const tail = state.get(isVirtio(state) ? VQ_TELL : INTEL_TAIL);
  const zone = state.arena.zones().find(({ type, offset, length }) => type === ZONE_OVERLAY && tail - offset >= 0 && tail - offset < length);
  if (zone?.pid === process.pid) return state;
  Atomics.store(state.arena.u32, (state.offset + QUEUE_LCORE) >>> 2, 0);
  throw new PollmodeError('EUNSUPPORTED', 'A queue of a VFIO device is polled in the process that opened it: hand its packets to another through a ring.');
}

function settings(options: VfioOptions): Settings {
  return { queues: 1, rxRing: 512, txRing: 512, mtu: 1500, vlanOffload: false, promiscuous: false, vlanFilter: false, passOffloads: false, throttleUs: 20, vfToken: '', ...options };
}

/** What the virtio-net driver has no part in is refused, not ignored. */
function virtio(settings: Settings, host: PortHost): Port {
  const without = settings.vlanOffload ? 'vlan_offload' : settings.vfToken !== '' ? 'vf_token' : undefined;
  if (without !== undefined) throw new PollmodeError('EUNSUPPORTED', `${host.device}: the driver of virtio-net has no ${without}: leave it out.`);
  return new VirtioPort(settings, host);
}

/** One of Intel's, of which only the registers are different. */
function intel(make: (settings: Settings) => MakeChip): (settings: Settings, host: PortHost) => Port {
  return (settings, host) => {
    if (settings.passOffloads) throw new PollmodeError('EUNSUPPORTED', `${host.device}: this NIC receives nothing that was left to be done, so there is no pass_offloads: leave it out.`);
    return new IntelPort(settings, host, new NicDevice(host, settings.device, settings.vfToken), make(settings));
  };
}

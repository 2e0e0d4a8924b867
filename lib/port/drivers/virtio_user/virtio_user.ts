import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { unixAddress } from '../../../kernel/unix.js';
import { isRingSize } from '../../../virtqueue/device.js';
import type { PortDriver } from '../../port.js';
import { probeAddon } from '../../probe.js';
import type { VirtioUserOptions } from './options.js';
import { ofThisProcess, repairVirtqueue } from '../../virtqueue_attach.js';
import { VirtioUserPort } from './port.js';
import { VirtioRxQueue, VirtioTxQueue } from './queues.js';

/**
 * `virtio_user:/run/switch.sock`: the driver's side of a vhost-user socket: plugged into OVS-DPDK, VPP, DPDK's net_vhost
 * or our own `vhost:` as a virtual machine would be. The back-end sees the pool's buffers and the rings, and nothing
 * else of the arena; it copies, here nothing is copied. When it goes, the port waits for it to come back.
 */
export const virtioUserDriver: PortDriver<VirtioUserOptions> = {
  name: 'virtio_user',
  summary: 'the driver\'s side of a vhost-user socket, as a virtual machine has it',
  options: {
    device: { type: 'text', help: 'path of the back-end\'s Unix socket', required: true },
    queues: { type: 'count', help: 'pairs of queues (default 1)', min: 1, max: 64 },
    queueSize: { type: 'count', help: 'descriptors of each ring (default 256)', min: 4, max: 32768 },
    packed: { type: 'flag', help: 'packed rings (default off)' },
    mergeable: { type: 'flag', help: 'receive frames in several buffers (default on)' },
    indirect: { type: 'flag', help: 'indirect descriptors (default on)' },
    mtu: { type: 'count', help: 'bytes of IP packet (default 1500)', min: 68, max: 65_500 },
  },
  probe: probeAddon,
  plan(options) {
    const { device, queues, queueSize, packed } = settings(options);
    unixAddress(device);
    if (!isRingSize(packed, queueSize)) throw new PollmodeError('EOPTION', `virtio_user: a split ring of ${queueSize} descriptors: choose a power of two, or packed=1.`);
    return { mbufs: 2 * queues * queueSize, bufferSize: 2048, registered: true, ownFile: true };
  },
  open: (options, host) => new VirtioUserPort(settings(options), host),
  attach: {
    rx: state => new VirtioRxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    tx: state => new VirtioTxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    repair: repairVirtqueue,
  },
};

function settings(options: VirtioUserOptions): Required<VirtioUserOptions> {
  return { queues: 1, queueSize: 256, packed: false, mergeable: true, indirect: true, mtu: 1500, ...options };
}

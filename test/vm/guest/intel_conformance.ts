import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import type { Subject } from '../../port/conformance/subject.js';
import { RawWire, rigWithWire } from '../../port/conformance/wires.js';
import { grouped, type Wire } from '../devices.js';
import { peerOf } from './wire.js';

/** The first is tested; the others where two are needed. The other end is Linux: a raw socket on its virtio-net interface. */
export function intelConformance(wires: readonly (Wire & { /** More options of the device. */ readonly options?: string })[], more: Partial<Subject> = {}): Subject {
  const free = [...wires];
  return {
    driver: 'vfio',
    carries: true,
    shortest: 17,
    longest: room => Math.min(room, 1514),
    chains: 'carried',
    jumbo: false,
    refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' },
    takesMbufs: true,
    losses: ['rx_missed'],
    fills: false, // the emulated NIC sends inside the store to its tail register
    refused: [
      ['vfio:', 'EDEVICE'], ['vfio:eth0', 'EDEVICE'], ['vfio:0000:1e:00.0', 'ENOTFOUND'], [`vfio:${grouped[0]}`, 'EUNSUPPORTED'],
      [`vfio:${wires[0]!.nic},rx_ring=100`, 'EOPTION'], [`vfio:${wires[0]!.nic},queues=16`, 'EOPTION'], [`vfio:${wires[0]!.nic},vf_token=no`, 'EOPTION'],
    ],
    /** One port has a NIC to itself: a second place is the other NIC. */
    place() {
      const wire = free.shift()!;
      bindToVfio(wire.nic, { force: true });
      const { ifindex } = peerOf(wire);
      const device = `vfio:${wire.nic},rx_ring=128,tx_ring=128,promiscuous${wire.options ?? ''}`;
      return {
        device,
        within: work => work(),
        open({ options, incoming }) {
          const host = open([device], options);
          return rigWithWire(host, new RawWire(ifindex), incoming);
        },
        close() {
          restore(wire.nic, { force: true });
          free.unshift(wire);
        },
      };
    },
    ...more,
  };
}

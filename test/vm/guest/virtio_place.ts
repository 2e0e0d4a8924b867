/** The conformance suite over a virtio-net in our hands; the other end is Linux: a raw socket on its virtio-net interface. */
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import type { Subject } from '../../port/conformance/subject.js';
import { RawWire, rigWithWire } from '../../port/conformance/wires.js';
import { grouped, type Wire } from '../devices.js';
import { peerOf } from './wire.js';

/** One port has a NIC to itself: a second place is the next NIC. */
export function virtioSubject(nics: readonly Wire[]): Subject {
  const free = [...nics];
  return {
    driver: 'vfio',
    carries: true,
    shortest: 14,
    longest: room => Math.min(room, 1514),
    chains: 'carried',
    jumbo: false,
    refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' },
    takesMbufs: true,
    losses: [],
    fills: false, // the emulated NIC sends inside the store to its doorbell, or soon
    refused: [
      ['vfio:', 'EDEVICE'], ['vfio:eth0', 'EDEVICE'], ['vfio:0000:1e:00.0', 'ENOTFOUND'], [`vfio:${grouped[0]}`, 'EUNSUPPORTED'],
      [`vfio:${nics[0]!.nic},rx_ring=100`, 'EOPTION'],
    ],
    place() {
      const wire = free.shift()!;
      bindToVfio(wire.nic, { force: true });
      const { ifindex } = peerOf(wire);
      const device = `vfio:${wire.nic},rx_ring=128,tx_ring=128,promiscuous`;
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
  };
}

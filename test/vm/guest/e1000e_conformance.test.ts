import t from 'tap';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import type { Place } from '../../port/conformance/subject.js';
import { conformance } from '../../port/conformance/suite.js';
import { RawWire, rigWithWire } from '../../port/conformance/wires.js';
import { e1000e, e1000eToo, grouped } from '../devices.js';
import { peerOf } from './wire.js';

const free = [e1000e, e1000eToo];

// The other end is Linux: a raw socket on its virtio-net interface.
conformance(t, {
  driver: 'vfio',
  carries: true,
  shortest: 17,
  longest: room => Math.min(room, 1514),
  chains: 'refused',
  refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame', chain: 'tx_bad_frame' },
  takesMbufs: true,
  losses: ['rx_missed'],
  fills: false, // the emulated NIC sends inside the store to its tail register
  refused: [
    ['vfio:', 'EDEVICE'], ['vfio:eth0', 'EDEVICE'], ['vfio:0000:1e:00.0', 'ENOTFOUND'], [`vfio:${grouped[0]}`, 'EUNSUPPORTED'],
    [`vfio:${e1000e.nic},rx_ring=100`, 'EOPTION'],
  ],
  place,
});

/** One port has a NIC to itself: a second place is the other NIC. */
function place(): Place {
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
}

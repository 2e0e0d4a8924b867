/** A virtual function as any port, under a physical function of ours that trusts it. */
import t from 'tap';
import { restore, setVirtualFunctions } from '../../../lib/pci/bind.js';
import { conformance } from '../../port/conformance/suite.js';
import { e1000eToo, grouped, igb } from '../devices.js';
import { PfServer, TOKEN } from './functions.js';
import { intelConformance } from './intel_conformance.js';

const OTHER_MAC = '02:00:00:00:00:0c';
const server = await PfServer.start(1);
// What is for its own address would not go out to the wire: it has another, and takes what is for any.
await server.set(0, { mac: OTHER_MAC, trust: true });
const [nic] = server.functions as [string];

conformance(t, intelConformance([{ nic, mac: OTHER_MAC, peerMac: igb.peerMac, options: `,vf_token=${TOKEN}` }, e1000eToo], {
  refused: [
    ['vfio:', 'EDEVICE'], ['vfio:eth0', 'EDEVICE'], ['vfio:0000:1e:00.0', 'ENOTFOUND'], [`vfio:${grouped[0]}`, 'EUNSUPPORTED'], [`vfio:${nic}`, 'ERIGHTS'],
    [`vfio:${nic},vf_token=${TOKEN},rx_ring=100`, 'EOPTION'], [`vfio:${nic},vf_token=${TOKEN},queues=2`, 'EOPTION'], [`vfio:${nic},vf_token=no`, 'EOPTION'],
  ],
  echoes: true,
  uncounted: 'the emulated 82576 drops what finds no descriptor without counting it',
}));

t.teardown(async () => {
  await server.stop();
  setVirtualFunctions(igb.nic, 0, { force: true });
  restore(igb.nic, { force: true });
});

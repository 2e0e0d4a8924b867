/** The 82599's driver, the model of the device in place of VFIO: a driver of its own name, that this process alone has. */
import t from 'tap';
import { burstFunctions } from '../../../lib/burst/module.js';
import { drivers } from '../../../lib/port/drivers.js';
import { IntelPort } from '../../../lib/port/drivers/vfio/intel/port.js';
import { IntelRxQueue, IntelTxQueue, repair } from '../../../lib/port/drivers/vfio/intel/queues.js';
import { IxgbeChip } from '../../../lib/port/drivers/vfio/ixgbe/chip.js';
import { vfioDriver, type VfioOptions } from '../../../lib/port/drivers/vfio/vfio.js';
import { open } from '../../../lib/port/host.js';
import type { PortDriver } from '../../../lib/port/port.js';
import { ModelNic } from '../drivers/vfio/model_nic.js';
import { conformance } from './suite.js';

const NAME = 'vfio_82599';
/** Of the port that was opened last. */
let latest: ModelNic;

const model: PortDriver<VfioOptions> = {
  ...vfioDriver,
  name: NAME,
  probe: () => ({ usable: true }),
  open(options, host) {
    const settings = { queues: 1, rxRing: 512, txRing: 512, mtu: 1500, vlanOffload: false, promiscuous: false, throttleUs: 20, ...options };
    latest = new ModelNic(host, `model/${host.number}`, true);
    return new IntelPort(settings, host, latest, (name, nic) => new IxgbeChip(name, nic, settings.queues));
  },
  attach: {
    rx: state => new IntelRxQueue(state, burstFunctions(state.arena)),
    tx: state => new IntelTxQueue(state, burstFunctions(state.arena)),
    repair,
  },
};
(drivers as PortDriver[]).push(model as unknown as PortDriver);

conformance(t, {
  driver: NAME,
  carries: true,
  shortest: 17,
  longest: room => Math.min(room, 1514),
  chains: 'carried',
  jumbo: false,
  refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' },
  takesMbufs: true,
  losses: ['rx_missed'],
  fills: true, // until the model steps
  refused: [[`${NAME}:`, 'EDEVICE'], [`${NAME}:x,rx_ring=100`, 'EOPTION'], [`${NAME}:x,tx_ring=65`, 'EOPTION'], [`${NAME}:x,queues=17`, 'EDEVICE']],
  place() {
    const device = `${NAME}:x,rx_ring=128,tx_ring=128,promiscuous`;
    return {
      device,
      within: work => work(),
      async open({ options, incoming = [] }) {
        const host = open([device], options);
        const nic = latest;
        nic.model.step();
        const arrive = (frames: readonly Uint8Array[]): void => { for (const frame of frames) nic.model.receive(frame); };
        arrive(incoming);
        const clock = setInterval(() => { nic.model.step(); }, 0);
        return {
          host, port: host.ports[0]!,
          arrive: async frames => { arrive(frames); },
          departed() { nic.model.step(); return nic.sent.splice(0); },
          close() {
            clearInterval(clock);
            host.close();
            if (nic.model.violations.length > 0 || nic.model.faults > 0) throw new Error(`${nic.model.faults} transfers astray; ${nic.model.violations.join(' ')}`);
          },
        };
      },
      close: () => undefined,
    };
  },
});

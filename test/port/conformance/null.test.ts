import t from 'tap';
import { open } from '../../../lib/port/host.js';
import { conformance } from './suite.js';

const LONG = process.env['POLLMODE_LONG'] === '1';

for (const device of LONG ? ['null:', 'null:frame=udp,size=64'] : ['null:']) conformance(t, {
  driver: 'null',
  carries: false,
  shortest: 0,
  longest: room => room,
  chains: 'carried',
  refusals: {},
  takesMbufs: true,
  losses: [],
  fills: false,
  refused: [['null:x', 'EDEVICE'], ['null:size=13', 'EDEVICE'], ['null:size=1793', 'EPOOL'], ['null:queues=65', 'EDEVICE'], ['null:frame=tcp', 'EDEVICE'], ['null:frame=udp,size=41', 'EOPTION'], ['null:frame=udp6', 'EOPTION']],
  place: () => ({
    device,
    within: work => work(),
    async open({ options }) {
      const host = open([device], options);
      return { host, port: host.ports[0]!, departed: () => [], close: () => host.close() };
    },
    close: () => undefined,
  }),
});

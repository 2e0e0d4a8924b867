import t from 'tap';
import { open } from '../../../lib/port/host.js';
import { conformance } from './suite.js';

conformance(t, {
  driver: 'null',
  carries: false,
  shortest: 0,
  longest: room => room,
  chains: 'carried',
  refusals: {},
  takesMbufs: true,
  losses: [],
  fills: false,
  refused: [['null:x', 'EDEVICE'], ['null:size=13', 'EDEVICE'], ['null:size=1793', 'EPOOL'], ['null:queues=65', 'EDEVICE']],
  place: () => ({
    device: 'null:',
    within: work => work(),
    async open({ options }) {
      const host = open(['null:'], options);
      return { host, port: host.ports[0]!, departed: () => [], close: () => host.close() };
    },
    close: () => undefined,
  }),
});

import t from 'tap';
import { open } from '../../../lib/port/host.js';
import { conformance } from './suite.js';
import { receiveBy, sendBy } from './wires.js';

const DEVICE = 'ring:left,tx=right,size=128';

// The other end is a second port with the names crossed.
conformance(t, {
  driver: 'ring',
  carries: true,
  shortest: 0,
  longest: room => room,
  chains: 'carried',
  refusals: {},
  handsOn: true,
  takesMbufs: false,
  losses: [],
  fills: true,
  refused: [
    ['ring:', 'EDEVICE'], ['ring:a,size=3', 'EOPTION'], ['ring:a,tx=b,size=100', 'EOPTION'],
    [`ring:a,tx=${'b'.repeat(60)}`, 'EOPTION'], ['ring:a\\,b\\\\,tx=c,size=1', 'EDEVICE'],
  ],
  place: () => ({
    device: DEVICE,
    within: work => work(),
    async open({ options, incoming = [] }) {
      const host = open([DEVICE, 'ring:right,tx=left'], options);
      const [port, other] = host.ports as [typeof host.ports[0], typeof host.ports[0]];
      sendBy(host, other, incoming);
      return {
        host, port,
        arrive: async frames => sendBy(host, other, frames),
        departed: () => receiveBy(host, other),
        close: () => host.close(),
      };
    },
    close: () => undefined,
  }),
});

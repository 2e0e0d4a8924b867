import t from 'tap';
import { vhostPlace } from './vhost_user.js';
import { conformance } from './suite.js';

// The other end is our own driver's side, with packed rings.
conformance(t, {
  driver: 'vhost',
  carries: true,
  shortest: 14,
  longest: room => room,
  chains: 'carried',
  jumbo: false,
  refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' },
  takesMbufs: true,
  losses: [],
  fills: true,
  pool: { file: 'own' },
  refused: [
    ['vhost:', 'EDEVICE'], ['vhost:/nonexistent/folder/s', 'ENOTFOUND'], [`vhost:/tmp/${'x'.repeat(120)}`, 'EOPTION'], ['vhost:/tmp', 'EEXISTS'],
    ['vhost:/tmp/pollmode-never-made,queues=65', 'EDEVICE'],
  ],
  place: () => vhostPlace('queue_size=128,packed=1'),
});

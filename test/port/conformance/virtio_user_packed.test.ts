import t from 'tap';
import { virtioUserPlace } from './vhost_user.js';
import { conformance } from './suite.js';

// The other end is our own vhost port, with packed rings.
conformance(t, {
  driver: 'virtio_user',
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
    ['virtio_user:', 'EDEVICE'], ['virtio_user:/nonexistent/folder/s', 'ENOTFOUND'], [`virtio_user:/tmp/${'x'.repeat(120)}`, 'EOPTION'],
    ['virtio_user:/nonexistent/s,queue_size=100', 'EOPTION'],
  ],
  place: () => virtioUserPlace('queue_size=128,packed=1'),
});

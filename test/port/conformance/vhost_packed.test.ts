import t from 'tap';
import { conformance } from './suite.js';
import { vhostSubject } from './vhost_user.js';

conformance(t, vhostSubject('queue_size=128,packed=1'));

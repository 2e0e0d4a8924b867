import t from 'tap';
import { conformance } from './suite.js';
import { virtioUserSubject } from './vhost_user.js';

conformance(t, virtioUserSubject('queue_size=128'));

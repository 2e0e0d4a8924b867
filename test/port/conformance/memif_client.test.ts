import t from 'tap';
import { conformance } from './suite.js';
import { memifClientSubject } from './memif.js';

conformance(t, memifClientSubject());

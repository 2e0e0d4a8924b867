import t from 'tap';
import { conformance } from './suite.js';
import { memifServerSubject } from './memif.js';

conformance(t, memifServerSubject());

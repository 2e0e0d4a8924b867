import t from 'tap';
import { conformance } from '../../port/conformance/suite.js';
import { e1000e, e1000eToo } from '../devices.js';
import { intelConformance } from './intel_conformance.js';

conformance(t, intelConformance([e1000e, e1000eToo]));

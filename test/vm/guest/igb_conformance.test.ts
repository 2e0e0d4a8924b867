import t from 'tap';
import { conformance } from '../../port/conformance/suite.js';
import { e1000eToo, igb } from '../devices.js';
import { intelConformance } from './intel_conformance.js';

conformance(t, intelConformance([igb, e1000eToo], {
  losses: ['rx_missed', 'rx_queue_drops'], uncounted: 'the emulated 82576 drops what finds no descriptor without counting it: MPC, RNBC and RQDPC stay 0',
}));

/** An 82574L. */
import t from 'tap';
import { e1000e } from '../devices.js';
import { intelSuite } from './intel_suite.js';

intelSuite(t, { name: 'e1000e', wire: e1000e, id: 'e1000e0', netdev: 'e0a', plug: `e1000e,id=e1000e0,bus=slot1,netdev=e0a,mac=${e1000e.mac},romfile=`, function: '01:00\\.0' });

/** An 82576's physical function. */
import t from 'tap';
import { igb } from '../devices.js';
import { intelSuite } from './intel_suite.js';

intelSuite(t, { name: 'igb', wire: igb, id: 'igb0', netdev: 'e2a', plug: `igb,id=igb0,bus=slot2,netdev=e2a,mac=${igb.mac},romfile=`, function: '04:00\\.0' });

import t from 'tap';
import { virtioSplit } from '../devices.js';
import { virtioTests } from './virtio_tests.js';

t.test('split rings', t => virtioTests(t, 'split', virtioSplit));

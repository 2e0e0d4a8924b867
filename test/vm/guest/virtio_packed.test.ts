import t from 'tap';
import { virtioPacked } from '../devices.js';
import { virtioTests } from './virtio_tests.js';

t.test('packed rings', t => virtioTests(t, 'packed', virtioPacked));

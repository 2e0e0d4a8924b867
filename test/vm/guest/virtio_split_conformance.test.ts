import t from 'tap';
import { conformance } from '../../port/conformance/suite.js';
import { virtioPacked, virtioSplit } from '../devices.js';
import { virtioSubject } from './virtio_place.js';

conformance(t, virtioSubject([virtioSplit, virtioPacked]));

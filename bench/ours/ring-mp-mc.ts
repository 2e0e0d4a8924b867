import { ringPair } from './rings.js';

ringPair(false);

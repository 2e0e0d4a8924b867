import { ringPair } from './rings.js';

ringPair(true);

import { afXdpBench } from './af_xdp.js';

afXdpBench('receive');

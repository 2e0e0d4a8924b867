import { forwardBench } from './forward.js';

// Bytes are not counted, as in net_ring; ring-io-bytes does.
forwardBench('ring:a,single=1,bytes=0', 'ring:b,single=1,bytes=0', { seed: 8 });

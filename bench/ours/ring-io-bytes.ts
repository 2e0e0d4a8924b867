import { forwardBench } from './forward.js';

forwardBench('ring:a,single=1', 'ring:b,single=1', { seed: 8 });

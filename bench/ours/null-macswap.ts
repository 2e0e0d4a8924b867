import { forwardBench } from './forward.js';

forwardBench('null:', 'null:', { swap: true });

import { virtqueueBench } from './virtqueue.js';

await virtqueueBench('send');

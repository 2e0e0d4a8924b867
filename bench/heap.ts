/** `node dist/bench/heap.js [PACKETS]`: what 100 million packets through a loop in TypeScript do to the heap. */
import { heapRun } from './heap_run.js';
import { benchOptions } from './options.js';

const { word } = benchOptions({
  what: 'What so many packets, null port to MAC swap in TypeScript to null port, do to the heap: growth, and garbage collections.',
  against: 'what is wanted: less than 1 MB, and none',
  word: { value: 'PACKETS', default: '100000000', help: 'how many' }, options: {},
});
const { packets, seconds, growth, collections } = await heapRun(Number(word));
const reached = growth < 1 << 20 && collections.length === 0;
process.stdout.write(`${packets} packets, null port to MAC swap in TypeScript to null port, in ${seconds.toFixed(2)} s (${(packets / seconds / 1e6).toFixed(0)} Mpps)
heap growth ${(growth / 1024).toFixed(1)} KiB (wanted: less than 1 MB), garbage collections ${collections.length}${collections.length === 0 ? '' : ` (${collections.join(', ')})`} (wanted: none)
${reached ? 'reached' : 'NOT reached'}
`);

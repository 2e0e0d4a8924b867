/** `node dist/bench/heap.js [PACKETS]`: what 100 million packets through a loop in TypeScript do to the heap. */
import { heapRun } from './heap_run.js';

const { packets, seconds, growth, collections } = await heapRun(Number(process.argv[2] ?? 100_000_000));
const reached = growth < 1 << 20 && collections.length === 0;
process.stdout.write(`${packets} packets, null port to MAC swap in TypeScript to null port, in ${seconds.toFixed(2)} s (${(packets / seconds / 1e6).toFixed(0)} Mpps)
heap growth ${(growth / 1024).toFixed(1)} KiB (wanted: less than 1 MB), garbage collections ${collections.length}${collections.length === 0 ? '' : ` (${collections.join(', ')})`} (wanted: none)
${reached ? 'reached' : 'NOT reached'}
`);

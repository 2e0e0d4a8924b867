import t from 'tap';
import { heapRun } from '../../bench/heap_run.js';

/** POLLMODE_LONG=1 for the hundred million of bench/heap.ts. */
const PACKETS = process.env['POLLMODE_LONG'] === '1' ? 100_000_000 : 5_000_000;

t.test('packets through TypeScript leave the heap alone', { timeout: 120_000 }, async t => {
  const { packets, growth, collections } = await heapRun(PACKETS);
  t.ok(packets >= PACKETS);
  t.ok(growth < 1 << 20, `the heap grew by ${growth} bytes`);
  t.same(collections, [], 'no garbage collection');
});

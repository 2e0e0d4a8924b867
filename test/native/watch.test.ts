import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { needs } from '../kernel/rights.js';

const EFD_NONBLOCK = 0x800;
const one = new Uint8Array(new BigUint64Array([1n]).buffer);

t.test('a watch calls back once for each time that it is armed, and not after it is gone', needs(), async t => {
  const b = binding();
  const fd = b.eventfd(0, EFD_NONBLOCK);
  let calls = 0;
  const watch = b.watch(fd, () => { calls++; });
  const settle = async (): Promise<void> => { for (let i = 0; i < 5; i++) await new Promise(resolve => { setTimeout(resolve, 2); }); };
  t.ok(watch > 0);
  b.write(fd, one);
  await settle();
  t.equal(calls, 0, 'not armed yet');
  t.equal(b.rearm(watch), 0);
  await settle();
  t.equal(calls, 1);
  await settle();
  t.equal(calls, 1, 'still readable, but not armed again');
  b.rearm(watch);
  await settle();
  t.equal(calls, 2);
  b.rearm(watch);
  t.equal(b.unwatch(watch), 0);
  await settle();
  t.equal(calls, 2);
  t.equal(b.unwatch(watch), -9, 'EBADF');
  t.equal(b.rearm(watch), -9);
  t.equal(b.close(fd), 0);
  t.ok(b.watch(fd, () => undefined) < 0, 'a closed descriptor');
  t.throws(() => b.watch(fd, 5 as unknown as () => void), TypeError);
});

t.test('a callback may remove its own watch, and what it throws is an uncaught exception', needs(), async t => {
  const b = binding();
  const fd = b.eventfd(1, EFD_NONBLOCK);
  const removed = await new Promise<number>(resolve => {
    const watch = b.watch(fd, () => resolve(b.unwatch(watch)));
    b.rearm(watch);
  });
  t.equal(removed, 0);
  b.close(fd);
  const source = `const { createRequire } = require('module'); const { workerData } = require('worker_threads');
    import(workerData).then(({ binding }) => { const b = binding(); const fd = b.eventfd(1, 0); const w = b.watch(fd, () => { throw new RangeError('from the callback'); }); b.rearm(w); });`;
  const worker = new Worker(source, { eval: true, workerData: new URL('../../lib/binding.js', import.meta.url).href });
  const [error] = await once(worker, 'error') as [Error];
  t.match(error.message, 'from the callback');
});

t.test('a worker that ends, or is ended, with watches armed leaves nothing that can crash', needs(), async t => {
  const source = `import(require('worker_threads').workerData).then(({ binding }) => { const b = binding();
    for (let i = 0; i < 20; i++) b.rearm(b.watch(b.eventfd(0, 0), () => undefined)); require('worker_threads').parentPort.postMessage('ready'); });`;
  for (let i = 0; i < 10; i++) {
    const worker = new Worker(source, { eval: true, workerData: new URL('../../lib/binding.js', import.meta.url).href });
    await once(worker, 'message');
    await worker.terminate();
  }
  t.pass('ten workers');
});

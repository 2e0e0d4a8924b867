import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { binding, type Binding } from '../../lib/binding.js';
import { inChild } from './child.js';

const NAMES: readonly (keyof Binding)[] = [
  'address', 'overlay', 'restore', 'advise', 'memfd', 'guard', 'mapBeside', 'unmapBeside', 'copyList', 'open', 'close', 'replace', 'ioctl', 'read', 'write', 'poll',
  'eventfd', 'readEach', 'readEachSpilling', 'writeEach', 'writev', 'sendEach', 'socket', 'bind', 'connect', 'setsockopt', 'getsockopt', 'send',
  'recv', 'bpf', 'gettid', 'setAffinity', 'affinity', 'setns', 'unshare', 'capabilities', 'usage', 'rlimit', 'alive', 'clock',
  'listen', 'accept', 'sendFds', 'recvFds', 'watch', 'rearm', 'unwatch', 'calls',
];

t.test('the addon has what its type says, and no more', async (t) => {
  t.same(Object.keys(binding()).sort(), [...NAMES].sort());
});

t.test('wrong types throw a TypeError from every door, and never reach the kernel', async (t) => {
  const doors = binding() as unknown as Record<string, (...values: unknown[]) => unknown>;
  const free = new Set(['gettid', 'affinity', 'capabilities', 'calls']); // these take nothing
  for (const name of NAMES.filter((one) => !free.has(one))) {
    t.throws(() => doors[name]!(), TypeError, `${name}()`);
    t.throws(() => doors[name]!({}, {}, {}, {}, {}, {}), TypeError, `${name}({}, ...)`);
  }
  t.throws(() => doors['write']!(1, new Uint16Array(4)), TypeError, 'another element type');
  t.throws(() => doors['ioctl']!(1, 1, new Uint8Array(8), [[0]]), TypeError, 'half a pointer');
  t.throws(() => doors['memfd']!('x', -1, 0), TypeError, 'a negative size');
  t.throws(() => doors['memfd']!('x', Number.NaN, 0), TypeError, 'no number');
});

t.test('a getter that throws inside the pointers is passed on as it is', async (t) => {
  const pointers: unknown[] = [];
  Object.defineProperty(pointers, 0, { get: () => { throw new RangeError('mine'); } });
  pointers.length = 1;
  const ioctl = binding().ioctl as (...values: unknown[]) => unknown;
  t.throws(() => ioctl(-1, 0, new Uint8Array(8), pointers), { message: 'mine' });
});

t.test('every worker has its own, again and again', async (t) => {
  const url = JSON.stringify(new URL('../../lib/binding.js', import.meta.url).href);
  for (let round = 0; round < 3; round++) {
    const workers = [1, 2].map(() => new Worker(`import(${url}).then(({ binding }) => {
      require('node:worker_threads').parentPort.postMessage(binding().gettid()); })`, { eval: true }));
    const tids = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as number));
    await Promise.all(workers.map((worker) => worker.terminate()));
    t.equal(new Set([...tids, binding().gettid()]).size, 3);
  }
});

t.test('an addon that is missing says what was tried and how to build', async (t) => {
  const ended = inChild(`const { binding } = await import(LIB + 'binding.js');
    try { binding(); } catch (error) { console.log(error.code, error.message); }`, [], { POLLMODE_ADDON: '/no/such/addon.node' });
  t.match(ended.stdout, /^EADDON /);
  for (const word of ['/no/such/addon.node', `${process.platform}-${process.arch}`, /glibc \d|musl/, 'node-gyp rebuild']) t.match(ended.stdout, word);
});

t.test('elsewhere than on Linux it imports, and says so when it is used', async (t) => {
  const ended = inChild(`Object.defineProperty(process, 'platform', { value: 'darwin' });
    const { tryBinding } = await import(LIB + 'binding.js');
    console.log(tryBinding().code, tryBinding().message);`);
  t.match(ended.stdout, /^EADDON .*Linux only.*darwin/);
});

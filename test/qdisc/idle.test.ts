/** A loop that sleeps does not sleep past a shaper's deadline. */
import t from 'tap';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import { Idle } from '../../lib/lcore/idle.js';
import { QdiscBench } from './bench_helper.js';

const addon = { skip: tryBinding() instanceof PollmodeError && 'the native addon is not built' };

t.test('no sleep while a packet is due within a millisecond; a sleep when nothing waits', addon, async t => {
  const bench = new QdiscBench({ kind: 'tbf', rate: '8mbit', burst: 1000 });
  // A descriptor that never has anything: poll(2) leaves negative ones out.
  const idle = new Idle({ policy: 'interrupt', queues: [{ wake: { fd: -1 } }], deadlines: [bench.queue], sleepMs: 2 });
  t.equal(bench.queue.sleepMs, Infinity);
  idle.sleep();
  t.equal(idle.stats().sleeps, 1);
  bench.send({ bytes: 1000 }, { bytes: 500 });
  t.equal(bench.queue.sleepMs, 0.5);
  idle.sleep();
  t.equal(idle.stats().sleeps, 1, 'due in 500 microseconds');
  bench.now += 600_000;
  t.equal(bench.queue.sleepMs, 0, 'overdue');
  bench.queue.service();
  idle.sleep();
  t.equal(idle.stats().sleeps, 2);
  bench.close();
});

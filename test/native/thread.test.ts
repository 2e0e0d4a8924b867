import { constants } from 'node:os';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { RLIMIT_MEMLOCK, RLIMIT_NOFILE } from '../../lib/kernel/constants.js';
import { inChild } from './child.js';

const { EINVAL, ESRCH } = constants.errno;
const b = binding();

t.test('pinning goes to one CPU and back to all', async (t) => {
  const before = b.affinity();
  t.ok(before.length > 0);
  const last = before[before.length - 1]!;
  t.equal(b.setAffinity(last), 0);
  t.same(b.affinity(), [last]);
  t.equal(b.setAffinity(-1), 0);
  for (const cpu of before) t.ok(b.affinity().includes(cpu));
  t.equal(b.setAffinity(8191), -EINVAL, 'no such CPU');
  t.equal(b.setAffinity(8192), -EINVAL);
  t.equal(b.setAffinity(-2), -EINVAL);
});

t.test('the clock goes forward and the counter with it', async (t) => {
  const [one, two] = [new Float64Array(2), new Float64Array(2)];
  b.clock(one);
  for (let i = 0; i < 1000; i++) b.clock(two);
  t.ok(two[1]! > one[1]!);
  if (process.arch === 'x64' || process.arch === 'arm64') t.ok(two[0]! > one[0]!);
  t.ok(Math.abs(one[1]! / 1e6 - Number(process.hrtime.bigint()) / 1e6) < 60_000, 'CLOCK_MONOTONIC, as hrtime');
  b.clock(new Float64Array(1)); // too short: nothing is written
});

t.test('usage, limits, processes', async (t) => {
  const into = new Float64Array(4);
  t.equal(b.usage(true, into), 0);
  t.ok(into[0]! > 0 && into.every((value) => value >= 0));
  t.equal(b.usage(false, new Float64Array(3)), -EINVAL);
  t.equal(b.rlimit(RLIMIT_NOFILE, into), 0);
  t.ok(into[0]! > 0 && into[0]! <= into[1]!);
  t.equal(b.rlimit(9999, into), -EINVAL);
  t.equal(b.rlimit(RLIMIT_NOFILE, into, Number.NaN), -EINVAL);
  t.equal(b.alive(process.pid), 0);
  t.equal(b.alive(0x3fffffff), -ESRCH);
  for (const pid of [0, -1]) t.equal(b.alive(pid), -EINVAL, 'never a group of processes');
});

t.test('a soft limit can be lowered and raised again', async (t) => {
  const ended = inChild(`const { binding } = await import(LIB + 'binding.js');
    const into = new Float64Array(2);
    const before = (binding().rlimit(${RLIMIT_MEMLOCK}, into), into[0]);
    console.log(binding().rlimit(${RLIMIT_MEMLOCK}, into, 65536), into[0], binding().rlimit(${RLIMIT_MEMLOCK}, into, before), into[0] === before);`);
  t.equal(ended.stdout, '0 65536 0 true\n');
});

t.test('capabilities are those that /proc shows', async (t) => {
  const { readFileSync } = await import('node:fs');
  const shown = /^CapEff:\s+([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))![1]!;
  t.equal(b.capabilities(), BigInt(`0x${shown}`));
});

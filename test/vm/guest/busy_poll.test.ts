/** Busy polling on a driver whose NAPIs the kernel knows: the system calls of our own bursts bring the packets, and the interrupt does not. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { open, type Host } from '../../../lib/port/host.js';
import { multiQueue } from '../devices.js';
import { nic, readFrame, Sender } from './multi_queue.js';

/** Far more than a test takes. */
const LATE = 'napi_defer=1000,gro_flush=10000000000';

const { name } = nic();
const value = (file: string): string => readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();
const values = (): string[] => ['napi_defer_hard_irqs', 'gro_flush_timeout'].map(value);

/** All queues, since with an XDP program some kernels spread packets over more of them than there are channels. */
function openAll(more: string): Host {
  return open([`af_xdp:${name},queues=${multiQueue.queues},channels=${multiQueue.queues},zero_copy=never,${more}`]);
}

/** One burst of each queue: how many frames of ours are in them. */
function burstOf(host: Host): number {
  const burst = host.burst(32);
  let ours = 0;
  for (const queue of host.ports[0]!.rx) {
    const got = queue.rxBurst(burst);
    for (let i = 0; i < got; i++) ours += Number(readFrame(host.mbufs.copyOut(burst.handles[i]!)) !== undefined);
    host.pool.free(burst, 0, got);
  }
  burst.close();
  return ours;
}

/** How many of `count` frames, each sent when the one before has come, come within so many seconds each: fewer than the timer has. */
async function oneByOne(host: Host, sender: Sender, count: number, seconds = 8): Promise<number> {
  for (let got = 0; got < count; got++) {
    sender.send(1, got);
    let came = 0;
    for (const end = performance.now() + seconds * 1000; came === 0 && performance.now() < end; await sleep(1)) came = burstOf(host);
    if (came === 0) return got;
  }
  return count;
}

t.test('with its interrupts put off, a frame comes to who busy-polls, and not to who waits for it', async t => {
  const sender = new Sender();
  const before = values();
  const waits = openAll(LATE);
  t.same(values(), ['1000', '10000000000'], 'sysfs has what was asked for');
  t.ok(await oneByOne(waits, sender, 10, 2) < 10, 'without a busy poll a frame waits for the timer');
  waits.close();
  t.same(values(), before, 'and what was there before');
  const polls = openAll(`busy_poll=20,${LATE}`);
  t.equal(await oneByOne(polls, sender, 50), 50, 'with one, each comes');
  t.ok(polls.stats(polls.ports[0]!).xstats['busy_poll_napis']! > 0, 'the kernel knows what to run');
  polls.close();
  t.same(values(), before);
  sender.close();
});

t.test('the budget is what one busy poll takes', async t => {
  const sender = new Sender();
  for (const [budget, least, most] of [[1, 8, 8], [64, 1, 4]] as const) {
    const host = openAll(`busy_poll=20,busy_budget=${budget},${LATE}`);
    t.equal(await oneByOne(host, sender, 4), 4);
    for (let i = 0; i < 8; i++) sender.send(1, i);
    await sleep(2000); // they wait in the NIC's ring, and no interrupt comes for them
    const bursts: number[] = [];
    for (let got = 0, end = performance.now() + 8000; got < 8 && performance.now() < end;) {
      const came = burstOf(host);
      got += came;
      if (came > 0) bursts.push(came);
    }
    t.equal(bursts.reduce((sum, each) => sum + each, 0), 8, 'all came');
    t.ok(bursts.length >= least && bursts.length <= most, `with a budget of ${budget} in bursts of ${bursts.join(', ')}`);
    host.close();
  }
  sender.close();
});

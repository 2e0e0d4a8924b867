/** Packets on Node's event loop, and loops that sleep: over a real veth pair, and over memory ports. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { binding } from '../../lib/binding.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab } from '../../lib/lab/veth.js';
import { Idle, YIELD_MS } from '../../lib/lcore/idle.js';
import { poll } from '../../lib/lcore/poll.js';
import { open, type Host } from '../../lib/port/host.js';
import { codeThrown, needs } from '../kernel/rights.js';

const real = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');

/** Two AF_XDP ports, one at each end of a veth pair, over pools of their own. */
function pair(t: Test): { left: Host; right: Host } {
  const lab = openLab();
  const left = withNetns(lab.a.netns, () => open([`af_xdp:${lab.a.name}`]));
  const right = withNetns(lab.b.netns, () => open([`af_xdp:${lab.b.name}`]));
  t.teardown(() => { left.close(); right.close(); lab.close(); });
  return { left, right };
}

/** @param number stands in the frame behind its Ethernet header */
function send(host: Host, number: number): void {
  const burst = host.burst(1);
  host.pool.alloc(burst, 1);
  const at = host.mbufs.append(burst.handles[0]!, 60);
  host.mbufs.u8.fill(0, at, at + 60);
  host.mbufs.u8.set([2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 0x88, 0xb5, number], at);
  host.ports[0]!.tx[0]!.txBurst(burst, 1);
  burst.close();
}

t.test('for await gives each packet in order, beside a timer, and ends at the signal', real, async t => {
  const { left, right } = pair(t);
  const stop = new AbortController();
  const seen: number[] = [];
  let ticks = 0;
  const timer = setInterval(() => { ticks++; }, 5);
  const receiving = (async () => {
    for await (const burst of right.ports[0]!.rx[0]!.bursts({ signal: stop.signal })) {
      for (let i = 0; i < burst.count; i++) seen.push(right.mbufs.u8[right.mbufs.data(burst.handles[i]!) + 14]!);
      right.pool.free(burst, 0, burst.count);
    }
  })();
  for (let i = 0; i < 50; i++) {
    send(left, i);
    if (i % 10 === 0) await wait(6);
  }
  while (seen.length < 50) await wait(1);
  stop.abort();
  await receiving;
  clearInterval(timer);
  t.same(seen, Array.from({ length: 50 }, (_, i) => i));
  t.ok(ticks > 0, 'timers ran');
  t.equal(right.pool.audit().app, 0);
});

t.test('an endless source does not keep timers away, and a break gives everything back', async t => {
  const host = open(['null:']);
  const zones = host.arena.zones().length;
  let ticks = 0;
  const timer = setInterval(() => { ticks++; }, 1);
  for await (const burst of host.ports[0]!.rx[0]!.bursts({ capacity: 64 })) {
    t.equal(burst.count, 64);
    host.pool.free(burst, 0, burst.count);
    if (ticks > 5) break;
    t.pass();
    await Promise.resolve();
  }
  clearInterval(timer);
  t.equal(host.arena.zones().length, zones, 'the vector is gone');
  host.close();
});

t.test('HTTP is served beside an endless source', async t => {
  const host = open(['null:']);
  const server = createServer((_, response) => { response.end('here'); }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = new AbortController();
  let packets = 0;
  const receiving = (async () => {
    for await (const burst of host.ports[0]!.rx[0]!.bursts({ signal: stop.signal })) {
      packets += burst.count;
      host.pool.free(burst, 0, burst.count);
    }
  })();
  const { port } = server.address() as AddressInfo;
  for (let request = 0; request < 20; request++) {
    const before = packets;
    t.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'here');
    t.ok(packets > before, 'and packets go on meanwhile');
  }
  stop.abort();
  await receiving;
  server.closeAllConnections();
  server.close();
  t.equal(host.pool.audit().free, host.pool.size);
  host.close();
});

t.test('a queue without a descriptor is looked at now and then', async t => {
  const host = open(['ring:a']);
  const [port] = host.ports;
  t.equal(port!.rx[0]!.wake, undefined);
  t.equal(codeThrown(() => port!.rx[0]!.onReadable(() => undefined)), 'EUNSUPPORTED');
  const burst = host.burst(4);
  setTimeout(() => { host.pool.alloc(burst, 4); port!.tx[0]!.txBurst(burst, 4); }, 10);
  for await (const got of port!.rx[0]!.bursts()) {
    t.equal(got.count, 4);
    host.pool.free(got, 0, got.count);
    break;
  }
  t.equal(host.pool.audit().free, host.pool.size);
  host.close();
});

t.test('onReadable calls back until it is told not to', real, async t => {
  const { left, right } = pair(t);
  const queue = right.ports[0]!.rx[0]!;
  const burst = right.burst();
  let got = 0;
  const off = queue.onReadable(() => {
    for (let n = queue.rxBurst(burst); n > 0; n = queue.rxBurst(burst)) {
      got += n;
      right.pool.free(burst, 0, n);
    }
  });
  for (let i = 0; i < 5; i++) {
    send(left, i);
    while (got <= i) await wait(1);
  }
  t.equal(got, 5);
  off();
  send(left, 9);
  await wait(20);
  t.equal(got, 5);
});

for (const policy of ['busy', 'adaptive', 'interrupt'] as const) {
  t.test(`a poll loop with the policy ${policy} receives everything, and sleeps as it says`, real, async t => {
    const { left, right } = pair(t);
    const queue = right.ports[0]!.rx[0]!;
    const burst = right.burst();
    const idle = new Idle({ policy, queues: [queue], sleepMs: 5 });
    let got = 0;
    let number = 0;
    const sender = setInterval(() => { if (number < 20) send(left, number++); }, 2);
    await poll(() => {
      const n = queue.rxBurst(burst);
      right.pool.free(burst, 0, n);
      got += n;
      return got === 20 ? false : n;
    }, { idle, seconds: 20 });
    clearInterval(sender);
    t.equal(got, 20);
    const stats = idle.stats();
    t.match(stats, { policy });
    if (policy === 'busy') t.equal(stats.sleeps, 0);
    else t.ok(stats.sleeps > 0 && stats.sleeps >= stats.wakeups, `${stats.sleeps} sleeps, ${stats.wakeups} ended by a packet`);
    if (policy !== 'adaptive') t.equal(stats.spinUs, 0);
  });
}

t.test('an idle policy that cannot be says so', async t => {
  const host = open(['null:']);
  t.equal(codeThrown(() => new Idle({ policy: 'interrupt', queues: [host.ports[0]!.rx[0]!] })), 'EUNSUPPORTED');
  t.equal(codeThrown(() => new Idle({ policy: 'adaptive', queues: [] })), 'EOPTION');
  const idle = new Idle({ policy: 'adaptive', queues: [host.ports[0]!.rx[0]!] });
  t.same([idle.policy, idle.stats().policy, idle.shouldSleep()], ['busy', 'busy', false], 'a memory port has nothing to sleep on');
  host.close();
});

/** Has time pass only as the test says, until its end: how long a machine with other work takes is no part of these. */
function clock(t: Test): (ms: number) => void {
  const { now } = performance;
  let time = now.call(performance);
  performance.now = () => time;
  t.teardown(() => { performance.now = now; });
  return ms => { time += ms; };
}

t.test('adaptive learns: it spins beside a busy source and gives up on a slow one', needs(), async t => {
  const fd = binding().eventfd(1, 0); // always readable
  const idle = new Idle({ policy: 'adaptive', queues: [{ wake: { fd } }], spinUs: 20000 });
  const pass = clock(t);
  const gap = (ms: number): void => {
    idle.shouldSleep();
    pass(ms);
    idle.work();
  };
  for (let i = 0; i < 40; i++) gap(30);
  t.equal(idle.stats().spinUs, 0, 'gaps longer than a sleep costs: it sleeps at once');
  t.ok(idle.shouldSleep());
  for (let i = 0; i < 60; i++) gap(1);
  const { spinUs, expectedGapUs } = idle.stats();
  t.ok(spinUs > 0 && spinUs <= 20000, `${spinUs.toFixed(0)} µs of spinning for an expected gap of ${expectedGapUs.toFixed(0)} µs`);
  binding().close(fd);
});

t.test('adaptive sleeps at once for a while when others have much of its CPU, and spins again afterwards', needs(), async t => {
  const fd = binding().eventfd(1, 0);
  const idle = new Idle({ policy: 'adaptive', queues: [{ wake: { fd } }], spinUs: 10_000_000 });
  const away = clock(t);
  const looks = (count: number): boolean => Array.from({ length: count }, () => { away(1); return idle.shouldSleep(); }).includes(true);
  for (let i = 0; i < 80; i++) {
    away(1);
    idle.back();
    if (idle.shouldSleep()) t.fail('what the loop does itself is no sign of others');
  }
  t.equal(idle.stats().gaveWay, 0);
  t.ok(looks(80), 'looks that are always late are');
  t.match(idle.stats(), { gaveWay: 1, spinUs: 0 });
  idle.work();
  t.ok(idle.shouldSleep(), 'and so it goes on');
  away(YIELD_MS.least + 50);
  idle.work();
  t.notOk(idle.shouldSleep(), 'until some time has passed');
  t.ok(idle.stats().spinUs > 0);
  t.ok(looks(80), 'and others are still there');
  t.match(idle.stats(), { gaveWay: 2, spinUs: 0 });
  away(YIELD_MS.least + 50);
  t.equal(idle.stats().spinUs, 0, 'it waits longer each time');
  binding().close(fd);
});

t.test('a loop whose time is no number is refused, since it would never end', async t => {
  await t.rejects(poll(() => false, { seconds: NaN }), { code: 'EOPTION' });
});

/** The interface goes away and comes back under a running port. */
import { deleteLink, readLink, setLink, waitForCarrier } from '../../../../lib/kernel/link.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { createVeth } from '../../../../lib/kernel/veth.js';
import type { Lab } from '../../../../lib/lab/veth.js';
import type { PortEvent } from '../../../../lib/port/port.js';
import { statsOf } from '../kernel_helper.js';
import { inLab, LONG, until } from './helper.js';
import { balanced, bounceAll, bouncer, openEnds, receive, send, type Ends } from './pair_helper.js';

function remove(lab: Lab): void {
  withNetns(lab.a.netns, () => deleteLink(readLink(lab.a.name).ifindex));
}

/** A pair of the same names, in the same namespaces. */
function makeAgain(lab: Lab, queues: number): void {
  withNetns(lab.a.netns, () => createVeth({ a: { name: lab.a.name, mac: lab.a.mac }, b: { name: lab.b.name, mac: lab.b.mac, netns: lab.b.netns }, queues }));
  for (const end of [lab.a, lab.b]) withNetns(end.netns, () => setLink(readLink(end.name).ifindex, { up: true }));
  for (const end of [lab.a, lab.b]) withNetns(end.netns, () => waitForCarrier(readLink(end.name).ifindex));
}

function listen(ends: Ends): PortEvent[] {
  const events: PortEvent[] = [];
  ends.a.onEvent!(event => events.push(event));
  return events;
}

const has = (events: readonly PortEvent[], kind: PortEvent['kind']) => (): boolean => events.some(event => event.kind === kind);

/** Both ports are on interfaces again. */
const back = (ends: Ends, count: number) => (): boolean => [ends.a, ends.b].every(port => statsOf(port).xstats['rebinds'] === count);

function finish(t: Parameters<typeof balanced>[0], ends: Ends): void {
  for (const port of ends.host.ports) port.close();
  t.equal(ends.host.pool.audit().free, ends.host.pool.size, 'every mbuf is back');
  ends.host.close();
}

inLab('down and up: both are told, and the traffic goes on', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const events = listen(ends);
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: false }));
  t.ok(await until(has(events, 'down')));
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: true }));
  t.ok(await until(has(events, 'up')));
  withNetns(lab.b.netns, () => waitForCarrier(lab.b.ifindex));
  send(ends, lab, ends.b, 1, 5, 10);
  const found: number[] = [];
  t.ok(await until(() => (found.push(...receive(ends, ends.a, 1)), found.length === 10)));
  t.match(statsOf(ends.a).xstats, { interface_down: 1, interface_gone: 0, rebinds: 0 });
  finish(t, ends);
});

inLab('deleted and made again: the port comes back by itself, polled by its own thread', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const events = listen(ends);
  const rounds = LONG ? 20 : 2;
  const fds = ends.a.rx.map(queue => queue.wake!.fd);
  for (let round = 1; round <= rounds; round++) {
    for (const queue of [0, 1]) send(ends, lab, ends.b, queue, 100 * queue, 50);
    await until(() => statsOf(ends.b).xstats['tx_wakeups']! > 0);
    remove(lab);
    t.ok(await until(() => statsOf(ends.a).xstats['interface_gone'] === round), 'it is seen to be gone');
    t.equal(receive(ends, ends.a, 1).length, 50, 'what had come is received all the same');
    t.equal(send(ends, lab, ends.a, 0, 0, 20), 0, 'and nothing is taken to be sent');
    t.equal(ends.a.rx[1]!.wake!.fd, -1, 'there is nothing to sleep on');
    makeAgain(lab, 2);
    receive(ends, ends.a, 0); // frames that nobody took would keep the old ring
    t.ok(await until(back(ends, round)), `back, round ${round}`);
    balanced(t, ends, 'every mbuf is accounted for');
    for (const queue of [0, 1]) {
      for (const [from, to] of [[ends.a, ends.b], [ends.b, ends.a]] as const) {
        t.equal(send(ends, lab, from, queue, 1000, 64), 64);
        const found: number[] = [];
        await until(() => (found.push(...receive(ends, to, queue)), found.length === 64));
        t.same(found, Array.from({ length: 64 }, (_, i) => 1000 + i), `queue ${queue} carries frames again`);
      }
    }
    t.same(ends.a.rx.map(queue => queue.wake!.fd), fds, 'by the same descriptors');
  }
  t.same(events.map(({ kind }) => kind), Array.from({ length: rounds }, () => ['gone', 'back']).flat());
  t.notOk(ends.host.arena.zones().some(({ name }) => name.includes(`.${rounds - 1}/`)), 'the rings of the old sockets are released');
  finish(t, ends);
});

inLab('deleted and made again under lcores that bounce: their queues move with them', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const lcores = [await bouncer(ends, 0, true), await bouncer(ends, 1, true)];
  const rounds = LONG ? 20 : 2;
  for (let round = 1; round <= rounds; round++) {
    t.ok(await bounceAll(ends, lab, 200) >= 200, `round ${round}: frames come back on both queues`);
    remove(lab);
    if (round % 2 === 0) await until(() => statsOf(ends.a).xstats['interface_gone'] === round);
    makeAgain(lab, 2);
    t.ok(await until(() => {
      for (const queue of [0, 1]) receive(ends, ends.b, queue);
      return back(ends, round)();
    }), 'both ports are back');
    const victim = round % 2;
    await lcores[victim]!.terminate();
    lcores[victim] = await bouncer(ends, victim);
  }
  t.ok(await bounceAll(ends, lab, 200) >= 200, 'afterwards too');
  for (const lcore of lcores) await lcore.stop();
  balanced(t, ends, 'every mbuf is accounted for');
  t.match(statsOf(ends.a).xstats, { rx_bad_descriptor: 0, tx_bad_completion: 0, interface_gone: rounds, rebinds: rounds });
  finish(t, ends);
});

inLab('a program on the event loop sleeps through it, and wakes when frames come again', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const halt = new AbortController();
  let received = 0;
  const loop = (async () => {
    for await (const burst of ends.a.rx[1]!.bursts({ signal: halt.signal })) {
      received += burst.count;
      ends.host.pool.free(burst, 0, burst.count);
    }
  })();
  for (let round = 1; round <= (LONG ? 10 : 2); round++) {
    send(ends, lab, ends.b, 1, 0, 10);
    t.ok(await until(() => received === 20 * round - 10), 'before');
    remove(lab);
    t.ok(await until(() => statsOf(ends.a).xstats['interface_gone'] === round));
    makeAgain(lab, 2);
    t.ok(await until(back(ends, round)));
    t.ok(await until(() => ends.a.rx[1]!.wake!.fd >= 0), 'the loop has moved the queue');
    send(ends, lab, ends.b, 1, 0, 10);
    t.ok(await until(() => received === 20 * round), 'after');
  }
  halt.abort();
  await loop;
  finish(t, ends);
});

inLab('an interface that comes back with too few queues is waited for, and the reason is told', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const events = listen(ends);
  remove(lab);
  makeAgain(lab, 1);
  t.ok(await until(() => events.some(({ text }) => /has 1 receive queue/.test(text))), 'with the reason');
  t.ok(statsOf(ends.a).xstats['rebinds_refused']! > 0);
  t.equal(send(ends, lab, ends.a, 0, 0, 20), 0);
  remove(lab);
  makeAgain(lab, 2);
  t.ok(await until(back(ends, 1)));
  send(ends, lab, ends.b, 1, 0, 10);
  const found: number[] = [];
  t.ok(await until(() => (found.push(...receive(ends, ends.a, 1)), found.length === 10)));
  finish(t, ends);
});

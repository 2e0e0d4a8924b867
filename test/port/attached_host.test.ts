/** A second process on the first one's ports: rings, queues, counters, and the end of either. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { recoverDead } from '../../lib/lcore/recover.js';
import { releaseQueue } from '../../lib/port/attach.js';
import { open } from '../../lib/port/host.js';
import { STATS_PREFIX } from '../../lib/port/stats_zone.js';
import { Party, type Tools } from '../arena/party_helper.js';
import { needs } from '../kernel/rights.js';

const NAME = `test-attached-${process.pid}`;
const attach = ({ attachHost, held }: Tools, name: string): unknown => {
  held.attached = attachHost(name);
  return held.attached.ports;
};
const stats = ({ held }: Tools, port: number): unknown => held.attached.stats(port);

t.test('it finds the ports and the pool, polls a queue that was let go, and reads every counter as the first does', needs(), async t => {
  const host = open(['null:size=60', 'ring:x,size=256', 'null:'], { arenaOptions: { name: NAME } });
  t.teardown(() => host.close());
  const party = new Party(t);
  t.match(await party.run(attach, NAME), [{ name: 'null:size=60', number: 0, rxQueues: 1, txQueues: 1 }, { name: 'ring:x,size=256', number: 1, mode: 'x to x' }, { name: 'null:', number: 2 }]);
  await t.rejects(party.run(({ held }) => { held.attached.rx(0); }), { code: 'ETHREAD' }, 'a queue that the first holds');
  for (const direction of ['rx', 'tx'] as const) releaseQueue(host.arena, direction === 'rx' ? 0 : 1, direction, 0);
  const moved = await party.run(({ held }) => {
    const [rx, tx, burst] = [held.attached.rx(0), held.attached.tx(1), held.attached.burst()];
    const got = rx.rxBurst(burst);
    const sent = tx.txBurst(burst, got);
    burst.close();
    return [got, sent];
  });
  t.same(moved, [32, 32]);
  const burst = host.burst(64);
  const came = host.ports[1]!.rx[0]!.rxBurst(burst);
  t.equal(came, 32, 'the packets are the first one\'s own');
  t.equal(host.mbufs.pktLen(burst.handles[0]!), 60);
  host.pool.free(burst, 0, came);
  for (const port of host.ports) {
    const mine = host.stats(port);
    for (const deadline = performance.now() + 60_000; performance.now() < deadline;) {
      if (JSON.stringify((await party.run(stats, port.number) as { xstats: object }).xstats) === JSON.stringify(mine.xstats)) break;
      await sleep(50); // told every second
    }
    t.same(await party.run(stats, port.number), mine, port.name);
  }
  t.match(host.stats(host.ports[0]!), { rxPackets: 32, rxBytes: 1920 });
  await t.rejects(party.run(stats, 7), { code: 'ENOTFOUND', message: /no port 7/ });
  const zone = host.arena.zones().find(({ name }) => name.startsWith(STATS_PREFIX))!;
  Atomics.add(host.arena.u32, zone.offset >>> 2, 1);
  t.same(await party.run(({ held }) => held.attached.ports), [], 'what is just written is not believed');
  t.match(await party.run(stats, 0), { rxPackets: 32, xstats: {} }, 'what stands in the queues is there all the same');
  Atomics.add(host.arena.u32, zone.offset >>> 2, 1);
  host.arena.u8.fill(0x7b, zone.offset + 8, zone.offset + 20);
  t.same(await party.run(({ held }) => held.attached.ports), [], 'nor what is no JSON');
  await party.run(({ held }) => { held.attached.close(); });
  t.same(host.arena.lcores().length, 1);
});

t.test('killed with packets in its hands: they come back; the first one killed: the second still has all', needs(), async t => {
  const first = new Party(t);
  const name = `${NAME}-first`;
  const openThere = ({ open, held }: Tools, name: string): number => {
    const host = open(['ring:y,size=64'], { arenaOptions: { name } });
    const burst = host.burst();
    host.pool.alloc(burst, 20);
    held.pool = host.pool;
    held.arena = host.arena;
    return host.ports[0]!.tx[0]!.txBurst(burst, 20);
  };
  t.equal(await first.run(openThere, name), 20);
  const second = new Party(t);
  await second.run(attach, name);
  await second.run(({ held }) => { held.attached.pool.alloc(held.attached.burst(), 10); });
  const third = new Party(t);
  await third.run(attach, name);
  t.equal(await third.run(({ held }) => held.attached.pool.audit().app), 10);
  await second.kill();
  t.match(await third.run(({ held, recoverDead }) => recoverDead(held.attached.arena)), [{ held: 10 }]);
  await first.kill();
  t.match(await third.run(stats, 0), { txPackets: 20 });
  t.match(await third.run(({ held }) => held.attached.ports), [{ name: 'ring:y,size=64' }]);
  t.equal(await third.run(({ held, recoverDead }) => {
    recoverDead(held.attached.arena);
    const { free, ring, total } = held.attached.pool.audit();
    return total - free - ring;
  }), 0);
});

t.test('an arena that nobody has, or without ports', needs(), async t => {
  const party = new Party(t);
  await t.rejects(party.run(attach, 'nobody-has-this'), { code: 'ENOTFOUND' });
  const { Arena } = await import('../../lib/arena/arena.js');
  const arena = Arena.create({ name: NAME });
  await t.rejects(party.run(attach, NAME), { code: 'ENOTFOUND', message: /has no pool yet/ });
  t.same(arena.lcores().length, 1, 'and it let go');
  t.same(recoverDead(arena), []);
  arena.close();
});

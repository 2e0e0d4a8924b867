/** What an lcore's idle policy does is seen by who started it, a distributor's too. */
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab } from '../../lib/lab/veth.js';
import { Distributor } from '../../lib/lcore/distributor.js';
import { launch, type Lcore } from '../../lib/lcore/lcore.js';
import { takeQueue } from '../../lib/port/attach.js';
import { open, type Host } from '../../lib/port/host.js';
import { needs } from '../kernel/rights.js';
import { RawSocket, frame } from '../port/drivers/kernel_helper.js';
import type { IdleArgs } from './idle_worker.js';

const module = new URL('./idle_worker.js', import.meta.url);

function start(host: Host, policy?: IdleArgs['policy']): Promise<Lcore> {
  const { number: port } = host.ports[0]!;
  return launch(host, { module, args: { port, ...(policy === undefined ? {} : { policy }) } satisfies IdleArgs, queues: [{ port, direction: 'rx', queue: 0 }] });
}

t.test('on memory ports: no policy, or busy, which adaptive is there', async t => {
  for (const policy of [undefined, 'adaptive'] as const) {
    const host = open(['ring:a']);
    const lcore = await start(host, policy);
    if (policy === undefined) await wait(30);
    else while (lcore.idle === undefined) await wait(1);
    t.same(lcore.idle, policy === undefined ? undefined : { policy: 'busy', sleeps: 0, wakeups: 0, spinUs: 0, expectedGapUs: 0, gaveWay: 0 });
    await lcore.stop();
    host.close();
  }
});

t.test('sleeps, wake-ups and thresholds of lcores that wait for an interface', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  const lab = openLab();
  t.teardown(() => lab.close());
  const host = withNetns(lab.a.netns, () => open([`af_xdp:${lab.a.name}`]));
  const raw = new RawSocket(lab.b);
  const watch = async (lcore: Lcore): Promise<void> => {
    while ((lcore.idle?.wakeups ?? 0) < 3) {
      raw.send(frame(lab.b, lab.a, 1, 60));
      await wait(5);
    }
    const { sleeps, wakeups, spinUs, expectedGapUs, policy } = lcore.idle!;
    t.ok(sleeps >= wakeups, `${policy}: ${sleeps} sleeps, ${wakeups} ended by a packet`);
    if (policy === 'adaptive') t.ok(expectedGapUs > 0 && spinUs >= 0, `a gap of ${expectedGapUs} µs expected, ${spinUs} µs of spinning`);
  };
  for (const policy of ['interrupt', 'adaptive'] as const) {
    const lcore = await start(host, policy);
    await watch(lcore);
    t.equal(lcore.idle!.policy, policy);
    const packets = await lcore.stop() as number;
    t.ok(packets >= 3);
    takeQueue(host.arena, host.ports[0]!.number, 'rx', 0);
  }
  const rps = await Distributor.start(host, { from: [{ port: host.ports[0]!.number }], idle: { policy: 'interrupt' }, workers: [{ module, args: {} satisfies IdleArgs }] });
  await watch(rps.lcore('distributor')!);
  t.equal(rps.lcore(0)!.idle, undefined);
  await rps.stop();
  raw.close();
  host.close();
});

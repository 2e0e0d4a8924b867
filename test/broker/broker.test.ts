/** `pollmode broker` and clients without rights, all of them processes of their own, over a real veth pair. */
import { existsSync, statSync, writeFileSync } from 'node:fs';
import t, { type Test as Tap } from 'tap';
import { deleteLink, readLink, setLink } from '../../lib/kernel/link.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab, type Lab } from '../../lib/lab/veth.js';
import { needs } from '../kernel/rights.js';
import { RawSocket, frame } from '../port/drivers/kernel_helper.js';
import { NOBODY, Stage, echo, tries, type Talker } from './broker_helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF', 'CAP_SETUID');

/** Rings and a pool that fit into the usual memlock limit of 8 MiB, twice over. */
const SMALL = 'rx_ring=256,tx_ring=256';

interface Scene {
  readonly lab: Lab;
  readonly stage: Stage;
  /** `af_xdp:veth0` through the broker. */
  device(options?: string): string;
}

const stage = rights.skip === false ? new Stage() : undefined;
t.teardown(() => stage?.remove());

/** A lab, and brokers and clients, which leave nothing behind. */
function scene(name: string, work: (t: Tap, scene: Scene) => Promise<void>, queues = 1): void {
  void t.test(name, rights, async t => {
    const lab = openLab({ queues });
    try {
      await work(t, { lab, stage: stage!, device: (options = '') => `af_xdp:veth0,broker=${stage!.socket},${SMALL}${options === '' ? '' : `,${options}`}` });
    } finally {
      stage!.close();
      lab.close();
    }
  });
}

/** Frames of several lengths go to the client and come back from it, whole and in order. */
async function exchange(t: Tap, { lab }: Scene, what: string): Promise<void> {
  const raw = new RawSocket(lab.b);
  const sent = [60, 61, 64, 128, 777, 1514].map((length, i) => frame(lab.b, lab.a, i, length));
  for (const bytes of sent) raw.send(bytes);
  const received: Uint8Array[] = [];
  for (let tries = 0; received.length < sent.length && tries < 6000; tries++) {
    received.push(...raw.receive());
    await new Promise(resolve => { setTimeout(resolve, 10); });
  }
  raw.close();
  const swapped = sent.map(bytes => Uint8Array.of(...bytes.subarray(6, 12), ...bytes.subarray(0, 6), ...bytes.subarray(12)));
  t.same(received, swapped, what);
}

async function endsBalanced(t: Tap, client: Talker): Promise<void> {
  client.tell('close');
  t.match(await client.next(), { free: 1024, total: 1024, twice: 0 }, 'every mbuf is back');
  t.equal(await client.ended, 0, client.errors);
}

function program({ lab }: Scene): string {
  return withNetns(lab.a.netns, () => readLink('veth0').xdp.where);
}

scene('a process without any capability receives and sends: take=socket', async (t, scene) => {
  const { lab, stage, device } = scene;
  const broker = await stage.broker(lab.a.netns, '--interface', 'veth0', '--allow-uid', String(NOBODY));
  t.equal(broker.lines[0], `broker of veth0 (native) at ${stage.socket}: all queues, gives socket`);
  const { mode, uid } = statSync(stage.socket);
  t.same([mode & 0o777, uid], [0o600, NOBODY], 'the file is the user\'s own');

  const client = await stage.client(echo(device()));
  t.match(client.said, { capabilities: '0000000000000000', uid: NOBODY, mac: lab.a.mac, mtu: 1500, mode: /^native \(program of a broker\), copy/ });
  await exchange(t, scene, 'from the test\'s own network namespace, where there is no veth0');
  client.tell('stats');
  t.match(await client.next(), { rxPackets: 6, txPackets: 6, xstats: { broker_gone: 0 } });

  const others = await stage.client(tries([device(), device('queue=1'), device().replace('veth0', 'eth9'), device('take=map')]));
  t.match(others.said, { code: 'EBUSYQUEUE', message: /queue 0 is another client's/ });
  t.match(await others.next(), { code: 'EOPTION', message: /queue 1 is none of those/ });
  t.match(await others.next(), { code: 'EOPTION', message: /this is the broker of veth0/ });
  t.match(await others.next(), { code: 'ERIGHTS', message: /gives a socket only/ });

  client.child.kill('SIGKILL');
  await client.ended;
  const third = await stage.client(tries([device(), device(), device('mode=generic'), device()]));
  t.match(third.said, { mode: /^native/ }, 'the queue is free after a client that was killed');
  t.match(await third.next(), { mode: /^native/ }, 'and after one that closed it, at once');
  t.match(await third.next(), { code: 'EOPTION', message: /native mode/ });
  t.match(await third.next(), { mode: /^native/ }, 'and after one that failed');
  const fourth = await stage.client(echo(device()));
  await exchange(t, scene, 'after all of them');
  await endsBalanced(t, fourth);
  broker.child.kill('SIGINT');
  t.equal(await broker.ended, 0);
  t.equal(existsSync(stage.socket), false);
  t.equal(program(scene), 'none');
});

scene('a process with CAP_NET_RAW only: take=map', async (t, scene) => {
  const { lab, stage, device } = scene;
  const broker = await stage.broker(lab.a.netns, '--interface', 'veth0', '--give', 'both', '--allow-uid', String(NOBODY), '--mode', 'generic');
  const client = await stage.client(echo(device('take=map')), ['net_raw'], lab.a.netns);
  t.match(client.said, { capabilities: '0000000000002000', mode: /^generic \(program of a broker\), copy/ });
  await exchange(t, scene, 'through the map');
  await endsBalanced(t, client);

  const outside = await stage.client(tries([device('take=map')]), ['net_raw']);
  t.match(outside.said, { code: 'EOPTION', message: /in another network namespace/ });
  const bare = await stage.client(tries([device('take=map')]), [], lab.a.netns);
  t.match(bare.said, { code: 'ERIGHTS', message: /CAP_NET_RAW/ });
  const socket = await stage.client(echo(device('take=socket')));
  await exchange(t, scene, 'and a socket of the same broker afterwards');
  await endsBalanced(t, socket);
  broker.child.kill('SIGTERM');
  t.equal(await broker.ended, 0);
});

scene('two queues, two clients; only the queues that are lent', async (t, { lab, stage, device }) => {
  await stage.broker(lab.a.netns, '--interface', 'veth0', '--queues', '1-2', '--allow-uid', String(NOBODY));
  const clients = [];
  for (const queue of [1, 2]) clients.push(await stage.client(echo(device(`queue=${queue}`))));
  for (const client of clients) t.match(client.said, { mac: lab.a.mac });
  t.match((await stage.client(tries([device('queue=0')]))).said, { code: 'EOPTION', message: /choose one of 1, 2/ });
  for (const client of clients) await endsBalanced(t, client);
}, 4);

scene('the memory counts against the client\'s own limit', async (t, { lab, stage, device }) => {
  const broker = await stage.broker(lab.a.netns, '--interface', 'veth0', '--allow-uid', String(NOBODY));
  const poor = await stage.client(echo(device()), [], undefined, ['prlimit', '--memlock=65536']);
  t.match(poor.said, { code: 'EMEMLOCK', message: /may not lock the pool's 2 MiB/ });
  await broker.complained('left');
  const client = await stage.client(echo(device()));
  t.match(client.said, { mac: lab.a.mac }, 'the failed one has left nothing');
  await endsBalanced(t, client);
});

scene('who may ask', async (t, { lab, stage, device }) => {
  t.match((await stage.client(tries([device()]))).said, { code: 'ENOTFOUND', message: /no broker at/ });
  const closed = await stage.broker(lab.a.netns, '--interface', 'veth0');
  t.match((await stage.client(tries([device()]))).said, { code: 'ERIGHTS', message: /may not be used by this user/ });
  closed.child.kill('SIGINT');
  await closed.ended;
  const others = await stage.broker(lab.a.netns, '--interface', 'veth0', '--allow-uid', '4000000001', '4000000002');
  t.equal(statSync(stage.socket).mode & 0o777, 0o666);
  t.match((await stage.client(tries([device()]))).said, { code: 'ERIGHTS', message: new RegExp(`user ${NOBODY} may not ask here`) });
  await others.complained('was sent away');
});

scene('a killed broker leaves no program; its file is replaced, another\'s is not', async (t, scene) => {
  const { lab, stage, device } = scene;
  const options = ['--interface', 'veth0', '--allow-uid', String(NOBODY)];
  const broker = await stage.broker(lab.a.netns, ...options);
  const client = await stage.client(echo(device()));
  t.equal(program(scene), 'native');
  const rival = await stage.broker(lab.a.netns, ...options);
  t.equal(await rival.ended, 1);
  t.match(rival.errors, /Somebody listens at/);
  broker.child.kill('SIGKILL');
  await broker.ended;
  t.equal(program(scene), 'none');
  t.equal(existsSync(stage.socket), true, 'its file is still there');
  client.tell('stats');
  t.match(await client.next(), { xstats: { broker_gone: 1 } });
  t.match((await stage.client(tries([device()]))).said, { code: 'ENOTFOUND', message: /listens at/ });
  await endsBalanced(t, client);

  const again = await stage.broker(lab.a.netns, ...options);
  const next = await stage.client(echo(device()));
  await exchange(t, scene, 'through the next broker');
  await endsBalanced(t, next);
  again.child.kill('SIGINT');
  await again.ended;
  writeFileSync(stage.socket, 'no socket');
  const refused = await stage.broker(lab.a.netns, ...options);
  t.equal(await refused.ended, 1);
  t.match(refused.errors, /is no socket/);
  t.equal(existsSync(stage.socket), true);
  t.equal(program(scene), 'none', 'nothing stays of one that could not start');
});

scene('the interface goes down, or away', async (t, { lab, stage, device }) => {
  const broker = await stage.broker(lab.a.netns, '--interface', 'veth0', '--allow-uid', String(NOBODY));
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: false }));
  t.match((await stage.client(tries([device()]))).said, { code: 'EDOWN' });
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: true }));
  const client = await stage.client(echo(device()));
  client.tell('stats');
  t.match(await client.next(), { xstats: { interface_gone: 0, broker_gone: 0 } });
  withNetns(lab.a.netns, () => deleteLink(lab.a.ifindex));
  t.equal(await broker.ended, 1);
  t.match(broker.errors, /veth0 or its XDP program has gone/);
  t.equal(existsSync(stage.socket), false);
  let stats: Record<string, unknown> = {};
  for (let tries = 0; tries < 1200 && (stats['interface_gone'] ?? 0) === 0; tries++) {
    await new Promise(resolve => { setTimeout(resolve, 50); });
    client.tell('stats');
    stats = (await client.next())['xstats'] as Record<string, unknown>;
  }
  t.match(stats, { interface_gone: 1, broker_gone: 1 });
  await endsBalanced(t, client);
});

scene('a bad command line', async (t, { lab, stage }) => {
  const refused = async (wanted: RegExp, ...options: string[]): Promise<void> => {
    const broker = await stage.broker(lab.a.netns, ...options);
    t.equal(await broker.ended, 1);
    t.match(broker.errors, wanted);
  };
  await refused(/--interface/);
  await refused(/queue numbers and ranges/, '--interface', 'veth0', '--queues', '3-1');
  await refused(/no queue 7/, '--interface', 'veth0', '--queues', '0,7');
  await refused(/nowhere/, '--interface', 'nowhere');
  t.equal(existsSync(stage.socket), false);
});

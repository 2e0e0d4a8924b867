/** `pollmode switch` between Linux hosts: each has a namespace, a veth pair and the kernel's own TCP/IP. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { SwitchConfig } from '../../lib/switch/config.js';
import type { FdbEntry, FlowReport } from '../../lib/switch/report.js';
import { needs } from '../kernel/rights.js';
import { frame } from '../port/conformance/frames.js';
import { station, SwitchRun } from './program_helper.js';

const RIGHTS = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');
t.setTimeout(120_000);

t.test('three hosts on ports of three drivers: ping, TCP, a mirror, and what is seen from outside', RIGHTS, async t => {
  const [left, right, third, probe] = [station(t, 1), station(t, 2, 'af_packet'), station(t, 3), station(t, 9)];
  const run = new SwitchRun(t, { bridges: { br0: {
    ports: { left: { device: left.device }, right: { device: `${right.device},promiscuous=1` }, third: { device: third.device }, probe: { device: probe.device } },
    mirrors: { watch: { from: ['left'], to: 'probe' } },
  } } });
  await run.start();
  const capture = probe.wire(t);
  t.equal(left.ping('10.5.0.2', 20), 20, 'af_xdp to af_packet');
  t.equal(third.ping('10.5.0.1', 20), 20, 'af_xdp to af_xdp');
  t.equal(right.ping('10.5.0.3', 5, '-s', '1472'), 5, 'and whole frames');
  // Of the first twenty of each: ping asks once more where an answer is late.
  const counts = (bytes: Uint8Array): boolean => bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 1 && (bytes[40]! << 8 | bytes[41]!) <= 20;
  const icmp: Uint8Array[] = [];
  for (const deadline = performance.now() + 20_000; icmp.length < 80 && performance.now() < deadline; await sleep(10)) icmp.push(...capture.receive().filter(counts));
  t.equal(icmp.length, 80, 'the probe saw each request and each answer that passed left, once');
  t.equal(probe.pingInVain('10.5.0.1'), 0, 'and it cannot talk');
  t.ok(await left.iperf(t, third, '10.5.0.3') > 1e6, 'TCP');
  const learned = (await run.ask({ request: 'fdb', bridge: 'br0' }) as FdbEntry[]).map(({ mac, port }) => `${mac} ${port}`);
  for (const [number, port] of ['left', 'right', 'third'].entries()) t.ok(learned.includes(`02:00:00:00:05:0${number + 1} ${port}`), port);
  const flows = await run.ask({ request: 'flows' }) as FlowReport[];
  t.ok(flows.some(({ source, destination, packets }) => source === '02:00:00:00:05:01' && destination === '02:00:00:00:05:03' && packets > 20));
  await run.reload({ bridges: { br0: { ports: { left: { device: left.device }, third: { device: third.device } } } } });
  const before = (await run.show()).report;
  t.equal(left.ping('10.5.0.3', 40), 40);
  const { packets, slow } = (await run.show()).report;
  t.ok(packets - before.packets >= 80 && slow - before.slow < 20, `${slow - before.slow} of ${packets - before.packets} by the slow path`);
  t.equal(await run.end(), 0);
});

t.test('VLANs: hosts of one speak to each other and to nobody else; tagged on the trunk', RIGHTS, async t => {
  const hosts = [1, 2, 3, 4].map(number => station(t, number));
  const [a10, b10, a20, trunk] = hosts as [typeof hosts[0], typeof hosts[0], typeof hosts[0], typeof hosts[0]];
  const run = new SwitchRun(t, { bridges: { br0: { ports: {
    a10: { device: a10.device, vlan: { access: 10 } }, b10: { device: b10.device, vlan: { access: 10 } }, a20: { device: a20.device, vlan: { access: 20 } },
    trunk: { device: trunk.device, vlan: { trunk: [10, 20] } },
  } } } });
  await run.start();
  const wire = trunk.wire(t);
  // The kernel takes a tag out of a frame before a raw socket sees it; tcpdump puts it back.
  const dump = trunk.start(t, 'sh', '-c', `exec tcpdump -i ${trunk.name} -e -nn -l -Q in arp 2>&1`);
  let seen = '';
  dump.stdout!.setEncoding('utf8').on('data', (text: string) => { seen += text; });
  const saw = async (text: string): Promise<void> => { for (const deadline = performance.now() + 20_000; !seen.includes(text) && performance.now() < deadline;) await sleep(20); };
  await saw('listening on');
  t.equal(a10.ping('10.5.0.2'), 5);
  t.equal(a10.pingInVain('10.5.0.3'), 0);
  await saw('who-has 10.5.0.3');
  t.match(seen, /02:00:00:00:05:01 > ff:ff:ff:ff:ff:ff, ethertype 802\.1Q .*vlan 10, .*who-has 10\.5\.0\.3/, 'the question for an address is on the trunk, with its tag');
  const own = a10.wire(t);
  await wire.send([10, 20, 30].map(vlan => Uint8Array.from([...new Array<number>(6).fill(255), 2, 0, 0, 0, 5, 4, 0x81, 0, 0, vlan, 0x88, 0xb5, ...new Array<number>(50).fill(vlan)])));
  // The one that nobody takes comes behind the others.
  for (const deadline = performance.now() + 20_000; (await run.drops('br0/trunk'))['vlan_ingress'] === undefined && performance.now() < deadline;) await sleep(20);
  t.match(await run.drops('br0/trunk'), { vlan_ingress: 1 });
  const got: Uint8Array[] = [];
  for (const deadline = performance.now() + 20_000; got.length === 0 && performance.now() < deadline; await sleep(50)) got.push(...own.receive().filter(bytes => bytes[12] === 0x88 && bytes[13] === 0xb5));
  t.same([...got, ...own.receive().filter(bytes => bytes[12] === 0x88)].map(bytes => bytes[20]), [10], 'and back without it, of its own VLAN only');
  t.equal(await run.end(), 0);
});

t.test('changed under traffic: no packet is lost, and nothing learned is forgotten', RIGHTS, async t => {
  const [left, right, third] = [station(t, 1), station(t, 2), station(t, 3)];
  const ports = { left: { device: left.device }, right: { device: right.device } };
  const plain: SwitchConfig = { bridges: { br0: { ports } } };
  const run = new SwitchRun(t, plain);
  await run.start();
  const [here, there] = [left.wire(t), right.wire(t)];
  const FRAMES = process.env['POLLMODE_LONG'] === '1' ? 200_000 : 20_000;
  /** For so many every queue on the way has room, so that the kernel drops none while the switch waits for a CPU. */
  const UNDER_WAY = 128;
  // Both learned, so that nothing is flooded.
  t.equal(left.ping('10.5.0.2', 2), 2);
  here.receive();
  there.receive();
  let [sent, changes] = [0, 0];
  let changing = true;
  const seen = new Set<number>();
  let [doubles, disorder, last] = [0, 0, -1];
  const collect = (): void => {
    for (const bytes of there.receive()) {
      if (bytes[12] !== 0x88 || bytes[13] !== 0xb5) continue;
      const number = (bytes[14]! << 24 | bytes[15]! << 16 | bytes[16]! << 8 | bytes[17]!) >>> 0;
      if (seen.has(number)) doubles++;
      if (number < last) disorder++;
      last = number;
      seen.add(number);
    }
  };
  const others: readonly SwitchConfig[] = [
    { bridges: { br0: { ports: { ...ports, third: { device: third.device } } } } },
    { bridges: { br0: { ports: { ...ports, third: { device: third.device } }, mirrors: { m: { from: ['left'], to: 'third' } } } } },
    { bridges: { br0: { ports: { ...ports, tap: { device: `tap:reload0,netns=/proc/${process.pid}/ns/net` } }, macs: 16384 } } },
    { bridges: { br0: { ports: { left: { ...ports.left, vlan: { access: 7 } }, right: { ...ports.right, vlan: { access: 7 } } } }, br1: { ports: { third: { device: third.device } } } } },
    { bridges: { br0: { ports: { ...ports, to1: { patch: { bridge: 'br1', port: 'to0' } } } }, br1: { ports: { third: { device: third.device }, to0: { patch: { bridge: 'br0', port: 'to1' } } } } } },
    plain,
  ];
  const deadline = performance.now() + 90_000;
  const sending = (async () => {
    // At least until each configuration has been the switch's.
    while ((sent < FRAMES || changes < others.length) && performance.now() < deadline) {
      if (sent - seen.size > UNDER_WAY) await sleep(1);
      else {
        await here.send(Array.from({ length: 32 }, (_, i) => numbered(sent + i)));
        sent += 32;
      }
      collect();
    }
    changing = false;
  })();
  for (; changing; changes++) {
    const { kept, closed } = await run.reload(others[changes % others.length]!);
    if (!kept.includes('br0/left') || !kept.includes('br0/right') || closed.includes('br0/left')) t.fail('a port that stays was not kept');
    await sleep(20);
  }
  await sending;
  while (seen.size < sent && performance.now() < deadline) {
    await sleep(10);
    collect();
  }
  t.ok(changes >= others.length, `${changes} changes`);
  if (seen.size < sent) t.comment(JSON.stringify((await run.show()).report.ports));
  t.equal(seen.size, sent, 'each frame came');
  t.same([doubles, disorder], [0, 0], 'once, and in order');
  t.equal(left.ping('10.5.0.2', 3), 3);
  t.equal(await run.end(), 0);
});

/** To the right host, of the protocol for experiments (IEEE 802 1, EtherType 0x88b5). */
function numbered(number: number): Uint8Array {
  const bytes = frame(60, 0);
  bytes.set([2, 0, 0, 0, 5, 2, 2, 0, 0, 0, 5, 1, 0x88, 0xb5, number >>> 24, number >>> 16, number >>> 8, number]);
  return bytes;
}

t.test('killed and started again: the same hosts go on, and nothing is left', RIGHTS, async t => {
  const [left, right] = [station(t, 1), station(t, 2)];
  const run = new SwitchRun(t, { bridges: { br0: { ports: { left: { device: left.device }, right: { device: right.device } } } } });
  for (let round = 0; round < 3; round++) {
    await run.start();
    t.equal(left.ping('10.5.0.2', 3), 3, `round ${round}`);
    if (round < 2) t.equal(await run.end('SIGKILL'), null);
  }
  t.equal(await run.end(), 0);
  t.equal(left.pingInVain('10.5.0.2'), 0, 'and without it they do not meet');
  for (const host of [left, right]) t.notMatch(host.ip('-d', 'link', 'show', 'dev', host.name), /xdp/);
});

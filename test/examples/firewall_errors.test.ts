/** What a firewall that looks at ports alone would break: ICMP errors about its connections, and fragments. */
import t from 'tap';
import { needs } from '../kernel/rights.js';
import { LinuxHost, start } from './helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');

t.test('ICMP errors come through: traceroute, and the MTU of a link far outside', rights, async t => {
  const inside = new LinuxHost(t, '10.0.0.5/24,fd01::5/64', '10.0.0.1,fd01::1');
  const outside = new LinuxHost(t, '192.0.2.1/24,fd02::1/64', '');
  outside.ip('route', 'add', 'fd01::/64', 'via', 'fd02::10');
  const far = await outside.behind(t, ['198.51.100.1/24', 'fd03::1/64'], ['198.51.100.2/24', 'fd03::2/64'], 1300);
  const stop = await start(t, 'firewall', inside.device, '10.0.0.1/24,fd01::1/64', outside.device, '192.0.2.10/24,fd02::10/64', '--gateway', '192.0.2.1', '--gateway', 'fd02::1');
  t.same([inside.ping('198.51.100.2', 2), inside.ping('fd03::2', 2)], [2, 2]);
  const trace = (program: string, address: string): string[] => [...inside.run('busybox', program, '-n', '-q', '1', '-w', '30', '-m', '5', address).stdout.matchAll(/^ *\d+ {2}(\S+)/gm)].map(([, hop]) => hop!);
  t.same(trace('traceroute', '198.51.100.2'), ['10.0.0.1', '192.0.2.1', '198.51.100.2'], 'UDP, to the end');
  t.same(trace('traceroute6', 'fd03::2'), ['fd01::1', 'fd02::1', 'fd03::2']);
  t.match(inside.run('ping', '-n', '-c', '1', '-W', '30', '-t', '2', '198.51.100.2').stdout, /From 192\.0\.2\.1.*Time to live exceeded/, 'about a ping');
  t.match(inside.run('ping', '-n', '-c', '1', '-W', '30', '-M', 'do', '-s', '1400', '198.51.100.2').stdout, /From 192\.0\.2\.1.*Frag needed and DF set \(mtu = 1300\)/);
  t.match(inside.run('ping', '-n', '-c', '1', '-W', '30', '-M', 'do', '-s', '1400', 'fd03::2').stdout, /From fd02::1.*Packet too big: mtu=1300/);
  inside.ip('route', 'flush', 'cache');
  inside.ip('-6', 'route', 'flush', 'cache');
  for (const port of ['5301', '5302']) far.start('iperf3', '-s', '-1', '-p', port);
  t.ok(await inside.transfer('198.51.100.2', '-p', '5301') > 1e6, 'TCP, whose first long segments are told of it');
  t.ok(await inside.transfer('fd03::2', '-p', '5302') > 1e6);
  t.match(await stop(), /passed [1-9]/);
});

t.test('fragments pass when they are put together', rights, async t => {
  const inside = new LinuxHost(t, '10.0.0.5/24,fd01::5/64', '10.0.0.1,fd01::1');
  const outside = new LinuxHost(t, '192.0.2.1/24,fd02::1/64', '', { mtu: 1280 });
  outside.ip('route', 'add', 'fd01::/64', 'via', 'fd02::10');
  const words = [inside.device, '10.0.0.1/24,fd01::1/64', outside.device, '192.0.2.10/24,fd02::10/64'];
  const plain = await start(t, 'firewall', ...words);
  t.equal(inside.pingInVain('192.0.2.1', 2, '-s', '4000', '-M', 'dont') + inside.pingInVain('fd02::1', 2, '-s', '4000', '-M', 'dont'), 0);
  await plain.said(said => /a fragment [1-9]/.test(said));
  await plain();
  const stop = await start(t, 'firewall', ...words, '--reassemble');
  t.equal(inside.ping('192.0.2.1', 3, '-s', '4000', '-M', 'dont'), 3);
  t.equal(inside.ping('fd02::1', 3, '-s', '4000', '-M', 'dont'), 3);
  t.match(await stop(), /cut into fragments [1-9]/);
});

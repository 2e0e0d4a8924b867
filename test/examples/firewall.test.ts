import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { needs } from '../kernel/rights.js';
import { LinuxHost, start } from './helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');

t.test('hosts inside reach the outside, which reaches what is published', rights, async t => {
  const inside = new LinuxHost(t, '10.0.0.5/24', '10.0.0.1');
  const outside = new LinuxHost(t, '192.0.2.1/24', '');
  await outside.also('198.51.100.7/32');
  const stop = await start(t, 'firewall', inside.device, '10.0.0.1/24', outside.device, '192.0.2.10/24', '--gateway', '192.0.2.1', '--publish', 'tcp:8080=10.0.0.5:5201', '--publish', 'udp:8080=10.0.0.5:5201');
  t.equal(inside.ping('10.0.0.1'), 5, 'itself');
  t.equal(inside.ping('192.0.2.1'), 5, 'a neighbour outside');
  t.equal(inside.ping('198.51.100.7', 5, '-s', '1400'), 5, 'behind the gateway');
  t.equal(outside.ping('192.0.2.10'), 5, 'its own address outside');
  t.ok(await inside.iperf(t, outside, '198.51.100.7') > 1e6, 'TCP out');
  t.ok(await inside.iperf(t, outside, '192.0.2.1', '-R') > 1e6, 'and back');
  t.ok(await inside.iperf(t, outside, '192.0.2.1', '-u') > 20_000, 'UDP');
  t.ok(await outside.iperf(t, inside, '192.0.2.10', '-p', '8080') > 1e6, 'what is published');
  // Without NAT there is no way in: the outside has no route to the inside, and with one it is not asked for.
  outside.ip('route', 'add', '10.0.0.0/24', 'via', '192.0.2.10');
  t.equal(outside.pingInVain('10.0.0.5', 2), 0, 'no way in');
  const server = inside.start(t, 'iperf3', '-s', '-p', '9000');
  await sleep(300);
  t.match(outside.run('iperf3', '-c', '192.0.2.10', '-p', '9000', '-t', '1', '--connect-timeout', '500').stdout, /unable to connect|timed out|refused/i, 'a port that is not published');
  server.kill();
  const said = await stop();
  t.match(said, /passed [1-9]\d{3,}, connections [1-9]/);
  t.match(said, /not asked for [1-9]/);
});

t.test('IPv6: no NAT, and the same rules', rights, async t => {
  const inside = new LinuxHost(t, 'fd01::5/64', 'fd01::1');
  const outside = new LinuxHost(t, 'fd02::1/64', '');
  await outside.also('fd77::7/128');
  outside.ip('route', 'add', 'fd01::/64', 'via', 'fd02::10');
  const stop = await start(t, 'firewall', inside.device, '10.0.0.1/24,fd01::1/64', outside.device, 'fd02::10/64', '--gateway', 'fd02::1', '--publish', 'tcp:[fd01::5]:5201');
  t.equal(inside.ping('fd01::1'), 5, 'itself');
  t.equal(inside.ping('fd02::1'), 5, 'a neighbour outside');
  t.equal(inside.ping('fd77::7', 5, '-s', '1400'), 5, 'behind the gateway');
  t.equal(outside.ping('fd02::10'), 5, 'its own address outside');
  t.ok(await inside.iperf(t, outside, 'fd77::7') > 1e6, 'TCP out');
  t.ok(await inside.iperf(t, outside, 'fd02::1', '-u') > 20_000, 'UDP');
  t.ok(await outside.iperf(t, inside, 'fd01::5') > 1e6, 'what is published');
  t.equal(outside.pingInVain('fd01::5', 2), 0, 'no other way in');
  inside.start(t, 'iperf3', '-s', '-p', '9000');
  await sleep(300);
  t.match(outside.run('iperf3', '-c', 'fd01::5', '-p', '9000', '-t', '1', '--connect-timeout', '500').stdout, /unable to connect|timed out|refused/i, 'a port that is not published');
  t.match(await stop(), /passed [1-9]\d{3,}, connections [1-9]\d*;.*not asked for [1-9]/);
});

t.test('words that are none', async t => {
  const words = ['null:', '10.0.0.1/24', 'null:', '192.0.2.10/24'];
  const wrong = [['--gateway', '10.9.9.9'], ['--publish', 'tcp:80'], ['--connections', '0'], ['--publish', 'tcp:99999=10.0.0.5:80'], ['--publish', 'tcp:fd00::1:80'], ['--gateway', 'fd00::1'],
    // What could never be: a port 0, hosts that are not inside, one port for two, a way that is no other's or one of two.
    ['--publish', 'tcp:0=10.0.0.5:80'], ['--publish', 'tcp:80=10.9.0.5:80'], ['--publish', 'tcp:[fd01::5]:80'], ['--publish', 'tcp:80=10.0.0.5:80', '--publish', 'tcp:80=10.0.0.6:80'],
    ['--gateway', '192.0.2.10'], ['--gateway', '192.0.2.1', '--gateway', '192.0.2.2']];
  await Promise.all(wrong.map(more => t.rejects(start(t, 'firewall', ...words, ...more), { message: /^exit 1: firewall: / }, more.join(' '))));
});

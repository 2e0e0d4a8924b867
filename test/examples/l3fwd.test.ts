import t from 'tap';
import { needs } from '../kernel/rights.js';
import { LinuxHost, start } from './helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');

t.test('two Linux hosts reach each other through it, and itself', rights, async t => {
  const left = new LinuxHost(t, '10.1.0.10/24', '10.1.0.1');
  const right = new LinuxHost(t, '10.2.0.10/24', '10.2.0.1');
  const stop = await start(t, 'l3fwd', left.device, '10.1.0.1/24', right.device, '10.2.0.1/24', '--route', '10.9.0.0/16=10.2.0.10');
  t.equal(left.ping('10.1.0.1'), 5, 'the router, near side');
  t.equal(left.ping('10.2.0.1'), 5, 'its far side');
  t.equal(left.ping('10.2.0.10'), 5, 'the other host');
  t.equal(right.ping('10.1.0.10', 5, '-s', '1400'), 5, 'and back, large');
  right.ip('addr', 'add', '10.9.1.1/32', 'dev', 'lo');
  t.equal(left.ping('10.9.1.1'), 5, 'a network behind a neighbour');
  t.match(left.run('ping', '-n', '-c', '1', '-W', '2', '-t', '1', '10.2.0.10').stdout, /From 10\.1\.0\.1.*Time to live exceeded/);
  t.match(left.run('ping', '-n', '-c', '1', '-W', '2', '10.200.0.1').stdout, /From 10\.1\.0\.1.*Destination Net Unreachable/);
  const wire = right.wire(t);
  t.equal(left.ping('10.2.0.99', 25, '-i', '0.1'), 0, 'a host that is not there');
  const asked = wire.receive().filter(bytes => bytes[12] === 8 && bytes[13] === 6 && bytes[41] === 99).length;
  t.ok(asked >= 2 && asked <= 6, `asked for ${asked} times: once a second, not once a packet`);
  t.ok(await left.iperf(t, right, '10.2.0.10') > 10, 'TCP');
  t.ok(await left.iperf(t, right, '10.2.0.10', '-R') > 10, 'TCP the other way');
  const said = await stop();
  t.match(said, /forwarded [1-9]\d{3,}, routes [1-9]\d*;.*TTL 1/);
});

t.test('words that are none', async t => {
  for (const words of [['null:', '10.0.0.1/24', 'null:'], ['null:', '10.0.0.1/33'], ['null:', '10.0.0.1/24', '--route', '10.0.0.0/8'], ['null:', '10.0.0.1/24', '--route', '10.0.0.0/8=192.0.2.1']]) {
    await t.rejects(start(t, 'l3fwd', ...words), { message: /^exit 1: l3fwd: .*(:|must)/ }, words.join(' '));
  }
});

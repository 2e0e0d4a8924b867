import t, { type Test } from 'tap';
import { needs } from '../kernel/rights.js';
import * as build from '../../lib/wire/build.js';
import { formatMac } from '../../lib/wire/ethernet.js';
import { LinuxHost, start } from './helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');

/** Pings a host behind the router that is not there until the router has asked for it more than once. */
function asksSeldom(t: Test, left: LinuxHost, right: LinuxHost, address: string, isQuestion: (frame: Uint8Array) => boolean): void {
  const wire = right.wire(t);
  const since = performance.now();
  for (let asked = 0, sent = 0; asked < 2; sent += 15) {
    t.equal(left.pingInVain(address, 15, '-i', '0.1'), 0, 'a host that is not there');
    asked += wire.receive().filter(isQuestion).length;
    const seconds = (performance.now() - since) / 1000;
    t.ok(asked <= seconds + 1, `asked for ${asked} times in ${seconds} s: once a second, not for each of ${sent + 15} packets`);
  }
}

t.test('two Linux hosts reach each other through it, and itself', rights, async t => {
  const left = new LinuxHost(t, '10.1.0.10/24', '10.1.0.1');
  const right = new LinuxHost(t, '10.2.0.10/24', '10.2.0.1');
  const stop = await start(t, 'l3fwd', left.device, '10.1.0.1/24', right.device, '10.2.0.1/24', '--route', '10.9.0.0/16=10.2.0.10');
  t.equal(left.ping('10.1.0.1'), 5, 'the router, near side');
  t.equal(left.ping('10.2.0.1'), 5, 'its far side');
  t.equal(left.ping('10.2.0.10'), 5, 'the other host');
  t.equal(right.ping('10.1.0.10', 5, '-s', '1400'), 5, 'and back, large');
  await right.also('10.9.1.1/32');
  t.equal(left.ping('10.9.1.1'), 5, 'a network behind a neighbour');
  t.match(left.run('ping', '-n', '-c', '1', '-W', '30', '-t', '1', '10.2.0.10').stdout, /From 10\.1\.0\.1.*Time to live exceeded/);
  t.match(left.run('ping', '-n', '-c', '1', '-W', '30', '10.200.0.1').stdout, /From 10\.1\.0\.1.*Destination Net Unreachable/);
  asksSeldom(t, left, right, '10.2.0.99', bytes => bytes[12] === 8 && bytes[13] === 6 && bytes[41] === 99);
  t.ok(await left.iperf(t, right, '10.2.0.10') > 1e6, 'TCP');
  t.ok(await left.iperf(t, right, '10.2.0.10', '-R') > 1e6, 'TCP the other way');
  const said = await stop();
  t.match(said, /forwarded [1-9]\d{3,}, routes [1-9]\d*;.*time exceeded 1/);
});

t.test('two Linux hosts reach each other by IPv6 through it, and itself', rights, async t => {
  const left = new LinuxHost(t, 'fd01::10/64', 'fd01::1');
  const right = new LinuxHost(t, 'fd02::10/64', 'fd02::1');
  const stop = await start(t, 'l3fwd', left.device, 'fd01::1/64', right.device, '10.2.0.1/24,fd02::1/64', '--route', 'fd09::/16=fd02::10');
  t.equal(left.ping('fd01::1'), 5, 'the router, near side');
  t.equal(left.ping('fd02::1'), 5, 'its far side');
  t.equal(left.ping('fd02::10'), 5, 'the other host');
  t.equal(right.ping('fd01::10', 5, '-s', '1400'), 5, 'and back, large');
  t.equal(right.ping('fd01::10', 5, '-s', '4000'), 5, 'and in fragments, which it does not look into');
  await right.also('fd09::1/128');
  t.equal(left.ping('fd09::1'), 5, 'a network behind a neighbour');
  t.match(left.run('ping', '-n', '-c', '1', '-W', '30', '-t', '1', 'fd02::10').stdout, /From fd01::1.*Time exceeded: Hop limit/);
  t.match(left.run('ping', '-n', '-c', '1', '-W', '30', 'fd77::1').stdout, /From fd01::1.*Destination unreachable: No route/);
  t.match(left.run('busybox', 'traceroute6', '-n', '-q', '1', '-w', '30', 'fd02::10').stdout, / 1 {2}fd01::1 [^]* 2 {2}fd02::10 /, 'traceroute');
  asksSeldom(t, left, right, 'fd02::99', bytes => bytes[12] === 0x86 && bytes[54] === 135 && bytes[77] === 0x99);
  t.ok(await left.iperf(t, right, 'fd02::10') > 1e6, 'TCP');
  const linkLocal = /inet6 (fe80[^/]+)/.exec(left.ip('-6', 'addr', 'show', 'dev', left.name))![1]!;
  t.match(linkLocal, /^fe80::/, 'Linux has found its own address to be nobody else\'s');
  t.equal(left.ping(`fe80::ff:fe00:b%${left.name}`), 5, 'the router\'s link-local address');
  t.match(await stop(), /forwarded [1-9]\d{3,}, routes [1-9]\d*;.*time exceeded [23]/);
});

t.test('what has a VLAN tag is of another network than the leg\'s', rights, async t => {
  const inside = new LinuxHost(t, '10.0.0.10/24', '10.0.0.1');
  const outside = new LinuxHost(t, '192.0.2.1/24', '');
  outside.ip('route', 'add', '10.0.0.0/24', 'via', '192.0.2.10');
  const words = [inside.device, '10.0.0.1/24', outside.device, '192.0.2.10/24'];
  const arrive = inside.wire(t);
  const leave = outside.wire(t);
  for (const program of ['l3fwd', 'firewall']) {
    const stop = await start(t, program, ...words);
    t.equal(inside.ping('192.0.2.1', 1), 1);
    leave.receive();
    const frame = (...tags: build.Layer[]): Uint8Array => build.frame(
      build.ethernet({ source: inside.mac, destination: formatMac(inside.programMac) }), ...tags, build.ipv4({ source: '10.0.0.10', destination: '192.0.2.1' }), build.udp({ sourcePort: 7, destinationPort: 7 + tags.length }), new Uint8Array(30));
    await arrive.send([frame(build.vlan({ id: 5 })), frame()]);
    const isUdp = (bytes: Uint8Array): boolean => bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 17;
    const got = await outside.receive(leave, 1, isUdp);
    t.same(got.map(bytes => bytes[37]), [7], `${program}: the one without`);
    t.match(await stop(), program === 'l3fwd' ? /not for a router [1-9]/ : /tagged 1/);
  }
});

t.test('a link-local address is its own alone, and only on its link', rights, async t => {
  const left = new LinuxHost(t, 'fd01::10/64', 'fd01::1');
  const right = new LinuxHost(t, 'fd02::10/64', 'fd02::1');
  const stop = await start(t, 'l3fwd', left.device, 'fd01::1/64', right.device, 'fd02::1/64');
  t.equal(left.ping('fd02::10', 1), 1);
  const mac = formatMac(left.programMac);
  left.ip('-6', 'neigh', 'replace', 'fe80::77', 'lladdr', mac, 'dev', left.name);
  t.equal(left.pingInVain(`fe80::77%${left.name}`), 0, 'nobody\'s, though it is sent to its MAC address');
  await stop.said(said => /of the link only [1-9]/.test(said));
  await stop();
});

t.test('a link with a smaller MTU behind it: senders are told, or the packet is cut', rights, async t => {
  const left = new LinuxHost(t, '10.1.0.10/24,fd01::10/64', '10.1.0.1,fd01::1');
  const right = new LinuxHost(t, '10.2.0.10/24,fd02::10/64', '10.2.0.1,fd02::1', { mtu: 1280 });
  const stop = await start(t, 'l3fwd', left.device, '10.1.0.1/24,fd01::1/64', right.device, '10.2.0.1/24,fd02::1/64');
  t.equal(left.ping('10.2.0.10', 1) + left.ping('fd02::10', 1), 2);
  t.match(left.run('ping', '-n', '-c', '1', '-W', '30', '-M', 'do', '-s', '1400', '10.2.0.10').stdout, /From 10\.1\.0\.1.*Frag needed and DF set \(mtu = 1280\)/);
  t.match(left.run('ping', '-n', '-c', '1', '-W', '30', '-M', 'do', '-s', '1400', 'fd02::10').stdout, /From fd01::1.*Packet too big: mtu=1280/);
  t.equal(left.ping('fd02::10', 3, '-s', '1400', '-M', 'dont'), 3, 'which Linux then cuts by itself');
  left.ip('route', 'flush', 'cache');
  t.equal(left.ping('10.2.0.10', 3, '-s', '1400', '-M', 'dont'), 3, 'and this router where it may');
  t.ok(await left.iperf(t, right, '10.2.0.10') > 1e6 && await left.iperf(t, right, 'fd02::10') > 1e6, 'TCP finds the way\'s MTU');
  t.match(await stop(), /too big [1-9].*cut into fragments [1-9]|cut into fragments [1-9].*too big [1-9]/);
});

t.test('words that are none', async t => {
  const wrong = [['null:', '10.0.0.1/24', 'null:'], ['null:', '10.0.0.1/33'], ['null:', '10.0.0.1/24', '--route', '10.0.0.0/8'], ['null:', '10.0.0.1/24', '--route', '10.0.0.0/8=192.0.2.1'],
    ['null:', 'fd00::1/129'], ['null:', '10.0.0.1/24,10.0.1.1/24'], ['null:', 'fd00::1/64', '--route', '::/0=10.0.0.1'], ['null:', 'fd00::1/64', '--route', '10.0.0.0/8=fd00::2'],
    // Networks that two would have, and addresses that no host has.
    ['null:', '10.0.0.1/24', 'null:', '10.0.0.2/24'], ['null:', 'fd00::1/64', 'null:', 'fd00::2/64'], ['null:', '10.0.0.0/24'], ['null:', '10.0.0.255/24'], ['null:', '224.0.0.1/24'], ['null:', '0.0.0.0/0'], ['null:', 'fd00::/64'], ['null:', 'ff02::1/64'],
    ['null:', '10.0.0.1/24', '--route', '10.9.0.0/16=10.0.0.2', '--route', '10.9.0.0/16=10.0.0.3'], ['null:', '10.0.0.1/24', '--route', '10.0.0.0/24=10.0.0.2'], ['null:', '10.0.0.1/24', '--route', '10.9.0.0/16=10.0.0.1'],
    ['null:', '10.0.0.1/16', ...Array.from({ length: 1100 }, (_, i) => ['--route', `10.${1 + (i >> 8)}.${i & 255}.0/24=10.0.${2 + (i >> 8)}.${i & 255}`]).flat()]]; // more gateways than next hops
  await Promise.all(wrong.map(words => t.rejects(start(t, 'l3fwd', ...words), { message: /^exit 1: l3fwd: .*(:|must)/ }, words.slice(0, 12).join(' '))));
});

import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { build, open } from '../../lib/index.js';
import { needs } from '../kernel/rights.js';
import { escapeValue } from '../port/device_helper.js';
import { receiveBy, sendBy } from '../port/conformance/wires.js';
import { LinuxHost, start, type Beside } from './helper.js';

const SERVICE = '10.0.0.100';
const SERVICE6 = 'fd00::100';
const SERVE = `require('net').createServer(s => { s.on('error', () => {}); s.end(process.argv[1]); }).listen(80, '::', () => console.log('up'))`;
/** So many connections, one after the other; prints what each said. */
const ASK = `(async () => { for (let i = 0; i < Number(process.argv[1]); i++) { await new Promise(next => { let said = ''; const s = require('net').connect(80, process.argv[2]);
  s.setTimeout(60000, () => s.destroy()); s.on('data', data => said += data).on('error', () => {}).on('close', () => { console.log(said || 'nothing'); next(); }); }); } })()`;

/** A host on the same wire as `world`, which says nothing by ARP of addresses on its loopback. */
async function neighbour(t: Parameters<LinuxHost['beside']>[0], world: LinuxHost, name: string, address: string): Promise<Beside> {
  const host = await world.beside(t);
  world.ip('link', 'add', 'link', world.name, 'name', name, 'type', 'macvlan', 'mode', 'bridge');
  world.ip('link', 'set', name, 'netns', host.pid);
  host.run('sh', '-c', `echo 0 > /proc/sys/net/ipv6/conf/${name}/dad_transmits; echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up; ip link set ${name} up; ip addr add ${address}/24 dev ${name}; ip addr add fd00::${address.split('.').at(-1)!}/64 dev ${name} nodad; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce`);
  return host;
}

t.test('connections are spread over Linux hosts that answer by themselves; one that goes is left out', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  const world = new LinuxHost(t, '10.0.9.9/24,fd09::9/64', '');
  const client = await neighbour(t, world, 'client', '10.0.0.2');
  const names = ['one', 'two', 'three'];
  const servers = await Promise.all(names.map((name, i) => neighbour(t, world, name, `10.0.0.1${i}`)));
  await Promise.all(servers.map((server, i) => {
    server.run('ip', 'addr', 'add', `${SERVICE}/32`, 'dev', 'lo');
    server.run('ip', 'addr', 'add', `${SERVICE6}/128`, 'dev', 'lo', 'nodad');
    return once(server.start(process.execPath, '-e', SERVE, names[i]!).stdout!, 'data');
  }));
  const stop = await start(t, 'balancer', world.device, '10.0.0.1/24,fd00::1/64', '--service', SERVICE, '--service', SERVICE6,
    ...names.flatMap((name, i) => ['--backend', `${name}=${i === 2 ? 'fd00::12' : `10.0.0.1${i}`}`])); // a backend may be known by either address
  const ask = (count: number, service = SERVICE): string[] => client.run(process.execPath, '-e', ASK, String(count), service).trim().split('\n');
  await stop.said(said => names.every(name => said.includes(`${name} is up`)));
  const first = ask(60);
  t.same([...new Set(first)].sort(), [...names].sort(), 'all serve, and every connection is served');
  t.same([...new Set(ask(60, SERVICE6))].sort(), [...names].sort(), 'by IPv6 too');
  t.match(client.run('ping', '-n', '-c', '3', '-i', '0.05', '-w', '60', 'fd00::1'), / 3 received/, 'the balancer itself');
  servers[1]!.run('ip', 'link', 'set', 'two', 'down');
  await stop.said(said => said.includes('two is down'));
  const second = ask(30);
  t.same([...new Set(second)].sort(), ['one', 'three'], 'without the one that went');
  t.same([...new Set(ask(30, SERVICE6))].sort(), ['one', 'three']);
  t.match(await stop(), /two is down: \d+\.\d % of the table moved/);
});

t.test('two balancers choose alike, whatever the order of their lists; one backend less moves few', async t => {
  const dir = t.testdir({});
  const [mac, names] = ['02:00:00:00:01:00', ['a', 'b', 'c', 'd']];
  const frames = names.map((_, i) => build.frame(build.ethernet({ destination: mac, source: `02:00:00:00:aa:0${i}` }),
    build.arp({ operation: 2, senderMac: `02:00:00:00:aa:0${i}`, senderAddress: `10.0.0.1${i}`, targetMac: mac, targetAddress: '10.0.0.1' })));
  const flows = Array.from({ length: 400 }, (_, i) => build.frame(build.ethernet({ destination: mac, source: '02:00:00:00:bb:01' }),
    i % 2 === 0 ? build.ipv4({ source: `10.1.${i >> 8}.${i & 255}`, destination: SERVICE }) : build.ipv6({ source: `fd01::${i}`, destination: SERVICE6 }), build.udp({ sourcePort: 1000 + i, destinationPort: 80 }), [1, 2, 3, 4]));
  const choose = async (order: readonly number[]): Promise<number[]> => {
    const [input, output] = [join(dir, `in-${order.join('')}.pcap`), join(dir, `out-${order.join('')}.pcap`)];
    const writer = open([`pcap:,tx=${escapeValue(input)}`]);
    // The first burst finds out who is there: its packets have no backend yet.
    sendBy(writer, writer.ports[0]!, [...order.map(i => frames[i]!), ...Array.from({ length: 32 - order.length }, () => frames[order[0]!]!), ...flows]);
    writer.close();
    const stop = await start(t, 'balancer', `pcap:${escapeValue(input)},tx=${escapeValue(output)}`, '10.0.0.1/24,fd00::1/64', '--service', SERVICE, '--service', SERVICE6, ...order.flatMap(i => ['--backend', `${names[i]!}=10.0.0.1${i}`]));
    // What was given to each, and what was dropped and why: all that the file has.
    await stop.said(said => said.split('\n').some(line => (line.match(/\b\d+\b/g) ?? []).reduce((sum, each) => sum + Number(each), 0) === 32 + flows.length && line.startsWith(names[order[0]!]!)));
    await stop();
    const reader = open([`pcap:${escapeValue(output)}`]);
    const got = receiveBy(reader, reader.ports[0]!).filter(bytes => (bytes[12] === 8 && bytes[13] === 0) || bytes[12] === 0x86).map(bytes => bytes[5]!);
    reader.close();
    return got;
  };
  const [one, other, fewer] = [await choose([0, 1, 2, 3]), await choose([2, 0, 3, 1]), await choose([0, 1, 2])];
  t.equal(one.length, 400, 'every packet is given to one');
  t.same(one, other);
  const counts = [0, 1, 2, 3].map(i => one.filter(each => each === i).length);
  t.ok(counts.every(count => count > 50 && count < 150), counts.join());
  const moved = one.filter((each, i) => each !== 3 && fewer[i] !== each).length;
  t.ok(moved < 40, `${moved} of ${400 - counts[3]!} connections of the others moved`);
});

t.test('words that are none', async t => {
  const wrong = [['--service', '10.0.0.100', '--backend', 'x'], ['--service', 'no', '--backend', 'x=10.0.0.2'], ['--service', '10.0.0.100', '--backend', 'x=10.9.0.2'],
    ['--service', '10.0.0.100', '--service', '10.0.0.101', '--backend', 'x=10.0.0.2'], ['--service', '10.0.0.100', '--backend', 'x=fd00::2'], ['--backend', 'x=10.0.0.2'],
    // What would end it, or never serve, once they are there.
    ...[['x=10.0.0.2', 'x=10.0.0.3'], ['x=10.0.0.2', 'y=10.0.0.2'], ['x=10.0.0.2*70000'], ['x=10.0.0.1'], ['x=10.0.0.100']].map(list => ['--service', '10.0.0.100', ...list.flatMap(each => ['--backend', each])]),
    ...['10.0.0.1', 'fd00::100'].map(service => ['--service', service, '--backend', 'x=10.0.0.2']),
    ...['0', '-1', 'NaN'].map(seconds => ['--service', '10.0.0.100', '--backend', 'x=10.0.0.2', '--seconds', seconds])];
  await Promise.all(wrong.map(words => t.rejects(start(t, 'balancer', 'null:', '10.0.0.1/24', ...words), { message: /^exit 1: (balancer: |error: (required option .--service|option .--seconds))/ }, words.join(' '))));
});

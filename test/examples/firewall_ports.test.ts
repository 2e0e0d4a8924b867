/** Who has which port outside: packets of capture files, since they say in what order they come. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { build, open, PROTOCOL_ICMP, PROTOCOL_UDP } from '../../lib/index.js';
import { receiveBy, sendBy } from '../port/conformance/wires.js';
import { escapeValue } from '../port/device_helper.js';
import { ended } from './helper.js';

const OURS = ['02:00:00:00:01:00', '02:00:00:00:01:01'] as const;
const ADDRESSES = [['10.0.0.1', 'fd01::1'], ['192.0.2.10', 'fd02::10']] as const;

interface Seen { readonly source: string; readonly destination: string; readonly ports: readonly [number, number]; readonly type: number; readonly protocol: number }

/** The host with this last number says where it is, inside (0) or outside (1). */
function hello(side: 0 | 1, number: number): Uint8Array {
  const mac = `02:00:00:00:aa:${number.toString(16).padStart(2, '0')}`;
  return build.frame(build.ethernet({ destination: OURS[side], source: mac }), build.arp({
    operation: 2, senderMac: mac, senderAddress: side === 0 ? `10.0.0.${number}` : `192.0.2.${number}`, targetMac: OURS[side], targetAddress: ADDRESSES[side][0],
  }));
}

function packet(side: 0 | 1, source: string, destination: string, ...rest: (build.Layer | number[])[]): Uint8Array {
  return build.frame(build.ethernet({ destination: OURS[side], source: '02:00:00:00:bb:01' }), build.ipv4({ source, destination }), ...rest);
}

const udp = (sourcePort: number, destinationPort: number): build.Layer => build.udp({ sourcePort, destinationPort });
const ping = (type: number, identifier: number): build.Layer => build.icmp({ type, rest: identifier * 65536 + 1 });

/** What goes in on each side, and the IPv4 packets that have come out on each, and what it said: those inside go in first, 32 at a time. */
function through(t: Pick<Test, 'testdir' | 'equal'>, words: readonly string[], frames: readonly [readonly Uint8Array[], readonly Uint8Array[]]): [Seen[], Seen[], said: string] {
  const dir = t.testdir({});
  const files = [0, 1].map(side => ({ to: join(dir, `in${side}.pcap`), from: join(dir, `out${side}.pcap`) }));
  files.forEach(({ to }, side) => {
    const writer = open([`pcap:,tx=${escapeValue(to)}`]);
    sendBy(writer, writer.ports[0]!, frames[side]!);
    writer.close();
  });
  const device = (side: number): string => `pcap:${escapeValue(files[side]!.to)},tx=${escapeValue(files[side]!.from)}`;
  const { status, stdout, stderr } = ended('firewall', device(0), ADDRESSES[0].join(), device(1), ADDRESSES[1].join(), ...words, '--seconds', '0.3', '--quiet');
  t.equal(status, 0, stderr);
  const [inside, outside] = files.map(({ from }) => {
    const reader = open([`pcap:${escapeValue(from)}`]);
    const got = receiveBy(reader, reader.ports[0]!).filter(bytes => bytes[12] === 8 && bytes[13] === 0);
    reader.close();
    return got.map(bytes => ({
      source: bytes.subarray(26, 30).join('.'), destination: bytes.subarray(30, 34).join('.'), ports: [bytes[34]! * 256 + bytes[35]!, bytes[36]! * 256 + bytes[37]!] as const, type: bytes[34]!, protocol: bytes[23]!,
    }));
  }) as [Seen[], Seen[]];
  return [inside, outside, stdout];
}

t.test('a port that something is published under is no other connection\'s', async t => {
  // Both connections are between the same ports outside, unless the one that begins inside gets another than the published one.
  const [inside, outside] = through(t, ['--publish', 'udp:10000=10.0.0.5:80'], [
    [hello(0, 5), hello(0, 6), packet(0, '10.0.0.6', '192.0.2.1', udp(5000, 53))],
    [hello(1, 1), packet(1, '192.0.2.1', '192.0.2.10', udp(53, 10_000)), packet(1, '192.0.2.1', '192.0.2.10', udp(53, 10_001))],
  ]);
  t.same(outside.map(({ source, ports }) => [source, ...ports]), [['192.0.2.10', 10_001, 53]]);
  t.same(inside.map(({ destination, ports }) => [destination, ...ports]), [['10.0.0.5', 53, 80], ['10.0.0.6', 53, 5000]]);
});

t.test('two ports outside that are one service: between the same ends inside there is one connection', async t => {
  const words = ['--publish', 'udp:7=10.0.0.5:80', '--publish', 'udp:8=10.0.0.5:80'];
  const [inside, outside] = through(t, words, [
    [hello(0, 5), ...Array.from({ length: 31 }, () => hello(0, 6)), packet(0, '10.0.0.5', '192.0.2.1', udp(80, 4000))],
    [hello(1, 1), ...[7, 8].map(port => packet(1, '192.0.2.1', '192.0.2.10', udp(4000, port)))],
  ]);
  t.same(inside.map(({ destination, ports }) => [destination, ...ports]), [['10.0.0.5', 4000, 80]], 'the first one\'s');
  t.same(outside.filter(({ protocol }) => protocol === PROTOCOL_UDP).map(({ source, ports }) => [source, ...ports]), [['192.0.2.10', 7, 4000]], 'and its answer');
});

t.test('who was pinged does not ping back under the same identifier', async t => {
  const [inside, outside] = through(t, [], [
    [hello(0, 6), packet(0, '10.0.0.6', '192.0.2.1', ping(8, 77), [1, 2, 3, 4])],
    [hello(1, 1), packet(1, '192.0.2.1', '192.0.2.10', ping(0, 10_000), [1, 2, 3, 4]), packet(1, '192.0.2.1', '192.0.2.10', ping(8, 10_000), [1, 2, 3, 4])],
  ]);
  const pings = (list: readonly Seen[]): unknown[] => list.filter(({ protocol }) => protocol === PROTOCOL_ICMP).map(({ source, destination, type }) => [source, destination, type]);
  t.same(pings(inside), [['192.0.2.1', '10.0.0.6', 0]], 'the reply alone');
  t.same(pings(outside), [['192.0.2.10', '192.0.2.1', 8], ['192.0.2.10', '192.0.2.1', 0]], 'a ping to our own address is answered here');
});

t.test('one connection more than there may be is counted as that', async t => {
  const [, outside, said] = through(t, ['--connections', '1', '--publish', 'udp:7=10.0.0.5:80'], [
    [hello(0, 6), packet(0, '10.0.0.6', '192.0.2.1', udp(5000, 53)), packet(0, '10.0.0.6', '192.0.2.1', udp(5001, 53)), packet(0, '10.0.0.6', '192.0.2.1', udp(5000, 53))],
    [hello(1, 1), packet(1, '192.0.2.1', '192.0.2.10', udp(4000, 7)), packet(1, '192.0.2.1', '192.0.2.10', udp(4000, 9))],
  ]);
  t.same(outside.map(({ ports }) => ports), [[10_000, 53], [10_000, 53]]);
  t.match(said, /too many connections 2, for us 1/);
});

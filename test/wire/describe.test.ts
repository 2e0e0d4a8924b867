/** What a packet is called, and that any packet at all can be. */
import fc from 'fast-check';
import t from 'tap';
import * as build from '../../lib/wire/build.js';
import { describe, describeLong } from '../../lib/wire/describe.js';
import { TCP_ACK, TCP_SYN } from '../../lib/wire/tcp.js';
import { capturedFrames } from './captures_helper.js';
import { brokenFrames } from './frames_helper.js';
import { packets } from './packet_helper.js';

const lab = packets({ bufferSize: 4096 });
const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];
const ether = build.ethernet({ source: A, destination: B });
const four = build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' });
const six = build.ipv6({ source: '2001:db8::1', destination: 'ff02::1' });
const line = (...parts: (build.Layer | readonly number[])[]): string => describe(lab.mbufs, lab.put(build.frame(...parts)));
const macs = `${A} > ${B}`;

t.test('one line', async t => {
  t.equal(line(ether, four, build.udp({ sourcePort: 1000, destinationPort: 53 }), [1, 2, 3]), `${macs}, IPv4 10.0.0.1 > 10.0.0.2, UDP 1000 > 53, 3 bytes of data`);
  t.equal(line(ether, build.vlan({ id: 7 }), six, build.hopByHop(), build.tcp({ sourcePort: 1, destinationPort: 2, flags: TCP_SYN | TCP_ACK, sequence: 5, acknowledgment: 6, window: 7 })),
    `${macs}, VLAN 7, IPv6 2001:db8::1 > ff02::1, TCP 1 > 2 SYN ACK, seq 5, ack 6, win 7`);
  t.equal(line(ether, build.arp({ operation: 1, senderMac: A, senderAddress: '10.0.0.1', targetAddress: '10.0.0.2' })), `${macs}, ARP who has 10.0.0.2, tell 10.0.0.1`);
  t.equal(line(ether, build.arp({ operation: 2, senderMac: A, senderAddress: '10.0.0.1', targetAddress: '10.0.0.2' })), `${macs}, ARP 10.0.0.1 is at ${A}`);
  t.equal(line(ether, four, build.icmp({ type: 8, rest: 0x00070009 })), `${macs}, IPv4 10.0.0.1 > 10.0.0.2, ICMP echo request 7/9`);
  t.equal(line(ether, six, build.icmpv6({ type: 135 })), `${macs}, IPv6 2001:db8::1 > ff02::1, ICMPv6 neighbour solicitation`);
  t.equal(line(ether, build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', fragmentOffset: 1480, moreFragments: true, checksum: 1 }), [1, 2]),
    `${macs}, IPv4 10.0.0.1 > 10.0.0.2 fragment 1480 to 1482, more, bad header checksum, 2 bytes of data`);
  t.equal(line(ether, four, build.vxlanOverUdp(99), ether, four, build.gre({ key: 5 }), six, [1]),
    `${macs}, IPv4 10.0.0.1 > 10.0.0.2, UDP 49152 > 4789, VXLAN 99, ${macs}, IPv4 10.0.0.1 > 10.0.0.2, GRE key 5, IPv6 2001:db8::1 > ff02::1, nothing, 1 bytes of data`);
  t.equal(line(ether, build.mpls({ label: 16 }), build.mpls({ label: 17 }), four, build.sctp({ sourcePort: 1, destinationPort: 2 })), `${macs}, MPLS 16, MPLS 17, IPv4 10.0.0.1 > 10.0.0.2, SCTP 1 > 2`);
  t.equal(line([1, 2, 3]), 'Ethernet broken or cut off');
  t.equal(line(ether, four, build.tcp({ sourcePort: 1, destinationPort: 2 })).length > 0 && line(ether, build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 6 }), [1, 2]), `${macs}, IPv4 10.0.0.1 > 10.0.0.2, TCP broken or cut off`);
  t.equal(line(build.ethernet({ source: A, destination: B, type: 0x1234 }), [1]), `${macs}, type 0x1234, 1 bytes of data`);
});

t.test('every header with its fields', async t => {
  t.equal(describeLong(lab.mbufs, lab.put(build.frame(ether, build.vlan({ id: 7, priority: 5 }), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', options: [148, 4, 0, 0], dontFragment: true }), build.udp({ sourcePort: 1000, destinationPort: 53 }), [0xde, 0xad]))), [
    `${macs}, VLAN 7, IPv4 10.0.0.1 > 10.0.0.2, UDP 1000 > 53, 2 bytes of data`,
    '52 bytes, from port none',
    'Ethernet', `  destination       ${B}`, `  source            ${A}`, '  VLAN tag          7, priority 5', '  type              0x0800 IPv4',
    'IPv4', '  source            10.0.0.1', '  destination       10.0.0.2', '  protocol          17 UDP', '  total length      34', '  header            24 bytes', '  options           148 (4 bytes)',
    '  DSCP, ECN         0, 0', '  identification    0', '  fragment          offset 0, must not be cut', '  TTL               64', '  checksum          0x91c4 good',
    'UDP', '  source port       1000', '  destination port  53', '  length            10', '  checksum          0x090d', 'data', '  bytes             2', '  first             de ad',
  ].join('\n'));
});

t.test('anything can be described', async t => {
  const all = capturedFrames().filter(({ bytes }) => bytes.length <= 4096 - 256);
  const words = new Set(all.flatMap(({ bytes }) => describe(lab.mbufs, lab.put(bytes)).split(/[ ,]+/)));
  for (const word of ['IPv6', 'TCP', 'GRE', 'MPLS', 'LLDP', 'OSPF', 'PIM', 'ARP', 'SCTP', 'broken']) t.ok(words.has(word), word);
  let longest = 0;
  fc.assert(fc.property(brokenFrames, bytes => {
    const text = describeLong(lab.mbufs, lab.put(bytes));
    longest = Math.max(longest, text.length);
    return !text.includes('undefined') && !text.includes('NaN');
  }), { numRuns: 1000 });
  t.ok(longest > 500);
});

/** Header views: what was built is what they read, what they write is what was built, and a header that is not whole is not found. */
import fc from 'fast-check';
import t from 'tap';
import { addressBytes, formatIpv4, formatIpv6, parseIpv4 } from '../../lib/address.js';
import { ARP_REPLY, ARP_REQUEST, Arp } from '../../lib/wire/arp.js';
import * as build from '../../lib/wire/build.js';
import { Ethernet, Vlan } from '../../lib/wire/ether.js';
import { NOWHERE, type Header } from '../../lib/wire/header.js';
import { Icmp } from '../../lib/wire/icmp.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { Sctp } from '../../lib/wire/sctp.js';
import { TCP_ACK, TCP_OPTION_MSS, TCP_OPTION_TIMESTAMPS, TCP_SYN, Tcp } from '../../lib/wire/tcp.js';
import { Gre, Mpls, Vxlan } from '../../lib/wire/tunnel.js';
import { Udp } from '../../lib/wire/udp.js';
import { parseMac } from '../../lib/wire/ethernet.js';
import { codeThrown } from '../kernel/rights.js';
import { packets } from './packet_helper.js';

const lab = packets();
const { mbufs, put } = lab;
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const four = build.ipv4({ source: '10.1.2.3', destination: '192.168.255.254' });
const six = build.ipv6({ source: '2001:db8::1', destination: 'fe80::ff00:1' });

t.test('Ethernet, tags and 802.3 lengths', async t => {
  const ether = new Ethernet(mbufs);
  const vlan = new Vlan(mbufs);
  const mac = build.ethernet({ destination: A, source: B });
  t.equal(ether.at(put(build.frame(mac, four))), true);
  t.same([ether.type, ether.tags, ether.end, ether.length, ether.limit, ether.vlan, ether.isMulticast], [0x0800, 0, 14, 14, 34, 0, false]);
  t.ok(ether.destinationIs(parseMac(A)) && ether.sourceIs(parseMac(B)) && !ether.sourceIs(parseMac(A)));

  const tagged = put(build.frame(mac, build.vlan({ id: 7, service: true }), build.vlan({ id: 4095, priority: 5 }), six));
  t.equal(ether.at(tagged), true);
  t.same([ether.type, ether.tags, ether.end, ether.vlan], [0x86dd, 2, 22, 7]);
  t.equal(vlan.at(tagged), true);
  t.same([vlan.tpid, vlan.id, vlan.type], [0x88a8, 7, 0x8100]);
  t.equal(vlan.at(tagged, 16), true);
  t.same([vlan.tpid, vlan.id, vlan.priority, vlan.dropEligible, vlan.type], [0x8100, 4095, 5, false, 0x86dd]);
  t.equal(vlan.at(tagged, 20), false, 'no third');

  ether.swap();
  ether.setDestination(parseMac('ff:ff:ff:ff:ff:ff'));
  t.same([ether.isBroadcast, ether.isMulticast, ether.sourceIs(parseMac(A))], [true, true, true]);

  ether.at(put(build.frame(build.ethernet({ type: 3 }), [0x42, 0x42, 3, 0, 0, 0])));
  t.same([ether.type, ether.limit], [3, 17], 'a length is no type, and what is behind it is padding');
  t.equal(ether.at(put(new Uint8Array(13))), false);
  t.equal(ether.start, NOWHERE);
  ether.at(put(Uint8Array.from([...new Array<number>(12).fill(1), 0x81, 0])));
  t.same([ether.type, ether.tags, ether.end], [0x8100, 0, 14], 'a tag that is cut is none');
});

t.test('a tag is put in and taken out again', async t => {
  const vlan = new Vlan(mbufs);
  const bytes = build.frame(build.ethernet({ destination: A, source: B }), four, [1, 2, 3]);
  const handle = put(bytes);
  t.equal(vlan.push(handle, 0x2064), true);
  t.same(mbufs.copyOut(handle), build.frame(build.ethernet({ destination: A, source: B }), build.vlan({ id: 100, priority: 1 }), four, [1, 2, 3]));
  t.equal(vlan.id, 100);
  t.equal(vlan.pop(handle), 0x2064);
  t.same(mbufs.copyOut(handle), bytes);
  t.equal(vlan.pop(handle), -1);
  t.same(mbufs.copyOut(handle), bytes);
});

t.test('ARP', async t => {
  const arp = new Arp(mbufs);
  const ask = { operation: ARP_REQUEST, senderMac: A, senderAddress: '10.0.0.1', targetAddress: '10.0.0.2' };
  const handle = put(build.frame(build.ethernet(), build.arp(ask)));
  t.equal(arp.at(handle, 14), true);
  t.same([arp.operation, formatIpv4(arp.senderAddress), formatIpv4(arp.targetAddress)], [1, '10.0.0.1', '10.0.0.2']);
  arp.reply(parseMac(B));
  t.same(mbufs.copyOut(handle), build.frame(build.ethernet({ type: 0x806 }),
    build.arp({ operation: ARP_REPLY, senderMac: B, senderAddress: '10.0.0.2', targetMac: A, targetAddress: '10.0.0.1' })));
  mbufs.view.setUint16(arp.start, 6);
  t.equal(arp.at(handle, 14), false, 'of another hardware');
});

t.test('IPv4: fields, options, fragments, TTL', async t => {
  const ip = new Ipv4(mbufs);
  const options = [148, 4, 0, 0, 1, 1, 7, 3, 4, 0, 0, 0]; // router alert, two NOPs, an empty record route, the end
  const fields = { source: '10.1.2.3', destination: '192.168.255.254', ttl: 3, tos: 0xb9, identification: 0xbeef, moreFragments: true, fragmentOffset: 1480, options };
  const handle = put(build.frame(build.ethernet(), build.ipv4(fields), build.udp({ sourcePort: 1, destinationPort: 2 }), [1, 2, 3, 4, 5]));
  t.equal(ip.at(handle, 14), true);
  t.same([ip.length, ip.end, ip.payloadLength, ip.totalLength, ip.dscp, ip.ecn, ip.identification], [32, 46, 13, 45, 46, 1, 0xbeef]);
  t.same([ip.isFragment, ip.moreFragments, ip.dontFragment, ip.fragmentOffset, ip.protocol, ip.ttl], [true, true, false, 1480, 17, 3]);
  t.same([formatIpv4(ip.source), formatIpv4(ip.destination), ip.checksumValid], ['10.1.2.3', '192.168.255.254', true]);
  const found: number[][] = [];
  while (ip.nextOption()) found.push([ip.optionKind, ip.optionLength]);
  t.same(found, [[148, 4], [1, 1], [1, 1], [7, 3]]);

  t.equal(ip.decrementTtl(), 2);
  t.ok(ip.checksumValid, 'the checksum went along');
  t.same(mbufs.copyOut(handle), build.frame(build.ethernet(), build.ipv4({ ...fields, ttl: 2 }), build.udp({ sourcePort: 1, destinationPort: 2 }), [1, 2, 3, 4, 5]));
  ip.decrementTtl();
  t.equal(ip.decrementTtl(), 0, 'it would not live on');
  t.equal(ip.ttl, 1);
  ip.source = parseIpv4('255.255.255.255');
  t.equal(ip.checksumValid, false);
  ip.updateChecksum();
  t.same([ip.checksumValid, formatIpv4(ip.source)], [true, '255.255.255.255']);

  const bad = (change: (bytes: Uint8Array) => void): boolean => {
    const bytes = build.frame(build.ethernet(), build.ipv4(fields), [1, 2, 3, 4]);
    change(bytes);
    return ip.at(put(bytes), 14);
  };
  t.equal(bad(() => undefined), true);
  t.equal(bad(bytes => { bytes[14] = 0x44; }), false, 'a header of 16 bytes');
  t.equal(bad(bytes => { bytes[14] = 0x4f; }), false, 'a header longer than the packet');
  t.equal(bad(bytes => { bytes[14] = 0x68; }), false, 'version 6');
  t.equal(bad(bytes => { bytes[17] = 31; }), false, 'a total length shorter than the header');
  t.equal(bad(bytes => { bytes[16] = 0; bytes[17] = 0; }), true, 'a length of 0 is for whoever cuts it into segments');
  t.equal(ip.limit, 50);
  bad(bytes => { bytes[16] = 0xff; });
  t.equal(ip.limit, 50, 'a total length beyond the packet ends with the packet');
  bad(bytes => { bytes[17] = 34; });
  t.same([ip.limit, ip.payloadLength], [48, 2], 'what is behind is padding');
  t.equal(ip.at(put(build.frame(build.ethernet(), four)), -1), false);
  t.equal(ip.at(put(build.frame(build.ethernet(), four)), Number.NaN), false);
});

t.test('IPv6: extension headers', async t => {
  const ip = new Ipv6(mbufs);
  const handle = put(build.frame(build.ethernet(), build.ipv6({ source: '2001:db8::1', destination: 'fe80::1', trafficClass: 0xb8, flowLabel: 0xabcde, hopLimit: 9 }),
    build.hopByHop(), build.extension({ kind: 43, body: [0, 0, 0, 0, 0, 0, ...new Array<number>(8).fill(0)] }), build.extension({ kind: 51, body: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }),
    build.fragment({ offset: 0, more: true, identification: 0xdeadbeef }), build.udp({ sourcePort: 5, destinationPort: 6 }), [9, 9]));
  // AH counts in words of four, less two: 16 bytes are 2.
  mbufs.u8[mbufs.data(handle) + 14 + 40 + 8 + 16 + 1] = 2;
  t.equal(ip.at(handle, 14), true);
  t.same([ip.trafficClass, ip.flowLabel, ip.hopLimit, ip.nextHeader, ip.protocol, ip.complete], [0xb8, 0xabcde, 9, 0, 17, true]);
  t.same([ip.end, ip.length, ip.payloadLength], [14 + 40 + 8 + 16 + 16 + 8, 88, 10]);
  t.same([ip.isFragment, ip.fragmentOffset, ip.moreFragments, ip.identification], [true, 0, true, 0xdeadbeef]);
  t.same([formatIpv6(mbufs.u8, ip.start + 8), formatIpv6(mbufs.u8, ip.start + 24)], ['2001:db8::1', 'fe80::1']);
  t.same([ip.sourceWord(0), ip.sourceWord(3), ip.destinationWord(0)], [0x20010db8, 1, 0xfe800000]);
  const found: number[][] = [];
  while (ip.nextExtension()) found.push([ip.extensionType, ip.extensionLength]);
  t.same(found, [[0, 8], [43, 16], [51, 16], [44, 8]]);

  ip.at(put(build.frame(build.ethernet(), six, build.fragment({ offset: 1232, more: false }), [60, 255, 1, 1, 1, 1, 1, 1])), 14);
  t.same([ip.protocol, ip.complete, ip.end, ip.fragmentOffset, ip.isFragment], [59, true, 62, 1232, true], 'a later fragment: what follows is data');
  ip.at(put(build.frame(build.ethernet(), six, build.fragment({}), build.udp({ sourcePort: 1, destinationPort: 2 }))), 14);
  t.same([ip.isFragment, ip.protocol], [false, 17], 'an atomic fragment is a whole packet');

  ip.at(put(build.frame(build.ethernet(), six, build.extension({ nextHeader: 6 }), [1, 2])), 14);
  t.same([ip.protocol, ip.complete, ip.payloadLength], [6, true, 2]);
  const cut = build.frame(build.ethernet(), six, build.extension({ nextHeader: 6 }));
  cut[14 + 40 + 1] = 1;
  t.equal(ip.at(put(cut), 14), true);
  t.same([ip.protocol, ip.complete, ip.end], [59, false, 54], 'an extension header that runs past the packet');
  const loop = build.frame(build.ethernet(), six, ...Array.from({ length: 40 }, () => build.extension()));
  t.equal(ip.at(put(loop), 14), true);
  t.same([ip.protocol, ip.complete, ip.end], [59, false, 14 + 40 + 32 * 8], 'more of them than are followed');
});

t.test('ICMP, UDP, TCP, SCTP', async t => {
  const icmp = new Icmp(mbufs);
  t.equal(icmp.at(put(build.frame(build.ethernet(), four, build.icmp({ type: 8, code: 0, rest: 0x00070009 }), [1, 2])), 34), true);
  t.same([icmp.type, icmp.code, icmp.identifier, icmp.sequence, icmp.rest, icmp.payloadLength], [8, 0, 7, 9, 0x00070009, 2]);

  const udp = new Udp(mbufs);
  t.equal(udp.at(put(build.frame(build.ethernet(), four, build.udp({ sourcePort: 65535, destinationPort: 53 }), [1, 2, 3])), 34), true);
  t.same([udp.sourcePort, udp.destinationPort, udp.lengthField, udp.payloadLength], [65535, 53, 11, 3]);
  t.equal(udp.at(put(build.frame(build.ethernet(), four, build.udp({ sourcePort: 1, destinationPort: 2, length: 7 }))), 34), false, 'a length of 7');
  t.equal(udp.at(put(build.frame(build.ethernet(), four, build.udp({ sourcePort: 1, destinationPort: 2, length: 0 }), [1, 2])), 34), true);
  t.equal(udp.payloadLength, 2);
  t.equal(udp.at(put(build.frame(build.ethernet(), four, build.udp({ sourcePort: 1, destinationPort: 2 }), [1, 2])), 34, 43), true);
  t.equal(udp.payloadLength, 1, 'not past the packet around it');
  t.equal(udp.at(put(build.frame(build.ethernet(), four, build.udp({ sourcePort: 1, destinationPort: 2 }))), 34, 41), false);

  const tcp = new Tcp(mbufs);
  const options = [2, 4, 5, 180, 1, 3, 3, 7, 8, 10, 0, 0, 0, 9, 255, 0, 0, 1, 0, 0];
  const fields = { sourcePort: 80, destinationPort: 40000, sequence: 0xfffffffe, acknowledgment: 0x80000000, flags: TCP_SYN | TCP_ACK | 0x100, window: 29200, options };
  t.equal(tcp.at(put(build.frame(build.ethernet(), four, build.tcp(fields), [1])), 34), true);
  t.same([tcp.sourcePort, tcp.destinationPort, tcp.sequence, tcp.acknowledgment, tcp.flags, tcp.window, tcp.length, tcp.payloadLength],
    [80, 40000, 0xfffffffe, 0x80000000, 0x112, 29200, 40, 1]);
  const found: number[][] = [];
  while (tcp.nextOption()) {
    found.push([tcp.optionKind, tcp.optionLength]);
    if (tcp.optionKind === TCP_OPTION_MSS) t.equal(tcp.optionValue16(2), 1460);
    if (tcp.optionKind === TCP_OPTION_TIMESTAMPS) t.same([tcp.optionValue32(2), tcp.optionValue32(6), tcp.optionValue32(8)], [9, 0xff000001, 0]);
  }
  t.same(found, [[2, 4], [1, 1], [3, 3], [8, 10]]);
  for (const list of [[3, 0, 0, 0], [8, 10, 0, 0], [1, 1, 1, 3], [3, 1, 1, 1]]) {
    tcp.at(put(build.frame(build.ethernet(), four, build.tcp({ ...fields, options: list }))), 34);
    let count = 0;
    while (tcp.nextOption()) count++;
    t.equal(count, list.filter(kind => kind === 1).length === 3 && list[0] === 1 ? 3 : 0, `options ${list.join(' ')}: none past the header, and no circle`);
  }
  const short = build.frame(build.ethernet(), four, build.tcp({ ...fields, options: [] }));
  short[34 + 12] = 0x60;
  t.equal(tcp.at(put(short), 34), false, 'a header longer than the packet');
  short[34 + 12] = 0x40;
  t.equal(tcp.at(put(short), 34), false, 'a header of 16 bytes');

  const sctp = new Sctp(mbufs);
  t.equal(sctp.at(put(build.frame(build.ethernet(), four, build.sctp({ sourcePort: 7, destinationPort: 8, verificationTag: 0xf0000000, checksum: 0x89abcdef }), [1, 2, 0, 5, 9, 0, 0, 0, 14, 0, 0, 4, 7, 0, 0, 3])), 34), true);
  t.same([sctp.sourcePort, sctp.destinationPort, sctp.verificationTag, sctp.checksum], [7, 8, 0xf0000000, 0x89abcdef]);
  const chunks: number[][] = [];
  while (sctp.nextChunk()) chunks.push([sctp.chunkType, sctp.chunkFlags, sctp.chunkLength]);
  t.same(chunks, [[1, 2, 5], [14, 0, 4]], 'a chunk of 3 bytes ends them');
});

t.test('VXLAN, GRE, MPLS, and a packet in a packet', async t => {
  const handle = put(build.frame(build.ethernet(), four, build.vxlanOverUdp(0xabcdef), build.ethernet({ destination: A }), six, build.udp({ sourcePort: 3, destinationPort: 4 })));
  const [ether, ip, udp, vxlan, ip6] = [new Ethernet(mbufs), new Ipv4(mbufs), new Udp(mbufs), new Vxlan(mbufs), new Ipv6(mbufs)];
  t.ok(ether.at(handle) && ip.at(handle, ether.end) && udp.at(handle, ip.end, ip.limit) && vxlan.at(handle, udp.end, udp.limit));
  t.same([udp.destinationPort, vxlan.vni], [4789, 0xabcdef]);
  t.ok(ether.at(handle, vxlan.end, vxlan.limit) && ether.destinationIs(parseMac(A)) && ip6.at(handle, ether.end, ether.limit) && udp.at(handle, ip6.end, ip6.limit));
  t.same([udp.sourcePort, udp.destinationPort], [3, 4]);
  mbufs.u8[vxlan.start] = 0;
  t.equal(vxlan.at(handle, 42), false, 'without its flag');

  const gre = new Gre(mbufs);
  t.equal(gre.at(put(build.frame(build.ethernet(), four, build.gre({ key: 0x80000001, sequence: 9 }), six)), 34), true);
  t.same([gre.type, gre.hasChecksum, gre.key, gre.sequence, gre.length], [0x86dd, false, 0x80000001, 9, 12]);
  t.equal(gre.at(put(build.frame(build.ethernet(), four, build.gre(), build.ethernet())), 34), true);
  t.same([gre.type, gre.hasKey, gre.key, gre.sequence, gre.length], [0x6558, false, 0, 0, 4]);
  mbufs.u8[gre.start + 1] = 1;
  t.equal(gre.at(lab.burst.handles[0]!, 34), false, 'version 1');

  const mpls = new Mpls(mbufs);
  const stack = put(build.frame(build.ethernet(), build.mpls({ label: 0xfffff, trafficClass: 5 }), build.mpls({ label: 16, ttl: 255 }), four));
  t.ok(ether.at(stack) && mpls.at(stack, ether.end));
  t.same([ether.type, mpls.label, mpls.trafficClass, mpls.isBottom, mpls.ttl], [0x8847, 0xfffff, 5, false, 64]);
  t.equal(mpls.at(stack, mpls.end), true);
  t.same([mpls.label, mpls.isBottom, mpls.ttl], [16, true, 255]);
});

const KINDS = [Ethernet, Vlan, Arp, Ipv4, Ipv6, Icmp, Udp, Tcp, Sctp, Vxlan, Gre, Mpls] as const;
/** Names of the same bits, which change together. */
const SHARED = [['tci', 'id', 'priority', 'dropEligible'], ['rest', 'identifier', 'sequence'], ['protocol', 'nextHeader']];

for (const above of [0, 2 ** 31]) {
  t.test(`every field that can be written reads back, and none of its neighbours moves${above > 0 ? ', above 2 GiB' : ''}`, async t => {
    const { mbufs, put } = above === 0 ? lab : packets({ above });
    let fields = 0;
    for (const Kind of KINDS) {
      const view: Header & Record<string, unknown> = new Kind(mbufs) as never;
      // What all of them find something in, whatever it is.
      const bytes = Uint8Array.from({ length: 80 }, (_, i) => (i * 37) & 255);
      bytes.set([0x81, 0, 0, 5, 8, 0], 12);
      const head = { Arp: [0, 1, 8, 0, 6, 4], Ipv4: [0x46, 7, 0, 60], Ipv6: [0x61, 0x23, 0x45, 0x67, 0, 20, 17], Tcp: [], Udp: [1, 2, 3, 4, 0, 40], Vxlan: [8], Gre: [0xb0, 0] }[Kind.name as 'Arp'] ?? [];
      bytes.set(head, 20);
      if (Kind === Tcp) bytes[32] = 0x60;
      t.equal(view.at(put(bytes), Kind === Vlan ? 12 : 20), true, Kind.name);
      const writable = Object.entries(Object.getOwnPropertyDescriptors(Kind.prototype)).filter(([, { set }]) => set !== undefined).map(([name]) => name);
      const all = Object.entries(Object.getOwnPropertyDescriptors(Kind.prototype)).filter(([name, { get }]) => get !== undefined && name !== 'checksumValid').map(([name]) => name);
      for (const name of writable) {
        const others = all.filter(other => other !== name && !(Kind === Icmp || Kind === Vlan ? SHARED : []).some(group => group.includes(name) && group.includes(other)));
        const before = others.map(other => view[other]);
        const wide = typeof view[name] === 'boolean' ? [true, false] : [0xffffffff, 0, 0xaaaaaaaa, 0x55555555];
        const widths = new Set(wide.map(value => {
          view[name] = value;
          const kept = view[name] as number;
          view[name] = kept;
          if (view[name] !== kept) throw new Error(`${Kind.name}.${name} does not read back`);
          return kept;
        }));
        if (widths.size !== wide.length) t.fail(`${Kind.name}.${name} keeps ${[...widths].join(' ')} of ${wide.join(' ')}`);
        // Whether there is a fragment is not one field's own.
        const quiet = others.flatMap((other, i) => other === 'isFragment' || view[other] === before[i] ? [] : [other]);
        t.same(quiet, [], `${Kind.name}.${name}`);
        fields++;
      }
    }
    t.ok(fields > 45, `${fields} fields`);
  });
}

t.test('what `make` writes is what the builders write', async t => {
  const room = (bytes: number): number => put(new Uint8Array(bytes).fill(0xee));
  const [ether, ip, ip6, udp, tcp, icmp, sctp] = [new Ethernet(mbufs), new Ipv4(mbufs), new Ipv6(mbufs), new Udp(mbufs), new Tcp(mbufs), new Icmp(mbufs), new Sctp(mbufs)];
  const handle = room(50);
  t.ok(ether.make(handle, 0, 0x800) && ip.make(handle, 14, 17) && udp.make(handle, 34, 4, 5));
  [ip.source, ip.destination] = [parseIpv4('10.1.2.3'), parseIpv4('192.168.255.254')];
  ip.updateChecksum();
  t.same(mbufs.copyOut(handle), build.frame(build.ethernet(), four, build.udp({ sourcePort: 4, destinationPort: 5, checksum: 0 }), new Array<number>(8).fill(0xee)));

  const second = room(14 + 40 + 20);
  t.ok(ether.make(second, 0, 0x86dd) && ip6.make(second, 14, 6) && tcp.make(second, 54, 4, 5));
  addressBytes('2001:db8::1').forEach((byte, i) => { mbufs.u8[ip6.start + 8 + i] = byte; });
  addressBytes('fe80::ff00:1').forEach((byte, i) => { mbufs.u8[ip6.start + 24 + i] = byte; });
  t.same(mbufs.copyOut(second), build.frame(build.ethernet(), six, build.tcp({ sourcePort: 4, destinationPort: 5, flags: 0, window: 0, checksum: 0 })));

  const third = room(100);
  const [arp, vxlan, gre, mpls] = [new Arp(mbufs), new Vxlan(mbufs), new Gre(mbufs), new Mpls(mbufs)];
  t.ok(icmp.make(third, 0, 3, 4) && sctp.make(third, 8, 1, 2) && arp.make(third, 20, 1) && vxlan.make(third, 48, 0x800001) && gre.make(third, 56, 0x800, 7) && mpls.make(third, 64, 0xfffff, true, 9));
  const none = '00:00:00:00:00:00';
  t.same(mbufs.copyOut(third).subarray(0, 68), build.frame(build.icmp({ type: 3, code: 4, checksum: 0 }), build.sctp({ sourcePort: 1, destinationPort: 2 }),
    build.arp({ operation: 1, senderMac: none, senderAddress: '0.0.0.0', targetAddress: '0.0.0.0' }), build.vxlan({ vni: 0x800001 }),
    build.gre({ type: 0x800, key: 7 }), build.mpls({ label: 0xfffff, bottom: true, ttl: 9 })));
  const full = room(30);
  for (const [view, at] of [[ether, 17], [ip, 11], [udp, 23], [tcp, 11], [icmp, 23], [sctp, 19]] as const) {
    t.equal((view as { make(...of: number[]): boolean }).make(full, at, 1, 1), false, `${view.constructor.name}: no room`);
  }
  t.ok(mbufs.copyOut(full).every(byte => byte === 0xee), 'and nothing is written');
});

t.test('a number that its field does not hold is refused by name', async t => {
  const ends = { source: '10.0.0.1', destination: '10.0.0.2' };
  const ends6 = { source: 'fd00::1', destination: 'fd00::2' };
  const ports = { sourcePort: 1, destinationPort: 2 };
  const arp = { operation: 1, senderMac: '02:00:00:00:00:01', senderAddress: '10.0.0.1', targetAddress: '10.0.0.2' };
  const wrong: readonly (readonly [name: string, make: () => unknown])[] = [
    ...['sourcePort', 'destinationPort', 'length', 'checksum'].map(name => [name, () => build.udp({ ...ports, [name]: 65536 })] as const),
    ...['sourcePort', 'window', 'urgentPointer', 'checksum'].map(name => [name, () => build.tcp({ ...ports, [name]: -1 })] as const),
    ...['sequence', 'acknowledgment'].map(name => [name, () => build.tcp({ ...ports, [name]: 2 ** 32 })] as const), ['flags', () => build.tcp({ ...ports, flags: 512 })],
    ['sourcePort', () => build.sctp({ ...ports, sourcePort: 1.5 })], ['verificationTag', () => build.sctp({ ...ports, verificationTag: -1 })],
    ...['ttl', 'tos', 'protocol'].map(name => [name, () => build.ipv4({ ...ends, [name]: 256 })] as const),
    ...['identification', 'fragmentOffset', 'totalLength', 'checksum'].map(name => [name, () => build.ipv4({ ...ends, [name]: 65536 })] as const),
    ...['hopLimit', 'trafficClass', 'nextHeader'].map(name => [name, () => build.ipv6({ ...ends6, [name]: 256 })] as const), ['flowLabel', () => build.ipv6({ ...ends6, flowLabel: 2 ** 20 })], ['payloadLength', () => build.ipv6({ ...ends6, payloadLength: NaN })],
    ...[build.icmp, build.icmpv6].flatMap(make => [['type', () => make({ type: 256 })], ['code', () => make({ type: 1, code: -1 })], ['rest', () => make({ type: 1, rest: 2 ** 32 })]] as const),
    ['offset', () => build.fragment({ offset: 65536 })], ['identification', () => build.fragment({ identification: -1 })], ['key', () => build.gre({ key: 2 ** 32 })], ['type', () => build.gre({ type: 65536 })],
    ['type', () => build.ethernet({ type: 65536 })], ['type', () => build.vlan({ id: 1, type: -1 })], ['operation', () => build.arp({ ...arp, operation: 65536 })], ['trafficClass', () => build.mpls({ label: 1, trafficClass: 8 })], ['ttl', () => build.mpls({ label: 1, ttl: 256 })],
  ];
  for (const [name, make] of wrong) t.throws(make, { code: 'EOPTION', message: new RegExp(`^${name} .*whole number`) }, `${name} ${String(make)}`);
});

t.test('a view that found nothing writes nothing', async t => {
  const handle = put(new Uint8Array(60).fill(0x11));
  const before = Buffer.from(lab.arena.u8.subarray(lab.pool.buffers.offset, lab.pool.buffers.offset + 64 * 2048)).toString('base64');
  for (const Kind of [Ipv4, Ipv6, Arp]) {
    const view: Header & Record<string, unknown> = new Kind(mbufs) as never;
    t.equal(view.at(handle, 14), false);
    for (const [name, { set }] of Object.entries(Object.getOwnPropertyDescriptors(Kind.prototype))) {
      if (set !== undefined) t.throws(() => { view[name] = 1; }, RangeError, `${Kind.name}.${name}`);
    }
  }
  t.equal(Buffer.from(lab.arena.u8.subarray(lab.pool.buffers.offset, lab.pool.buffers.offset + 64 * 2048)).toString('base64'), before);
});

t.test('addresses as text', async t => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 }).chain(all => fc.array(fc.nat(7)).map(zeros => {
    for (const group of zeros) all.fill(0, group * 2, group * 2 + 2);
    return all;
  }));
  fc.assert(fc.property(bytes, all => {
    const text = formatIpv6(all);
    const back = Uint8Array.from(addressBytes(text));
    if (Buffer.compare(back, all) !== 0) throw new Error(text);
  }));
  // RFC 5952 section 4, RFC 4291 section 2.2.
  for (const text of ['::', '::1', '1::', '2001:db8::1', '2001:db8:0:1:1:1:1:1', '2001:0:0:1::1', '2001:db8::1:0:0:1', '::ffff:192.0.2.1', 'ff02::1:ff00:0']) {
    t.equal(formatIpv6(Uint8Array.from(addressBytes(text))), text);
  }
  for (const text of ['0.0.0.0', '255.255.255.255', '127.0.0.1']) t.equal(formatIpv4(parseIpv4(text)), text);
  t.equal(codeThrown(() => parseIpv4('::1')), 'EOPTION');
  t.equal(codeThrown(() => build.ipv4({ source: '::1', destination: '::2' })), 'EOPTION');
  t.equal(codeThrown(() => build.ipv6({ source: '10.0.0.1', destination: '10.0.0.1' })), 'EOPTION');
  t.equal(codeThrown(() => build.vlan({ id: 4096 })), 'EOPTION');
  t.equal(codeThrown(() => build.ethernet({ source: 'x' })), 'EOPTION');
});

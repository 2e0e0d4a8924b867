/** Tunnels between two switches, and what comes to one that no tunnel sent. */
import t from 'tap';
import { BROADCAST, SwitchLab, frame } from './lab_helper.js';

const [A, B] = [0x020000000001, 0x020000000002];

/** Two hosts: br0 of each has a station and the tunnel, whose ends are stations of one underlay bridge. */
function twoHosts(more: object = {}): SwitchLab {
  const tunnel = (local: string, remote: string) => ({ vxlan: { vni: 7, local, remotes: [remote], underlay: { bridge: 'under' } }, ...more });
  return new SwitchLab({
    left: { ports: { a: {}, tun: tunnel('10.0.0.1', '10.0.0.2') } },
    right: { ports: { b: {}, tun: tunnel('10.0.0.2', '10.0.0.1') } },
    under: { ports: { tap: {} } },
  });
}

t.test('frames pass a tunnel both ways, once ARP has answered', t => {
  const lab = twoHosts();
  const there = frame({ to: B, from: A, length: 200 });
  t.match(lab.exchange('a', there), { b: [there] });
  const back = frame({ to: A, from: B });
  t.same(lab.exchange('b', back, back), { a: [back, back] });
  t.same(lab.exchange('a', there, there), { b: [there, there] });
  t.match(lab.sw.fdb('right').find(entry => entry.port === 'tun'), { mac: '02:00:00:00:00:01', remote: '10.0.0.1' });
  t.same(lab.sw.ports().filter(port => port.kind === 'vxlan').map(port => [port.rx.packets, port.tx.packets]), [[2, 3], [3, 2]]);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

const [LOCAL, REMOTE] = ['10.0.0.1', '10.0.0.2'];
const [VTEP, PEER] = [0x02fe0a000001, 0x020000000099];

interface OuterParts { readonly flags?: number; readonly vni?: number; readonly source?: number[]; readonly udpLength?: number; readonly total?: number; readonly fragment?: number; readonly first?: number; readonly checksum?: number; readonly port?: number; readonly inner?: Uint8Array; readonly pad?: number }

/** A packet of the underlay, right but for what is asked otherwise. */
function outer({ flags = 8, vni = 7, source = [10, 0, 0, 2], udpLength, total, fragment = 0, first = 0x45, checksum, port = 4789, inner = frame({ to: A, from: B }), pad = 0 }: OuterParts = {}): Uint8Array {
  const length = udpLength ?? inner.length + 16;
  const ip = [first, 0, ...be16(total ?? inner.length + 36), 0, 0, ...be16(fragment), 64, 17, 0, 0, ...source, 10, 0, 0, 1];
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += ip[i]! * 256 + ip[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  ip.splice(10, 2, ...be16(checksum ?? ~sum & 0xffff));
  const header = frame({ to: VTEP, from: PEER, type: 0x0800, length: 14 });
  return Uint8Array.from([...header, ...ip, ...be16(50_000), ...be16(port), ...be16(length), 0, 0, flags, 0, 0, 0, ...be16(vni >>> 8), vni & 255, 0, ...inner, ...new Uint8Array(pad)]);
}

function be16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

/** One end; the station `wire` is whatever stands on the underlay. */
function oneEnd(remotes = [REMOTE]): SwitchLab {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {} } } });
  lab.sw.apply({ bridges: { br: { ports: {
    ...lab.config.bridges['br']!.ports, tun: { vxlan: { vni: 7, local: LOCAL, remotes, underlay: { device: lab.wire('wire') } } },
  } } } });
  return lab;
}

t.test('on a device: what is no packet of the tunnel is counted by why', t => {
  const lab = oneEnd();
  const inner = frame({ to: A, from: B });
  t.same(lab.exchange('wire', outer(), outer({ pad: 6 }), outer({ flags: 0xff })), { a: [inner, inner, inner], b: [inner, inner, inner] }, 'padding is cut off; other flags are ignored');
  const bad: [string, OuterParts][] = [
    ['vxlan_bad_flags', { flags: 0xf7 }], ['vxlan_unknown_vni', { vni: 8 }], ['vxlan_unknown_vni', { vni: 0x070000 }], ['vxlan_unknown_vni', { port: 4790 }], ['vxlan_unknown_remote', { source: [10, 0, 0, 3] }],
    ['vxlan_bad_length', { udpLength: 29 }], ['vxlan_bad_length', { udpLength: 200 }], ['vxlan_bad_length', { udpLength: 0 }], ['vxlan_bad_length', { total: 24 }],
    ['vxlan_bad_ip', { total: 300 }], ['vxlan_bad_ip', { total: 10 }], ['vxlan_bad_ip', { fragment: 0x2000 }], ['vxlan_bad_ip', { fragment: 1 }], ['vxlan_bad_ip', { first: 0x44 }], ['vxlan_bad_ip', { first: 0x65 }],
    ['vxlan_bad_ip', { first: 0x4f, inner: new Uint8Array(0) }], ['vxlan_bad_ip', { checksum: 1 }],
  ];
  const wanted: Record<string, number> = {};
  for (const [cause, parts] of bad) {
    t.same(lab.exchange('wire', outer(parts)), {}, `${cause} ${JSON.stringify(parts)}`);
    wanted[cause] = (wanted[cause] ?? 0) + 1;
  }
  t.same(lab.exchange('wire', new Uint8Array(10), frame({ to: PEER, from: PEER }), frame({ to: VTEP, from: PEER, type: 0x0800, length: 20 }), frame({ to: VTEP, from: PEER, type: 0x0806, length: 30 })), {});
  const port = lab.sw.ports().find(each => each.name === `vtep ${LOCAL}`);
  t.same(port?.drops, { ...wanted, runt: 1, vxlan_not_for_us: 2, vxlan_bad_ip: wanted['vxlan_bad_ip']! + 1 });
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('ARP is answered for the local address only; unanswered questions give up what waited', t => {
  const lab = oneEnd();
  const arp = (target: number[]): Uint8Array => Uint8Array.from([...frame({ to: BROADCAST, from: PEER, type: 0x0806, length: 14 }), 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x99, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, ...target, ...new Uint8Array(18)]);
  const [answer] = lab.exchange('wire', arp([10, 0, 0, 1]))['wire'] ?? [];
  t.same([...answer!.subarray(0, 14), ...answer!.subarray(20, 42)], [...frame({ to: PEER, from: VTEP, type: 0x0806, length: 14 }), 0, 2, 2, 0xfe, 10, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 10, 0, 0, 2]);
  t.same(lab.exchange('wire', arp([10, 0, 0, 9])), {});
  // It was heard of that way, as it is the remote: nothing has to be asked.
  const sent = lab.exchange('a', frame({ to: B, from: A, length: 100 }));
  t.equal(sent['wire']?.length, 1);
  const packet = sent['wire']![0]!;
  t.same([...packet.subarray(0, 14)], [...frame({ to: PEER, from: VTEP, type: 0x0800, length: 14 })]);
  t.same([...packet.subarray(26, 34), ...packet.subarray(36, 38), ...packet.subarray(40, 50)], [10, 0, 0, 1, 10, 0, 0, 2, 18, 181, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0]);
  t.same(packet.subarray(50), frame({ to: B, from: A, length: 100 }));
  lab.close();
  const silent = oneEnd([REMOTE, '10.0.0.3', '10.0.1.1']);
  const questions = silent.exchange('a', frame({ to: B, from: A }))['wire'] ?? [];
  t.equal(questions.length, 3, 'one for each remote');
  t.equal(silent.out, 3);
  for (let i = 0; i < 80; i++) {
    silent.now += 100;
    for (let polls = 0; polls < 16; polls++) silent.sw.poll();
  }
  t.equal(silent.receive('wire').length, 6, 'asked twice more');
  t.equal(silent.out, 0);
  t.match(silent.sw.ports().find(each => each.name === `vtep ${LOCAL}`)?.drops, { vxlan_no_neighbour: 3 });
  silent.close();
  t.end();
});

t.test('what comes from one remote does not go to another, and flows differ in their source port', t => {
  const lab = oneEnd([REMOTE, '10.0.0.3']);
  t.same(Object.keys(lab.exchange('wire', outer({ inner: frame({ to: BROADCAST, from: B }) }))), ['a', 'b']);
  t.equal(lab.sw.fdb()[0]?.remote, REMOTE);
  const arp = (last: number): Uint8Array => Uint8Array.from([...frame({ to: VTEP, from: PEER, type: 0x0806, length: 14 }), 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, last, 10, 0, 0, last, 2, 0xfe, 10, 0, 0, 1, 10, 0, 0, 1]);
  lab.exchange('wire', arp(2), arp(3));
  const [ports, identifications] = [new Set<number>(), new Set<number>()];
  for (let i = 0; i < 64; i++) for (const packet of lab.exchange('a', frame({ to: B, from: 0x020000002000 + i }))['wire'] ?? []) {
    ports.add(packet[34]! * 256 + packet[35]!);
    identifications.add(packet[18]! * 256 + packet[19]!);
  }
  t.equal(identifications.size, 64, 'a router may cut them: fragments of two are told apart');
  t.ok(ports.size > 50 && [...ports].every(port => port >= 49_152), `${ports.size} source ports of 64 flows`);
  t.equal(lab.exchange('a', frame({ to: BROADCAST, from: A }))['wire']?.length, 2, 'a copy for each remote');
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

/** The switch, one behaviour after the other; what it does with any frames is in model.test.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { open } from '../../lib/port/host.js';
import { Switch } from '../../lib/switch/switch.js';
import { BROADCAST, SwitchLab, frame } from './lab_helper.js';

const [A, B, C] = [0x020000000001, 0x020000000002, 0x020000000003];

t.test('unknown is flooded, known goes one way, and the cache then does it alone', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {}, c: {} } } });
  const there = frame({ to: B, from: A });
  t.same(lab.exchange('a', there), { b: [there], c: [there] });
  const back = frame({ to: A, from: B });
  t.same(lab.exchange('b', back), { a: [back] });
  t.same(lab.exchange('a', there), { b: [there] }, 'the flow that flooded was forgotten when B was learned');
  const before = lab.sw.show().slow;
  t.same(lab.exchange('a', there, there, there), { b: [there, there, there] });
  t.equal(lab.sw.show().slow, before);
  t.same(lab.sw.fdb('br').map(({ mac, vlan, port }) => [mac, vlan, port]), [['02:00:00:00:00:02', 0, 'b'], ['02:00:00:00:00:01', 0, 'a']], 'what was seen last comes last');
  t.match(lab.sw.flows().find(flow => flow.port === 'a'), { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02', packets: 5, bytes: 300, actions: ['to b'] });
  t.match(lab.sw.ports().find(port => port.name === 'a'), { rx: { packets: 5, bytes: 300 }, tx: { packets: 1, bytes: 60 }, drops: {} });
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('broadcast and multicast go to all others; reserved addresses, runts and group sources nowhere', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {}, c: {} } } });
  for (const to of [BROADCAST, 0x01005e000001, 0x333300000001, 0x0180c2000010]) t.same(Object.keys(lab.exchange('a', frame({ to, from: A }))), ['b', 'c']);
  for (const to of [0x0180c2000000, 0x0180c200000e]) t.same(lab.exchange('a', frame({ to, from: A })), {});
  t.same(lab.exchange('a', frame({ to: B, from: 0x030000000001 }), frame({ to: B, from: BROADCAST }), new Uint8Array(13), frame({ to: B, from: A, tag: 5, length: 17 })), {});
  t.same(lab.drops('br', 'a'), { reserved_address: 2, source_multicast: 2, runt: 2 });
  t.equal(lab.sw.fdb().length, 1);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('a station that moves is found at its new port; one that says nothing is forgotten', t => {
  const lab = new SwitchLab({ br: { ageingSeconds: 30, ports: { a: {}, b: {}, c: {} } } });
  lab.exchange('a', frame({ to: B, from: A }));
  lab.exchange('b', frame({ to: A, from: B }));
  t.same(Object.keys(lab.exchange('c', frame({ to: A, from: C }))), ['a']);
  lab.exchange('b', frame({ to: C, from: A }));
  t.same(Object.keys(lab.exchange('c', frame({ to: A, from: C }))), ['b'], 'A moved to b');
  t.equal(lab.sw.show().bridges[0]?.macs.moved, 1);
  // C goes on through the cache alone: that keeps it, and A ages.
  for (let second = 0; second < 40; second++) {
    lab.now += 1000;
    lab.exchange('c', frame({ to: BROADCAST, from: C }));
  }
  lab.sw.sweep(lab.now);
  t.same(lab.sw.fdb().map(({ mac }) => mac), ['02:00:00:00:00:03']);
  t.same(Object.keys(lab.exchange('c', frame({ to: A, from: C }))), ['a', 'b']);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('access and trunk: the tag is put on, taken off and changed, and floods share what they can', t => {
  const lab = new SwitchLab({ br: { ports: {
    a10: { vlan: { access: 10 } }, b10: { vlan: { access: 10 } }, c20: { vlan: { access: 20 } }, trunk: { vlan: { trunk: [10, 20] } }, native: { vlan: { trunk: 'all', native: 10 } }, trunk2: { vlan: { trunk: 'all' } },
  } } });
  const plain = frame({ to: BROADCAST, from: A });
  const ten = frame({ to: BROADCAST, from: A, tag: 10, length: 64 });
  t.same(lab.exchange('a10', plain), { b10: [plain], trunk: [ten], native: [plain], trunk2: [ten] });
  const urgent = frame({ to: A, from: B, tag: 10, priority: 7, length: 64 });
  t.same(lab.exchange('trunk', urgent), { a10: [frame({ to: A, from: B })] });
  t.same(lab.exchange('trunk', frame({ to: BROADCAST, from: B, tag: 20, priority: 5, length: 64 })), {
    c20: [frame({ to: BROADCAST, from: B })], native: [frame({ to: BROADCAST, from: B, tag: 20, priority: 5, length: 64 })], trunk2: [frame({ to: BROADCAST, from: B, tag: 20, priority: 5, length: 64 })],
  });
  const priorityTagged = frame({ to: BROADCAST, from: C, tag: 0, priority: 6, length: 64 });
  t.same(lab.exchange('a10', priorityTagged).trunk, [frame({ to: BROADCAST, from: C, tag: 10, priority: 6, length: 64 })], 'priority stays');
  t.same(lab.exchange('a10', frame({ to: BROADCAST, from: A, tag: 10 })), {});
  t.same(lab.exchange('trunk', frame({ to: BROADCAST, from: A, tag: 30 }), plain, frame({ to: BROADCAST, from: A, tag: 4095 })), {});
  t.same([lab.drops('br', 'a10'), lab.drops('br', 'trunk')], [{ vlan_ingress: 1 }, { vlan_ingress: 2, reserved_vlan: 1 }]);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('a storm is limited where it comes in, and known unicast is not', t => {
  const lab = new SwitchLab({ br: { ports: { a: { storm: { packetsPerSecond: 100, burst: 10 } }, b: {}, c: {} } } });
  lab.exchange('b', frame({ to: A, from: B }));
  const storm = Array.from({ length: 50 }, (_, i) => frame({ to: BROADCAST, from: A, fill: i }));
  t.equal(lab.exchange('a', ...storm)['b']?.length, 10);
  t.equal(lab.exchange('a', ...Array.from({ length: 50 }, () => frame({ to: B, from: A })))['b']?.length, 50);
  lab.now += 50;
  lab.sw.sweep(lab.now);
  t.equal(lab.exchange('a', ...storm.slice(0, 3), frame({ to: C, from: A }), frame({ to: C, from: A }), frame({ to: 0x01005e000001, from: A }))['c']?.length, 5);
  t.same(lab.drops('br', 'a'), { storm_broadcast: 40, storm_multicast: 1 });
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('a mirror gets what passes its ports, once, cut where asked, and gives nothing back', t => {
  const lab = new SwitchLab({ br: {
    ports: { a: { vlan: { access: 5 } }, b: { vlan: { trunk: [5] } }, eye: {} , cut: {} },
    mirrors: { all: { from: ['a', 'b'], to: 'eye' }, heads: { from: ['b'], direction: 'tx', to: 'cut', snap: 20 } },
  } });
  const there = frame({ to: B, from: A, length: 100 });
  const outside = frame({ to: B, from: A, tag: 5, length: 104 });
  t.same(lab.exchange('a', there), { b: [outside], eye: [there], cut: [outside.slice(0, 24)] }, 'cut before its tag is put on');
  t.same(lab.exchange('b', frame({ to: A, from: B, tag: 5, length: 64 })), { a: [frame({ to: A, from: B })], eye: [frame({ to: A, from: B, tag: 5, length: 64 })] });
  t.same(lab.exchange('a', there), { b: [outside], eye: [there], cut: [outside.slice(0, 24)] });
  t.same(lab.exchange('eye', frame({ to: B, from: C })), {});
  t.same(lab.drops('br', 'eye'), { mirror_only: 1 });
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('patches join bridges; a ring of them ends, and is counted', t => {
  const patch = (bridge: string, port: string) => ({ patch: { bridge, port } });
  const lab = new SwitchLab({
    one: { ports: { a: { vlan: { access: 7 } }, right: patch('two', 'left') } },
    two: { ports: { b: { vlan: { access: 7 } }, left: patch('one', 'right'), right: patch('three', 'left') } },
    three: { ports: { c: {}, left: patch('two', 'right') } },
  });
  t.same(lab.exchange('a', frame({ to: BROADCAST, from: A })), { b: [frame({ to: BROADCAST, from: A })], c: [frame({ to: BROADCAST, from: A, tag: 7, length: 64 })] });
  t.same(lab.exchange('c', frame({ to: A, from: C, tag: 7, length: 64 })), { a: [frame({ to: A, from: C })] });
  for (let i = 0; i < 5; i++) t.same(lab.exchange('a', frame({ to: C, from: A })), { c: [frame({ to: C, from: A, tag: 7, length: 64 })] });
  t.match(lab.sw.ports().filter(port => port.bridge === 'two' && port.kind === 'patch').map(({ name, rx, tx }) => [name, rx.packets, tx.packets]), [['left', 6, 1], ['right', 1, 6]]);
  t.equal(lab.out, 0);
  lab.close();
  const ring = new SwitchLab({
    one: { ports: { a: {}, x: patch('two', 'x'), y: patch('two', 'y') } },
    two: { ports: { b: {}, x: patch('one', 'x'), y: patch('one', 'y') } },
  });
  const got = ring.exchange('a', frame({ to: BROADCAST, from: A }));
  t.same(Object.keys(got), ['b']);
  t.ok(ring.sw.ports().some(port => port.drops.loop !== undefined));
  t.equal(ring.sw.fdb('one').length, 1);
  t.equal(ring.sw.fdb('one')[0]?.port, 'a', 'what came round taught nothing');
  t.equal(ring.out, 0);
  ring.close();
  t.end();
});

t.test('tables are bounded: the oldest goes, and it is counted', t => {
  const lab = new SwitchLab({ br: { macs: 8, ports: { a: {}, b: {} } } }, { flows: 4 });
  for (let station = 0; station < 20; station++) lab.exchange('a', frame({ to: B, from: 0x020000001000 + station }));
  t.same(lab.sw.fdb().map(({ mac }) => mac.slice(-2)), ['0c', '0d', '0e', '0f', '10', '11', '12', '13']);
  t.match(lab.sw.show(), { bridges: [{ macs: { count: 8, evicted: 12 } }], flows: { count: 4, capacity: 4, evicted: 16 } });
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('a flow that goes for another of the same burst takes no packet along', t => {
  const lab = new SwitchLab({ br: { ports: { a: { vlan: { access: 10 } }, b: { vlan: { access: 10 } }, c: { vlan: { access: 20 } }, trunk: { vlan: { trunk: [10, 20] } } } } }, { flows: 4 });
  const known = frame({ to: BROADCAST, from: A, tag: 10 });
  for (let i = 0; i < 8; i++) {
    lab.exchange('trunk', known);
    const [one, two] = [0, 1].map(j => frame({ to: BROADCAST, from: 0x020000001000 + i * 2 + j, tag: 20 }));
    t.same(Object.fromEntries(Object.entries(lab.exchange('trunk', one!, two!, known)).map(([name, { length }]) => [name, length])), { a: 1, b: 1, c: 2 });
  }
  t.equal(lab.sw.ports().find(port => port.name === 'trunk')?.rx.packets, 32);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('VLAN 0 leaves no port whose untagged frames are of another VLAN', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: { vlan: { trunk: 'all', native: 5 } }, c: { vlan: { trunk: 'all' } } } } });
  t.same(Object.keys(lab.exchange('a', frame({ to: BROADCAST, from: A }))), ['c']);
  t.same(Object.keys(lab.exchange('b', frame({ to: BROADCAST, from: B }))), ['a', 'c'], 'tagged there');
  lab.close();
  t.end();
});

t.test('two ports that claim the same addresses are held after a thousand moves a second', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {} } } });
  for (let i = 0; i < 700; i++) for (const port of ['a', 'b']) lab.exchange(port, frame({ to: BROADCAST, from: A }));
  const { moved, held } = lab.sw.show().bridges[0]!.macs;
  t.equal(moved, 1000);
  t.ok(held >= 1, `${held} were held; then both flows are in the cache, and cost nothing more`);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('what a port does not take waits, then is dropped at that port and counted; others go on', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {}, c: {} } } }, { mbufs: 4096 });
  lab.exchange('b', frame({ to: A, from: B }));
  lab.exchange('c', frame({ to: A, from: C }));
  for (let i = 0; i < 20; i++) {
    lab.send('a', ...Array.from({ length: 32 }, () => frame({ to: B, from: A })), frame({ to: C, from: A }));
    lab.settle();
    t.equal(lab.receive('c').length, 1);
  }
  const { tx, waiting, drops } = lab.sw.ports().find(port => port.name === 'b')!;
  t.equal(tx.packets + waiting + drops.tx_full!, 641, 'with the one that was flooded while A was unknown');
  t.same([tx.packets, tx.bytes, waiting], [257, 257 * 60, 64], 'the ring is full, and 64 wait');
  t.equal(lab.receive('b').length, 256);
  lab.settle();
  t.equal(lab.receive('b').length, 64);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

t.test('another configuration while it runs: what stays keeps its packets, addresses and counters', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {}, c: {} } } });
  lab.exchange('a', frame({ to: B, from: A }));
  lab.exchange('b', frame({ to: A, from: B }));
  lab.send('a', ...Array.from({ length: 50 }, () => frame({ to: B, from: A })));
  lab.sw.poll();
  const changes = lab.sw.apply({ bridges: lab.devices({ br: { ports: { a: { vlan: { trunk: 'all' } }, b: {}, d: {} } }, other: { ports: { e: {} } } }) });
  t.same(changes, { opened: ['br/d', 'other/e'], closed: ['br/c'], kept: ['br/a', 'br/b'] });
  lab.settle();
  t.equal(lab.receive('b').length, 50);
  t.equal(lab.sw.fdb('br').length, 2);
  t.equal(lab.sw.ports().find(port => port.name === 'a')?.rx.packets, 51);
  t.same(Object.keys(lab.exchange('d', frame({ to: BROADCAST, from: C }))), ['a', 'b']);
  t.throws(() => lab.sw.apply({ bridges: { br: { ports: { a: { device: 'no_such:x' } } } } }), { code: 'EDEVICE' });
  t.throws(() => lab.sw.apply({ bridges: { br: { ports: { p: { patch: { bridge: 'br', port: 'q' } } } } } }), { code: 'EOPTION' });
  const without = lab.devices({ br: { ports: { a: {}, d: {} } } });
  const bridges = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`more${i}`, { ports: {} }]));
  t.throws(() => lab.sw.apply({ bridges: { ...without, ...bridges } }), { code: 'EARENAFULL' }, 'no room for the new bridges');
  const remotes = Array.from({ length: 1024 }, (_, i) => `10.1.${i >>> 8}.${i & 255}`);
  const tunnel = { vxlan: { vni: 5, local: '10.0.0.1', remotes, underlay: { bridge: 'br' } } };
  t.throws(() => lab.sw.apply({ bridges: { ...without, over: { ports: { tunnel } } } }), { code: 'EOPTION', message: /at most 1023 ports/ });
  t.same(Object.keys(lab.exchange('d', frame({ to: BROADCAST, from: C }))), ['a', 'b'], 'and all is as it was');
  lab.receive('c');
  t.equal(lab.out, 0);
  lab.close();
  t.throws(() => lab.sw.apply(lab.config), { code: 'ECLOSED' });
  t.end();
});

t.test('what a guest leaves to be done is passed on only where every way out does it', t => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-switch-'));
  const vhost = (name: string): string => `vhost:${join(folder, name)},guest_memory=1,pass_offloads`;
  const [one, two] = [vhost('one'), vhost('two')];
  const host = open([one, two, 'null:']);
  t.teardown(() => { host.close(); rmSync(folder, { recursive: true }); });
  const config = (...devices: string[]) => ({ bridges: { br: { ports: Object.fromEntries(devices.map((device, i) => [`p${i}`, { device }])) } } });
  const [ofOne, ofTwo, ofNull] = host.ports.map(({ name }) => name) as [string, string, string];
  t.throws(() => new Switch(host, config(ofOne, ofNull)), { code: 'EUNSUPPORTED', message: /null.*take pass_offloads away/ });
  const sw = new Switch(host, config(ofTwo));
  t.throws(() => sw.apply(config(ofTwo, 'null:size=64')), { code: 'EUNSUPPORTED' }, 'and so is a change');
  t.equal(sw.ports().length, 1, 'which changes nothing');
  t.same(sw.apply(config('null:size=64')).opened, ['br/p0'], 'one that takes its place is asked for nothing');
  sw.close();
  t.end();
});

t.test('while another configuration is being had, what is there is polled', t => {
  const lab = new SwitchLab({ br: { ports: { a: {}, b: {} } } });
  lab.exchange('b', frame({ to: BROADCAST, from: B }));
  const there = [frame({ to: B, from: A }), frame({ to: B, from: C })];
  lab.send('a', ...there);
  const ports = { ...lab.devices({ br: { ports: { a: {}, b: {} } } })['br']!.ports, c: { device: 'ring:new,size=64' }, d: { device: 'virtio_user:/nowhere/back-end' } };
  t.throws(() => lab.sw.apply({ bridges: { br: { ports } } }), { code: 'EPOOL', message: /^virtio_user:/ });
  t.same(lab.receive('b'), there, 'after the first of two devices, before the second was refused');
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});

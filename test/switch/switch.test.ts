/** The switch, one behaviour after the other; what it does with any frames is in model.test.ts. */
import t from 'tap';
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

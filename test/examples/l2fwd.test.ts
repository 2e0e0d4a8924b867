import { join } from 'node:path';
import t from 'tap';
import { formatMac, open } from '../../lib/index.js';
import { needs } from '../kernel/rights.js';
import { frame } from '../port/conformance/frames.js';
import { receiveBy, sendBy } from '../port/conformance/wires.js';
import { escapeValue } from '../port/device_helper.js';
import { ended, LinuxHost, start } from './helper.js';

t.test('frames cross, with new addresses or as they are', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  for (const more of [[], ['--no-mac-updating']]) {
    const [left, right] = [new LinuxHost(t, '10.1.0.1/24', ''), new LinuxHost(t, '10.1.0.2/24', '')];
    const [here, there] = [left.wire(t), right.wire(t)];
    const stop = await start(t, 'l2fwd', left.device, right.device, ...more);
    const frames = Array.from({ length: 20 }, (_, i) => frame(60 + i, i));
    await here.send(frames);
    const got = await right.receive(there, 20);
    const changed = frames.map(bytes => Uint8Array.from([2, 0, 0, 0, 0, 1, ...right.programMac, ...bytes.subarray(12)]));
    t.same(got, more.length === 0 ? changed : frames, more.join() || 'as DPDK does it');
    if (more.length > 0) t.equal(left.ping('10.1.0.2'), 5, 'a wire, as Linux sees it');
    t.match(await stop(), /rx [2-9]\d.* tx [2-9]\d/);
  }
});

t.test('an odd number of ports', async t => {
  await t.rejects(start(t, 'l2fwd', 'null:', 'null:', 'ring:a'), { message: /exit 1: l2fwd: .*even number/ });
});

t.test('a dozen ports: the eleventh\'s frames go out by the twelfth', async t => {
  const [from, to] = ['in', 'out'].map(name => escapeValue(join(t.testdir({}), `${name}.pcap`)));
  const writer = open([`pcap:,tx=${from}`]);
  sendBy(writer, writer.ports[0]!, [frame(60, 1)]);
  writer.close();
  const { status, stderr } = ended('l2fwd', ...Array.from({ length: 10 }, (_, i) => `ring:dozen${i}`), `pcap:${from}`, `pcap:,tx=${to}`, '--seconds', '0.2', '--quiet');
  t.equal(status, 0, stderr);
  const reader = open([`pcap:${to}`]);
  t.same(receiveBy(reader, reader.ports[0]!).map(bytes => [formatMac(bytes), formatMac(bytes, 6)]), [['02:00:00:00:00:0b', '02:00:00:00:01:0b']]);
  reader.close();
});

t.test('a mistake names the help, and the help writes defaults as they are typed', async t => {
  for (const name of ['l2fwd', 'l3fwd', 'firewall', 'balancer']) {
    const wrong = ended(name);
    t.equal(wrong.status, 1, name);
    t.match(wrong.stderr, /^error: (missing required argument|required option) .*\n\(--help tells what there is\)\n$/);
    t.notMatch(ended(name, '--help').stdout, /default: *["[]/);
  }
  t.match(ended('l3fwd', '--help').stdout, /\(default:\s+65536\)/);
  t.match(ended('balancer', 'null:', '10.0.0.1/24', '--service', '10.0.0.100').stderr, /required option '--backend/, 'a balancer without one would serve nobody');
});

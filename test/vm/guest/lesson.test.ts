/** Lesson 5 where there are NICs for it: what it lists, and a NIC that it drives. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { frame } from '../../port/conformance/frames.js';
import { RawWire } from '../../port/conformance/wires.js';
import { e1000e, grouped, igb } from '../devices.js';
import { peerOf, until } from './wire.js';

const LESSON = fileURLToPath(new URL('../../../examples/05-a-nic-of-your-own.js', import.meta.url));
const list = (): string => spawnSync(process.execPath, [LESSON], { encoding: 'utf8' }).stdout;

t.test('what the machine has, and the next step for each', t => {
  const before = list();
  t.match(before, /^IOMMU: \d+ groups\nVFIO: there\n/);
  t.match(before, new RegExp(`\\n${e1000e.nic} +e1000e +\\d+ +- +pollmode bind ${e1000e.nic}\\n`));
  t.match(before, new RegExp(`\\n${igb.nic} +igb +\\d+ +0 of \\d+ +pollmode bind ${igb.nic}; pollmode bind --vfs 2 ${igb.nic}\\n`));
  t.match(before, new RegExp(`\\n${grouped[0]} .*its group has \\d more`));
  bindToVfio(e1000e.nic);
  const after = list();
  restore(e1000e.nic);
  t.match(after, new RegExp(`\\n${e1000e.nic} +vfio-pci +\\d+ +- +this lesson with ${e1000e.nic}; back by pollmode bind --restore ${e1000e.nic}\\n`));
  t.end();
});

t.test('a NIC says hello, and shows what comes', async t => {
  const wire = new RawWire(peerOf(e1000e).ifindex);
  bindToVfio(e1000e.nic);
  t.teardown(() => { restore(e1000e.nic); wire.close(); });
  const child = spawn(process.execPath, [LESSON, e1000e.nic], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => { child.kill('SIGKILL'); });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => { said += String(text); });
  const ended = once(child, 'close') as Promise<[number]>;
  const came: string[] = [];
  t.ok(await until(() => {
    came.push(...wire.receive().map(bytes => Buffer.from(bytes).toString('latin1')).filter(text => text.includes('hello')));
    return came.length >= 4;
  }, 60), said);
  const incoming = frame(60, 1);
  incoming.set(e1000e.mac.split(':').map(byte => parseInt(byte, 16)));
  await wire.send([incoming, incoming]);
  t.equal((await ended)[0], 0, said);
  t.same(came.map(text => text.slice(14, 38)), [0, 1, 2, 3].map(i => `hello ${i} from a program`.padEnd(24)));
  t.match(said, new RegExp(`^vfio:${e1000e.nic}: ${e1000e.mac}, .*IOVA base 0x100000000`));
  t.match(said, /\nthe link is up\n/);
  t.equal(said.split('\n').filter(line => /^ {2}the NIC wrote to 0x[0-9a-f]+: .* > 52:54:00:00:01:01/.test(line)).length, 2);
  t.match(said, /\n4 sent, 2 received; slept \d+ times, woken by an interrupt [12] times\n$/);
});

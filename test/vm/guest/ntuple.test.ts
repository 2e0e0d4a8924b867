/**
 * Flow rules in front of AF_XDP on Linux's igb, a driver that has n-tuple filters, but for the i350 and later, and QEMU has
 * an 82576: it refuses them all, in its own words, and the same must come of every packet in XDP and in software. No other
 * NIC of QEMU's has a Linux driver on a PC that takes such rules; test/port/drivers/af_xdp/ntuple.test.ts has a model of one.
 */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import type { Burst } from '../../../lib/burst/burst.js';
import { NicOffload } from '../../../lib/flow/nic.js';
import type { FlowRule } from '../../../lib/flow/rule.js';
import { FlowTable } from '../../../lib/flow/table.js';
import { XdpOffload } from '../../../lib/flow/xdp.js';
import { readFeatures } from '../../../lib/kernel/ethtool.js';
import { listLinks, setLink, waitForCarrier } from '../../../lib/kernel/link.js';
import { readDevice } from '../../../lib/kernel/pci.js';
import { readNtupleTable } from '../../../lib/kernel/ntuple.js';
import { readNicRss, setNicRss } from '../../../lib/kernel/rss.js';
import { restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import type { RxQueue } from '../../../lib/port/port.js';
import { RawWire } from '../../port/conformance/wires.js';
import { igb } from '../devices.js';
import { run } from './functions.js';
import { kernelLog, peerOf, until } from './wire.js';

const rule = (name: string, etherType: number, ...actions: FlowRule['actions']): FlowRule => ({ name, match: { etherType }, actions });
const framed = (type: number, mark: number): Uint8Array => Uint8Array.from([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, type >> 8, type & 255, mark, ...new Array<number>(45).fill(0)]);

t.test('the driver\'s refusals are told, and the same comes of each packet in XDP and software', async t => {
  if (readDevice(igb.nic).driver !== 'igb') restore(igb.nic, { force: true });
  const own = listLinks().find(link => link.mac === igb.mac)!;
  const wire = new RawWire(peerOf(igb).ifindex);
  setLink(own.ifindex, { up: true });
  run('ip', 'link', 'set', own.name, 'promisc', 'on');
  waitForCarrier(own.ifindex, 10_000);
  const before = kernelLog().length;
  const [wasRss, wasFeature] = [readNicRss(own.name), readFeatures(own.name).get('rx-ntuple-filter')];
  setNicRss(own.name, { reta: wasRss.reta.map(() => 0) });
  const xdp = XdpOffload.create({ queues: 2 });
  const host = open([{ driver: 'af_xdp', device: own.name, queues: 2, channels: 2, zeroCopy: 'never', ...xdp.options }]);
  const port = host.ports[0]!;
  t.same(port.flowRules!.unruledQueues(), [0], 'queue 1 is for rules alone');
  const nic = NicOffload.create(port);
  const table = new FlowTable(host.pool, { queues: 2, offload: [nic, xdp], rules: [
    rule('time', 0x88f7, { do: 'queue', queue: 1 }), rule('drop', 0x88b5, { do: 'drop' }), rule('counted', 0x88b6, { do: 'count' }, { do: 'queue', queue: 1 }),
    { name: 'mac', match: { destinationMac: '02:00:00:00:00:77' }, actions: [{ do: 'queue', queue: 1 }] },
  ] });
  t.match(table.query().rules, [
    { ran: 'software', why: /^ethtool n-tuple: the kernel's driver \(igb\) says E\w+; xdp: .*not queue$/ }, { ran: 'xdp', why: /^ethtool n-tuple: the kernel's driver \(igb\) says E\w+$/ },
    { ran: 'software', why: /not count; / }, { ran: 'software', why: /"time", which is asked before/ },
  ]);
  t.comment(table.query().rules[0]!.why!);
  t.match(spawnSync('ethtool', ['-n', own.name], { encoding: 'utf8' }).stdout, /Total 0 rules/);
  const types = [0x88f7, 0x88b5, 0x88b6, 0x88b7];
  const frames = Array.from({ length: 80 }, (_, i) => framed(types[i % 4]!, i));
  await wire.send(frames);
  const [burst, kept, second] = [host.burst(64), [] as number[], [] as number[]];
  // QEMU's hub may hand frames over in another order than they were sent in: what counts is that in which they came.
  const came: number[] = [];
  const marks = (count: number): number[] => Array.from(burst.handles.subarray(0, count), handle => host.mbufs.copyOut(handle)).filter(bytes => bytes[6] === 2).map(bytes => bytes[14]!);
  const rx = table.around({ rxBurst: (into: Burst, max?: number): number => { const got = port.rx[0]!.rxBurst(into, max); came.push(...marks(got)); return got; } } as RxQueue);
  await until(() => {
    for (const [queue, list] of [[rx, kept], [table.queue(1), second]] as const) {
      const got = queue.rxBurst(burst);
      list.push(...marks(got));
      host.pool.free(burst, 0, got);
    }
    return kept.length + second.length >= 60;
  });
  t.same([...came].sort((a, b) => a - b), frames.map(bytes => bytes[14]).filter(mark => mark! % 4 !== 1), 'all came but those that XDP dropped');
  t.same(kept, came.filter(mark => mark % 4 === 3));
  t.same(second, came.filter(mark => mark % 2 === 0));
  t.match(table.query(), { dropped: 0, rules: [{}, {}, { packets: 20 }] });
  for (const each of [burst, table, nic]) each.close();
  host.close();
  xdp.close();
  wire.close();
  t.equal(readNtupleTable(own.name).taken.length, 0);
  t.same(readFeatures(own.name).get('rx-ntuple-filter'), wasFeature);
  setNicRss(own.name, { reta: wasRss.reta });
  run('ip', 'link', 'set', own.name, 'promisc', 'off');
  t.notMatch(kernelLog().slice(before), /WARNING:|BUG:|DMAR: .*fault/i);
});

/**
 * Flow rules as filters of the 82576, by our driver. QEMU's device (10.0) knows by EtherType filters what a packet is, which
 * its descriptor tells, does not look at their queue, and has no 5-tuple filters; what it leaves in queue 0 is led on or
 * dropped in software, with the same result.
 */
import t from 'tap';
import { NicOffload } from '../../../lib/flow/nic.js';
import { FlowTable } from '../../../lib/flow/table.js';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import { RawWire } from '../../port/conformance/wires.js';
import { igb } from '../devices.js';
import { peerOf, until } from './wire.js';

/** IPv4, UDP, from 10.0.0.1 if nothing else is said; the mark is where TTL is. */
const fromHost = (mark: number, last = 1): Uint8Array => {
  const header = [0x45, 0, 0, 28, 0, 0, 0x40, 0, mark, 17, 0, 0, 10, 0, 0, last, 10, 0, 0, 2, 0, 9, 0, 9, 0, 8, 0, 0];
  return Uint8Array.from([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0, ...header, ...new Array<number>(60 - 14 - header.length).fill(0)]);
};
const framed = (type: number, mark: number): Uint8Array => Uint8Array.from([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, type >> 8, type & 255, mark, ...new Array<number>(45).fill(0)]);
/** 7.1.5, of a descriptor that was written back: its packet type says that an EtherType filter was met, and which. */
const BY_ETHERTYPE = 1 << 15;

t.test('igb: rules are filters, those of EtherTypes such as the device meets, and the same comes of each packet', async t => {
  bindToVfio(igb.nic, { force: true });
  const wire = new RawWire(peerOf(igb).ifindex);
  const host = open([`vfio:${igb.nic},queues=2,promiscuous`]);
  t.teardown(() => { host.close(); wire.close(); restore(igb.nic, { force: true }); });
  const port = host.ports[0]!;
  await until(() => port.link!.read().up);
  t.same(port.flowRules!.unruledQueues(), [0, 1]);
  port.rss!.set({ reta: new Array<number>(128).fill(0) });
  const offload = NicOffload.create(port);
  const table = new FlowTable(host.pool, { queues: 2, offload, rules: [
    { name: 'time', match: { etherType: 0x88f7 }, actions: [{ do: 'queue', queue: 1 }] }, { name: 'drop', match: { etherType: 0x88b5 }, actions: [{ do: 'drop' }] },
    { name: 'ip', match: { source: '10.0.0.1' }, actions: [{ do: 'queue', queue: 1 }] }, { name: 'gone', match: { source: '10.0.0.3' }, actions: [{ do: 'drop' }] },
    { name: 'net', match: { source: '10.0.1.0/24' }, actions: [{ do: 'drop' }] },
  ] });
  t.match(table.query().rules, [{ ran: '82576 filters' }, { ran: '82576 filters' }, { ran: '82576 filters' }, { ran: '82576 filters' }, { ran: 'software', why: /whole addresses/ }]);
  const bar = host.arena.zones().find(({ name }) => name === 'port/0/vfio/bar0')!;
  t.comment(`FTQF 0 reads as 0x${host.arena.u32[(bar.offset + 0x59e0) >>> 2]!.toString(16)}`);
  const ring = [0, 1].map(queue => host.arena.zones().find(({ name }) => name === `port/0/vfio/rx${queue}`)!);
  const descriptor = (queue: number, index: number): { type: number; done: boolean } => ({ type: host.arena.u32[(ring[queue]!.offset + 16 * index) >>> 2]!, done: (host.arena.u32[(ring[queue]!.offset + 16 * index + 8) >>> 2]! & 1) === 1 });
  await wire.send([framed(0x88f7, 1)]);
  t.ok(await until(() => descriptor(0, 0).done || descriptor(1, 0).done));
  const queue = descriptor(1, 0).done ? 1 : 0;
  t.comment(`the packet came to queue ${queue} of the device`);
  t.equal(descriptor(queue, 0).type & 0xfff0, BY_ETHERTYPE, 'filter 0 was met');
  await wire.send([framed(0x88b5, 2), framed(0x88b7, 3), framed(0x88f7, 4), framed(0x88b7, 5), fromHost(6), fromHost(7, 3), fromHost(8, 4)]);
  const [burst, kept, second] = [host.burst(32), [] as number[], [] as number[]];
  const rx = table.around(port.rx[0]!);
  await until(() => {
    for (const [each, list] of [[rx, kept], [table.queue(1), second], [table.queue(1), second]] as const) {
      const got = each.rxBurst(burst);
      list.push(...Array.from(burst.handles.subarray(0, got), handle => host.mbufs.copyOut(handle)).filter(bytes => bytes[6] === 2 && bytes[11] === 8).map(bytes => bytes[12] === 8 ? bytes[22]! : bytes[14]!));
      host.pool.free(burst, 0, got);
    }
    return kept.length >= 3 && second.length >= 3;
  });
  t.same([kept, second, table.query().dropped], [[3, 5, 8], [1, 4, 6], 2]);
  burst.close();
  offload.close();
  table.close();
});

/** Flow rules in the 82599's filters of queues, on a model of it. */
import { NicOffload } from '../../../../lib/flow/nic.js';
import type { FlowRule } from '../../../../lib/flow/rule.js';
import { FlowTable } from '../../../../lib/flow/table.js';
import { frameOf } from '../../../rss/frames_helper.js';
import { sameFates, whereTo, type Filtering } from './filters_helper.js';
import { on } from './ixgbe_helper.js';

const FILTER_RUNS = process.env['POLLMODE_LONG'] === '1' ? 500 : 40;

const FILTERED: readonly FlowRule[] = [
  { name: 'time', match: { etherType: 0x88f7 }, actions: [{ do: 'queue', queue: 1 }] },
  { name: 'dns', match: { source: '10.0.0.1', destination: '10.0.0.2', protocol: 'udp', sourcePort: 1000, destinationPort: 53 }, actions: [{ do: 'queue', queue: 2 }] },
  { name: 'from', match: { source: '192.0.2.7' }, actions: [{ do: 'queue', queue: 3 }] }, { name: 'sctp', match: { source: '10.0.0.5', protocol: 'sctp' }, actions: [{ do: 'queue', queue: 1 }] },
  { name: 'drop', match: { etherType: 0x88b5 }, actions: [{ do: 'drop' }] }, { name: 'net', match: { source: '172.16.0.0/12' }, actions: [{ do: 'queue', queue: 3 }] },
  { name: 'six', match: { source: '2001:db8::1' }, actions: [{ do: 'queue', queue: 3 }] }, { name: 'icmp', match: { etherType: 0x800, protocol: 'icmp' }, actions: [{ do: 'queue', queue: 3 }] },
  { name: 'mac', match: { destinationMac: '02:00:00:00:00:09', etherType: 0x88b6 }, actions: [{ do: 'queue', queue: 3 }] }, { name: 'ipv6', match: { etherType: 0x86dd }, actions: [{ do: 'queue', queue: 2 }] },
];

on('flow rules are filters of queues: EtherTypes and 5-tuples; the others run in software, and the same comes of each packet', { queues: 4, promiscuous: true }, (t, { model, pool, port, peek, burst, stats }) => {
  t.same(port.flowRules!.unruledQueues(), [0, 1, 2, 3]);
  port.rss!.set({ reta: new Array<number>(128).fill(0) });
  const offload = NicOffload.create(port, { firstFragments: true });
  const table = new FlowTable(pool, { queues: 4, offload, rules: FILTERED });
  t.match(table.query().rules.map(({ ran, why }) => why ?? ran), [
    ...new Array<string>(5).fill('82599 filters'), /whole addresses/, /for IPv4/, /"net", which is asked before/, /MAC addresses/, /"six", which is asked before/,
  ]);
  t.same([peek(0x05128), peek(0x0ec00)].map(each => each >>> 0), [0x800088f7, 0x80010000]);
  t.equal(port.flowRules!.add({ match: { etherType: 0x86dd }, to: 1 }), 'its EtherType filters are not for IP');
  t.match(port.flowRules!.add({ match: { etherType: 0x800, protocol: 1 }, to: 1 }), /TCP, UDP and SCTP/);
  const ip = (source: string, destination: string, protocol: 'udp' | 'tcp' | 'sctp', sourcePort: number, destinationPort: number): Uint8Array =>
    frameOf({ source, destination, protocol, sourcePort, destinationPort, tags: 0, extensions: [], fragment: false });
  const typed = (type: number, mac = 1): Uint8Array => Uint8Array.from([2, 0, 0, 0, 0, mac, 2, 0, 0, 0, 0, 2, type >> 8, type & 255, ...new Array<number>(46).fill(0)]);
  const frames = [
    typed(0x88f7), ip('10.0.0.1', '10.0.0.2', 'udp', 1000, 53), ip('10.0.0.1', '10.0.0.2', 'udp', 1001, 53), ip('10.0.0.1', '10.0.0.2', 'tcp', 1000, 53), ip('192.0.2.7', '10.0.0.9', 'tcp', 5, 6), ip('10.0.0.5', '10.0.0.6', 'sctp', 5, 6),
    typed(0x88b5), ip('172.16.9.9', '10.0.0.2', 'udp', 1000, 53), ip('2001:db8::1', '2001:db8::2', 'udp', 9, 9), typed(0x88b6, 9), typed(0x88b6, 8), ip('2001:db8::3', '2001:db8::2', 'udp', 9, 9),
  ].map(bytes => bytes.length < 60 ? Uint8Array.from([...bytes, ...new Array<number>(60 - bytes.length).fill(0)]) : bytes);
  const device: Filtering = { port, pool, burst, give: bytes => { model.receive(bytes); model.step(); } };
  const where = frames.map(bytes => whereTo(table, device, bytes));
  t.same(where, [1, 2, 0, 0, 3, 1, -1, 3, 3, 3, 0, 2]);
  t.same([1, 2, 3].map(queue => peek(0x01010 + 0x40 * queue)), [2, 1, 1], 'those of filters came straight to its queue: RDH');
  t.same([table.query().dropped, stats().xstats['rx_queue_drops'], peek(0x01028 + 0x40 * 63) & (1 << 25)], [0, 1, 0], 'the NIC dropped one, into a queue that is off, and counted it');
  table.replace([FILTERED[1]!]);
  t.equal(peek(0x05128) >>> 31, 0, 'a filter that is not wanted any more is off');
  offload.close();
  t.equal(peek(0x0e600) >>> 31, 0);
  const many = Array.from({ length: 9 }, (_, i) => port.flowRules!.add({ match: { etherType: 0x9000 + i }, to: 1 }));
  t.equal(many[8], 'all 8 of its filters of EtherTypes are taken');
  table.close();
});

on('property: with its filters the same comes of each frame as without', { queues: 3, promiscuous: true }, (t, { model, pool, port, burst }) => {
  port.rss!.set({ reta: new Array<number>(128).fill(0) });
  const { pushed, drops, dropped } = sameFates({ port, pool, burst, give: bytes => { model.receive(bytes); model.step(); } }, FILTER_RUNS);
  t.ok(pushed > FILTER_RUNS && drops > FILTER_RUNS / 4 && dropped > FILTER_RUNS / 8, `${pushed} rules were filters, ${drops} of them dropped ${dropped} frames`);
});

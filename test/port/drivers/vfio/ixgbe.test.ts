/** The 82599's driver against a model of its registers that was written from the datasheet, apart from the driver. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { binding } from '../../../../lib/binding.js';
import { Burst } from '../../../../lib/burst/burst.js';
import { layout } from '../../../../lib/index.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import { IntelPort, type IntelSettings } from '../../../../lib/port/drivers/vfio/intel/port.js';
import { IxgbeChip } from '../../../../lib/port/drivers/vfio/ixgbe/chip.js';
import { NicOffload } from '../../../../lib/flow/nic.js';
import type { FlowRule } from '../../../../lib/flow/rule.js';
import { FlowTable } from '../../../../lib/flow/table.js';
import { RSS_IPV4, RSS_TCP_IPV4 } from '../../../../lib/rss/layout.js';
import { Rss } from '../../../../lib/rss/rss.js';
import * as build from '../../../../lib/wire/build.js';
import { flows, frameOf, marked } from '../../../rss/frames_helper.js';
import { copyWhole, frame } from '../../conformance/frames.js';
import { sameFates, whereTo, type Filtering } from './filters_helper.js';
import { STATION } from './model/82599.js';
import { DEFAULTS, Lab, ThreadNic } from './model_nic.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const MANY = LONG ? 100_000 : 3_000;
const ECHOES = LONG ? 50_000 : 5_000;
const FILTER_RUNS = LONG ? 500 : 40;
const FLOWS = LONG ? 10_000 : 1_500;
const MAC = '02:82:59:90:00:01';
const { RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH, RX_VLAN_STRIPPED, TX_IP_CKSUM, TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN } = layout;

/** A port on the device; at the end nothing that the datasheet forbids was done, no transfer went astray, and every mbuf is back. */
function on(name: string, settings: Partial<IntelSettings>, work: (t: Test, made: Lab) => void): void {
  t.test(name, async t => {
    const made = new Lab({ jumbo: (settings.mtu ?? 1500) > 1500 });
    t.teardown(() => { made.close(); });
    made.open(settings);
    work(t, made);
    made.port.close();
    t.same(made.model.violations, [], 'nothing that the datasheet forbids');
    t.equal(made.model.faults, 0, 'no transfer that the IOMMU refused');
    t.equal(made.pool.audit().free, made.pool.size, 'every mbuf is back');
  });
}

/** A frame of 60 to 1514 bytes that is no other's, to the station. */
function numbered(number: number): Uint8Array {
  return to(STATION, frame(60 + (number * 7919) % 1455, number + 1));
}

function to(address: Uint8Array | readonly number[], bytes: Uint8Array): Uint8Array {
  bytes.set(address);
  return bytes;
}

on('it has its address and a link, and nothing that the datasheet forbids was done', { queues: 4 }, (t, { port, model }) => {
  t.equal(port.mac, MAC);
  t.same(port.link.read(), { up: true, mbps: 10000, fullDuplex: true });
  t.same(model.violations, []);
  t.match(port.capabilities.mode, /82599/);
});

/** What the device's ways do not show here, since the model has no such way: by the register, and what of it must be what. */
on('registers that no frame tells of', { queues: 2 }, (t, { peek }) => {
  const wanted: [what: string, offset: number, bits: number, value: number][] = [
    ['4.6.3.2: FCRTH[0] is RXPBSIZE[0] - 0x6000', 0x03260, 0x7fffffff, 0x80000 - 0x6000], ['FCCFG: no flow control', 0x03d00, 0xffffffff, 0], ['CTRL_EXT.DRV_LOAD', 0x00018, 1 << 28, 1 << 28],
    ['RFCTL.RSC_DIS', 0x05008, 1 << 5, 1 << 5], ['FTQF[127].Queue Enable', 0x0e600 + 4 * 127, 0x80000000, 0], ['4.6.11.3.4: RXPBSIZE[7]', 0x03c1c, 0xffc00, 0],
    ['4.6.11.3.4: DTXMXSZRQ', 0x08100, 0xfff, 0xfff], ['TXPBSIZE[0]', 0x0cc00, 0xffc00, 0xa0 << 10], ['TXPBSIZE[1]', 0x0cc04, 0xffc00, 0], ['MTQC', 0x08120, 0xf, 0],
    ['DCA_TXCTRL[1].TXdescWBROen', 0x0604c, 1 << 11, 0], ['4.6.6: EIAC', 0x00810, 0xffff, 3], ['EIAM', 0x00890, 0xffff, 3], ['IVAR[0]', 0x00900, 0xffffffff, 0x00810080], ['IVAR_MISC', 0x00a00, 0x8080, 0x8000],
  ];
  for (const [what, offset, bits, value] of wanted) t.equal((peek(offset) & bits) >>> 0, value, what);
});

on('it begins in the order of the datasheet\'s 4.6.3', { queues: 2 }, (t, { nic }) => {
  const order: [what: string, offset: number, bits: number][] = [
    ['4.6.3.1: EIMC', 0x00888, 0x7fffffff], ['5.2.5.3.2: CTRL, no transfers', 0x00000, 1 << 2], ['4.6.3.2: CTRL.RST and LRST', 0x00000, (1 << 26) | (1 << 3)], ['4.6.3.1: EIMC again', 0x00888, 0x7fffffff],
    ['4.6.4: AUTOC.Restart_AN', 0x042a0, 1 << 12], ['4.6.7: SRRCTL[1]', 0x01054, 1 << 25], ['RXDCTL[1].ENABLE', 0x01068, 1 << 25], ['SECRXCTRL.RX_DIS', 0x08d00, 1 << 1], ['RXCTRL.RXEN', 0x03000, 1],
    ['4.6.8: RTTDCS.ARBDIS', 0x04900, 1 << 6], ['RTTDQSEL 127', 0x04904, 127], ['RTTDT1C', 0x04908, 0], ['DMATXCTL.TE', 0x04a80, 1], ['TXDCTL[1].ENABLE', 0x06068, 1 << 25], ['4.6.6: IVAR', 0x00900, 0x00810080], ['EIMS.LSC', 0x00880, 1 << 20],
  ];
  let at = 0;
  for (const [what, offset, bits] of order) {
    const next = nic.written.findIndex((each, i) => i >= at && each.offset === offset && (each.value & bits) === bits);
    t.ok(next >= 0, what);
    at = next + 1;
  }
  t.equal(nic.written.filter(({ offset, value }) => offset === 0x04908 && value === 0).length, 128, 'a credit of 0 for each transmit queue');
});

for (const queues of [1, 2, 3, 16]) {
  on(`${queues} queues: frames both ways from each`, { queues }, (t, { model, nic, port, receive, send }) => {
    for (let queue = 0; queue < queues; queue++) send([numbered(queue)], queue);
    t.same(nic.sent, Array.from({ length: queues }, (_, i) => numbered(i)));
    port.rss?.set({ reta: Array.from({ length: 128 }, (_, i) => i % queues) });
    t.ok(model.receive(numbered(7)));
    t.same(receive(0), [numbered(7)], 'what has no flow comes to the first');
  });
}

on(`${MANY} frames out, every byte checked`, {}, (t, { nic, send, stats }) => {
  let wrong = 0;
  for (let sent = 0; sent < MANY; sent += 100) {
    send(Array.from({ length: 100 }, (_, i) => numbered(sent + i)));
    nic.sent.splice(0).forEach((bytes, i) => { if (Buffer.compare(bytes, numbered(sent + i)) !== 0) wrong++; });
  }
  t.equal(wrong, 0);
  t.match(stats(), { txPackets: MANY, xstats: { device_tx_packets: MANY, tx_bad_frame: 0 } });
});

on(`${MANY} frames in, every byte checked`, {}, (t, { model, receive, stats }) => {
  let wrong = 0;
  for (let sent = 0; sent < MANY; sent += 50) {
    for (let i = 0; i < 50; i++) if (!model.receive(numbered(sent + i))) wrong++;
    const came = receive();
    came.forEach((bytes, i) => { if (Buffer.compare(bytes, numbered(sent + i)) !== 0) wrong++; });
    wrong += Math.abs(came.length - 50);
  }
  t.equal(wrong, 0);
  t.match(stats(), { rxPackets: MANY, rxNoMbuf: 0, xstats: { device_rx_packets: MANY, rx_missed: 0, rx_crc_errors: 0 } });
});

on('a short frame is padded, the shortest is sent, a shorter one is a bad frame', {}, (t, { nic, send, stats }) => {
  send([17, 59, 60].map(length => to(STATION, frame(length, length))));
  t.same(nic.sent.map(bytes => bytes.length), [60, 60, 60]);
  t.same(nic.sent[1]!.subarray(0, 59), to(STATION, frame(59, 59)));
  send([to(STATION, frame(16, 1))]);
  t.equal(stats().xstats['tx_bad_frame'], 1);
  t.equal(nic.sent.length, 3);
});

on('a burst of 256 reports at least once in 40 descriptors, chains and contexts among them', { txRing: 1024 }, (t, { nic, pool, pass, burst, arena }) => {
  const { mbufs } = pool;
  let packets = 0;
  for (let round = 0; round < 20; round++) {
    pool.alloc(burst, 256);
    let used = 0;
    const heads: number[] = [];
    while (used < 256) {
      const segments = Math.min(256 - used, packets % 5 === 0 ? 32 : 1);
      const handles = [...burst.handles.subarray(used, used + segments)];
      handles.forEach((handle, i) => {
        const bytes = to(STATION, frame(40, packets));
        bytes.set([0, 0], 24); // where the NIC is to put a checksum
        mbufs.copyIn(handle, bytes);
        arena.u32[(mbufs.header(handle) + layout.MBUF_NEXT) >>> 2] = handles[i + 1] ?? 0;
      });
      const head = mbufs.header(handles[0]!);
      arena.u16[(head + layout.MBUF_NB_SEGS) >>> 1] = segments;
      if (packets % 3 === 0) {
        arena.u32[(head + layout.MBUF_OL_FLAGS) >>> 2] = TX_IP_CKSUM;
        arena.u32[(head + layout.MBUF_TX_OFFLOAD) >>> 2] = 14 | (20 + 4 * (packets % 2)) << 7;
      }
      heads.push(handles[0]!);
      used += segments;
      packets++;
    }
    burst.handles.set(heads);
    pass(heads.length);
  }
  t.equal(nic.sent.length, packets);
});

on('filters: its own address, all, chosen groups; everything when promiscuous', {}, (t, { model, receive, port }) => {
  const addresses = [STATION, [255, 255, 255, 255, 255, 255], [1, 0, 0x5e, 0, 0, 5], [2, 0, 0, 0, 0, 0x99], [1, 0, 0x5e, 0, 0, 6]];
  const [own, all, group, other, another] = addresses.map(address => to(address, frame(64, 3))) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const pass = (): Uint8Array[] => { for (const bytes of [own, group, another, other, all]) model.receive(bytes); return receive(); };
  t.same(pass(), [own, all]);
  port.multicast(['01:00:5e:00:00:05']);
  t.same(pass(), [own, group, all]);
  port.promiscuous(true);
  t.same(pass(), [own, group, another, other, all]);
  port.promiscuous(false);
  t.same(pass(), [own, group, all]);
  port.multicast([]);
  t.same(pass(), [own, all]);
  t.throws(() => port.multicast(['02:00:00:00:00:01']), { code: 'EOPTION' });
});

on('promiscuous from the start', { promiscuous: true }, (t, { model, receive }) => {
  const other = to([2, 0, 0, 0, 0, 0x99], frame(64, 3));
  model.receive(other);
  t.same(receive(), [other]);
});

on(`RSS: the queue and the hash of ${FLOWS} flows are lib/rss's`, { queues: 16, promiscuous: true }, (t, { arena, burst, model, pool, port }) => {
  const queues = 16;
  t.same(port.rss!.reta.slice(0, queues + 1), [...Array(queues).keys(), 0], 'at first the buckets go round');
  const through = (count: number, seed: number): number[] => {
    const predict = Rss.create(arena, `predict${seed}`, { types: port.rss!.types, key: port.rss!.key });
    const came = new Array<number>(queues).fill(0);
    const wrong: string[] = [];
    for (const flow of fc.sample(flows, { numRuns: count, seed })) {
      if (!model.receive(marked(flow, 0))) wrong.push(`${JSON.stringify(flow)} was not taken`);
      model.step();
      const hash = predict.hashFlow(flow);
      port.rx.forEach((rx, queue) => {
        const got = rx.rxBurst(burst, 32);
        for (const handle of burst.handles.subarray(0, got)) {
          const hashed = (pool.mbufs.flags(handle) & RX_RSS_HASH) !== 0;
          const said = hashed ? pool.mbufs.hash(handle) : 0;
          // A hash can be 0, of addresses that are all zeros.
          const wanted = hashed || hash !== 0 ? port.rss!.reta[hash % 128] : 0;
          if (said !== hash || queue !== wanted) wrong.push(`${JSON.stringify(flow)}: queue ${queue}, hash ${said}, not ${wanted}, ${hash}`);
        }
        pool.free(burst, 0, got);
        came[queue]! += got;
      });
    }
    predict.close();
    t.same(wrong.slice(0, 5), []);
    t.equal(came.reduce((sum, each) => sum + each), count);
    return came;
  };
  through(FLOWS / 10, 1);
  port.rss!.set({ key: randomBytes(40), reta: Array.from(randomBytes(128), byte => byte % queues) });
  const used = through(FLOWS, 2);
  t.ok(used.every(count => count > 0), `packets of each queue: ${used.join(' ')}`);
  port.rss!.set({ types: RSS_IPV4 | RSS_TCP_IPV4 });
  through(FLOWS / 10, 3);
  port.rss!.set({ reta: new Array<number>(128).fill(11) });
  through(50, 4);
  for (const change of [{ key: new Uint8Array(39) }, { reta: [0] }, { reta: new Array<number>(128).fill(queues) }, { types: 1 << 12 }]) t.throws(() => port.rss!.set(change), { code: 'EOPTION' });
});

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

on('a queue without buffers drops its own, counted, and the others go on', { queues: 2, promiscuous: true }, (t, { model, port, receive, stats }) => {
  const flow = (queue: number): Uint8Array => {
    port.rss!.set({ reta: new Array<number>(128).fill(queue) });
    return build.frame(build.ethernet(), build.ipv4({ source: '192.0.2.1', destination: '192.0.2.2' }), build.udp({ sourcePort: 1, destinationPort: 2 }), new Uint8Array(30));
  };
  const [first, second] = [flow(0), flow(1)];
  for (let i = 0; i < 100; i++) model.receive(second);
  port.rss!.set({ reta: new Array<number>(128).fill(0) });
  model.receive(first);
  t.same(receive(0), [first]);
  t.equal(receive(1).length, 63, 'as many as a ring of 64 has');
  t.equal(stats().xstats['rx_queue_drops'], 37);
});

on('VLAN tags are taken off and put in; the filter', { vlanOffload: true, promiscuous: true }, (t, { model, burst, pool, arena, pass, port, nic, receive }) => {
  const plain = to(STATION, frame(64, 3));
  const tagged = (tci: number): Uint8Array => Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, tci >> 8, tci & 255, ...plain.subarray(12)]);
  model.receive(tagged(0x6005));
  model.step();
  t.equal(port.rx[0]!.rxBurst(burst, 4), 1);
  const handle = burst.handles[0]!;
  t.same([pool.mbufs.flags(handle) & RX_VLAN_STRIPPED, pool.mbufs.vlanTci(handle)], [RX_VLAN_STRIPPED, 0x6005]);
  t.same(copyWhole(pool.mbufs, handle), plain, 'without its tag');
  const header = pool.mbufs.header(handle);
  arena.u32[(header + layout.MBUF_OL_FLAGS) >>> 2] = TX_VLAN;
  arena.u16[(header + layout.MBUF_VLAN_TCI) >>> 1] = 0x6123;
  arena.u32[(header + layout.MBUF_TX_OFFLOAD) >>> 2] = 14;
  pass(1);
  t.same(nic.sent, [tagged(0x6123)]);
  const came = (): number[] => {
    for (const bytes of [tagged(6), tagged(5), tagged(0xa007), plain]) model.receive(bytes);
    model.step();
    const got = port.rx[0]!.rxBurst(burst, 32);
    const tags = [...burst.handles.subarray(0, got)].map(each => (pool.mbufs.flags(each) & RX_VLAN_STRIPPED) === 0 ? -1 : pool.mbufs.vlanTci(each));
    pool.free(burst, 0, got);
    return tags;
  };
  port.vlanFilter([5, 7]);
  t.same(came(), [5, 0xa007, -1]);
  port.vlanFilter(undefined);
  t.same(came(), [6, 5, 0xa007, -1], 'all again');
  t.throws(() => port.vlanFilter([4095]), { code: 'EOPTION' });
  t.same(receive(), []);
});

on('without vlan_offload tags stay where they are', {}, (t, { model, receive, send, nic }) => {
  const tagged = to(STATION, Uint8Array.from([...frame(12, 1), 0x81, 0, 0x60, 5, ...frame(1504, 2)]));
  t.equal(tagged.length, 1520 - 0);
  const longest = tagged.subarray(0, 1518);
  model.receive(longest);
  t.same(receive(), [longest]);
  send([longest]);
  t.same(nic.sent, [longest]);
});

on('what is too long never comes', {}, (t, { model, receive, stats }) => {
  for (const length of [1515, 1519, 1792, 2048, 9000]) model.receive(to(STATION, frame(length, length)));
  t.same(receive(), []);
  t.match(stats(), { xstats: { rx_oversize: 5, rx_bad_length: 0 } });
});

on('jumbo frames, in chains, both ways', { mtu: 9000, rxRing: 128 }, (t, { arena, burst, model, nic, pass, pool, port, receive, stats }) => {
  const mtu = 9000;
  t.equal(port.capabilities.mtu, mtu);
  const sizes = [60, 1514, 3072, 3073, 4000, 6144, 9014];
  for (const size of sizes) model.receive(to(STATION, frame(size, size)));
  t.same(receive(), sizes.map(size => to(STATION, frame(size, size))));
  model.receive(to(STATION, frame(9015, 1)));
  t.same(receive(), [], 'longer than the MTU');
  for (const size of sizes) {
    const bytes = to(STATION, frame(size, size + 1));
    const count = Math.ceil(bytes.length / pool.room);
    pool.alloc(burst, count);
    for (let i = 0; i < count; i++) pool.mbufs.copyIn(burst.handles[i]!, bytes.subarray(i * pool.room, (i + 1) * pool.room));
    for (let i = 0; i + 1 < count; i++) arena.u32[(pool.mbufs.header(burst.handles[i]!) + layout.MBUF_NEXT) >>> 2] = burst.handles[i + 1]!;
    arena.u16[(pool.mbufs.header(burst.handles[0]!) + layout.MBUF_NB_SEGS) >>> 1] = count;
    pass(1);
  }
  t.same(nic.sent, sizes.map(size => to(STATION, frame(size, size + 1))));
  t.match(stats(), { rxPackets: sizes.length, txPackets: sizes.length, xstats: { rx_bad_length: 0, rx_split_frames: 0, tx_bad_frame: 0, rx_oversize: 1 } });
});

on('checksums: what came is looked at, what is sent is filled in', {}, (t, { arena, burst, model, nic, pass, pool, port }) => {
  const ethernet = build.ethernet({ destination: MAC });
  const v4 = build.ipv4({ source: '192.0.2.1', destination: '192.0.2.2' });
  const v6 = build.ipv6({ source: '2001:db8::1', destination: '2001:db8::2' });
  const payload = new Uint8Array(60).fill(7);
  const udp = build.udp({ sourcePort: 5, destinationPort: 6 });
  const tcp = build.tcp({ sourcePort: 5, destinationPort: 6 });
  const good = build.frame(ethernet, v4, udp, payload);
  const change = (at: number): Uint8Array => { const bytes = good.slice(); bytes[at]! ^= 1; return bytes; };
  for (const bytes of [good, change(60), change(22), build.frame(ethernet, v4, tcp, payload), build.frame(ethernet, v6, tcp, payload), to(STATION, frame(60, 1))]) model.receive(bytes);
  model.step();
  t.equal(port.rx[0]!.rxBurst(burst, 8), 6);
  const flags = [...burst.handles.subarray(0, 6)].map(handle => pool.mbufs.flags(handle));
  pool.free(burst, 0, 6);
  t.same(flags.slice(0, 2), [RX_IP_CKSUM_GOOD | RX_L4_CKSUM_GOOD, RX_IP_CKSUM_GOOD | RX_L4_CKSUM_BAD]);
  t.ok((flags[2]! & RX_IP_CKSUM_BAD) !== 0);
  t.same(flags.slice(3), [RX_IP_CKSUM_GOOD | RX_L4_CKSUM_GOOD, RX_L4_CKSUM_GOOD, 0]);
  const asked: [whole: Uint8Array, flags: number, l3: number, l4: number][] = [
    [good, TX_IP_CKSUM | TX_UDP_CKSUM, 20, 6], [build.frame(ethernet, v4, tcp, payload), TX_IP_CKSUM | TX_TCP_CKSUM, 20, 16],
    [build.frame(ethernet, v6, udp, payload), TX_UDP_CKSUM | layout.TX_IPV6, 40, 6], [build.frame(ethernet, v6, tcp, payload), TX_TCP_CKSUM | layout.TX_IPV6, 40, 16],
    [good, TX_IP_CKSUM, 20, 0],
  ];
  for (const [whole, wants, l3, l4] of asked) {
    const bytes = whole.slice();
    if ((wants & TX_IP_CKSUM) !== 0) bytes.set([0, 0], 24);
    if (l4 > 0) bytes.set(pseudoSum(bytes, l3), 14 + l3 + l4);
    pool.alloc(burst, 1);
    pool.mbufs.copyIn(burst.handles[0]!, bytes);
    const header = pool.mbufs.header(burst.handles[0]!);
    arena.u32[(header + layout.MBUF_OL_FLAGS) >>> 2] = wants;
    arena.u32[(header + layout.MBUF_TX_OFFLOAD) >>> 2] = 14 | l3 << 7;
    pass(1);
  }
  t.same(nic.sent, asked.map(([whole]) => whole), 'as the program would have made them');
});

on('interrupts: a queue\'s wakes who has armed it, once, and not for what came before', { queues: 2, promiscuous: true }, (t, { arm, model, nic, port, receive }) => {
  const [first, second] = port.rx.map(rx => rx.wake!) as [NonNullable<(typeof port.rx)[number]['wake']>, NonNullable<(typeof port.rx)[number]['wake']>];
  const signalled = (fd: number): boolean => binding().poll(Int32Array.of(fd, 1), 0) > 0;
  t.same([first.fd, second.fd], nic.eventfds.slice(0, 2));
  model.receive(numbered(0));
  model.step();
  t.notOk(signalled(first.fd), 'masked until someone wants to sleep');
  receive();
  for (let round = 1; round <= 5; round++) {
    t.ok(arm(0), 'nothing is there');
    t.notOk(signalled(first.fd));
    model.receive(numbered(round));
    model.step();
    t.ok(signalled(first.fd), 'an interrupt');
    t.notOk(signalled(second.fd), 'and no other');
    t.same(receive(), [numbered(round)]);
    binding().read(first.fd, new Uint8Array(8));
    model.receive(numbered(round));
    model.step();
    t.notOk(signalled(first.fd), 'it has masked itself');
    t.same(receive(), [numbered(round)]);
  }
  model.receive(numbered(6));
  model.step();
  t.notOk(arm(0), 'what came before is not slept over');
  t.same(receive(), [numbered(6)]);
});

on('link down and up', {}, (t, { model, port, receive, send, nic }) => {
  const changed = (): boolean => binding().poll(Int32Array.of(port.link.wake.fd, 1), 0) > 0;
  binding().read(port.link.wake.fd, new Uint8Array(8));
  port.link.wake.arm!();
  model.step();
  t.notOk(changed());
  model.link(false);
  model.step();
  t.same(port.link.read(), { up: false, mbps: 0, fullDuplex: false });
  t.ok(changed(), 'and said so');
  t.notOk(model.receive(numbered(1)));
  model.link(true);
  model.step();
  t.same(port.link.read(), { up: true, mbps: 10000, fullDuplex: true });
  binding().read(port.link.wake.fd, new Uint8Array(8));
  port.link.wake.arm!();
  model.link(false);
  model.step();
  t.ok(changed(), 'again');
  model.link(true);
  model.step();
  t.ok(model.receive(numbered(2)));
  t.same(receive(), [numbered(2)]);
  send([numbered(3)]);
  t.same(nic.sent, [numbered(3)]);
});

t.test('throttling is EITR, in 2 us', async t => {
  for (const [throttleUs, units] of [[0, 0], [20, 10], [1022, 511], [8000, 511]] as const) {
    const made = new Lab();
    made.open({ queues: 2, throttleUs });
    t.same([made.peek(0x820), made.peek(0x824)].map(value => (value >>> 3) & 0x1ff), [units, units]);
    t.same(made.model.violations, []);
    made.close();
  }
});

on('what a device may write back: nonsense lengths and flags are counted, and cost nothing else', {}, (t, made) => {
  const { arena, burst, model, pool, port, stats } = made;
  const ring = arena.find('model/rx0').offset >>> 2;
  const written: [status: number, length: number, counter: string][] = [
    [3, 0, 'rx_bad_length'], [3, 13, 'rx_bad_length'], [3, 0xffff, 'rx_bad_length'], [1, 100, 'rx_split_frames'], [3, 100, ''], [0x20000003, 100, 'rx_errored'],
  ];
  written.forEach(([status, length], i) => {
    arena.u32[ring + 4 * i + 3] = length;
    arena.u32[ring + 4 * i + 2] = status;
  });
  t.equal(port.rx[0]!.rxBurst(burst, 32), 0, 'none of it is a frame');
  for (const name of ['rx_bad_length', 'rx_split_frames', 'rx_errored']) t.equal(stats().xstats[name], written.filter(([,, counter]) => counter === name).length, name);
  // The send side: it says of everything that it was sent, whatever else stands there.
  pool.alloc(burst, 32);
  for (const handle of burst.handles.subarray(0, 32)) pool.mbufs.copyIn(handle, numbered(handle));
  t.equal(port.tx[0]!.txBurst(burst, 32), 32);
  const transmit = arena.find('model/tx0').offset >>> 2;
  for (let i = 0; i < 4 * 64; i++) arena.u32[transmit + i] = 0xffffffff;
  port.tx[0]!.txBurst(burst, 0);
  port.close();
  t.equal(pool.audit().free, pool.size, 'every mbuf is back');
  made.open();
  model.receive(numbered(4));
  t.same(made.receive(), [numbered(4)], 'opened anew, it works');
});

on('opened anew after a close, it works; a device that has gone costs an error at most', {}, (t, made) => {
  made.send([numbered(1)]);
  made.port.close();
  t.equal(made.pool.audit().free, made.pool.size);
  made.open({ queues: 4 });
  made.send([numbered(2)], 3);
  t.same(made.nic.sent, [numbered(1), numbered(2)]);
  made.nic.faults.gone = true;
  t.same(made.port.link.read(), { up: false, mbps: 0, fullDuplex: false });
  made.stats();
  made.port.promiscuous(true);
  made.port.close();
  t.throws(() => made.open(), { code: 'EUNSUPPORTED' });
  made.nic.faults.gone = false;
  made.open();
  made.model.receive(numbered(3));
  t.same(made.receive(), [numbered(3)]);
});

t.test('what does not come to an end is an error that names the device', async t => {
  const made = new Lab();
  t.teardown(() => { made.close(); });
  const wrong: [what: string, register: number, value: number][] = [
    ['the reset', 0x00000, 1 << 3], ['the EEPROM', 0x10010, 0], ['the DMA', 0x02f00, 0], ['no address', 0x0a204, 0], ['a receive queue', 0x01028, 0], ['the receive path', 0x08d04, 0], ['a transmit queue', 0x06028, 0],
  ];
  for (const [what, register, value] of wrong) {
    made.nic.faults.stuck.set(register, value);
    t.throws(() => made.open(), { code: 'EUNSUPPORTED', message: /^vfio:model: / }, what);
    t.equal(made.pool.audit().free, made.pool.size);
    made.nic.faults.stuck.clear();
  }
  made.nic.faults.stuck.set(0x00008, 1 << 19);
  made.open();
  t.pass('transfers that do not end are flushed, and there are two resets');
  made.nic.faults.stuck.clear();
  made.send([numbered(1)]);
  t.same(made.nic.sent, [numbered(1)]);
  t.throws(() => made.open({ queues: 17 }), { code: 'EOPTION' });
});

t.test(`the device in a thread of its own: ${ECHOES} frames there and back, every byte checked`, async t => {
  const arena = Arena.create({ size: 64 << 20 });
  const pool = Mempool.create(arena, 'pool', { count: 2048, hugePages: 'never' });
  const burst = new Burst(arena, 32);
  const nic = new ThreadNic(arena);
  await nic.ready();
  const port = new IntelPort({ ...DEFAULTS, rxRing: 256, txRing: 256 }, { arena, pool, number: 0, device: 'vfio:thread' }, nic, (name, nic) => new IxgbeChip(name, nic, 1));
  const deadline = performance.now() + 60_000;
  while (!port.link.read().up && performance.now() < deadline);
  t.equal(port.mac, MAC);
  let [sent, came, wrong] = [0, 0, 0];
  while (came < ECHOES && performance.now() < deadline) {
    const count = Math.min(32, ECHOES - sent, 512 - (sent - came));
    if (count > 0 && pool.alloc(burst, count) === count) {
      for (let i = 0; i < count; i++) pool.mbufs.copyIn(burst.handles[i]!, numbered(sent + i));
      const taken = port.tx[0]!.txBurst(burst, count);
      pool.free(burst, taken, count);
      sent += taken;
    }
    const got = port.rx[0]!.rxBurst(burst, 32);
    for (const handle of burst.handles.subarray(0, got)) if (Buffer.compare(copyWhole(pool.mbufs, handle), numbered(came++)) !== 0) wrong++;
    pool.free(burst, 0, got);
  }
  t.same([came, wrong], [ECHOES, 0]);
  port.close();
  t.same(await nic.stop(), { violations: [], faults: 0 });
  t.equal(pool.audit().free, pool.size, 'every mbuf is back');
  burst.close();
  arena.close();
});

/** RFC 768, RFC 9293: of addresses, length and protocol, not complemented; what software leaves for the NIC to go on from. */
function pseudoSum(bytes: Uint8Array, l3: number): [number, number] {
  const protocol = l3 === 20 ? bytes[23]! : bytes[20]!;
  const addresses = l3 === 20 ? bytes.subarray(26, 34) : bytes.subarray(22, 54);
  const length = bytes.length - 14 - l3;
  let sum = protocol + length;
  for (let i = 0; i < addresses.length; i += 2) sum += addresses[i]! << 8 | addresses[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return [sum >> 8, sum & 255];
}

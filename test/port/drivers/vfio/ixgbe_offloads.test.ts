/** What the 82599 does for its driver, on a model of it: RSS, VLAN tags and checksums. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { layout } from '../../../../lib/index.js';
import { RSS_IPV4, RSS_TCP_IPV4 } from '../../../../lib/rss/layout.js';
import { Rss } from '../../../../lib/rss/rss.js';
import * as build from '../../../../lib/wire/build.js';
import { flows, marked } from '../../../rss/frames_helper.js';
import { copyWhole, frame } from '../../conformance/frames.js';
import { MAC, on, to } from './ixgbe_helper.js';
import { STATION } from './model/82599.js';

const FLOWS = process.env['POLLMODE_LONG'] === '1' ? 10_000 : 1_500;
const { RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH, RX_VLAN_STRIPPED, TX_IP_CKSUM, TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN } = layout;

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

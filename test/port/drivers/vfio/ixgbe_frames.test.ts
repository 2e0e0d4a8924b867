/** Frames through the 82599's driver and a model of its device: which come, which go, and that each is whole. */
import t from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { Burst } from '../../../../lib/burst/burst.js';
import { layout } from '../../../../lib/index.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import { IntelPort } from '../../../../lib/port/drivers/vfio/intel/port.js';
import { IxgbeChip } from '../../../../lib/port/drivers/vfio/ixgbe/chip.js';
import * as build from '../../../../lib/wire/build.js';
import { copyWhole, frame } from '../../conformance/frames.js';
import { MAC, numbered, on, to } from './ixgbe_helper.js';
import { STATION } from './model/82599.js';
import { DEFAULTS, ThreadNic } from './model_nic.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const MANY = LONG ? 100_000 : 3_000;
const ECHOES = LONG ? 50_000 : 5_000;
const { TX_IP_CKSUM } = layout;

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

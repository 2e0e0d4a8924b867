/** What each of Intel's NICs must show in our hands, Linux at the other end of its wire. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { Burst } from '../../../lib/burst/burst.js';
import { binding } from '../../../lib/binding.js';
import { macBytes } from '../../../lib/kernel/address.js';
import { Idle } from '../../../lib/lcore/idle.js';
import { layout } from '../../../lib/index.js';
import { bindToVfio } from '../../../lib/pci/bind.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { copyWhole, frame } from '../../port/conformance/frames.js';
import { RawWire, receiveBy } from '../../port/conformance/wires.js';
import type { Wire } from '../devices.js';
import { equals, fromLinux, MANY, numbered, pings, toLinux, type Both } from './exchange.js';
import { busyLcore, closedAndOpenedAnew, heldElsewhere, killedAndOpened, outsideDescriptors, pulledOut, resetUnderTraffic } from './faults.js';
import { pseudoSum, udpFrame } from './udp.js';
import { monitor, peerOf, until } from './wire.js';

export interface IntelSubject {
  /** "igb": of its test's names. */
  readonly name: string;
  readonly wire: Wire;
  /** What QEMU calls the device, and how it is plugged in anew. Absent: it cannot be pulled out by itself. */
  readonly id?: string;
  readonly plug?: string;
  /** Of the end of the wire that is the test's. */
  readonly netdev: string;
  /** The function at fault in the kernel's log: "01:00.0". */
  readonly function: string;
  /** More options of the device, each with its comma. */
  readonly options?: string;
  /** A virtual function: VLANs and what resets it are its physical function's affair. */
  readonly virtual?: boolean;
}

export function intelSuite(t: Test, { wire: at, id, plug, netdev, function: faulty, options: more = '', virtual = false }: IntelSubject): void {
  const DEVICE = `vfio:${at.nic}${more}`;
  /** Where a function may see frames that are not for it; the tests' frames are for a virtual one. */
  const EVERY = virtual ? '' : ',promiscuous';
  /** What is sent: a virtual function's frame for its own address would never leave. */
  const outgoing = (bytes: Uint8Array): Uint8Array => {
    if (virtual) bytes.set([2, 0, 0, 0, 0, 0xee]);
    return bytes;
  };

  bindToVfio(at.nic, { force: true });
  const peer = peerOf(at);

  /** Opens the port, and a raw socket at the other end; both are closed at the end of the test. */
  async function openBoth(t: { teardown(work: () => void): void }, options = ''): Promise<Both> {
    const wire = new RawWire(peer.ifindex);
    const host = open([`${DEVICE}${options}`]);
    t.teardown(() => { host.close(); wire.close(); });
    await until(() => host.ports[0]!.link!.read().up);
    return { host, port: host.ports[0]!, wire };
  }

  function stats(host: Host): ReturnType<Host['stats']> {
    return host.stats(host.ports[0]!);
  }

  t.test('it has its address and a link', async t => {
    const { port } = await openBoth(t);
    t.equal(port.mac, at.mac);
    t.ok(await until(() => port.link!.read().up));
    t.same(port.link!.read(), { up: true, mbps: 1000, fullDuplex: true });
  });

  t.test('ARP and pings of Linux are answered, asleep in between', async t => pings(t, await openBoth(t), peer.ifindex));

  t.test(`${MANY} frames to Linux, every byte checked`, async t => {
    const both = await openBoth(t);
    const received = await toLinux(t, both, outgoing);
    t.match(stats(both.host), { txPackets: received, txRefused: 0, xstats: { device_tx_packets: received } });
  });

  t.test(`${MANY} frames from Linux, every byte checked`, async t => {
    const both = await openBoth(t, EVERY);
    const received = await fromLinux(t, both);
    t.match(stats(both.host), { rxPackets: received, rxNoMbuf: 0, xstats: { device_rx_packets: received, ...(virtual ? {} : { rx_missed: 0 }) } });
  });

  t.test('filters: its own address, all, chosen groups; everything when promiscuous', async t => {
    const { host, port, wire } = await openBoth(t);
    const to = (address: string): Uint8Array => {
      const bytes = frame(60, 7);
      bytes.set(address.split(':').map(pair => Number.parseInt(pair, 16)));
      return bytes;
    };
    const [own, all, group, other] = [at.mac, 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:05', '02:00:00:00:00:99'].map(to) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    /** What comes of them, in order; the last one always comes. */
    const pass = async (): Promise<Uint8Array[]> => {
      await wire.send([own, group, other, all]);
      const came: Uint8Array[] = [];
      await until(() => came.push(...receiveBy(host, port)) > 0 && equals(came.at(-1)!, all));
      return came;
    };
    t.same(await pass(), [own, all]);
    port.multicast!(['01:00:5e:00:00:05']);
    t.same(await pass(), [own, group, all]);
    if (!virtual) {
      port.promiscuous!(true);
      t.same(await pass(), [own, group, other, all]);
      port.promiscuous!(false);
    }
    port.multicast!([]);
    t.same(await pass(), [own, all]);
    t.throws(() => port.multicast!(['02:00:00:00:00:01']), { code: 'EOPTION' });
  });

  t.test('an lcore in busy mode makes no system call and no native call while packets move', async t => busyLcore(t, await openBoth(t, EVERY)));

  t.test('interrupts wake a thread that sleeps', async t => {
    const { host, port, wire } = await openBoth(t, EVERY);
    receiveBy(host, port);
    const idle = new Idle({ policy: 'interrupt', queues: [port.rx[0]!], sleepMs: 50 });
    idle.sleep();
    t.match(idle.stats(), { sleeps: 1, wakeups: 0 }, 'nothing came');
    const wake = port.rx[0]!.wake!;
    const signalled = (): boolean => binding().poll(Int32Array.of(wake.fd, 1), 0) > 0;
    for (let round = 1; round <= 5; round++) {
      t.ok(wake.arm!(), 'nothing is there');
      t.notOk(signalled());
      await wire.send([numbered(round)]);
      t.ok(await until(signalled), 'an interrupt');
      const came: Uint8Array[] = [];
      await until(() => came.push(...receiveBy(host, port)) > 0);
      t.same(came, [numbered(round)]);
    }
    await wire.send([numbered(6)]);
    await until(() => !wake.arm!());
    t.notOk(wake.arm!(), 'what came before is not slept over');
    idle.sleep();
    t.match(idle.stats(), { sleeps: 1, wakeups: 0 });
  });

  t.test('link down and up', async t => {
    const { port, host, wire } = await openBoth(t, EVERY);
    await until(() => port.link!.read().up);
    const changed = (): boolean => binding().poll(Int32Array.of(port.link!.wake.fd, 1), 0) > 0;
    binding().read(port.link!.wake.fd, new Uint8Array(8));
    port.link!.wake.arm!();
    t.notOk(changed());
    monitor(`set_link ${netdev} off`);
    t.ok(await until(() => !port.link!.read().up), 'down');
    // The emulated mailbox signals a virtual function by another vector than the one that was chosen (mailbox_interrupt_to_vf in hw/net/igb_core.c).
    if (!virtual) t.ok(await until(changed), 'and said so');
    monitor(`set_link ${netdev} on`);
    t.ok(await until(() => port.link!.read().up), 'up');
    await wire.send([numbered(1)]);
    const came: Uint8Array[] = [];
    t.ok(await until(() => came.push(...receiveBy(host, port)) > 0), 'frames come again');
  });

  t.test('a descriptor that points outside what was mapped harms nothing, and Linux says so', async t => {
    const both = await openBoth(t, `${EVERY},rx_ring=64`);
    const { arena } = both.host;
    const ring = arena.find('port/0/vfio/rx0').offset >>> 2;
    // The next descriptors' upper halves: far beyond the container's memory.
    await outsideDescriptors(t, both, `${DEVICE}${EVERY}`, faulty, () => { for (let i = 0; i < 64; i++) arena.u32[ring + 4 * i + 1] = 0x70; });
  });

  t.test('reset in the middle of traffic: the process lives, and the port opens again', async t => resetUnderTraffic(t, await openBoth(t, EVERY), at.nic, `${DEVICE}${EVERY}`));

  t.test('killed in the middle of traffic, and opened again at once', t => killedAndOpened(t, `${DEVICE}${EVERY}`, () => openBoth(t, EVERY)));

  t.test('a second process is refused while the device is open, and by name', async t => {
    await openBoth(t);
    heldElsewhere(t, at.nic);
  });

  t.test('what a device may write back: nonsense lengths and flags are counted, and cost nothing else', async t => {
    const both = await openBoth(t, `${EVERY},rx_ring=64`);
    const { host, port } = both;
    const burst = host.burst(32);
    const ring = host.arena.find('port/0/vfio/rx0').offset >>> 2;
    const written: [status: number, length: number, counter: string][] = [
      [3, 0, 'rx_bad_length'], [3, 13, 'rx_bad_length'], [3, 0xffff, 'rx_bad_length'], [1, 100, 'rx_split_frames'], [3, 100, ''], [0x01000003, 100, 'rx_errored'], [0x80000003, 60, 'rx_errored'],
    ];
    written.forEach(([status, length], i) => {
      host.arena.u32[ring + 4 * i + 3] = length;
      host.arena.u32[ring + 4 * i + 2] = status;
    });
    t.equal(port.rx[0]!.rxBurst(burst), 0, 'none of it is a frame');
    for (const name of ['rx_bad_length', 'rx_split_frames', 'rx_errored']) t.equal(stats(host).xstats[name], written.filter(([,, counter]) => counter === name).length, name);
    await closedAndOpenedAnew(t, both, `${DEVICE}${EVERY}`);
  });

  t.test('jumbo frames, in chains, both ways', async t => {
    const mtu = 9000;
    spawnSync('ip', ['link', 'set', peer.name, 'mtu', String(mtu)]);
    t.teardown(() => { spawnSync('ip', ['link', 'set', peer.name, 'mtu', '1500']); });
    const { host, port, wire } = await openBoth(t, `${EVERY},mtu=${mtu}`);
    t.equal(port.capabilities.mtu, mtu);
    const sizes = [60, 1514, 3072, 3073, 4000, 6144, 9014];
    const came: Uint8Array[] = [];
    for (const [i, size] of sizes.entries()) {
      await wire.send([frame(size, i + 1)]);
      await until(() => came.push(...receiveBy(host, port)) > 0 && came.length > i);
    }
    t.same(came.map(each => each.length), sizes);
    t.ok(came.every((each, i) => equals(each, frame(sizes[i]!, i + 1))), 'every byte');
    const burst = host.burst(4);
    for (const [i, size] of sizes.entries()) {
      sendChain(host, port, burst, outgoing(frame(size, i + 50)));
      const out: Uint8Array[] = [];
      await until(() => out.push(...wire.receive()) > 0);
      t.ok(out.length === 1 && equals(out[0]!, outgoing(frame(size, i + 50))), `${size} bytes sent`);
    }
    t.match(stats(host), { rxPackets: sizes.length, txPackets: sizes.length, xstats: { rx_bad_length: 0, rx_split_frames: 0, tx_bad_frame: 0 } });
    t.equal(host.pool.audit().app, 0);
  });

  if (!virtual) t.test('VLAN tags are taken off and put in; the filter', async t => {
    const { host, port, wire } = await openBoth(t, ',promiscuous,vlan_offload');
    t.ok((port.capabilities.txOffloads! & layout.TX_VLAN) !== 0);
    const plain = frame(64, 3);
    const tagged = (tci: number): Uint8Array => Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, tci >> 8, tci & 255, ...plain.subarray(12)]);
    const burst = host.burst(4);
    const take = async (): Promise<number> => { let got = 0; await until(() => { got = port.rx[0]!.rxBurst(burst); return got > 0; }); return got; };
    await wire.send([tagged(0x6005)]);
    t.equal(await take(), 1);
    const handle = burst.handles[0]!;
    t.same([host.mbufs.flags(handle) & layout.RX_VLAN_STRIPPED, host.mbufs.vlanTci(handle)], [layout.RX_VLAN_STRIPPED, 0x6005]);
    t.ok(equals(copyWhole(host.mbufs, handle), plain), 'without its tag');
    const header = host.mbufs.header(handle);
    host.arena.u32[(header + layout.MBUF_OL_FLAGS) >>> 2] = layout.TX_VLAN;
    host.arena.u16[(header + layout.MBUF_VLAN_TCI) >>> 1] = 0x6123;
    host.arena.u32[(header + layout.MBUF_TX_OFFLOAD) >>> 2] = 14;
    t.equal(port.tx[0]!.txBurst(burst, 1), 1);
    const out: Uint8Array[] = [];
    await until(() => out.push(...wire.receive()) > 0);
    // Linux takes the tag off before a raw socket sees the frame, or leaves it: by the length one knows.
    t.ok(out.length === 1 && (equals(out[0]!, tagged(0x6123)) || equals(out[0]!, plain)), `${out[0]?.length} bytes`);
    t.ok(vlanSeen(peer.name, 0x123, () => { resend(host, port, burst, 0x6123, plain); }), 'an interface of that VLAN sees it');
    port.vlanFilter!([5, 7]);
    await wire.send([tagged(6), tagged(5), tagged(0xa007), plain]);
    const seen: number[] = [];
    await until(() => {
      const got = port.rx[0]!.rxBurst(burst);
      for (let i = 0; i < got; i++) seen.push((host.mbufs.flags(burst.handles[i]!) & layout.RX_VLAN_STRIPPED) === 0 ? -1 : host.mbufs.vlanTci(burst.handles[i]!));
      host.pool.free(burst, 0, got);
      return seen.at(-1) === -1;
    });
    // Linux has said hello on the interface of VLAN 0x123.
    t.same(seen.filter(each => (each & 0xfff) !== 0x123 || each === -1), [5, 0xa007, -1]);
    port.vlanFilter!(undefined);
    await wire.send([tagged(6)]);
    t.equal(await take(), 1, 'all again');
    host.pool.free(burst, 0, 1);
    t.throws(() => port.vlanFilter!([4095]), { code: 'EOPTION' });
  });

  t.test('checksums: what came is looked at, what is sent is filled in', async t => {
    const { host, port, wire } = await openBoth(t, EVERY);
    const burst = host.burst(8);
    const good = udpFrame(100);
    good.set(macBytes(at.mac));
    const [badUdp, badIp] = [good.slice(), good.slice()];
    badUdp[60]! ^= 1;
    badIp[22]! ^= 1;
    await wire.send([good, badUdp, badIp]);
    const flags: number[] = [];
    await until(() => {
      const got = port.rx[0]!.rxBurst(burst);
      for (let i = 0; i < got; i++) flags.push(host.mbufs.flags(burst.handles[i]!));
      host.pool.free(burst, 0, got);
      return flags.length >= 3;
    });
    const { RX_IP_CKSUM_GOOD, RX_IP_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_RSS_HASH } = layout;
    t.same(flags.slice(0, 2).map(each => each & ~RX_RSS_HASH), [RX_IP_CKSUM_GOOD | RX_L4_CKSUM_GOOD, RX_IP_CKSUM_GOOD | RX_L4_CKSUM_BAD]);
    t.ok((flags[2]! & RX_IP_CKSUM_BAD) !== 0);
    outgoing(good);
    const asked = good.slice();
    asked.set([0, 0], 24); // the IP header's
    asked.set(pseudoSum(good), 40);
    host.pool.alloc(burst, 1);
    host.mbufs.copyIn(burst.handles[0]!, asked);
    const header = host.mbufs.header(burst.handles[0]!);
    host.arena.u32[(header + layout.MBUF_OL_FLAGS) >>> 2] = layout.TX_IP_CKSUM | layout.TX_UDP_CKSUM;
    host.arena.u32[(header + layout.MBUF_TX_OFFLOAD) >>> 2] = 14 | 20 << 7 | 8 << 16;
    t.equal(port.tx[0]!.txBurst(burst, 1), 1);
    const out: Uint8Array[] = [];
    await until(() => out.push(...wire.receive()) > 0);
    t.same(out, [good], 'as the program would have made them');
    t.equal(host.stats(port).xstats['tx_bad_frame'], 0);
  });

  // The last: afterwards there is another NIC.
  if (id !== undefined) t.test('pulled out: the port is asked to close, and then the device goes', async t => pulledOut(t, await openBoth(t), at.nic, { id, plug: plug! }));

  t.teardown(() => { spawnSync('ip', ['address', 'flush', 'dev', peer.name]); });
}

/** Sends one frame in as many mbufs as it takes. */
function sendChain(host: Host, port: Port, burst: Burst, bytes: Uint8Array): void {
  const { mbufs, pool, arena } = host;
  const count = Math.ceil(bytes.length / pool.room);
  pool.alloc(burst, count);
  for (let i = 0; i < count; i++) mbufs.copyIn(burst.handles[i]!, bytes.subarray(i * pool.room, (i + 1) * pool.room));
  for (let i = 0; i + 1 < count; i++) arena.u32[(mbufs.header(burst.handles[i]!) + layout.MBUF_NEXT) >>> 2] = burst.handles[i + 1]!;
  const head = mbufs.header(burst.handles[0]!);
  arena.u16[(head + layout.MBUF_NB_SEGS) >>> 1] = count;
  arena.u32[(head + layout.MBUF_PKT_LEN) >>> 2] = bytes.length;
  if (port.tx[0]!.txBurst(burst, 1) !== 1) throw new Error('a chain was refused');
}

function resend(host: Host, port: Port, burst: Burst, tci: number, bytes: Uint8Array): void {
  host.pool.alloc(burst, 1);
  host.mbufs.copyIn(burst.handles[0]!, bytes);
  const header = host.mbufs.header(burst.handles[0]!);
  host.arena.u32[(header + layout.MBUF_OL_FLAGS) >>> 2] = layout.TX_VLAN;
  host.arena.u16[(header + layout.MBUF_VLAN_TCI) >>> 1] = tci;
  host.arena.u32[(header + layout.MBUF_TX_OFFLOAD) >>> 2] = 14;
  port.tx[0]!.txBurst(burst, 1);
}

/** Does Linux count a frame on an interface of that VLAN? */
function vlanSeen(parent: string, id: number, send: () => void): boolean {
  const name = `vl${id}`;
  spawnSync('ip', ['link', 'add', 'link', parent, 'name', name, 'type', 'vlan', 'id', String(id)]);
  spawnSync('ip', ['link', 'set', name, 'up', 'promisc', 'on']);
  const count = (): number => Number(readFileSync(`/sys/class/net/${name}/statistics/rx_packets`, 'utf8'));
  const before = count();
  send();
  for (let tries = 0; tries < 200 && count() === before; tries++) spawnSync('sleep', ['0.01']);
  const seen = count() > before;
  spawnSync('ip', ['link', 'del', name]);
  return seen;
}

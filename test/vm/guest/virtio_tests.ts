/** A virtio-net device in our hands, Linux at the other end of its wire: what is tested with split rings and with packed ones. */
import { spawnSync } from 'node:child_process';
import type { Test } from 'tap';
import type { Arena } from '../../../lib/arena/arena.js';
import { binding } from '../../../lib/binding.js';
import { Idle } from '../../../lib/lcore/idle.js';
import { Chains } from '../../../lib/mbuf/chains.js';
import { bindToVfio } from '../../../lib/pci/bind.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { ringPlaces } from '../../../lib/virtqueue/driver.js';
import { DESC_AVAIL, DESC_INDIRECT, DESC_USED, RING_ENTRIES, RING_INDEX } from '../../../lib/virtqueue/layout.js';
import { frame } from '../../port/conformance/frames.js';
import { RawWire, receiveBy } from '../../port/conformance/wires.js';
import type { Pluggable } from '../devices.js';
import { equals, fromLinux, MANY, numbered, pings, toLinux, type Both } from './exchange.js';
import { busyLcore, closedAndOpenedAnew, heldElsewhere, killedAndOpened, outsideDescriptors, pulledOut, resetUnderTraffic } from './faults.js';
import { monitor, peerOf, until } from './wire.js';

/** The tests of a device with one kind of rings. */
export async function virtioTests(t: Test, kind: 'split' | 'packed', { nic, mac, peerMac, id, plug }: Pluggable): Promise<void> {
  const device = `vfio:${nic}`;
  /** The function at fault in the kernel's log: "05:00.0". */
  const function_ = nic.slice(5).replace('.', '\\.');
  bindToVfio(nic, { force: true });
  const peer = peerOf({ peerMac });
  t.teardown(() => { spawnSync('ip', ['address', 'flush', 'dev', peer.name]); });
  /** Opens the port, and a raw socket at the other end; both are closed at the end of the test. */
  const openBoth = (t: Test, options = ''): Both => {
    const wire = new RawWire(peer.ifindex);
    const host = open([`${device}${options}`]);
    t.teardown(() => { host.close(); wire.close(); });
    return { host, port: host.ports[0]!, wire };
  };

  await t.test('its address, its rings, and its link, which goes and comes', async t => {
    const { port } = openBoth(t);
    t.equal(port.mac, mac);
    t.match(port.capabilities, { mtu: 1500, mode: new RegExp(`${kind} rings`) });
    t.ok(port.link!.read().up);
    monitor(`set_link ${id} off`);
    t.ok(await until(() => !port.link!.read().up), 'down');
    monitor(`set_link ${id} on`);
    t.ok(await until(() => port.link!.read().up), 'up again');
  });

  await t.test('ARP and pings of Linux are answered, asleep in between', async t => {
    await pings(t, openBoth(t), peer.ifindex);
    spawnSync('ip', ['address', 'flush', 'dev', peer.name]);
  });

  await t.test(`${MANY} frames to Linux, every byte checked`, async t => {
    const both = openBoth(t);
    const received = await toLinux(t, both);
    t.match(both.host.stats(both.port), { txPackets: received, xstats: { tx_bad_used: 0, tx_bad_frame: 0 } });
  });

  await t.test(`${MANY} frames from Linux, every byte checked`, async t => {
    const both = openBoth(t, ',promiscuous');
    const received = await fromLinux(t, both);
    t.match(both.host.stats(both.port), { rxPackets: received, rxNoMbuf: 0, xstats: { rx_bad_used: 0, rx_bad_length: 0 } });
  });

  await t.test('jumbo frames, in chains, both ways', async t => {
    spawnSync('ip', ['link', 'set', peer.name, 'mtu', '9000']);
    t.teardown(() => { spawnSync('ip', ['link', 'set', peer.name, 'mtu', '1500']); });
    const { host, port, wire } = openBoth(t, ',promiscuous,mtu=9000');
    t.equal(port.capabilities.mtu, 9000);
    const frames = [9014, 1515, 4083, 4084, 8000, 60].map((length, i) => frame(length, i));
    await wire.send(frames);
    const came: Uint8Array[] = [];
    await until(() => { came.push(...receiveBy(host, port)); return came.length >= frames.length; });
    t.same(came.map(hex), frames.map(hex), 'from Linux');
    const chains = new Chains(host.pool);
    const burst = host.burst(frames.length);
    t.ok(host.pool.alloc(burst, frames.length) > 0 && frames.every((bytes, i) => chains.copyIn(burst.handles[i]!, bytes)));
    t.equal(port.tx[0]!.txBurst(burst, frames.length), frames.length);
    const departed: Uint8Array[] = [];
    await until(() => { departed.push(...wire.receive()); return departed.length >= frames.length; });
    t.same(departed.map(hex), frames.map(hex), 'to Linux');
    chains.close();
  });

  await t.test('filters: its own address, all, chosen groups; everything when promiscuous', async t => {
    const { host, port, wire } = openBoth(t);
    const [own, all, group, other] = [mac, 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:05', '02:00:00:00:00:99'].map(to) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const pass = (): Promise<Uint8Array[]> => passing(host, port, wire, [own, group, other, all]);
    t.same(await pass(), [own, all]);
    port.multicast!(['01:00:5e:00:00:05']);
    t.same(await pass(), [own, group, all]);
    port.promiscuous!(true);
    t.same(await pass(), [own, group, other, all]);
    port.promiscuous!(false);
    port.multicast!([]);
    t.same(await pass(), [own, all]);
    t.throws(() => port.multicast!(['02:00:00:00:00:01']), { code: 'EOPTION' });
  });

  await t.test('VLANs: all of them, then chosen ones', async t => {
    const { host, port, wire } = openBoth(t, ',vlan_filter');
    const [five, six, untagged] = [tagged(5), tagged(6), to('ff:ff:ff:ff:ff:ff')];
    const pass = (): Promise<Uint8Array[]> => passing(host, port, wire, [five, six, untagged]);
    const filter = (ids?: readonly number[]): void => { (port as Port & { vlanFilter(ids?: readonly number[]): void }).vlanFilter(ids); };
    t.same(await pass(), [five, six, untagged]);
    filter([6]);
    t.same(await pass(), [six, untagged]);
    filter([5]);
    t.same(await pass(), [five, untagged]);
    filter();
    t.same(await pass(), [five, six, untagged]);
    t.throws(() => filter([4096]), { code: 'EOPTION' });
  });

  await t.test('an lcore in busy mode makes no system call and no native call while packets move', t => busyLcore(t, openBoth(t, ',promiscuous')));

  await t.test('a flood: the ring is full again and again, and nothing stays in it', async t => {
    const { host, port } = openBoth(t, ',tx_ring=64');
    const burst = host.burst(128); // twice what the ring holds
    const most = MANY / 2;
    let [sent, refused] = [0, 0];
    await until(() => {
      for (let turns = 0; turns < 100 && sent < most && host.pool.alloc(burst, 128) > 0; turns++) {
        for (let i = 0; i < 128; i++) host.mbufs.copyIn(burst.handles[i]!, numbered(sent + i));
        const taken = port.tx[0]!.txBurst(burst, 128);
        host.pool.free(burst, taken, 128);
        sent += taken;
        if (taken < 128) refused++;
      }
      port.tx[0]!.txBurst(burst, 0);
      return sent >= most;
    }, 60);
    t.ok(sent >= most, `${sent} frames were taken`);
    t.ok(refused > 0, `${refused} times there was no room for all`);
    t.ok(await until(() => { port.tx[0]!.txBurst(burst, 0); return host.pool.audit().tx === 0; }), `${host.pool.audit().tx} stay`);
  });

  await t.test('interrupts wake a thread that sleeps', async t => {
    const { host, port, wire } = openBoth(t, ',promiscuous');
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
  });

  await t.test('more queues than it has, and options that it has not, are refused; a second process, by name', async t => {
    t.throws(() => open([`vfio:${nic},queues=2`]), { code: 'EUNSUPPORTED' });
    t.throws(() => open([`vfio:${nic},vlan_offload`]), { code: 'EUNSUPPORTED', message: /no vlan_offload/ });
    t.throws(() => open([`vfio:${nic},vf_token=12345678-1234-1234-1234-123456789abc`]), { code: 'EUNSUPPORTED', message: /no vf_token/ });
    openBoth(t);
    t.throws(() => open([`vfio:${nic}`]), { code: 'EBUSYQUEUE' });
    heldElsewhere(t, nic);
  });

  await t.test('a descriptor that points outside what was mapped harms nothing, and Linux says so', async t => {
    const both = openBoth(t, ',promiscuous,rx_ring=64');
    const { arena } = both.host;
    const ring = arena.find('port/0/vfio/rx0').offset >>> 2;
    // Descriptors begin with a u64 address in both formats (2.7.5, 2.8.13).
    await outsideDescriptors(t, both, `${device},promiscuous`, function_, () => { for (let i = 0; i < 64; i++) arena.u32[ring + 4 * i + 1] = 0x70; });
  });

  await t.test('a ring that the device finds wrong: the link reads as down, and the port opens again', async t => {
    const both = openBoth(t, ',promiscuous,rx_ring=64');
    const { host, port, wire } = both;
    const flags = (host.arena.find('port/0/vfio/rx0').offset + (kind === 'packed' ? 14 : 12)) >>> 1;
    // Indirect tables of a size that none has. (An address that is not mapped costs QEMU's only the frame, and for buffers of no bytes it waits.)
    for (let i = 0; i < 64; i++) host.arena.u16[flags + 8 * i]! |= DESC_INDIRECT;
    await wire.send([numbered(1)]);
    t.ok(await until(() => !port.link!.read().up), 'DEVICE_NEEDS_RESET');
    await closedAndOpenedAnew(t, both, `${device},promiscuous`);
  });

  await t.test('reset in the middle of traffic: the process lives, and the port opens again', t => resetUnderTraffic(t, openBoth(t, ',promiscuous'), nic, `${device},promiscuous`));

  await t.test('killed in the middle of traffic, and opened again at once', t => killedAndOpened(t, `${device},promiscuous`, () => openBoth(t, ',promiscuous')));

  await t.test('what a device may write back: nonsense ids and lengths are counted, and cost nothing else', async t => {
    const both = openBoth(t, ',promiscuous,rx_ring=64');
    const { host, port } = both;
    const written: [id: number, length: number, counter: string][] = [
      [0, 0, 'rx_bad_length'], [1, 11, 'rx_bad_length'], [2, 25, 'rx_bad_length'], [3, 0xffff, 'rx_bad_length'], [4, 0xffffffff, 'rx_bad_length'],
      [64, 100, 'rx_bad_used'], [0xffff, 100, 'rx_bad_used'], [0, 100, 'rx_bad_used'],
    ];
    forge(host.arena, kind === 'packed', written);
    t.equal(port.rx[0]!.rxBurst(host.burst(32)), 0, 'none of it is a frame');
    for (const name of ['rx_bad_length', 'rx_bad_used']) t.equal(host.stats(port).xstats[name], written.filter(([,, counter]) => counter === name).length, name);
    await closedAndOpenedAnew(t, both, `${device},promiscuous`);
  });

  // The last: afterwards there is another NIC.
  await t.test('pulled out: the port is asked to close, and then the device goes', t => pulledOut(t, openBoth(t), nic, { id, plug }));
}

/** The first entries of a receive ring of 64 that is as after its opening, as a device could write them. */
function forge(arena: Arena, packed: boolean, entries: readonly (readonly [id: number, length: number, ...unknown[]])[]): void {
  const { u16, u32 } = arena;
  const ring = arena.find('port/0/vfio/rx0').offset;
  const used = ring + ringPlaces(packed, 64).used;
  entries.forEach(([id, length], i) => {
    const at = packed ? ring + 16 * i + 8 : used + RING_ENTRIES + 8 * i;
    u32[at >>> 2] = packed ? length : id;
    u32[(at + 4) >>> 2] = packed ? id | (DESC_AVAIL | DESC_USED) << 16 : length;
  });
  if (!packed) u16[(used + RING_INDEX) >>> 1] = entries.length;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function to(address: string): Uint8Array {
  const bytes = frame(60, 7);
  bytes.set(address.split(':').map(pair => Number.parseInt(pair, 16)));
  return bytes;
}

/** A broadcast of a VLAN: IEEE 802.1Q's tag, and something behind it. */
function tagged(vlan: number): Uint8Array {
  const bytes = to('ff:ff:ff:ff:ff:ff');
  bytes.set([0x81, 0, vlan >>> 8, vlan & 0xff], 12);
  return bytes;
}

/** What comes of them, in order; the last one always comes. */
async function passing(host: Host, port: Port, wire: RawWire, frames: readonly Uint8Array[]): Promise<Uint8Array[]> {
  await wire.send(frames);
  const came: Uint8Array[] = [];
  await until(() => came.push(...receiveBy(host, port)) > 0 && equals(came.at(-1)!, frames.at(-1)!));
  return came;
}

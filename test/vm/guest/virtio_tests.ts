/** A virtio-net device in our hands, Linux at the other end of its wire: what is tested with split rings and with packed ones. */
import { spawnSync } from 'node:child_process';
import type { Test } from 'tap';
import { binding } from '../../../lib/binding.js';
import { openSyscallCounter } from '../../../lib/kernel/syscall_counter.js';
import { PollmodeError } from '../../../lib/errors.js';
import { Idle } from '../../../lib/lcore/idle.js';
import { Chains } from '../../../lib/mbuf/chains.js';
import { bindToVfio } from '../../../lib/pci/bind.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { frame } from '../../port/conformance/frames.js';
import { RawWire, receiveBy } from '../../port/conformance/wires.js';
import type { Wire } from '../devices.js';
import { equals, fromLinux, MANY, numbered, pings, toLinux, type Both } from './exchange.js';
import { monitor, peerOf, until } from './wire.js';

/** The tests of a device with one kind of rings; `id` is QEMU's name of it. */
export async function virtioTests(t: Test, kind: string, { nic, mac, peerMac }: Wire, id: string): Promise<void> {
  bindToVfio(nic, { force: true });
  const peer = peerOf({ peerMac });
  t.teardown(() => { spawnSync('ip', ['address', 'flush', 'dev', peer.name]); });
  /** Opens the port, and a raw socket at the other end; both are closed at the end of the test. */
  const openBoth = (t: Test, options = ''): Both => {
    const wire = new RawWire(peer.ifindex);
    const host = open([`vfio:${nic}${options}`]);
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

  await t.test('no system call moves packets, either way', async t => {
    const { host, port, wire } = openBoth(t, ',promiscuous');
    const counter = openSyscallCounter();
    if (counter instanceof PollmodeError) return t.fail(counter.message);
    t.teardown(() => counter.close());
    const burst = host.burst(32);
    await wire.send(Array.from({ length: 100 }, (_, i) => numbered(i)));
    for (let i = 0; i < 2000; i++) port.rx[0]!.rxBurst(burst, 0); // whatever is compiled and made at first
    const tid = binding().gettid();
    counter.watch(tid);
    const before = counter.read(tid);
    const cost = counter.read(tid) - before; // of asking
    let moved = 0;
    const start = counter.read(tid);
    for (let i = 0; i < 20_000; i++) {
      const got = port.rx[0]!.rxBurst(burst, 32);
      const sent = got === 0 ? 0 : port.tx[0]!.txBurst(burst, got);
      if (sent < got) host.pool.free(burst, sent, got);
      moved += sent;
    }
    const calls = counter.read(tid) - start - cost;
    t.ok(moved >= 100, `${moved} packets were received and sent`);
    t.ok(calls < 20, `${calls} system calls of the thread in 20,000 turns of the loop (V8's own may be among them)`);
  });

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

  await t.test('more queues than it has, options that it has not, and the same device twice are refused', async t => {
    t.throws(() => open([`vfio:${nic},queues=2`]), { code: 'EUNSUPPORTED' });
    t.throws(() => open([`vfio:${nic},vlan_offload`]), { code: 'EUNSUPPORTED', message: /no vlan_offload/ });
    t.throws(() => open([`vfio:${nic},vf_token=12345678-1234-1234-1234-123456789abc`]), { code: 'EUNSUPPORTED', message: /no vf_token/ });
    openBoth(t);
    t.throws(() => open([`vfio:${nic}`]), { code: 'EBUSYQUEUE' });
  });
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

/** An 82574L in our hands, Linux at the other end of its wire. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { binding } from '../../../lib/binding.js';
import { addAddress } from '../../../lib/kernel/link.js';
import { writeSysfs } from '../../../lib/kernel/pci.js';
import { openSyscallCounter } from '../../../lib/kernel/syscall_counter.js';
import { PollmodeError } from '../../../lib/errors.js';
import { Idle } from '../../../lib/lcore/idle.js';
import { bindToVfio } from '../../../lib/pci/bind.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { frame } from '../../port/conformance/frames.js';
import { RawWire, receiveBy } from '../../port/conformance/wires.js';
import { e1000e } from '../devices.js';
import { ADDRESS, Responder } from './responder.js';
import { kernelLog, monitor, peerOf, until } from './wire.js';

const DEVICE = `vfio:${e1000e.nic}`;
/** Frames each way. */
const MANY = process.env['POLLMODE_LONG'] === '1' ? 1_000_000 : 20_000;
const TRAFFIC = fileURLToPath(new URL('traffic.js', import.meta.url));

bindToVfio(e1000e.nic, { force: true });
const peer = peerOf(e1000e);

/** Opens the port, and a raw socket at the other end; both are closed at the end of the test. */
function openBoth(t: { teardown(work: () => void): void }, options = ''): { host: Host; port: Port; wire: RawWire } {
  const wire = new RawWire(peer.ifindex);
  const host = open([`${DEVICE}${options}`]);
  t.teardown(() => { host.close(); wire.close(); });
  return { host, port: host.ports[0]!, wire };
}

function stats(host: Host): ReturnType<Host['stats']> {
  return host.stats(host.ports[0]!);
}

t.test('it has its address and a link', async t => {
  const { port } = openBoth(t);
  t.equal(port.mac, e1000e.mac);
  t.ok(await until(() => port.link!.read().up));
  t.same(port.link!.read(), { up: true, mbps: 1000, fullDuplex: true });
});

t.test('ARP and pings of Linux are answered, asleep in between', async t => {
  const { host, port } = openBoth(t);
  addAddress(peer.ifindex, '192.0.2.1', 24);
  const stop = new AbortController();
  const responder = new Responder(host, port);
  t.teardown(() => stop.abort());
  const running = responder.run(stop.signal);
  const ping = spawn('/bin/busybox', ['ping', '-c', '20', '-i', '0.05', '-W', '5', ADDRESS], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  ping.stdout.on('data', (chunk: Buffer) => { said += String(chunk); });
  const [code] = await once(ping, 'close') as [number];
  t.equal(code, 0, said);
  t.match(said, /20 packets transmitted, 20 packets received/);
  t.ok(responder.counts.arp >= 1 && responder.counts.ping >= 20, JSON.stringify(responder.counts));
  stop.abort();
  await running;
  t.equal(host.pool.audit().app, 0);
});

t.test(`${MANY} frames to Linux, every byte checked`, async t => {
  const { host, port, wire } = openBoth(t);
  const burst = host.burst(64);
  let wrong = 0;
  let received = 0;
  for (let sent = 0; sent < MANY;) {
    host.pool.alloc(burst, 64);
    for (let i = 0; i < 64; i++) host.mbufs.copyIn(burst.handles[i]!, numbered(sent + i));
    for (let left = 64; left > 0;) {
      const taken = port.tx[0]!.txBurst(burst, left);
      if (taken > 0 && taken < left) burst.keep(taken, left);
      left -= taken;
    }
    sent += 64;
    const all = await until(() => {
      for (const bytes of wire.receive()) if (!equals(bytes, numbered(received++))) wrong++;
      return received >= sent;
    });
    if (!all) break;
  }
  t.same([received, wrong], [Math.ceil(MANY / 64) * 64, 0]);
  t.match(stats(host), { txPackets: received, txRefused: 0, xstats: { device_tx_packets: received } });
});

t.test(`${MANY} frames from Linux, every byte checked`, async t => {
  const { host, port, wire } = openBoth(t, ',promiscuous');
  let wrong = 0;
  let received = 0;
  for (let sent = 0; sent < MANY; sent += 32) {
    await wire.send(Array.from({ length: 32 }, (_, i) => numbered(sent + i)));
    const all = await until(() => {
      for (const bytes of receiveBy(host, port)) if (!equals(bytes, numbered(received++))) wrong++;
      return received >= sent + 32;
    });
    if (!all) break;
  }
  t.same([received, wrong], [Math.ceil(MANY / 32) * 32, 0]);
  t.match(stats(host), { rxPackets: received, rxNoMbuf: 0, xstats: { device_rx_packets: received, rx_missed: 0 } });
});

t.test('filters: its own address, all, chosen groups; everything when promiscuous', async t => {
  const { host, port, wire } = openBoth(t);
  const to = (address: string): Uint8Array => {
    const bytes = frame(60, 7);
    bytes.set(address.split(':').map(pair => Number.parseInt(pair, 16)));
    return bytes;
  };
  const [own, all, group, other] = [e1000e.mac, 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:05', '02:00:00:00:00:99'].map(to) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
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
  port.promiscuous!(true);
  t.same(await pass(), [own, group, other, all]);
  port.promiscuous!(false);
  port.multicast!([]);
  t.same(await pass(), [own, all]);
  t.throws(() => port.multicast!(['02:00:00:00:00:01']), { code: 'EOPTION' });
});

t.test('no system call moves packets, either way', async t => {
  const { host, port, wire } = openBoth(t, ',promiscuous');
  const counter = openSyscallCounter();
  if (counter instanceof PollmodeError) return t.fail(counter.message);
  t.teardown(() => counter.close());
  const burst = host.burst(32);
  await wire.send(Array.from({ length: 200 }, (_, i) => numbered(i)));
  for (let i = 0; i < 2000; i++) port.rx[0]!.rxBurst(burst, 0); // whatever is compiled and made at first
  const tid = binding().gettid();
  let moved = 0;
  counter.watch(tid);
  const before = counter.read(tid);
  const cost = counter.read(tid) - before; // of asking
  const start = counter.read(tid);
  for (let i = 0; i < 20_000; i++) {
    const got = port.rx[0]!.rxBurst(burst, 32);
    const sent = got === 0 ? 0 : port.tx[0]!.txBurst(burst, got);
    if (sent < got) host.pool.free(burst, sent, got);
    moved += sent;
  }
  const calls = counter.read(tid) - start - cost;
  t.ok(moved >= 200, `${moved} packets were received and sent`);
  t.ok(calls < 20, `${calls} system calls of the thread in 20,000 turns of the loop (V8's own may be among them)`);
});

t.test('interrupts wake a thread that sleeps', async t => {
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
  await wire.send([numbered(6)]);
  await until(() => !wake.arm!());
  t.notOk(wake.arm!(), 'what came before is not slept over');
  idle.sleep();
  t.match(idle.stats(), { sleeps: 1, wakeups: 0 });
});

t.test('link down and up', async t => {
  const { port, host, wire } = openBoth(t, ',promiscuous');
  await until(() => port.link!.read().up);
  const changed = (): boolean => binding().poll(Int32Array.of(port.link!.wake.fd, 1), 0) > 0;
  binding().read(port.link!.wake.fd, new Uint8Array(8));
  port.link!.wake.arm!();
  t.notOk(changed());
  monitor('set_link e0a off');
  t.ok(await until(() => !port.link!.read().up), 'down');
  t.ok(changed(), 'and said so');
  monitor('set_link e0a on');
  t.ok(await until(() => port.link!.read().up), 'up');
  await wire.send([numbered(1)]);
  const came: Uint8Array[] = [];
  t.ok(await until(() => came.push(...receiveBy(host, port)) > 0), 'frames come again');
});

t.test('a descriptor that points outside what was mapped harms nothing, and Linux says so', async t => {
  const { host, port, wire } = openBoth(t, ',promiscuous,rx_ring=64');
  const ring = host.arena.find('port/0/vfio/rx0');
  // The next descriptors' upper halves: far beyond the container's memory.
  for (let i = 0; i < 64; i++) host.arena.u32[(ring.offset >>> 2) + 4 * i + 1] = 0x70;
  const before = kernelLog().split('DMAR').length;
  const untouched = host.arena.u8.slice(host.pool.buffers.offset, host.pool.buffers.offset + host.pool.buffers.length);
  await wire.send(Array.from({ length: 10 }, (_, i) => numbered(i)));
  t.ok(await until(() => kernelLog().split('DMAR').length > before), 'the kernel\'s log has the fault');
  t.match(kernelLog(), /DMAR: \[DMA Write[^\n]*01:00\.0[^\n]*70[0-9a-f]{8}|DMAR:[^\n]*01:00\.0[^\n]*fault/i);
  const now = host.arena.u8.subarray(host.pool.buffers.offset, host.pool.buffers.offset + host.pool.buffers.length);
  t.equal(Buffer.compare(untouched, now), 0, 'no byte of the pool was written');
  port.close();
  t.equal(host.pool.audit().free, host.pool.size, 'every mbuf is back');
  const again = host.add(`${DEVICE},promiscuous`);
  await wire.send([numbered(3)]);
  const came: Uint8Array[] = [];
  t.ok(await until(() => came.push(...receiveBy(host, again)) > 0 && came.some(each => equals(each, numbered(3)))), 'opened anew, it works');
});

t.test('reset in the middle of traffic: the process lives, and the port opens again', async t => {
  const { host, port, wire } = openBoth(t, ',promiscuous');
  writeSysfs(`/sys/bus/pci/devices/${e1000e.nic}/reset`, '1');
  await wire.send([numbered(1)]);
  const burst = host.burst(32);
  for (let i = 0; i < 1000; i++) host.pool.free(burst, 0, port.rx[0]!.rxBurst(burst));
  stats(host);
  port.close();
  t.equal(host.pool.audit().free, host.pool.size);
  const again = host.add(`${DEVICE},promiscuous`);
  await wire.send([numbered(2)]);
  t.ok(await until(() => receiveBy(host, again).length > 0));
});

t.test('killed in the middle of traffic, and opened again at once', async t => {
  for (let round = 0; round < 2; round++) {
    const child = spawn(process.execPath, [TRAFFIC, `${DEVICE},promiscuous`], { stdio: ['ignore', 'pipe', 'inherit'] });
    await firstLine(child);
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  const { host, port, wire } = openBoth(t, ',promiscuous');
  await wire.send([numbered(9)]);
  t.ok(await until(() => receiveBy(host, port).some(each => equals(each, numbered(9)))));
  t.equal(host.pool.audit().app, 0);
});

// The last: afterwards there is another NIC.
t.test('pulled out: the port is asked to close, and then the device goes', async t => {
  const { host, port } = openBoth(t);
  const asked = (): boolean => binding().poll(Int32Array.of(port.removal!, 1), 0) > 0;
  t.notOk(asked());
  monitor('device_del e1000e0');
  t.ok(await until(asked, 60), 'the request interrupt');
  t.ok(existsSync(`/sys/bus/pci/devices/${e1000e.nic}`), 'it waits for us');
  const burst = host.burst(32);
  for (let i = 0; i < 100; i++) host.pool.free(burst, 0, port.rx[0]!.rxBurst(burst));
  port.close();
  t.equal(host.pool.audit().free, host.pool.size);
  t.ok(await until(() => !existsSync(`/sys/bus/pci/devices/${e1000e.nic}`), 60), 'gone');
  t.throws(() => host.add(DEVICE), { code: 'ENOTFOUND' });
  await sleep(1000);
  monitor(`device_add e1000e,id=e1000e0,bus=slot1,netdev=e0a,mac=${e1000e.mac},romfile=`);
  t.ok(await until(() => existsSync(`/sys/bus/pci/devices/${e1000e.nic}`), 60), 'back');
});

/** A frame of 60 to 1514 bytes that is no other's. */
function numbered(number: number): Uint8Array {
  return frame(60 + (number * 7919) % 1455, number + 1);
}

function equals(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

async function firstLine(child: ChildProcess): Promise<void> {
  await once(child.stdout!, 'data');
}

t.teardown(() => { spawnSync('ip', ['address', 'flush', 'dev', peer.name]); });

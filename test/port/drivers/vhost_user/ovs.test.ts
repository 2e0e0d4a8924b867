/** Open vSwitch with DPDK between two of our virtio_user ports: each is a guest to it, and its bridge carries frames from one to the other, both ways. */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Machine } from '../../../../bench/peers/machine.js';
import { Ovs, ovsLacks } from '../../../../bench/peers/ovs.js';
import { open, type Host } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { copyWhole, frame } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';

const machine = new Machine();
process.once('exit', () => machine.giveBack());
const skip = ovsLacks(machine) ?? false;
const FRAMES = 500;
const CPUS = { measured: 1, other: 0 };

/** The bridge learns of a frame's source where it came in: two stations, one at each port. */
const STATIONS = [[0x02, 0, 0, 0, 0, 0x0a], [0x02, 0, 0, 0, 0, 0x0b]] as const;

/** Frames of all sizes from one station to the other. */
function traffic(from: 0 | 1): Uint8Array[] {
  return Array.from({ length: FRAMES }, (_, i) => {
    const bytes = frame(60 + i * 7 % 1455, i * 2 + from);
    bytes.set(STATIONS[1 - from]!, 0);
    bytes.set(STATIONS[from], 6);
    return bytes;
  });
}

/** Sends by one port and takes by the other, a window at a time, until all are there or a minute has passed. */
async function through(host: Host, sender: Port, receiver: Port, sent: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const burst = host.burst(32);
  const got: Uint8Array[] = [];
  const deadline = performance.now() + 60_000;
  for (let next = 0; got.length < sent.length && performance.now() < deadline;) {
    const count = Math.min(32, sent.length - next, 64 - (next - got.length));
    if (count > 0 && host.pool.alloc(burst, count) > 0) {
      for (let i = 0; i < count; i++) host.mbufs.copyIn(burst.handles[i]!, sent[next + i]!);
      const taken = sender.tx[0]!.txBurst(burst, count);
      host.pool.free(burst, taken, count);
      next += taken;
    }
    const received = receiver.rx[0]!.rxBurst(burst);
    for (let i = 0; i < received; i++) got.push(copyWhole(host.mbufs, burst.handles[i]!));
    host.pool.free(burst, 0, received);
    if (received === 0) await sleep(1);
  }
  burst.close();
  return got;
}

/** Open vSwitch serves a port a moment after it said so, and drops what is for it until then: one frame after the other, until one comes. */
async function carries(host: Host, sender: Port, receiver: Port, like: Uint8Array): Promise<boolean> {
  for (let tries = 0; tries < 500; tries++) {
    sendBy(host, sender, [like]);
    await sleep(10);
    if (receiveBy(host, receiver).length > 0) break;
    if (tries === 499) return false;
  }
  // Others may still be on their way.
  await sleep(50);
  for (const port of host.ports) receiveBy(host, port);
  return true;
}

async function started(t: Test): Promise<Ovs> {
  const ovs = await Ovs.start(machine, { cpus: CPUS });
  t.teardown(async () => {
    if (!t.passing()) t.comment(ovs.complaints);
    await ovs.stop();
  });
  return ovs;
}

async function up(t: Test, ports: readonly Port[]): Promise<void> {
  for (const deadline = performance.now() + 60_000; !ports.every(port => port.link!.read().up) && performance.now() < deadline;) await sleep(10);
  t.ok(ports.every(port => port.link!.read().up), 'both links are up');
}

const freeHugePages = (): number => Number(/^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1]);

t.test('through Open vSwitch\'s bridge and back', { skip }, async t => {
  const ovs = await started(t);
  const paths = [await ovs.addPort('left'), await ovs.addPort('right')];
  for (const packed of [0, 1]) {
    const host = open(paths.map(path => `virtio_user:${path},packed=${packed}`), { mbufs: 2048 });
    try {
      const [left, right] = host.ports as [Port, Port];
      await up(t, host.ports);
      t.ok(await carries(host, left, right, traffic(0)[0]!) && await carries(host, right, left, traffic(1)[0]!), 'Open vSwitch has both ports');
      for (const [name, sender, receiver, sent] of [['there', left, right, traffic(0)], ['back', right, left, traffic(1)]] as const) {
        const got = await through(host, sender, receiver, sent);
        t.equal(got.length, FRAMES, `${packed === 1 ? 'packed' : 'split'} rings, ${name}: all came`);
        t.equal(got.findIndex((bytes, i) => !Buffer.from(bytes).equals(sent[i]!)), -1, 'each as it was sent, in order');
      }
      for (const port of host.ports) for (const [counter, count] of Object.entries(host.stats(port).xstats)) if (/bad|lost/.test(counter)) t.equal(count, 0, counter);
      t.ok(await ovs.received() >= 2 * FRAMES * (packed + 1), 'Open vSwitch has had them');
    } finally {
      host.close();
    }
    t.equal(host.pool.audit().free, host.pool.size, 'every buffer is back');
  }
});

t.test('nothing of it is left when it has been stopped', { skip }, async t => {
  const before = freeHugePages();
  const ovs = await started(t);
  await ovs.addPort('one');
  t.ok(freeHugePages() < before, 'it runs in huge pages');
  await ovs.stop();
  t.equal(existsSync(ovs.folder), false, 'no socket');
  t.equal(freeHugePages(), before, 'no huge page');
  t.equal(readFileSync('/proc/net/dev', 'utf8').includes('ovs-netdev'), false, 'no tap device');
});

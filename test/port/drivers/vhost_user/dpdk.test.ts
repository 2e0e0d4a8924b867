/** DPDK at the other end: its net_virtio_user behind our vhost port, and its net_vhost behind our virtio_user port. testpmd swaps the addresses and sends everything back. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { dpdkLacks } from '../../../../bench/peers/dpdk.js';
import { Machine } from '../../../../bench/peers/machine.js';
import type { Program } from '../../../../bench/peers/program.js';
import { open, type Host } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { copyWhole, frame } from '../../conformance/frames.js';

const machine = new Machine();
process.once('exit', () => machine.giveBack());
const skip = dpdkLacks(machine) ?? false;
const FRAMES = 600;

function testpmd(name: string, vdev: string): Program {
  return machine.start('stdbuf', [
    '-oL', 'dpdk-testpmd', '-l', '0,1', '--in-memory', '--single-file-segments', '-m', '128', '--no-pci', '--no-telemetry', `--vdev=${vdev}`,
    '--', '--forward-mode=macswap', '--nb-cores=1', '--total-num-mbufs=4096', '-i',
  ], { environment: { RUNTIME_DIRECTORY: join(machine.folder, name) } });
}

async function run(t: Test, program: Program, work: () => Promise<void>): Promise<void> {
  t.teardown(async () => {
    program.kill();
    await program.exited;
  });
  await program.expect(/^Done$/m, 30);
  program.write('start');
  await program.expect(/nb forwarding cores=1/);
  await work();
}

/** Sends frames of every size in bursts, and takes those that come back: each as it was, but for its addresses. */
async function bounce(t: Test, host: Host, port: Port): Promise<void> {
  await until(() => port.link?.read().up === true);
  t.equal(port.link?.read().up, true, 'the link is up');
  const burst = host.burst(32);
  const sent = Array.from({ length: FRAMES }, (_, i) => frame(60 + i * 7 % 1455, i));
  const back: Uint8Array[] = [];
  for (let next = 0, quiet = 0; back.length < FRAMES && quiet < 2000; quiet++) {
    const count = Math.min(32, FRAMES - next, 64 - (next - back.length));
    if (count > 0 && host.pool.alloc(burst, count) > 0) {
      for (let i = 0; i < count; i++) host.mbufs.copyIn(burst.handles[i]!, sent[next + i]!);
      const taken = port.tx[0]!.txBurst(burst, count);
      host.pool.free(burst, taken, count);
      next += taken;
    }
    const got = port.rx[0]!.rxBurst(burst);
    for (let i = 0; i < got; i++) back.push(copyWhole(host.mbufs, burst.handles[i]!));
    host.pool.free(burst, 0, got);
    if (got > 0) quiet = 0;
    else await sleep(1);
  }
  t.equal(back.length, FRAMES, 'all came back');
  const swapped = (bytes: Uint8Array): Buffer => Buffer.concat([bytes.subarray(6, 12), bytes.subarray(0, 6), bytes.subarray(12)]);
  t.equal(back.findIndex((bytes, i) => !swapped(bytes).equals(sent[i]!)), -1, 'each as it was sent');
  const { xstats } = host.stats(port);
  for (const [name, count] of Object.entries(xstats)) if (/bad|small|errors/.test(name)) t.equal(count, 0, name);
}

async function until(ready: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !ready(); i++) await sleep(10);
}

for (const packed of [0, 1]) {
  const rings = packed === 1 ? 'packed' : 'split';
  t.test(`our vhost behind DPDK's virtio_user, ${rings} rings`, { skip }, async t => {
    const path = join(machine.folder, 'a');
    const host = open([`vhost:${path}`], { mbufs: 2048 });
    t.teardown(() => host.close());
    await run(t, testpmd('a', `net_virtio_user0,path=${path},queues=1,queue_size=256,packed_vq=${packed}`), () => bounce(t, host, host.ports[0]!));
  });
  t.test(`our virtio_user before DPDK's vhost, ${rings} rings`, { skip }, async t => {
    const path = join(machine.folder, 'b');
    rmSync(path, { force: true });
    const program = testpmd('b', `net_vhost0,iface=${path},queues=1`);
    await run(t, program, async () => {
      const host = open([`virtio_user:${path},packed=${packed}`], { mbufs: 2048 });
      try {
        await bounce(t, host, host.ports[0]!);
      } finally {
        host.close();
      }
    });
  });
  t.test(`our vhost as a client of DPDK's virtio_user, ${rings} rings: each of the two goes and comes back`, { skip }, async t => {
    const path = join(machine.folder, `c${packed}`);
    const vdev = `net_virtio_user0,path=${path},server=1,queues=1,queue_size=256,packed_vq=${packed}`;
    let host = open([`vhost:${path},client=1`], { mbufs: 2048 });
    t.teardown(() => host.close());
    const first = testpmd('c', vdev);
    await run(t, first, () => bounce(t, host, host.ports[0]!));
    t.comment('our side goes, and another one comes');
    host.close();
    host = open([`vhost:${path},client=1`], { mbufs: 2048 });
    await bounce(t, host, host.ports[0]!);
    t.comment('DPDK goes, and another one comes');
    first.kill();
    await first.exited;
    await until(() => host.ports[0]!.link!.read().up === false);
    rmSync(path, { force: true });
    await run(t, testpmd('d', vdev), () => bounce(t, host, host.ports[0]!));
  });
}

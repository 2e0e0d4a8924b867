/** DPDK's testpmd at the other end of a socket: it swaps the addresses of all frames and sends them back. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { dpdkLacks } from '../../../bench/peers/dpdk.js';
import { Machine } from '../../../bench/peers/machine.js';
import type { Program } from '../../../bench/peers/program.js';
import type { Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { copyWhole, frame } from '../conformance/frames.js';

export const machine = new Machine();
process.once('exit', () => machine.giveBack());
export const skip = dpdkLacks(machine) ?? false;
const FRAMES = 600;

/** Two threads of it, `queues` of its port, and so many MiB of huge pages. */
export function testpmd(name: string, vdev: string, queues = 1, memory = 128): Program {
  return machine.start('stdbuf', [
    '-oL', 'dpdk-testpmd', '-l', '0,1', '--in-memory', '--single-file-segments', '-m', String(memory), '--no-pci', '--no-telemetry', `--vdev=${vdev}`,
    '--', '--forward-mode=macswap', '--nb-cores=1', '--total-num-mbufs=4096', `--rxq=${queues}`, `--txq=${queues}`, '-i',
  ], { environment: { RUNTIME_DIRECTORY: join(machine.folder, name) } });
}

export async function run(t: Test, program: Program, work: () => Promise<void>): Promise<void> {
  t.teardown(async () => {
    program.kill();
    await program.exited;
  });
  await program.expect(/^Done$/m, 60);
  program.write('start');
  await program.expect(/nb forwarding cores=1/, 60);
  await work();
}

/** Sends frames of every size in bursts, and takes those that come back: each as it was, but for its addresses. */
export async function bounce(t: Test, host: Host, port: Port): Promise<void> {
  await until(() => port.link?.read().up === true);
  t.equal(port.link?.read().up, true, 'the link is up');
  const burst = host.burst(32);
  const sent = Array.from({ length: FRAMES }, (_, i) => frame(60 + i * 7 % 1455, i));
  const back: Uint8Array[] = [];
  const deadline = performance.now() + 60_000;
  for (let next = 0; back.length < FRAMES && performance.now() < deadline;) {
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
    if (got === 0) await sleep(1);
  }
  t.equal(back.length, FRAMES, 'all came back');
  const swapped = (bytes: Uint8Array): Buffer => Buffer.concat([bytes.subarray(6, 12), bytes.subarray(0, 6), bytes.subarray(12)]);
  t.equal(back.findIndex((bytes, i) => !swapped(bytes).equals(sent[i]!)), -1, 'each as it was sent');
  const { xstats } = host.stats(port);
  for (const [name, count] of Object.entries(xstats)) if (/bad|small|errors/.test(name)) t.equal(count, 0, name);
}

/** For a minute at most. */
export async function until(ready: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 60_000; !ready() && performance.now() < deadline;) await sleep(10);
}

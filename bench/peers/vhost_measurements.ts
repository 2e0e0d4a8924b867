/** The measurements over vhost-user sockets: two programs on two CPUs, ours or DPDK's at either end. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Measurement } from './bench.js';
import { dpdkLacks } from './dpdk.js';
import { finishOurs, startOurs, type OursResult } from './ours.js';
import type { Program } from './program.js';

/** A program at one end; whoever listens is started first. */
type Starter = (bench: Bench, path: string, cpu: number) => Promise<Program>;

const SETTLE_SECONDS = 1.5;
const RING = 1024;
/** testpmd's 256 MiB have no room in the default arena then. */
const BESIDE = ',guest_memory=1';

export const vhostMeasurements: readonly Measurement[] = [
  measured('testpmd net_vhost rxonly', testpmdEnd('vhost', 'rxonly'), testpmdEnd('virtio', 'txonly'), 'rx'),
  measured('vhost-receive', oursEnd('vhost', 'receive'), testpmdEnd('virtio', 'txonly'), 'ours'),
  measured('testpmd net_vhost txonly', testpmdEnd('vhost', 'txonly'), testpmdEnd('virtio', 'rxonly'), 'tx'),
  measured('vhost-send', oursEnd('vhost', 'send'), testpmdEnd('virtio', 'rxonly'), 'ours'),
  measured('vhost-receive beside', oursEnd('vhost', 'receive', BESIDE), testpmdEnd('virtio', 'txonly'), 'ours'),
  measured('vhost-send beside', oursEnd('vhost', 'send', BESIDE), testpmdEnd('virtio', 'rxonly'), 'ours'),
  both('virtio-to-vhost split', ''),
  both('virtio-to-vhost packed', ',packed=1'),
];

/** The end under test on the measured CPU, the other one on the other. `counter`: whose count is taken, ours or testpmd's of the end under test. */
function measured(name: string, end: Starter, peer: Starter, counter: 'rx' | 'tx' | 'ours'): Measurement {
  return {
    name, lacks: ({ machine }) => dpdkLacks(machine),
    async run(bench) {
      const path = join(bench.machine.folder, 'vhost.sock');
      rmSync(path, { force: true });
      const first = await end(bench, path, bench.cpus.measured);
      const second = await peer(bench, path, bench.cpus.other);
      try {
        if (counter === 'ours') return figures(await finishOurs(first, bench.seconds + 10));
        return { value: await testpmdRate(first, counter, bench.seconds) / 1e6 };
      } finally {
        for (const program of [second, first]) {
          program.kill();
          await program.exited;
        }
      }
    },
  };
}

/** Our driver's side sends to our vhost port; each on a CPU of its own. */
function both(name: string, words: string): Measurement {
  return {
    name, lacks: () => undefined,
    async run(bench) {
      const path = join(bench.machine.folder, 'vhost.sock');
      rmSync(path, { force: true });
      const receiver = startOurs(bench.machine, 'virtqueue-receive', swapped(bench, bench.cpus.measured), { seconds: bench.seconds, more: ['--interface', `vhost:${path}`] });
      await receiver.expect(/waiting/);
      const sender = startOurs(bench.machine, 'virtqueue-send', swapped(bench, bench.cpus.other), { seconds: bench.seconds, more: ['--interface', `virtio_user:${path},queue_size=${RING}${words}`] });
      const [received, sent] = await Promise.all([finishOurs(receiver, bench.seconds + 10), finishOurs(sender, bench.seconds + 10)]);
      const { cycles: senderCycles, idle: senderIdle } = figures(sent);
      return { ...figures(received), senderCycles: senderCycles!, senderIdle: senderIdle! };
    },
  };
}

function figures(result: OursResult): Record<string, number> {
  const { idle = 0, burst = 0 } = result;
  return { value: result.packets / result.seconds / 1e6, idle, burst, cycles: result.cycles };
}

function swapped({ cpus }: Bench, measuredCpu: number): Bench['cpus'] {
  return { measured: measuredCpu, other: measuredCpu === cpus.measured ? cpus.other : cpus.measured };
}

function oursEnd(kind: 'vhost' | 'virtio_user', direction: 'receive' | 'send', words = ''): Starter {
  return async (bench, path, cpu) => {
    const program = startOurs(bench.machine, `virtqueue-${direction}`, swapped(bench, cpu), { seconds: bench.seconds, more: ['--interface', `${kind}:${path}${words}`] });
    await program.expect(/waiting/);
    return program;
  };
}

/** testpmd with both its threads on the one CPU: its main thread only waits for commands. */
function testpmdEnd(kind: 'vhost' | 'virtio', forward: 'rxonly' | 'txonly'): Starter {
  return async ({ machine }, path, cpu) => {
    const vdev = kind === 'vhost' ? `net_vhost0,iface=${path},queues=1` : `net_virtio_user0,path=${path},queues=1,queue_size=${RING}`;
    const program = machine.start('stdbuf', [
      '-oL', 'dpdk-testpmd', '--lcores', `0@${cpu},1@${cpu}`, '--in-memory', '--single-file-segments', '-m', '256', '--no-pci', '--no-telemetry', `--vdev=${vdev}`,
      '--', `--forward-mode=${forward}`, '--nb-cores=1', '--burst=32', '--total-num-mbufs=16384', '-i',
    ], { environment: { RUNTIME_DIRECTORY: join(machine.folder, kind) } });
    await program.expect(/^Done$/m);
    program.write('start');
    await program.expect(/nb forwarding cores=1/);
    return program;
  };
}

/** Packets per second between two looks at its counters. */
async function testpmdRate(program: Program, counter: 'rx' | 'tx', seconds: number): Promise<number> {
  await sleep(SETTLE_SECONDS * 1000);
  program.write('show port stats all');
  await sleep(seconds * 1000);
  program.write('show port stats all');
  await sleep(100);
  const rates = [...program.output.matchAll(new RegExp(`${counter === 'rx' ? 'Rx' : 'Tx'}-pps:\\s+(\\d+)`, 'g'))].map(match => Number(match[1]));
  if (rates.length < 2) throw new Error('dpdk-testpmd printed no rates');
  return rates.at(-1)!;
}

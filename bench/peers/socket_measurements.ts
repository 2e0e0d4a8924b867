/** Two programs at the two ends of a Unix socket, on two CPUs, ours or testpmd at either; one of them is measured. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Figures, Measurement } from './bench.js';
import { dpdkLacks } from './dpdk.js';
import { finishOurs, ours, startOurs, type OursResult } from './ours.js';
import type { Program } from './program.js';

/** A program at one end, on that CPU. */
export type Starter = (bench: Bench, path: string, cpu: number) => Promise<Program>;

export interface Ends {
  /** Who listens, and is started first; who connects. */
  readonly first: Starter;
  readonly second: Starter;
  /** Who is on the measured CPU, and whose count is taken: ours, or testpmd's. */
  readonly measured: 'first' | 'second';
  readonly counter: 'rx' | 'tx' | 'ours';
}

const SETTLE_SECONDS = 1.5;

export function socketMeasurement(name: string, { first, second, measured, counter }: Ends): Measurement {
  return {
    name, lacks: ({ machine }) => dpdkLacks(machine),
    run: bench => withDistance(bench, async () => {
      const path = socketPath(bench);
      const cpus = measured === 'first' ? [bench.cpus.measured, bench.cpus.other] : [bench.cpus.other, bench.cpus.measured];
      const programs: Program[] = [];
      try {
        programs.push(await first(bench, path, cpus[0]!));
        programs.push(await second(bench, path, cpus[1]!));
        const looked = programs[measured === 'first' ? 0 : 1]!;
        if (counter === 'ours') return figures(await finishOurs(looked, bench.seconds + 10));
        return { value: await testpmdRate(looked, counter, bench.seconds) / 1e6 };
      } finally {
        for (const program of programs.reverse()) {
          program.kill();
          await program.exited;
        }
      }
    }),
  };
}

/** How far apart the two CPUs are before and afterwards: what shares memory can be compared where that is the same. */
export async function withDistance({ machine, cpus }: Bench, work: () => Promise<Figures>): Promise<Figures> {
  const apart = async (): Promise<number> => (await ours(machine, 'round-trip', cpus, { seconds: 0 })).nanoseconds!;
  const before = await apart();
  const found = await work();
  return { ...found, apart: before, apartAfterwards: await apart() };
}

/** A place where nothing is. */
export function socketPath({ machine }: Bench): string {
  const path = join(machine.folder, 'ends.sock');
  rmSync(path, { force: true });
  return path;
}

export function figures(result: OursResult): Record<string, number> {
  const { idle = 0, burst = 0 } = result;
  return { value: result.packets / result.seconds / 1e6, idle, burst, cycles: result.cycles };
}

/** Ours on a CPU. */
export function onCpu({ cpus }: Bench, cpu: number): Bench['cpus'] {
  return { measured: cpu, other: cpu === cpus.measured ? cpus.other : cpus.measured };
}

export function oursEnd(device: (path: string) => string, direction: 'receive' | 'send'): Starter {
  return async (bench, path, cpu) => {
    const program = startOurs(bench.machine, `virtqueue-${direction}`, onCpu(bench, cpu), { seconds: bench.seconds, more: ['--interface', device(path)] });
    await program.expect(/waiting/);
    return program;
  };
}

/** testpmd with both its threads on the one CPU: its main thread only waits for commands. */
export function testpmdEnd(name: string, vdev: (path: string) => string, forward: 'rxonly' | 'txonly'): Starter {
  return async ({ machine }, path, cpu) => {
    const program = machine.start('stdbuf', [
      '-oL', 'dpdk-testpmd', '--lcores', `0@${cpu},1@${cpu}`, '--in-memory', '--single-file-segments', '-m', '256', '--no-pci', '--no-telemetry', `--vdev=${vdev(path)}`,
      '--', `--forward-mode=${forward}`, '--nb-cores=1', '--burst=32', '--total-num-mbufs=16384', '-i',
    ], { environment: { RUNTIME_DIRECTORY: join(machine.folder, name) } });
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

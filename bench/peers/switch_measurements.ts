/** Two machines behind a switch with vhost-user ports, ours or Open vSwitch with DPDK: a switch on one CPU, one program that is both machines on the other. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Measurement } from './bench.js';
import { finishOurs, startOurs } from './ours.js';
import { Ovs, ovsLacks } from './ovs.js';
import type { Program } from './program.js';
import { withDistance } from './socket_measurements.js';

/** Addresses that either switch must be able to learn. */
const MACS = 8192;

export const switchMeasurements: readonly Measurement[] = [1, 10_000].flatMap(flows => [overOvs(flows), overOurs(flows)]);

function overOvs(flows: number): Measurement {
  return {
    name: `OVS-DPDK ${flows} flows`, lacks: ({ machine }) => ovsLacks(machine),
    run: bench => withDistance(bench, async () => {
      const ovs = await Ovs.start(bench.machine, { cpus: bench.cpus });
      try {
        await ovs.vsctl('set', 'bridge', ovs.bridge, `other_config:mac-table-size=${MACS}`);
        const [a, b] = [await ovs.addPort('a'), await ovs.addPort('b')];
        const value = await traffic(bench, a, b, flows, () => ovs.appctl('dpif-netdev/pmd-stats-clear'));
        return { value, cycles: busyCycles(await ovs.appctl('dpif-netdev/pmd-stats-show')) };
      } finally {
        await ovs.stop();
      }
    }),
  };
}

function overOurs(flows: number): Measurement {
  return {
    name: `switch ${flows} flows`, lacks: () => undefined,
    run: bench => withDistance(bench, async () => {
      const [a, b] = ['a', 'b'].map(name => join(bench.machine.folder, `switch-${name}.sock`)) as [string, string];
      for (const path of [a, b]) rmSync(path, { force: true });
      const program = startOurs(bench.machine, 'switch', bench.cpus, { seconds: bench.seconds, more: ['--a', a, '--b', b] });
      try {
        await program.expect(/waiting/);
        return { value: await traffic(bench, a, b, flows), ...lastWords(program) };
      } finally {
        program.kill();
        await program.exited;
      }
    }),
  };
}

/** "avg processing cycles per packet", of the poll-mode thread: of its polls that found packets, by the time-stamp counter. */
function busyCycles(stats: string): number {
  const found = /avg processing cycles per packet:\s+([\d.]+)/.exec(stats);
  if (found === null) throw new Error('Open vSwitch told no cycles');
  return Number(found[1]);
}

/** Millions of packets a second that arrived. `measuring`: called when the measured part begins. */
async function traffic({ machine, cpus, seconds }: Bench, a: string, b: string, flows: number, measuring: () => unknown = () => undefined): Promise<number> {
  const program = startOurs(machine, 'switch-traffic', { measured: cpus.other, other: cpus.measured }, { seconds, more: ['--a', a, '--b', b, '--flows', String(flows)] });
  try {
    await program.expect(/measuring/, 60);
    await measuring();
    const { packets, seconds: took } = await finishOurs(program, seconds + 20);
    return packets / took / 1e6;
  } finally {
    program.kill();
    await program.exited;
  }
}

/** Of the half second before the last, which lies in the measured part. */
function lastWords({ output }: Program): { idle: number; burst: number; cycles: number } {
  const lines = output.trim().split('\n').filter(line => line.startsWith('{'));
  const { idle, burst, cycles } = JSON.parse(lines.at(-2) ?? '{"idle":0,"burst":0,"cycles":0}') as { idle: number; burst: number; cycles: number };
  return { idle, burst, cycles };
}

/** Two machines behind a switch with vhost-user ports, ours or Open vSwitch with DPDK: a switch on one CPU, one program that is both machines on the other. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Measurement } from './bench.js';
import { finishOurs, startOurs } from './ours.js';
import { Ovs, ovsLacks } from './ovs.js';
import type { Program } from './program.js';

/** Addresses that either switch must be able to learn. */
const MACS = 8192;

export const switchMeasurements: readonly Measurement[] = [1, 10_000].flatMap(flows => [overOvs(flows), overOurs(flows)]);

function overOvs(flows: number): Measurement {
  return {
    name: `OVS-DPDK ${flows} flows`, lacks: ({ machine }) => ovsLacks(machine),
    async run(bench) {
      const ovs = await Ovs.start(bench.machine, { cpus: bench.cpus });
      try {
        await ovs.vsctl('set', 'bridge', ovs.bridge, `other_config:mac-table-size=${MACS}`);
        const [a, b] = [await ovs.addPort('a'), await ovs.addPort('b')];
        return { value: await traffic(bench, a, b, flows) };
      } finally {
        await ovs.stop();
      }
    },
  };
}

function overOurs(flows: number): Measurement {
  return {
    name: `switch ${flows} flows`, lacks: () => undefined,
    async run(bench) {
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
    },
  };
}

/** Millions of packets a second that arrived. */
async function traffic({ machine, cpus, seconds }: Bench, a: string, b: string, flows: number): Promise<number> {
  const program = startOurs(machine, 'switch-traffic', { measured: cpus.other, other: cpus.measured }, { seconds, more: ['--a', a, '--b', b, '--flows', String(flows)] });
  try {
    const { packets, seconds: took } = await finishOurs(program, seconds + 20);
    return packets / took / 1e6;
  } finally {
    program.kill();
    await program.exited;
  }
}

/** Of the half second before the last, which lies in the measured part. */
function lastWords({ output }: Program): { idle: number; burst: number } {
  const lines = output.trim().split('\n').filter(line => line.startsWith('{'));
  const { idle, burst } = JSON.parse(lines.at(-2) ?? '{"idle":0,"burst":0}') as { idle: number; burst: number };
  return { idle, burst };
}

/** The measurements in memory: rings, null ports and ring ports. */
import type { Bench, Measurement } from './bench.js';
import { CRing } from './c_ring.js';
import { checksumMeasurements } from './checksum_measurements.js';
import { dpdkLacks, ringPerf, testpmd, type TestpmdOptions } from './dpdk.js';
import { lookupMeasurements } from './lookup_measurements.js';
import type { Machine } from './machine.js';
import { memifMeasurements } from './memif_measurements.js';
import { ours } from './ours.js';
import { switchMeasurements } from './switch_measurements.js';
import { vhostMeasurements } from './vhost_measurements.js';
import { wireMeasurements } from './wire_measurements.js';

/** In the order in which a round makes them: what is compared stands side by side. */
export function measurements(machine: Machine): readonly Measurement[] {
  const c = new CRing(machine);
  const rings = (['sp-sc', 'mp-mc', 'two-cores'] as const).flatMap(what => [
    { name: `C ${what}`, lacks: () => c.lacks(), run: async ({ seconds, cpus }: Bench) => ({ value: await c.run(what, seconds, cpus) }) },
    oursRing(`ring ${what}`, `ring-${what}`),
  ]);
  return [
    ...rings,
    { name: 'ring_perf_autotest', lacks: needsDpdk, run: async ({ cpus }) => ({ ...await ringPerf(machine, cpus) }) },
    forwarding('testpmd null io', { vdevs: ['net_null0', 'net_null1'], forward: 'io' }),
    oursForwarding('null-io'),
    forwarding('testpmd null macswap', { vdevs: ['net_null0', 'net_null1'], forward: 'macswap' }),
    oursForwarding('null-macswap'),
    forwarding('testpmd ring io', { vdevs: ['net_ring0', 'net_ring1'], forward: 'io', firstBursts: 8 }),
    oursForwarding('ring-io'),
    oursForwarding('ring-io-bytes'),
    ...lookupMeasurements(machine),
    ...checksumMeasurements(machine),
    ...wireMeasurements(machine),
    ...vhostMeasurements,
    ...switchMeasurements,
    ...memifMeasurements,
  ];
}

function oursRing(name: string, program: string): Measurement {
  return {
    name, lacks: nothing,
    async run({ machine, cpus, seconds }) {
      const { cycles, meanCycles } = await ours(machine, program, cpus, { seconds });
      return { value: cycles, mean: meanCycles };
    },
  };
}

function forwarding(name: string, options: TestpmdOptions): Measurement {
  return {
    name, lacks: needsDpdk,
    async run({ machine, cpus, seconds }) {
      const { rates } = await testpmd(machine, cpus, seconds, options);
      return { value: rates.tx.reduce((sum, rate) => sum + rate, 0) / 1e6 };
    },
  };
}

function oursForwarding(name: string): Measurement {
  return {
    name, lacks: nothing,
    async run({ machine, cpus, seconds }) {
      const result = await ours(machine, name, cpus, { seconds });
      return { value: result.packets / result.seconds / 1e6 };
    },
  };
}

function needsDpdk({ machine }: Bench): string | undefined {
  return dpdkLacks(machine);
}

function nothing(): undefined {
  return undefined;
}

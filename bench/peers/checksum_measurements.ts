/** The Internet checksum: ours, DPDK's own autotest of rte_raw_cksum, and a C program that calls it, compiled for this very machine (checksum.c). */
import type { Bench, Figures, Measurement } from './bench.js';
import { CProgram } from './c_program.js';
import { autotest, dpdkLacks, printed } from './dpdk.js';
import type { Machine } from './machine.js';
import { startOurs } from './ours.js';

const BYTES = 1500;

/** What the C program and ours print: `check` is the same when both found the same sums. */
interface Result { readonly cycles: number; readonly check: number }

export function checksumMeasurements(machine: Machine): readonly Measurement[] {
  const c = new CProgram(machine, 'checksum', { dpdk: true });
  let check: number | undefined;
  const keep = (output: string): Figures => {
    const result = JSON.parse(output.trim().split('\n').at(-1)!) as Result;
    if ((check ??= result.check) !== result.check) throw new Error('the C program and ours did not find the same sums');
    return { value: result.cycles };
  };
  return [
    { name: 'cksum_perf_autotest', lacks: () => dpdkLacks(machine), run: cksumPerf },
    { name: 'C checksum', lacks: () => c.lacks(), run: async ({ cpus, seconds }) => keep(await c.start([String(BYTES), String(seconds), String(cpus.measured)]).finish(seconds + 10)) },
    { name: 'checksum', lacks: () => undefined, run: async ({ cpus, seconds }) => keep(await startOurs(machine, 'checksum', cpus, { seconds, more: [`--size=${BYTES}`] }).finish(seconds + 15)) },
  ];
}

/** Some ten seconds: a million sums of each of ten blocks, of six sizes. */
async function cksumPerf({ machine, cpus }: Bench): Promise<Figures> {
  const output = await autotest(machine, cpus, 'cksum_perf_autotest', new RegExp(`Unaligned +${BYTES} +[\\d.]+`), 60);
  return { value: printed(output, new RegExp(`Aligned +${BYTES} +([\\d.]+)`)) };
}

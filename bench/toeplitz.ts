/**
 * How fast is a Toeplitz hash of a burst of 32 IPv4 5-tuples, against DPDK's? Its rte_softrss_be is the portable one;
 * rte_thash_gfni_bulk, shown beside it, needs a CPU with GFNI and AVX-512, which WebAssembly has no instructions for.
 *
 *   node dist/bench/toeplitz.js [--rounds 5] [--seconds 1] [--cpu N] [--json]
 */
import { race } from './peers/race.js';

race({
  against: 'DPDK\'s rte_softrss_be, and where the CPU has it rte_thash_gfni_bulk',
  title: 'Toeplitz of 32 inputs of 12 bytes',
  program: 'toeplitz',
  rows: [
    { name: 'rte_softrss_be', unit: 'cycles per burst', c: 'softrss', ours: 'burst', target: 2 },
    { name: 'rte_thash_gfni_bulk', unit: 'cycles per burst', c: 'gfni', ours: 'burst' },
  ],
  same(c, ours) {
    if (c.check !== ours.check) throw new Error(`the hashes differ: ${String(c.check)} and ${String(ours.check)}`);
  },
});

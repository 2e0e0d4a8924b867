/**
 * How fast is the Internet checksum of a packet, against DPDK's rte_raw_cksum compiled for this very machine, whose
 * compiler makes AVX-512 of it where there is that? WebAssembly has vectors of 16 bytes.
 *
 *   node dist/bench/checksum.js [--rounds 5] [--seconds 1] [--cpu N] [--json]
 */
import { race } from './peers/race.js';

race({
  title: 'Internet checksum, packets in bursts of 32',
  against: 'DPDK\'s rte_raw_cksum, compiled for this machine',
  program: 'checksum',
  rows: [64, 576, 1500].map(bytes => ({ name: `${bytes} B`, unit: 'cycles per packet', c: String(bytes), ours: `--size=${bytes}`, ...(bytes === 1500 ? { target: 1 } : {}) })),
  same(c, ours) {
    if (c.check !== ours.check) throw new Error(`the sums differ: ${String(c.check)} and ${String(ours.check)}`);
  },
});

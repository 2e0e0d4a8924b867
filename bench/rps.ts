/**
 * RPS: what does it cost to hash, look up, group and hand over a packet, against the same in C on rte_softrss_be and
 * rte_ring? On one core the distributing thread drains the rings too; on two the consumer is on the other core.
 *
 *   node dist/bench/rps.js [--rounds 5] [--seconds 1] [--cpu N] [--other-cpu M] [--json]
 */
import { race } from './peers/race.js';

race({
  against: 'the same in C, on DPDK\'s rte_softrss_be and rte_ring',
  title: 'RPS: bursts of 32 UDP frames to 4 workers, 128 buckets',
  program: 'rps',
  rows: [
    { name: 'distribute and drain, one core', unit: 'cycles per packet', c: 'one-core', ours: 'one-core', target: 1 },
    { name: 'distribute, drained on another core', unit: 'cycles per packet', c: 'two-cores', ours: 'two-cores', target: 1 },
  ],
  same(c, ours) {
    if (c.shares!.some((share, worker) => Math.abs(share - ours.shares![worker]) > 0.01)) throw new Error(`the workers' shares differ: ${String(c.shares)} and ${String(ours.shares)}`);
  },
});

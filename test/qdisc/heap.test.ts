/** Nothing is born per packet: the heap grows by what a burst and its look at the clock cost, and no more. */
import t from 'tap';
import { getHeapStatistics } from 'node:v8';
import { open } from '../../lib/port/host.js';
import type { QdiscSpec } from '../../lib/qdisc/spec.js';
import { QdiscQueue } from '../../lib/qdisc/tree.js';

const TREES: Readonly<Record<string, QdiscSpec>> = {
  fq_codel: { kind: 'fq_codel', targetMs: 0.01, intervalMs: 0.1 },
  'tbf over drr': { kind: 'tbf', rate: '100gbit', child: { kind: 'drr', classes: [{}, { quantum: 100 }, {}], default: 0 } },
  'htb, a police and prio': {
    kind: 'htb', classes: [{ name: 'line', rate: '1000gbit', classes: [
      { name: 'a', rate: '1mbit', ceil: '1000gbit', child: { kind: 'police', meter: { kind: 'trtcm', cir: '1gbit', pir: '3gbit', cbs: 10000, pbs: 10000 } } },
      { name: 'b', rate: '1mbit', ceil: '1000gbit', child: { kind: 'prio', bands: [{ kind: 'pfifo', limit: 50 }, { kind: 'pfifo', limit: 50 }] } },
      { name: 'c', rate: '1mbit', ceil: '1000gbit' },
    ] }],
  },
};
const PACKETS = 200_000;
/** The smallest object of V8 has more. */
const BYTES_PER_PACKET = 4;

for (const [name, spec] of Object.entries(TREES)) {
  t.test(name, async t => {
    const host = open(['null:']);
    const queue = new QdiscQueue(host.pool, host.ports[0]!.tx[0]!, spec);
    const burst = host.burst(32);
    const send = (packets: number): void => {
      for (let done = 0; done < packets; done += 32) {
        if (host.pool.alloc(burst, 32) === 0) {
          queue.service();
          continue;
        }
        for (let i = 0; i < 32; i++) {
          host.mbufs.append(burst.handles[i]!, 500);
          host.mbufs.setMark(burst.handles[i]!, i % 3);
        }
        queue.txBurst(burst, 32);
      }
    };
    send(10 * PACKETS);
    const before = getHeapStatistics().used_heap_size;
    send(PACKETS);
    const growth = getHeapStatistics().used_heap_size - before;
    t.ok(growth < PACKETS * BYTES_PER_PACKET, `${growth} bytes for ${PACKETS} packets`);
    t.ok(queue.toJSON().sentPackets > PACKETS, `${queue.toJSON().sentPackets} sent`);
    queue.close();
    t.equal(host.pool.audit().free, host.pool.size);
    host.close();
  });
}

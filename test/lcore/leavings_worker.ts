/** An lcore of leavings.test.ts: fills the queues of a flow table and a tree of disciplines, makes a forwarder, and dies. */
import { FlowTable } from '../../lib/flow/table.js';
import type { LcoreContext } from '../../lib/lcore/context.js';
import { Adjacencies } from '../../lib/lookup/adjacencies.js';
import { Forwarder } from '../../lib/lookup/forwarder.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import { Chains } from '../../lib/mbuf/chains.js';
import { QdiscQueue } from '../../lib/qdisc/tree.js';
import { build } from '../../lib/index.js';

export interface LeavingsArgs {
  /** Not 0 when it may die. */
  readonly words: Int32Array<SharedArrayBuffer>;
}

export default async function leave(lcore: LcoreContext<LeavingsArgs>): Promise<void> {
  const { words } = lcore.args;
  const { pool, mbufs } = lcore;
  const [burst, chains] = [lcore.burst(32), new Chains(pool)];
  const table = new FlowTable(pool, { queues: 3, rules: [
    { name: 'second', match: { protocol: 'udp' }, actions: [{ do: 'rss', queues: [1, 2] }] },
  ] });
  const make = (count: number): void => {
    pool.alloc(burst, count);
    for (let i = 0; i < count; i++) mbufs.copyIn(burst.handles[i]!, build.frame(build.ethernet(), build.ipv4({ source: `10.0.0.${i}`, destination: '10.0.1.1' }), build.udp({ sourcePort: i, destinationPort: 7 }), new Uint8Array(18)));
  };
  make(20);
  // One has a segment more.
  const one = lcore.burst(1);
  pool.alloc(one, 1);
  mbufs.append(one.handles[0]!, 10);
  chains.chain(burst.handles[1]!, one.handles[0]!);
  if (table.process(burst, 20) !== 0) throw new Error('all of them wait in queues 1 and 2');
  new Forwarder(lcore.arena, Lpm.find(lcore.arena, 'routes'), Adjacencies.find(lcore.arena, 'next hops'));
  const tree = new QdiscQueue(pool, { txBurst: () => 0 }, { kind: 'fq_codel' });
  make(5);
  tree.txBurst(burst, 5);
  Atomics.store(words, 0, 1);
  Atomics.notify(words, 0);
  await lcore.poll(() => { if (Atomics.load(words, 1) !== 0) process.exit(3); });
}

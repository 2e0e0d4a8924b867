/**
 * Lesson 6: two lcores and a ring. Run it: node dist/examples/06-two-lcores.js
 *
 * You will learn
 * - that a worker thread becomes an lcore by attaching to the same memory: no message is copied between them;
 * - that a queue has one holder, and is handed from thread to thread by its name;
 * - that a ring between two lcores carries handles, 4 bytes for a packet of any size.
 *
 * The first lcore receives and sends into a ring, the second takes out of it and counts.
 */
import { isMainThread } from 'node:worker_threads';
import { setTimeout as wait } from 'node:timers/promises';
import { launch, open, type LcoreContext } from '../lib/index.js';

interface Lane { readonly from: number; readonly to: number }

/** What each lcore runs: this file is their module too. */
export default async function move(lcore: LcoreContext<Lane>): Promise<number> {
  const rx = lcore.rx(lcore.args.from);
  const tx = lcore.tx(lcore.args.to);
  const burst = lcore.burst();
  let packets = 0;
  await lcore.poll(() => {
    const got = rx.rxBurst(burst);
    const sent = tx.txBurst(burst, got);
    if (sent < got) lcore.pool.free(burst, sent, got); // the ring is full: dropped, as a NIC would
    packets += sent;
  });
  return packets;
}

if (isMainThread) {
  const host = open(['null:', 'ring:wire,size=4096,single=1', 'null:']);
  const [source, wire, sink] = host.ports.map(port => port.number) as [number, number, number];
  const module = new URL(import.meta.url);
  const rx = (port: number) => ({ port, direction: 'rx', queue: 0 }) as const;
  const tx = (port: number) => ({ port, direction: 'tx', queue: 0 }) as const;

  const first = await launch(host, { name: 'receiver', module, args: { from: source, to: wire }, queues: [rx(source), tx(wire)] });
  const second = await launch(host, { name: 'counter', module, args: { from: wire, to: sink }, queues: [rx(wire), tx(sink)] });
  console.log(`lcore ${first.id} receives, lcore ${second.id} counts; this thread is lcore ${host.arena.lcore} and watches`);

  let last = 0;
  for (let second = 1; second <= 3; second++) {
    await wait(1000);
    const now = host.stats(host.ports[2]!).txPackets; // counters are in the memory too
    console.log(`${second} s: ${((now - last) / 1e6).toFixed(1)} million packets a second across the ring`);
    last = now;
  }
  console.log(`moved in all: ${String(await first.stop())} into the ring, ${String(await second.stop())} out of it`);
  const { free, ring, total } = host.pool.audit();
  console.log(`the pool: ${free} free and ${ring} still in the ring, of ${total}`);
  host.close();
}

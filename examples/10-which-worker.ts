/**
 * Lesson 10: which worker does this flow go to? Run it: node dist/examples/10-which-worker.js
 *
 * You will learn
 * - how one queue becomes many in software (receive packet steering, RPS): one lcore hashes, and hands each worker its flows;
 * - how a flow follows the program that reads it (receive flow steering, RFS): where it is read is noted, and its bucket moves;
 * - why that waits for a gap, in which its old worker has nothing of it any more: so that no packet overtakes another.
 *
 * Eight flows of numbered packets go through one ring to a distributor and two workers. In the middle of it the programs
 * that read flows 3 and 6 move to the other worker. Each packet is held against the last one of its flow, whoever saw that.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import { build, Distributor, open, type Flow, type LcoreContext } from '../lib/index.js';

const FLOWS = 8;
const PACKETS = 10_000; // of each flow
const WORK_MS = 0.005; // what a program does with each
const WINDOW = 200; // packets of a flow on their way
/** After so many packets of each flow nobody sends until all are seen. A flow whose old worker always has some of it could never move. */
const GAP = 1000;
const FIRST_PORT = 4000;
/** Where a frame has its flow's port, and behind the headers its number. */
const [PORT_AT, NUMBER_AT] = [34, 42];

/** Of each flow, in memory that all threads see: the next packet's number, and the worker that it is read at (-1: anywhere). */
interface Args { readonly next: Int32Array<SharedArrayBuffer>; readonly reader: Int32Array<SharedArrayBuffer> }
/** Of each flow: what one worker saw of it. */
interface Seen { first: number; last: number; packets: number; outOfOrder: number }

/** What each worker runs: this file is their module too. */
export default async function work(lcore: LcoreContext<Args>): Promise<Seen[]> {
  const [queue, burst, one] = [lcore.steered(), lcore.burst(), lcore.burst(1)];
  const { args: { next, reader }, mbufs, pool } = lcore;
  const flows = Array.from({ length: FLOWS }, (): Seen => ({ first: -1, last: -1, packets: 0, outOfOrder: 0 }));
  await lcore.poll(() => {
    const got = queue.rxBurst(burst);
    for (let i = 0; i < got; i++) {
      const handle = burst.handles[i]!;
      const flow = mbufs.view.getUint16(mbufs.data(handle) + PORT_AT) - FIRST_PORT;
      const number = mbufs.view.getUint32(mbufs.data(handle) + NUMBER_AT);
      const seen = flows[flow]!;
      if (Atomics.exchange(next, flow, number + 1) !== number) seen.outOfOrder++;
      if (seen.packets++ === 0) seen.first = number;
      seen.last = number;
      for (const until = performance.now() + WORK_MS; performance.now() < until;);
      // What recvmsg(2) does in Linux, on the CPU where the program runs.
      if (reader[flow]! >= 0 && reader[flow] !== queue.number) {
        one.handles[0] = handle;
        queue.record(one, 1, reader[flow]);
      }
    }
    pool.free(burst, 0, got);
    return got;
  });
  return flows;
}

async function main(): Promise<void> {
  const host = open(['ring:wire,size=4096'], { mbufs: 16_384 });
  const { mbufs, pool, ports: [port] } = host;
  const flows = Array.from({ length: FLOWS }, (_, i): Required<Flow> => ({ protocol: 'udp', source: '10.0.0.1', sourcePort: FIRST_PORT + i, destination: '10.0.0.2', destinationPort: 9 }));
  const frames = flows.map(({ source, destination, sourcePort, destinationPort }) => build.frame(build.ethernet(), build.ipv4({ source, destination }), build.udp({ sourcePort, destinationPort }), new Uint8Array(18)));
  const shared = (): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(4 * FLOWS));
  const args: Args = { next: shared(), reader: shared().fill(-1) };
  const module = new URL(import.meta.url);
  const rps = await Distributor.start(host, { from: [{ port: port!.number }], workers: [{ module, args }, { module, args }] });

  const before = flows.map(flow => rps.whereIs(flow));
  const burst = host.burst(FLOWS);
  let number = 0;
  /** Rounds of one packet of each flow, as long as no worker is far behind: its ring has 1024 places, and what finds none is dropped. */
  const send = (): void => {
    const seen = Math.min(...args.next);
    const most = Math.min(PACKETS, seen + WINDOW, seen - seen % GAP + GAP);
    for (; number < most && pool.alloc(burst, FLOWS) > 0; number++) {
      for (let i = 0; i < FLOWS; i++) {
        mbufs.copyIn(burst.handles[i]!, frames[i]!);
        mbufs.view.setUint32(mbufs.data(burst.handles[i]!) + NUMBER_AT, number);
      }
      pool.free(burst, port!.tx[0]!.txBurst(burst, FLOWS), FLOWS);
    }
  };
  for (const until = performance.now() + 120_000; performance.now() < until && Math.min(...args.next) < PACKETS; await wait(1)) {
    if (number > PACKETS / 2) for (const flow of [3, 6]) args.reader[flow] = 1 - before[flow]!.worker;
    send();
  }

  const after = flows.map(flow => rps.whereIs(flow));
  const { workers, stats, left } = await rps.stop();
  const seen = workers.map(end => (end?.how === 'returned' ? end.result : []) as Seen[]);
  console.log(`flow  bucket  predicted   seen by worker, from the first packet to the last`);
  flows.forEach((_, flow) => {
    const worker = (at: number): number => seen.findIndex(flowsOf => flowsOf[flow]!.packets > 0 && flowsOf[flow]!.first <= at && at <= flowsOf[flow]!.last);
    const picture = Array.from({ length: 40 }, (_, i) => worker(Math.floor((i + 0.5) * PACKETS / 40))).join('');
    const parts = seen.map((flowsOf, by) => ({ by, ...flowsOf[flow]! })).filter(part => part.packets > 0).sort((a, b) => a.first - b.first);
    console.log(`${String(flow).padStart(4)}  ${String(before[flow]!.bucket).padStart(6)}  worker ${before[flow]!.worker}${after[flow]!.worker === before[flow]!.worker ? '   ' : `, ${after[flow]!.worker}`} ${picture}  ${parts.map(({ by, first, last }) => `${first} to ${last} by ${by}`).join(', ')}`);
  });
  const sum = (of: (each: Seen) => number): number => seen.flat().reduce((total, each) => total + of(each), 0);
  console.log(`\n${number * FLOWS} packets sent, ${sum(each => each.packets)} seen, ${sum(each => each.outOfOrder)} out of order; ${stats.ringFull} dropped, ${left} left over`);
  console.log(`${stats.moves} buckets moved; ${stats.waits} packets still went the old way, because older ones of their flow were there`);
  host.close();
}

if (isMainThread) await main();

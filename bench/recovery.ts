/**
 * How long until things run again? An AF_XDP port whose interface is taken down and brought up, or deleted and made
 * again, under traffic from a sender in a thread of its own: from the order to go up, or in the other case from the moment
 * that both ends are up, to the first packet.
 * And an lcore that dies with its hands full: from `terminate` to its buffers being free again, the thread's own end
 * apart, by size of the pool, since they are found by a scan.
 *
 *   node dist/bench/recovery.js [--rounds 9] [--json]
 */
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { binding } from '../lib/binding.js';
import { CLONE_NEWNET } from '../lib/kernel/constants.js';
import { deleteLink, readLink, setLink, waitForCarrier } from '../lib/kernel/link.js';
import { withNetns } from '../lib/kernel/netns.js';
import { createVeth } from '../lib/kernel/veth.js';
import { openLab, type Lab, type LabEnd } from '../lib/lab/veth.js';
import { launch } from '../lib/lcore/lcore.js';
import { poll } from '../lib/lcore/poll.js';
import { open, type Host } from '../lib/port/host.js';
import { median } from '../lib/sweep/statistics.js';
import { benchOptions } from './options.js';
import type { HoldArgs } from './ours/hold_lcore.js';

interface SenderData { readonly end: LabEnd; readonly cpu: number; readonly stop: Int32Array<SharedArrayBuffer> }
interface Line { readonly what: string; readonly ms: readonly number[] }

const PATIENCE_MS = 5000;

if (isMainThread) await main();
else await send(workerData as SenderData);

/** About 50 thousand packets a second, whatever becomes of its interface. */
async function send({ end, cpu, stop }: SenderData): Promise<void> {
  binding().setAffinity(cpu);
  binding().setns(end.netns, CLONE_NEWNET);
  const host = open([`af_xdp:${end.name}`]);
  const { tx: [tx] } = host.ports[0]!;
  const burst = host.burst(1);
  let due = performance.now();
  parentPort!.postMessage('ready');
  await poll(() => {
    if (Atomics.load(stop, 0) !== 0) return false;
    if (performance.now() < due) return 0;
    due = Math.max(due + 0.02, performance.now() - 1);
    if (host.pool.alloc(burst, 1) === 0) return 0;
    host.mbufs.u8.set([2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 0x88, 0xb5], host.mbufs.append(burst.handles[0]!, 60));
    const sent = tx!.txBurst(burst, 1);
    host.pool.free(burst, sent, 1);
    return sent;
  });
  host.close();
}

async function main(): Promise<void> {
  const values = benchOptions({
    what: 'Milliseconds until things run again: an AF_XDP port whose interface went down or was deleted, a pool whose lcore was ended with half of it.',
    against: 'the same lcore ended with nothing, which is the thread\'s own end',
    needs: 'root, for a veth pair of its own',
    options: { rounds: { value: 'N', default: '9', help: 'figures are medians' }, json: { help: 'the figures as JSON' } },
  });
  const rounds = Number(values.rounds);
  const lines = [...await interfaces(rounds), ...await deaths(rounds)];
  if (values.json) process.stdout.write(`${JSON.stringify(lines, null, 1)}\n`);
  else print(lines);
}

async function interfaces(rounds: number): Promise<Line[]> {
  const [senderCpu = 0, receiverCpu = senderCpu] = binding().affinity();
  const lab = openLab();
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { end: lab.a, cpu: senderCpu, stop } satisfies SenderData });
  await once(worker, 'message');
  binding().setAffinity(receiverCpu);
  const host = withNetns(lab.b.netns, () => open([`af_xdp:${lab.b.name}`]));
  const downUp: number[] = [];
  const again: number[] = [];
  await firstPacket(host);
  for (let round = 0; round < rounds; round++) {
    withNetns(lab.b.netns, () => setLink(readLink(lab.b.name).ifindex, { up: false }));
    await empty(host, 150);
    const start = performance.now();
    withNetns(lab.b.netns, () => setLink(readLink(lab.b.name).ifindex, { up: true }));
    downUp.push(await firstPacket(host, start));
    withNetns(lab.b.netns, () => deleteLink(readLink(lab.b.name).ifindex));
    await empty(host, 150);
    makeAgain(lab);
    again.push(await firstPacket(host));
  }
  Atomics.store(stop, 0, 1);
  await once(worker, 'exit');
  host.close();
  lab.close();
  return [{ what: 'interface brought up, to the first packet', ms: downUp }, { what: 'interface made again, to the first packet', ms: again }];
}

function makeAgain(lab: Lab): void {
  withNetns(lab.a.netns, () => createVeth({ a: { name: lab.a.name, mac: lab.a.mac }, b: { name: lab.b.name, mac: lab.b.mac, netns: lab.b.netns } }));
  for (const end of [lab.a, lab.b]) withNetns(end.netns, () => setLink(readLink(end.name).ifindex, { up: true }));
  for (const end of [lab.a, lab.b]) withNetns(end.netns, () => waitForCarrier(readLink(end.name).ifindex));
}

/** Milliseconds from `start` until something is received; the port's watch has its turns meanwhile. */
async function firstPacket(host: Host, start = performance.now()): Promise<number> {
  const burst = host.burst(32);
  const { rx: [rx] } = host.ports[0]!;
  try {
    for (;;) {
      const until = performance.now() + 1;
      do {
        const got = rx!.rxBurst(burst);
        host.pool.free(burst, 0, got);
        if (got > 0) return performance.now() - start;
      } while (performance.now() < until);
      if (performance.now() - start > PATIENCE_MS) return NaN;
      await turn();
    }
  } finally {
    burst.close();
  }
}

/** Receives what there is, for so long. */
async function empty(host: Host, ms: number): Promise<void> {
  const burst = host.burst(32);
  for (const until = performance.now() + ms; performance.now() < until; await turn()) host.pool.free(burst, 0, host.ports[0]!.rx[0]!.rxBurst(burst));
  burst.close();
}

/** An lcore that holds half of a pool is ended from outside; another one polls on meanwhile, and has to rest for the search. */
async function deaths(rounds: number): Promise<Line[]> {
  binding().setAffinity(-1); // threads start with their maker's
  const lines: Line[] = [];
  const module = new URL('./ours/hold_lcore.js', import.meta.url);
  for (const mbufs of [4096, 32768, 131072]) {
    const host = open(['null:'], { mbufs });
    const full: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const [times, held] of [[bare, 0], [full, mbufs / 2]] as const) {
        const [dying, other] = await Promise.all([launch(host, { module, args: { hold: held } satisfies HoldArgs }), launch(host, { module, args: { hold: 0 } satisfies HoldArgs })]);
        while (host.pool.audit().app < held) await turn();
        const start = performance.now();
        const recovery = await dying.terminate();
        times.push(performance.now() - start);
        if (recovery.held !== held || !recovery.complete) throw new Error(`recovered ${recovery.held} of ${held}`);
        await other.stop();
      }
    }
    lines.push({ what: `lcore ended with ${mbufs / 2} of ${mbufs} buffers`, ms: full }, { what: '  the same with none: the thread\'s own end', ms: bare });
    host.close();
  }
  return lines;
}

function print(lines: readonly Line[]): void {
  const row = ({ what, ms }: Line): string => `${what.padEnd(48)} ${[median(ms), Math.min(...ms), Math.max(...ms)].map(each => each.toFixed(2).padStart(9)).join(' ')}`;
  process.stdout.write(`Milliseconds until it runs again${' '.repeat(17)}    median       min       max\n${lines.map(row).join('\n')}\n`);
}

/**
 * Does a packet program on Node's event loop starve what lives beside it? A timer of 10 ms, set anew each time it fires,
 * stands beside `port.rx[0].bursts()` that an AF_XDP sender on another CPU keeps full, over a veth pair of this process's
 * own: how late does it fire? Beside it the same timer with nothing to do, which is Node's own part: its clock has whole
 * milliseconds, so up to one of them is no fault of the packets'. An HTTP server answers meanwhile too.
 *
 *   node dist/bench/event_loop.js [--seconds 5] [--rounds 3] [--burst 32] [--turn 1] [--json]
 */
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { binding } from '../lib/binding.js';
import { CLONE_NEWNET } from '../lib/kernel/constants.js';
import { withNetns } from '../lib/kernel/netns.js';
import { openLab, type LabEnd } from '../lib/lab/veth.js';
import { open, type Host } from '../lib/port/host.js';
import { median } from '../lib/sweep/statistics.js';
import { benchOptions } from './options.js';

const PERIOD_MS = 10;
const TARGET_MS = 2;

interface SenderData { readonly end: LabEnd; readonly cpu: number; readonly go: Int32Array<SharedArrayBuffer> }
interface Late { readonly p50: number; readonly p99: number; readonly most: number; readonly fired: number }
interface Round { readonly name: string; readonly timer: Late; readonly http: Late; readonly mpps: number; readonly cpu: number }

if (isMainThread) await main();
else send(workerData as SenderData);

/** As fast as it can while `go[0]` is 1; ends at -1. */
function send({ end, cpu, go }: SenderData): void {
  binding().setAffinity(cpu);
  binding().setns(end.netns, CLONE_NEWNET);
  const host = open([`af_xdp:${end.name}`]);
  const { tx: [tx] } = host.ports[0]!;
  const burst = host.burst(32);
  parentPort!.postMessage('ready');
  for (let state = Atomics.load(go, 0); state >= 0; state = Atomics.load(go, 0)) {
    if (state === 0) {
      Atomics.wait(go, 0, 0, 50);
      continue;
    }
    const made = host.pool.alloc(burst, 32);
    for (let i = 0; i < made; i++) host.mbufs.u8.set([2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 0x88, 0xb5], host.mbufs.append(burst.handles[i]!, 60));
    const sent = tx!.txBurst(burst, made);
    host.pool.free(burst, sent, made);
  }
  host.close();
}

async function main(): Promise<void> {
  const values = benchOptions({
    what: 'How late a timer of 10 ms and an HTTP server are beside bursts() of an AF_XDP port that is kept full.',
    against: 'the same timer and server with nothing to do',
    needs: 'root, for a veth pair of its own; two CPUs',
    options: {
      seconds: { value: 'S', default: '5', help: 'of each measurement' }, rounds: { value: 'N', default: '3', help: 'figures are medians' },
      burst: { value: 'N', default: '32', help: 'packets of a burst' }, turn: { value: 'MS', default: '1', help: 'the longest that bursts() keeps the loop (turnMs)' }, json: { help: 'the figures as JSON' },
    },
  });
  const [senderCpu = 0, receiverCpu = senderCpu] = binding().affinity();
  const lab = openLab();
  const go = new Int32Array(new SharedArrayBuffer(4));
  const tell = (state: number): void => { Atomics.store(go, 0, state); Atomics.notify(go, 0); };
  const worker = new Worker(new URL(import.meta.url), { workerData: { end: lab.a, cpu: senderCpu, go } satisfies SenderData });
  await once(worker, 'message');
  binding().setAffinity(receiverCpu);
  const host = withNetns(lab.b.netns, () => open([`af_xdp:${lab.b.name}`]));
  const server = createServer((_, response) => { response.end('ok'); }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const rounds: Round[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    rounds.push(await measure('nothing to do', host, url, Number(values.seconds), values));
    tell(1);
    rounds.push(await measure('full traffic', host, url, Number(values.seconds), values));
    tell(0);
  }
  tell(-1);
  await once(worker, 'exit');
  server.close().closeAllConnections();
  host.close();
  lab.close();
  const table = [...new Set(rounds.map(({ name }) => name))].map(name => medians(rounds.filter(each => each.name === name)));
  if (values.json) process.stdout.write(`${JSON.stringify(table, null, 1)}\n`);
  else print(table);
}

async function measure(name: string, host: Host, url: string, seconds: number, { burst, turn }: { readonly burst: string; readonly turn: string }): Promise<Round> {
  const stop = new AbortController();
  let packets = 0;
  const receiving = (async () => {
    for await (const got of host.ports[0]!.rx[0]!.bursts({ signal: stop.signal, capacity: Number(burst), turnMs: Number(turn) })) {
      packets += got.count;
      host.pool.free(got, 0, got.count);
    }
  })();
  await wait(300);
  packets = 0;
  const [before, started] = [usage(), performance.now()];
  const timer = lateTimer();
  const http = answers(url);
  await wait(seconds * 1000);
  const took = performance.now() - started;
  const late = timer();
  const [cpu, took99] = [(usage() - before) / 1000 / took, await http()];
  stop.abort();
  await receiving;
  return { name, timer: late, http: took99, mpps: packets / took / 1000, cpu };
}

/** A timer that is set anew whenever it fires; what is returned ends it and says how late it was. */
function lateTimer(): () => Late {
  const late: number[] = [];
  let due = performance.now() + PERIOD_MS;
  const fire = (): void => {
    const now = performance.now();
    late.push(Math.max(0, now - due));
    due = now + PERIOD_MS;
    timer = setTimeout(fire, PERIOD_MS);
  };
  let timer = setTimeout(fire, PERIOD_MS);
  return () => {
    clearTimeout(timer);
    return summary(late);
  };
}

/** One request after the other, each on a connection of its own, by the same thread; how long they take. */
function answers(url: string): () => Promise<Late> {
  const times: number[] = [];
  let going = true;
  const all = (async () => {
    while (going) {
      const asked = performance.now();
      const [response] = await once(get(url, { agent: false }), 'response') as [NodeJS.ReadableStream];
      await once(response.resume(), 'end');
      times.push(performance.now() - asked);
      await wait(20);
    }
  })();
  return async () => {
    going = false;
    await all;
    return summary(times);
  };
}

function summary(values: readonly number[]): Late {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1) ?? NaN, fired: sorted.length };
}

/** User and system time of this thread, in microseconds. */
function usage(): number {
  const into = new Float64Array(4);
  binding().usage(false, into);
  return into[0]! + into[1]!;
}

function medians(rounds: readonly Round[]): Round {
  const of = (pick: (round: Round) => number): number => median(rounds.map(pick));
  const late = (pick: (round: Round) => Late): Late => ({ p50: of(each => pick(each).p50), p99: of(each => pick(each).p99), most: Math.max(...rounds.map(each => pick(each).most)), fired: of(each => pick(each).fired) });
  return { name: rounds[0]!.name, timer: late(each => each.timer), http: late(each => each.http), mpps: of(each => each.mpps), cpu: of(each => each.cpu) };
}

function print(table: readonly Round[]): void {
  const lines = table.map(({ name, timer, http, mpps, cpu }) => `${name.padEnd(14)} ${mpps.toFixed(3).padStart(7)}  ${(cpu * 100).toFixed(0).padStart(4)}%  ${[timer.p50, timer.p99, timer.most].map(each => each.toFixed(2).padStart(6)).join('  ')}   ${[http.p50, http.p99].map(each => each.toFixed(2).padStart(6)).join('  ')}`);
  const { p99 } = table.find(({ name }) => name === 'full traffic')!.timer;
  process.stdout.write(`A timer of ${PERIOD_MS} ms and an HTTP server beside bursts() of AF_XDP on veth: median of rounds, "most" of all; milliseconds\n                  Mpps   CPU  late p50   p99   most   HTTP p50   p99\n${lines.join('\n')}\nbeside full traffic the timer is late by ${p99.toFixed(2)} ms at p99: ${p99 < TARGET_MS ? 'reaches' : 'MISSES'} < ${TARGET_MS} ms\n`);
}

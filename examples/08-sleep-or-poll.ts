/**
 * Lesson 8: interrupts, or polling? Run it: node dist/examples/08-sleep-or-poll.js
 *
 * You will learn
 * - what polling costs when nothing comes (a whole CPU), and what an interrupt costs when much comes (one for each packet);
 * - NAPI's bargain, which Linux strikes with its NICs: the first packet interrupts, and while there are more, nobody does;
 * - that in user space the same is a choice, the idle policy: `busy`, `interrupt`, or `adaptive`, which looks how often packets come.
 *
 * The port is a virtual machine's network card (`vhost:`), and the machine is another process (`virtio_user:`). Its
 * interrupt is an eventfd, which it writes only while the ring of descriptors says that somebody sleeps.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Idle, open, poll, type Host, type IdlePolicy } from '../lib/index.js';

const SECONDS = 0.5;
/** Where a frame has the time that it was sent at: CLOCK_MONOTONIC, the same for both processes. */
const STAMP = 16;
function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e9 + nanoseconds;
}

async function receive(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-lesson-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, 'vm.sock');
  const host = open([`vhost:${socket},guest_memory=64`], { mbufs: 2048 });
  const sender = fork(fileURLToPath(import.meta.url), [socket]);
  await once(sender, 'message'); // it is connected
  console.log(' packets/s   policy      CPU used                  sleeps   woken   packets for one   waited: median    99 of 100');
  for (const rate of [1000, 200_000]) for (const policy of ['busy', 'interrupt', 'adaptive'] as const) await measure(host, sender, policy, rate);
  sender.disconnect();
  await once(sender, 'exit');
  host.close();
}

async function measure(host: Host, sender: ChildProcess, policy: IdlePolicy, rate: number): Promise<void> {
  const rx = host.ports[0]!.rx[0]!;
  const burst = host.burst();
  const idle = new Idle({ policy, queues: [rx] });
  const waits: number[] = [];
  let sent = Infinity;
  sender.once('message', (count: number) => { sent = count; });
  sender.send(rate);
  const [used, started] = [process.cpuUsage(), performance.now()];
  await poll(() => {
    const got = rx.rxBurst(burst);
    for (let i = 0; i < got; i++) waits.push(now() - host.mbufs.view.getFloat64(host.mbufs.data(burst.handles[i]!) + STAMP));
    host.pool.free(burst, 0, got);
    return waits.length < sent ? got : false;
  }, { idle, seconds: 10 * SECONDS });
  const { user, system } = process.cpuUsage(used);
  const cpu = (user + system) / 10 / (performance.now() - started); // of microseconds, in per cent of milliseconds
  const { sleeps, wakeups, gaveWay } = idle.stats();
  waits.sort((a, b) => a - b);
  const at = (part: number): string => `${((waits[Math.floor(waits.length * part)] ?? NaN) / 1000).toFixed(0)} µs`;
  console.log(`${String(rate).padStart(10)}   ${policy.padEnd(9)} ${cpu.toFixed(0).padStart(4)} % ${'▇'.repeat(Math.round(cpu / 5)).padEnd(20)} ${String(sleeps).padStart(5)}   ${String(wakeups).padStart(5)}   ${(wakeups === 0 ? '-' : (waits.length / wakeups).toFixed(1)).padStart(15)}   ${at(0.5).padStart(14)}   ${at(0.99).padStart(10)}${gaveWay > 0 ? '  (others wanted its CPU, so it slept)' : ''}`);
  if (waits.length < sent) console.log(`            ${sent - waits.length} packets did not come`);
  burst.close();
}

/** The machine: sends single packets at the rate that it is told, each with the time in it. */
async function send(socket: string): Promise<void> {
  const host = open([`virtio_user:${socket}`], { mbufs: 1024 });
  const [tx, burst] = [host.ports[0]!.tx[0]!, host.burst(1)];
  process.once('disconnect', () => host.close());
  process.on('message', (rate: number) => {
    const started = performance.now();
    let sent = 0;
    while (performance.now() - started < SECONDS * 1000) {
      if (performance.now() - started < sent * 1000 / rate || host.pool.alloc(burst, 1) === 0) {
        tx.txBurst(burst, 0); // takes back what the other side is done with
        continue;
      }
      const at = host.mbufs.append(burst.handles[0]!, 60);
      host.mbufs.u8.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5], at);
      host.mbufs.view.setFloat64(at + STAMP, now());
      if (tx.txBurst(burst, 1) === 1) sent++;
      else host.pool.free(burst, 0, 1);
    }
    process.send!(sent);
  });
  process.send!('ready');
}

if (process.argv[2] === undefined) await receive();
else await send(process.argv[2]);

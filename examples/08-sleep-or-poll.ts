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
/** Where a frame has the time that it was sent at. */
const STAMP = 16;
/** CLOCK_MONOTONIC in milliseconds, which is the same for both processes; performance.now() counts it from a start of its own. */
const ORIGIN = Math.max(...Array.from({ length: 20 }, () => Number(process.hrtime.bigint()) / 1e6 - performance.now()));
const waits = new Float64Array(10 * 200_000 * SECONDS); // no garbage: collecting it takes the CPU from who polls

async function receive(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-lesson-'));
  const leave = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', leave);
  const socket = join(folder, 'vm.sock');
  const host = open([`vhost:${socket},guest_memory=64`], { mbufs: 2048 });
  const sender = fork(fileURLToPath(import.meta.url), [socket]);
  await once(sender, 'message'); // it is connected, and nobody needs the name any more
  leave();
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
  let [sent, came] = [Infinity, 0];
  sender.once('message', (count: number) => { sent = count; });
  sender.send(rate);
  const [used, started] = [process.cpuUsage(), performance.now()];
  await poll(() => {
    const got = rx.rxBurst(burst);
    const now = ORIGIN + performance.now();
    for (let i = 0; i < got; i++) waits[came++] = now - host.mbufs.view.getFloat64(host.mbufs.data(burst.handles[i]!) + STAMP);
    host.pool.free(burst, 0, got);
    return came < sent ? got : false;
  }, { idle, seconds: 10 * SECONDS });
  const { user, system } = process.cpuUsage(used);
  const cpu = Math.min(100, (user + system) / 10 / (performance.now() - started)); // of microseconds, in per cent of milliseconds; the process has other threads too
  const { sleeps, wakeups, gaveWay } = idle.stats();
  const sorted = waits.slice(0, came).sort();
  const at = (part: number): string => `${((sorted[Math.floor(came * part)] ?? NaN) * 1000).toFixed(0)} µs`;
  console.log(`${String(rate).padStart(10)}   ${policy.padEnd(9)} ${cpu.toFixed(0).padStart(4)} % ${'▇'.repeat(Math.round(cpu / 5)).padEnd(20)} ${String(sleeps).padStart(5)}   ${String(wakeups).padStart(5)}   ${(wakeups === 0 ? '-' : (came / wakeups).toFixed(1)).padStart(15)}   ${at(0.5).padStart(14)}   ${at(0.99).padStart(10)}${gaveWay > 0 ? '  (others wanted its CPU, so it slept)' : ''}`);
  if (came < sent) console.log(`            ${sent - came} packets did not come`);
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
      host.mbufs.view.setFloat64(at + STAMP, ORIGIN + performance.now());
      if (tx.txBurst(burst, 1) === 1) sent++;
      else host.pool.free(burst, 0, 1);
    }
    process.send!(sent, undefined, undefined, () => undefined); // who started it may be gone
  });
  process.send!('ready');
}

if (process.argv[2] === undefined) await receive();
else await send(process.argv[2]);

/**
 * Lesson 12: why does one download make everything slow, and what mends it? Run it: node dist/examples/12-a-fair-line.js
 *
 * You will learn
 * - that a queueing discipline is a send queue in front of another, and how it is run: txBurst, service, deadline;
 * - what a full first-in first-out queue does to a packet that only wants to get through (bufferbloat);
 * - that FQ-CoDel (RFC 8290) gives such a packet its turn, and keeps the greedy flow's queue short.
 *
 * Time is simulated, so that the figures are the same on every machine.
 */
import { open, QdiscQueue, type QdiscSpec } from '../lib/index.js';

const MS = 1e6; // of nanoseconds
const host = open(['null:'], { mbufs: 2048 });
const burst = host.burst(32);
const { mbufs, pool } = host;

/** Sends one packet of a UDP flow; its mark is when, in microseconds. */
function send(queue: QdiscQueue, flow: number, bytes: number, now: number): void {
  if (pool.alloc(burst, 1) === 0) return;
  const handle = burst.handles[0]!;
  const at = mbufs.append(handle, bytes);
  mbufs.u8.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, flow, 10, 0, 0, 9, 0, flow, 0, 53], at);
  mbufs.setMark(handle, flow === 1 ? 0 : Math.round(now / 1000));
  queue.txBurst(burst, 1);
}

/** Two seconds of a line of 10 Mbit/s: flow 1 sends half as much again, flow 2 a small packet every 50 ms. Returns flow 2's delays in ms. */
function run(waiting: QdiscSpec): number[] {
  const delays: number[] = [];
  let now = 0;
  const port = { txBurst(sent: typeof burst, count: number): number {
    for (let i = 0; i < count; i++) if (mbufs.mark(sent.handles[i]!) > 0) delays.push(now / MS - mbufs.mark(sent.handles[i]!) / 1000);
    return host.ports[0]!.tx[0]!.txBurst(sent, count);
  } };
  const queue = new QdiscQueue(pool, port, { kind: 'tbf', rate: '10mbit', burst: 3028, child: waiting }, { clock: () => now });
  for (let tick = 0; tick < 2000; tick++) {
    for (; queue.deadline <= tick * MS; queue.service()) now = Math.max(now, queue.deadline);
    now = tick * MS;
    send(queue, 1, 1514, now);
    if (tick % 4 === 0) send(queue, 1, 1000, now);
    if (tick % 50 === 25) send(queue, 2, 100, now);
  }
  console.log(queue.show());
  queue.close();
  return delays;
}

for (const waiting of [{ kind: 'pfifo', limit: 1000 }, { kind: 'fq_codel' }] as const) {
  const delays = run(waiting);
  console.log(`${waiting.kind}: the small packets waited ${(delays.reduce((a, b) => a + b, 0) / delays.length).toFixed(1)} ms on average, ${Math.max(...delays).toFixed(1)} ms at most\n`);
}
host.close();

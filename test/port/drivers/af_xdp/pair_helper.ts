/** Both ends of a lab as ports of one host, so that queue q of the one talks to queue q of the other, and one pool has all the frames. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Lab } from '../../../../lib/lab/veth.js';
import { launch, type Lcore } from '../../../../lib/lcore/lcore.js';
import { open, type Host } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import type { BounceArgs } from './bounce_worker.js';
import { frame } from '../kernel_helper.js';

const module = new URL('./bounce_worker.js', import.meta.url);

export interface Ends { readonly host: Host; readonly a: Port; readonly b: Port }

export function openEnds(lab: Lab, queues: number, more: Record<string, unknown> = {}, mbufs = 8192): Ends {
  const request = (end: Lab['a']): { driver: string; [option: string]: unknown } => ({ driver: 'af_xdp', device: end.name, netns: `/proc/self/fd/${end.netns}`, queues, rxRing: 256, txRing: 256, ...more });
  const host = open([request(lab.a), request(lab.b)], { mbufs });
  return { host, a: host.ports[0]!, b: host.ports[1]! };
}

/** An lcore that bounces on a queue; the queue must be free, or this thread's when `given`. */
export function bouncer({ host, a }: Ends, queue: number, given = false): Promise<Lcore> {
  const args: BounceArgs = { port: a.number, queue };
  const queues = given ? (['rx', 'tx'] as const).map(direction => ({ port: a.number, direction, queue })) : [];
  return launch(host, { module, args, queues });
}

/** Sends numbered frames on a queue of one port. Returns how many were taken; the rest is freed. */
export function send({ host }: Ends, lab: Lab, port: Port, queue: number, first: number, count: number): number {
  const burst = host.burst(count);
  const got = host.pool.alloc(burst, count);
  for (let i = 0; i < got; i++) host.mbufs.copyIn(burst.handles[i]!, frame(lab.b, lab.a, first + i, 60));
  const taken = port.tx[queue]!.txBurst(burst, got);
  host.pool.free(burst, taken, got);
  burst.close();
  return taken;
}

/** The numbers of the frames that have come on a queue. */
export function receive({ host }: Ends, port: Port, queue: number): number[] {
  const burst = host.burst(64);
  const numbers: number[] = [];
  for (let got = port.rx[queue]!.rxBurst(burst); got > 0; got = port.rx[queue]!.rxBurst(burst)) {
    for (let i = 0; i < got; i++) {
      const bytes = host.mbufs.copyOut(burst.handles[i]!);
      numbers.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(14));
    }
    host.pool.free(burst, 0, got);
  }
  burst.close();
  return numbers;
}

/** Sends numbered frames on each queue of b and waits for them to come back by the same, until `count` have on each, or a minute is over. Returns the fewest. */
export async function bounceAll(ends: Ends, lab: Lab, count: number): Promise<number> {
  const queues = ends.b.rx.map((_, queue) => queue);
  const back = queues.map(() => 0);
  for (let sent = 0, end = performance.now() + 60_000; back.some(each => each < count) && performance.now() < end; sent += 16) {
    for (const queue of queues) {
      send(ends, lab, ends.b, queue, sent, 16);
      back[queue]! += receive(ends, ends.b, queue).length;
    }
    await sleep(0);
  }
  return Math.min(...back);
}

export function balanced(t: Test, { host }: Ends, text: string): void {
  const { total, free, app, rx, tx, ring, stray, twice } = host.pool.audit();
  t.same({ sum: free + app + rx + tx + ring + stray, app, stray, twice }, { sum: total, app: 0, stray: 0, twice: 0 }, text);
}

/**
 * Lesson 13: two processes. Run it: node dist/examples/13-two-processes.js
 *
 * You will learn
 * - that an arena with a name can be attached to by another process of the same user: DPDK's secondary process;
 * - that a packet crosses from process to process as a number in a ring, as it does from thread to thread;
 * - that counters are in the memory too, so that whoever looks on costs the others nothing.
 *
 * The first process sends packets into a ring and starts the second one; that takes them out, turns them round and
 * sends them back. It may be killed at any time: what it held comes back to the pool.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { attachHost, build, open, poll, recoverDead, swapMacs } from '../lib/index.js';

const PACKETS = 100_000;
/** On their way at once: fewer than a ring has slots, so that nothing is refused. */
const WINDOW = 2048;
const NAME = `lesson-13-${process.argv[2] ?? process.pid}`;

async function first(): Promise<void> {
  const host = open(['ring:back,tx=there,size=4096'], { arenaOptions: { name: NAME } });
  const { rx: [rx], tx: [tx] } = host.ports[0]!;
  const burst = host.burst();
  const frame = build.frame(build.ethernet({ source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' }), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.udp({ sourcePort: 7, destinationPort: 7 }));

  const second = fork(fileURLToPath(import.meta.url), [String(process.pid)]);
  const ended = once(second, 'exit');
  let [sent, came] = [0, 0];
  await poll(() => {
    const count = Math.min(burst.capacity, PACKETS - sent, WINDOW - (sent - came));
    if (count > 0 && host.pool.alloc(burst, count) > 0) {
      for (let i = 0; i < count; i++) host.mbufs.copyIn(burst.handles[i]!, frame);
      const taken = tx!.txBurst(burst, count);
      sent += taken;
      host.pool.free(burst, taken, count);
    }
    const got = rx!.rxBurst(burst);
    if (got > 0 && host.mbufs.u8[host.mbufs.data(burst.handles[0]!) + 11] !== 2) throw new Error('not turned round');
    host.pool.free(burst, 0, got);
    came += got;
    return came < PACKETS;
  }, { seconds: 30 });
  console.log(`first:  sent ${sent} packets, ${came} came back`);
  second.send('done');
  await ended;

  // The next one is killed in the middle of its work.
  const third = fork(fileURLToPath(import.meta.url), [String(process.pid), 'hold']);
  await once(third, 'message');
  third.kill('SIGKILL');
  await once(third, 'exit');
  const [recovery] = recoverDead(host.arena);
  console.log(`first:  the killed one held ${recovery?.held ?? 0} packets: they are back`);
  const { free, total } = host.pool.audit();
  console.log(`first:  ${free} of ${total} packets are free`);
  host.close();
}

async function second(): Promise<void> {
  const host = attachHost(NAME);
  const { rx: [rx], tx: [tx] } = host.open(['ring:there,tx=back']).ports[0]!;
  const burst = host.burst();
  const stop = new AbortController();
  process.once('message', () => stop.abort());
  await poll(() => {
    const got = rx!.rxBurst(burst);
    swapMacs(host.mbufs, burst, got);
    const sent = tx!.txBurst(burst, got);
    host.pool.free(burst, sent, got);
  }, { signal: stop.signal });
  const [port] = host.ports;
  const { txPackets, rxPackets, txBytes } = host.stats(port!);
  console.log(`second: ${port!.name} of the first process sent ${txPackets} packets of ${txBytes} bytes, and received ${rxPackets}`);
  host.close();
}

/** Takes ten packets and does nothing with them. */
function hold(): void {
  const host = attachHost(NAME);
  host.pool.alloc(host.burst(), 10);
  process.send!('held');
  setInterval(() => undefined, 1000);
}

if (process.argv[2] === undefined) await first();
else if (process.argv[3] === 'hold') hold();
else await second();

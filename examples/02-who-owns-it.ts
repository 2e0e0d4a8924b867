/**
 * Lesson 2: who owns a packet? Run it: node dist/examples/02-who-owns-it.js
 *
 * You will learn
 * - that a packet has one owner at a time: the pool, a program, a port, or a ring;
 * - what `txBurst` means when it takes fewer than it was offered;
 * - that a pool can tell where each of its buffers is: the audit.
 */
import { open } from '../lib/index.js';

// A ring port with room for 8: what is sent comes back, until it is full.
const host = open(['ring:loop,size=8'], { mbufs: 64 });
const port = host.ports[0]!;
const burst = host.burst(16);

const show = (when: string): void => {
  const { free, app, ring, total } = host.pool.audit();
  console.log(`${when.padEnd(44)} pool ${String(free).padStart(2)}   program ${String(app).padStart(2)}   ring ${String(ring).padStart(2)}   of ${total}`);
};

show('at first everything is in the pool');
host.pool.alloc(burst, 12);
show('the program takes 12');

const sent = port.tx[0]!.txBurst(burst, 12);
show(`txBurst(12) took ${sent}: the ring is full`);

// The port owns the first `sent`; the rest are still ours, to send again or to free.
host.pool.free(burst, sent, 12);
show('the program frees what was refused');

const got = port.rx[0]!.rxBurst(burst);
show(`rxBurst gave ${got} back to the program`);

host.pool.free(burst, 0, got);
show('and the program frees them');
host.close();

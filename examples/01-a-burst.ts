/**
 * Lesson 1: a burst. Run it: node dist/examples/01-a-burst.js
 *
 * You will learn
 * - that a packet program is a loop of two calls: rxBurst takes what has come, txBurst hands it on;
 * - that a packet is never an object: it is a number, its *handle*, and its bytes stand in one memory;
 * - why packets are moved in bursts: each call has a fixed price, and a burst shares it out.
 *
 * The `null:` port makes frames out of nothing and swallows what it is sent, so that all you see is our own cost.
 */
import { open } from '../lib/index.js';

const host = open(['null:', 'null:']);
const rx = host.ports[0]!.rx[0]!;
const tx = host.ports[1]!.tx[0]!;

console.log('burst   million packets a second');
for (const size of [1, 2, 4, 8, 16, 32, 64, 128, 256]) {
  const burst = host.burst(size);
  const forward = (calls: number): number => {
    let packets = 0;
    for (let call = 0; call < calls; call++) packets += tx.txBurst(burst, rx.rxBurst(burst));
    return packets;
  };
  forward(50_000); // V8 compiles what it has seen often
  const start = performance.now();
  const packets = forward(200_000);
  const rate = packets / (performance.now() - start) / 1000;
  console.log(`${String(size).padStart(5)}   ${rate.toFixed(1).padStart(7)}  ${'▇'.repeat(Math.round(rate / 10))}`);
  burst.close();
}

// A look at one packet. The fields stand in its header, a cache line of its own apart from the bytes.
const one = host.burst(1);
rx.rxBurst(one);
const handle = one.handles[0]!;
const { mbufs } = host;
console.log(`\nhandle ${handle}: ${mbufs.pktLen(handle)} bytes from offset ${mbufs.data(handle)} on, ${mbufs.headroom(handle)} bytes of headroom before them`);
host.pool.freeOne(handle);
host.close();

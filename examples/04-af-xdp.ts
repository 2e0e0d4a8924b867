/**
 * Lesson 4: real frames, past the kernel's network stack. Run it as root: node dist/examples/04-af-xdp.js
 *
 * You will learn
 * - what AF_XDP is: four rings shared with the kernel, and a small XDP program that steers frames into them;
 * - when it makes a system call, and when it does not: the need-wakeup flag;
 * - that the same program as ever, rxBurst and txBurst, now answers a real host.
 *
 * The lab is two network namespaces with a veth pair between them, made here and gone with this process. At one end a
 * kernel socket sends datagrams; at the other a TypeScript loop exchanges addresses and sends them back.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { open, poll, swapMacs } from '../lib/index.js';
import { withNetns } from '../lib/kernel/netns.js';
import { openLab } from '../lib/lab/veth.js';

const lab = openLab({ txChecksum: false }); // checksums whole, as on a wire
const host = withNetns(lab.b.netns, () => open([`af_xdp:${lab.b.name}`]));
const port = host.ports[0]!;
console.log(`port ${port.name}: ${port.capabilities.mode}`);

/** Exchanges IPv4 addresses and UDP ports. Both sums stay right: the same words are added in another order. */
function swapAddresses(at: number): void {
  const { u8 } = host.mbufs;
  const swap = (a: number, b: number, bytes: number): void => {
    for (let i = 0; i < bytes; i++) [u8[at + a + i], u8[at + b + i]] = [u8[at + b + i]!, u8[at + a + i]!];
  };
  swap(26, 30, 4);
  swap(34, 36, 2);
}

const burst = host.burst();
const stop = new AbortController();
const echo = poll(() => {
  const got = port.rx[0]!.rxBurst(burst);
  swapMacs(host.mbufs, burst, got);
  for (let i = 0; i < got; i++) swapAddresses(host.mbufs.data(burst.handles[i]!));
  const sent = port.tx[0]!.txBurst(burst, got);
  if (sent < got) host.pool.free(burst, sent, got);
}, { signal: stop.signal });

// The other end: an ordinary kernel socket. With a look-up that answers at once, `bind` makes it inside the namespace.
const socket = createSocket({ type: 'udp4', lookup: (address, _, answer) => answer(null, address, 4) });
withNetns(lab.a.netns, () => socket.bind({ address: lab.a.ip, port: 4000 }));
for (const word of ['hello', 'from', 'the', 'kernel']) {
  const started = performance.now();
  socket.send(word, 9, lab.b.ip);
  const [answer] = await once(socket, 'message') as [Buffer];
  console.log(`sent "${word}", "${String(answer)}" came back after ${(performance.now() - started).toFixed(2)} ms`);
}
socket.close();
stop.abort();
await echo;

const { rxPackets, txPackets, xstats } = host.stats(port);
console.log(`\n${rxPackets} received, ${txPackets} sent; system calls: ${xstats['rx_wakeups']} to receive, ${xstats['tx_wakeups']} to send`);
host.close();
lab.close();

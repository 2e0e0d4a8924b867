/**
 * Lesson 7: real frames, past the kernel's network stack. Run it as root: node dist/examples/07-af-xdp.js
 *
 * You will learn
 * - what AF_XDP is: four rings shared with the kernel, and a small XDP program that steers frames into them;
 * - when it makes a system call, and when it does not: the need-wakeup flag;
 * - that the same program as ever, rxBurst and txBurst, now answers a real host.
 *
 * The lab is two network namespaces with a veth pair between them, made here and gone with this process. At one end a
 * kernel socket sends datagrams; at the other a TypeScript loop exchanges addresses and sends them back. Without the rights
 * for a lab the same loop answers over a ring.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { build, describe, open, poll, PollmodeError, swapMacs, type Host } from '../lib/index.js';
import { withNetns } from '../lib/kernel/netns.js';
import { openLab, type Lab } from '../lib/lab/veth.js';

const { lab, host } = setUp();
const port = host.ports[0]!;
console.log(`port ${port.name}: ${port.capabilities.mode}`);

function setUp(): { lab?: Lab; host: Host } {
  let lab: Lab | undefined;
  try {
    lab = openLab({ txChecksum: false }); // checksums whole, as on a wire
    const { netns, name } = lab.b;
    return { lab, host: withNetns(netns, () => open([`af_xdp:${name}`])) };
  } catch (error) {
    lab?.close();
    if (!(error instanceof PollmodeError)) throw error;
    console.log(`No real frames: ${error.message}`);
    return { host: open(['ring:there,tx=back', 'ring:back,tx=there']) };
  }
}

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
}, { signal: stop.signal, turnMs: 0.1 }); // short turns: the asking socket below is of the same thread

/** The other end: an ordinary kernel socket. With a look-up that answers at once, `bind` makes it inside the namespace. */
async function askByKernel({ a, b }: Lab): Promise<void> {
  const socket = createSocket({ type: 'udp4', lookup: (address, _, answer) => answer(null, address, 4) });
  withNetns(a.netns, () => socket.bind({ address: a.ip, port: 4000 }));
  for (const word of ['hello', 'from', 'the', 'kernel']) {
    const started = performance.now();
    socket.send(word, 9, b.ip);
    const [answer] = await once(socket, 'message') as [Buffer];
    console.log(`sent "${word}", "${String(answer)}" came back after ${(performance.now() - started).toFixed(2)} ms`);
  }
  socket.close();
}

async function askByRing(): Promise<void> {
  const one = host.burst(1);
  host.pool.alloc(one, 1);
  host.mbufs.copyIn(one.handles[0]!, build.frame(build.ethernet({ source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' }), build.ipv4({ source: '10.77.0.1', destination: '10.77.0.2' }), build.udp({ sourcePort: 4000, destinationPort: 9 })));
  console.log(`sent  ${describe(host.mbufs, one.handles[0]!)}`);
  host.ports[1]!.tx[0]!.txBurst(one, 1);
  await poll(() => host.ports[1]!.rx[0]!.rxBurst(one) === 0, { seconds: 5 });
  console.log(`back  ${describe(host.mbufs, one.handles[0]!)}`);
  host.pool.free(one, 0, 1);
}

await (lab === undefined ? askByRing() : askByKernel(lab));
stop.abort();
await echo;

const { rxPackets, txPackets, xstats: { rx_wakeups: receiving = 0, tx_wakeups: sending = 0 } } = host.stats(port);
console.log(`\n${rxPackets} received, ${txPackets} sent; system calls: ${receiving} to receive, ${sending} to send`);
host.close();
lab?.close();

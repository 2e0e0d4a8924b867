/** Fragments against Linux: a responder in TypeScript puts Linux's fragments together, and Linux ours. */
import { spawn } from 'node:child_process';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { addNeighbour, readLink } from '../../lib/kernel/link.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { open, type Host } from '../../lib/port/host.js';
import { Checksums } from '../../lib/wire/checksums.js';
import { Ethernet } from '../../lib/wire/ether.js';
import { Fragmenter } from '../../lib/wire/fragment.js';
import { Icmp, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from '../../lib/wire/icmp.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { Reassembler } from '../../lib/wire/reassemble.js';
import { needs } from '../kernel/rights.js';
import { quietNetns } from '../port/drivers/kernel_helper.js';

const [OURS, MAC] = ['10.9.0.2', '02:00:00:00:09:02'];

/** Answers echo requests, whole or in fragments, with replies that are cut to the MTU. */
class Responder {
  readonly reassembler: Reassembler;
  readonly fragmenter: Fragmenter;
  bad = 0;
  readonly #host: Host;
  readonly #mtu: number;
  readonly #checksums: Checksums;
  readonly #views;
  readonly #bursts;

  constructor(host: Host, mtu: number) {
    this.#host = host;
    this.#mtu = mtu;
    this.reassembler = new Reassembler(host.pool);
    this.fragmenter = new Fragmenter(host.pool);
    this.#checksums = new Checksums(host.arena);
    this.#views = { ether: new Ethernet(host.mbufs), ip: new Ipv4(host.mbufs), icmp: new Icmp(host.mbufs) };
    this.#bursts = { received: host.burst(32), one: host.burst(1), pieces: host.burst(64) };
  }

  poll(): void {
    const { received } = this.#bursts;
    const got = this.#host.ports[0]!.rx[0]!.rxBurst(received);
    for (let i = 0; i < got; i++) {
      const whole = this.reassembler.add(received.handles[i]!, performance.now());
      if (whole !== 0) this.#answer(whole);
    }
  }

  close(): void {
    this.reassembler.close();
    this.fragmenter.close();
  }

  #answer(handle: number): void {
    const { ether, ip, icmp } = this.#views;
    const { one, pieces } = this.#bursts;
    const [tx] = this.#host.ports[0]!.tx;
    one.handles[0] = handle;
    this.bad += this.#checksums.check(one, 1);
    if (!ether.at(handle) || !ip.at(handle, ether.end) || !icmp.at(handle, ip.end) || icmp.type !== ICMP_ECHO_REQUEST) {
      this.#host.pool.free(one, 0, 1);
      return;
    }
    ether.swap();
    const { source } = ip;
    ip.source = ip.destination;
    ip.destination = source;
    icmp.type = ICMP_ECHO_REPLY;
    this.#checksums.fill(one, 1);
    const count = this.fragmenter.fragment(handle, this.#mtu, pieces);
    if (count === 0 && tx!.txBurst(one, 1) === 1) return;
    this.#host.pool.free(one, 0, 1);
    this.#host.pool.free(pieces, tx!.txBurst(pieces, count), count);
  }
}

/** ping(8) in the namespace, while `meanwhile` runs. Returns what it said. */
async function ping(netns: number, size: number, meanwhile: () => void): Promise<string> {
  const child = withNetns(netns, () => spawn('ping', ['-c', '3', '-i', '0.2', '-W', '2', '-M', 'dont', '-s', String(size), OURS], { stdio: ['ignore', 'pipe', 'inherit'] }));
  let [text, ended] = ['', false];
  child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  child.on('close', () => { ended = true; });
  child.on('error', cause => { text += String(cause); ended = true; });
  while (!ended) {
    meanwhile();
    await turn();
  }
  return text;
}

for (const mtu of [1500, 576]) {
  t.test(`Linux pings us with 56 to 9000 bytes over an MTU of ${mtu}, and believes every answer`, needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN'), async t => {
    const netns = quietNetns();
    const host = open([`tap:tap0,netns=/proc/self/fd/${netns},ip=10.9.0.1/24,mtu=${mtu}`]);
    withNetns(netns, () => addNeighbour(readLink('tap0').ifindex, OURS, MAC));
    const responder = new Responder(host, mtu);
    for (const size of [56, 4000, 9000]) t.match(await ping(netns, size, () => responder.poll()), /3 received, 0% packet loss/, `${size} bytes`);
    t.equal(responder.bad, 0, 'checksums are right');
    const { datagrams, overlapping, malformed } = responder.reassembler.stats;
    t.same([datagrams, overlapping, malformed], [6, 0, 0], 'each of the long ones was put together');
    t.equal(responder.fragmenter.stats.packets, 6, 'and its answer cut');
    responder.close();
    t.equal(host.pool.audit().app, 0, 'no mbuf stayed with the program');
    host.close();
    binding().close(netns);
  });
}

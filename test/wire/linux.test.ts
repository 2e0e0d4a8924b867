/** Fragments against Linux: a responder in TypeScript puts Linux's fragments together, and Linux ours; of IPv4 and IPv6. */
import { spawn, spawnSync } from 'node:child_process';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { createNetns, withNetns } from '../../lib/kernel/netns.js';
import { open, type Host } from '../../lib/port/host.js';
import { Checksums } from '../../lib/wire/checksums.js';
import { Ethernet } from '../../lib/wire/ether.js';
import { Fragmenter } from '../../lib/wire/fragment.js';
import { Icmp, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST } from '../../lib/wire/icmp.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../lib/wire/protocol_layout.js';
import { Reassembler } from '../../lib/wire/reassemble.js';
import { needs } from '../kernel/rights.js';

const MAC = '02:00:00:00:09:02';

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
    this.#views = { ether: new Ethernet(host.mbufs), four: new Ipv4(host.mbufs), six: new Ipv6(host.mbufs), icmp: new Icmp(host.mbufs) };
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
    const { one, pieces } = this.#bursts;
    const [tx] = this.#host.ports[0]!.tx;
    one.handles[0] = handle;
    this.bad += this.#checksums.check(one, 1);
    if (!this.#turnRound(handle)) {
      this.#host.pool.free(one, 0, 1);
      return;
    }
    this.#checksums.fill(one, 1);
    const count = this.fragmenter.fragment(handle, this.#mtu, pieces);
    if (count === 0 && tx!.txBurst(one, 1) === 1) return;
    this.#host.pool.free(one, 0, 1);
    this.#host.pool.free(pieces, tx!.txBurst(pieces, count), count);
  }

  /** Makes an echo request its own answer, but for checksums. False when it is none: Linux says a few other things by itself. */
  #turnRound(handle: number): boolean {
    const { ether, four, six, icmp } = this.#views;
    if (!ether.at(handle)) return false;
    if (ether.type === ETHERTYPE_IPV4 && four.at(handle, ether.end) && icmp.at(handle, four.end) && icmp.type === ICMP_ECHO_REQUEST) {
      [four.source, four.destination] = [four.destination, four.source];
      icmp.type = ICMP_ECHO_REPLY;
    } else if (ether.type === ETHERTYPE_IPV6 && six.at(handle, ether.end) && icmp.at(handle, six.end) && icmp.type === ICMPV6_ECHO_REQUEST) {
      const source = [0, 1, 2, 3].map(word => six.sourceWord(word));
      source.forEach((value, word) => {
        six.setSourceWord(word, six.destinationWord(word));
        six.setDestinationWord(word, value);
      });
      icmp.type = ICMPV6_ECHO_REPLY;
    } else return false;
    ether.swap();
    return true;
  }
}

/** ping(8) in the namespace, while `meanwhile` runs. Returns what it said. */
async function ping(netns: number, address: string, size: number, meanwhile: () => void): Promise<string> {
  const child = withNetns(netns, () => spawn('ping', ['-n', '-c', '3', '-i', '0.2', '-W', '2', '-M', 'dont', '-s', String(size), address], { stdio: ['ignore', 'pipe', 'inherit'] }));
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

const FAMILIES = [
  { name: 'IPv4', theirs: '10.9.0.1/24', ours: '10.9.0.2', mtus: [1500, 576] },
  { name: 'IPv6', theirs: 'fd09::1/64', ours: 'fd09::2', mtus: [1500, 1280] }, // 1280: no link may have less (RFC 8200 section 5)
] as const;

for (const { name, theirs, ours, mtus } of FAMILIES) {
  for (const mtu of mtus) {
    t.test(`Linux pings us by ${name} with 56 to 9000 bytes over an MTU of ${mtu}, and believes every answer`, needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN'), async t => {
      const netns = createNetns();
      const host = open([`tap:tap0,netns=/proc/self/fd/${netns},mtu=${mtu}`]);
      const ip = (...words: string[]): void => { t.equal(withNetns(netns, () => spawnSync('ip', words, { stdio: 'inherit' })).status, 0, words.join(' ')); };
      ip('addr', 'add', theirs, 'dev', 'tap0', ...(name === 'IPv6' ? ['nodad'] : []));
      ip('neigh', 'add', ours, 'lladdr', MAC, 'dev', 'tap0', 'nud', 'permanent');
      const responder = new Responder(host, mtu);
      for (const size of [56, 4000, 9000]) t.match(await ping(netns, ours, size, () => responder.poll()), /3 received, 0% packet loss/, `${size} bytes`);
      t.equal(responder.bad, 0, 'checksums are right');
      const { datagrams, overlapping, malformed, tiny } = responder.reassembler.stats;
      t.same([datagrams, overlapping, malformed, tiny], [6, 0, 0, 0], 'each of the long ones was put together');
      t.equal(responder.fragmenter.stats.packets, 6, 'and its answer cut');
      responder.close();
      t.equal(host.pool.audit().app, 0, 'no mbuf stayed with the program');
      host.close();
      binding().close(netns);
    });
  }
}

/**
 * l3fwd: an IPv4 router. Longest-prefix match over a whole burst at once, TTL and checksum (RFC 1624), ARP and pings
 * answered, ICMP errors for what cannot go on; so that Linux hosts can use it as their gateway.
 *
 *   node dist/examples/l3fwd.js af_xdp:eth0 10.0.1.1/24 af_xdp:eth1 10.0.2.1/24 --route 0.0.0.0/0=10.0.2.254
 *
 * How a packet goes: rxBurst → its destination into a vector → the routes' answers, a burst at a time → new MAC addresses
 * from the adjacency's twelve bytes → txBurst. Everything else (ARP, our own address, errors, neighbours that are not
 * known yet) leaves that path, and may take its time.
 */
import { Command } from 'commander';
import {
  ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet, formatIpv4, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, Ipv4, Lpm, LPM_NONE, open, parseIpv4, PollmodeError,
  Vector, type Burst, type Host,
} from '../lib/index.js';
import { Leg } from './parts/leg.js';
import { Drops } from './parts/out.js';
import { main, run, type RunOptions } from './parts/run.js';

/** Next hops of the table that are not adjacencies: our own addresses, and networks whose hosts we have not asked for yet, one for each leg. */
const OWN = 0;
const CONNECTED = 1;
const ADJACENCIES = 1024;

interface Options extends RunOptions { readonly route: string[]; readonly routes: string }

class Router {
  readonly drops: Drops;
  readonly legs: readonly Leg[];
  forwarded = 0;
  readonly #host: Host;
  readonly #lpm: Lpm;
  readonly #addresses: Vector;
  readonly #hops: Vector;
  readonly #burst: Burst;
  readonly #ether: Ethernet;
  readonly #ip: Ipv4;
  /** Of adjacency n, from n * 12 on: destination and source MAC, once the neighbour is known. */
  readonly #macs = new Uint8Array(ADJACENCIES * 12);
  readonly #known = new Uint8Array(ADJACENCIES);
  readonly #legOf: Leg[] = [];
  readonly #addressOf: number[] = [];

  constructor(host: Host, networks: readonly string[], routes: number) {
    this.#host = host;
    this.drops = new Drops(host);
    this.legs = networks.map((network, i) => new Leg(host, host.ports[i]!, network, this.drops));
    // Neighbours are learned from what others send: they must not use up what the user's routes are to have.
    this.#lpm = Lpm.create(host.arena, 'routes', { family: 4, routes: routes + ADJACENCIES });
    this.#burst = host.burst(32);
    this.#addresses = this.#lpm.addresses(32);
    this.#hops = new Vector(host.arena, 32);
    this.#ether = new Ethernet(host.mbufs);
    this.#ip = new Ipv4(host.mbufs);
    this.legs.forEach((leg, i) => {
      this.#lpm.add(leg.network, leg.depth, CONNECTED + i);
      this.#lpm.add(leg.address, 32, OWN);
      // A neighbour that is known has a route of its own: its packets never leave the straight path.
      leg.learned = (address, mac) => this.#neighbour(leg, address, mac);
    });
  }

  /** "10.9.0.0/16=10.0.2.9": that network lies behind that neighbour. */
  route(text: string): void {
    const [, prefix = '', depth = '', gateway = ''] = /^([\d.]+)\/(\d+)=([\d.]+)$/.exec(text) ?? [];
    if (prefix === '') throw new PollmodeError('EOPTION', `"${text}" is no route: write it as 10.9.0.0/16=10.0.2.9.`);
    const address = parseIpv4(gateway);
    const leg = this.legs.find(each => each.holds(address));
    if (leg === undefined) throw new PollmodeError('EOPTION', `${gateway} is in no network of ours: a gateway must be a neighbour.`);
    this.#lpm.add(prefix, Number(depth), this.#adjacency(leg, address));
  }

  turn(): number {
    let got = 0;
    for (const leg of this.legs) got += this.#receive(leg);
    for (const leg of this.legs) leg.out.flush();
    this.drops.flush();
    return got;
  }

  #receive(leg: Leg): number {
    const burst = this.#burst;
    const ip = this.#ip;
    const got = leg.port.rx[0]!.rxBurst(burst);
    const addresses = this.#addresses.u32;
    for (let i = 0; i < got; i++) {
      // What is not for the table is looked up all the same, and its answer not asked for: no branch is cheaper than that.
      addresses[i] = this.#isRoutable(burst.handles[i]!, leg) ? ip.destination : 0;
    }
    this.#lpm.lookupBulk(this.#addresses, this.#hops, got);
    for (let i = 0; i < got; i++) {
      const handle = burst.handles[i]!;
      const hop = this.#hops.u32[i]!;
      if (addresses[i] === 0) this.#other(handle, leg);
      else if (hop < CONNECTED + this.legs.length || hop === LPM_NONE) this.#aside(handle, hop, leg);
      else this.#forward(handle, hop, leg);
    }
    return got;
  }

  /** An IPv4 packet to our MAC address, sound, and to one host. */
  #isRoutable(handle: number, leg: Leg): boolean {
    const ether = this.#ether;
    const ip = this.#ip;
    return ether.at(handle) && ether.type === ETHERTYPE_IPV4 && ether.destinationIs(leg.mac) && ip.at(handle, ether.end, ether.limit) && ip.checksumValid
      && ip.destination >>> 28 < 14;
  }

  #forward(handle: number, hop: number, from: Leg): void {
    const ether = this.#ether;
    const ip = this.#ip;
    const leg = this.#legOf[hop]!;
    ether.at(handle);
    ip.at(handle, ether.end);
    if (ip.decrementTtl() === 0) return from.refuse(handle, ip, ICMP_TIME_EXCEEDED, 0, 'TTL');
    if (this.#known[hop] === 0) return leg.sendTo(handle, this.#addressOf[hop]!);
    const { u8 } = this.#host.mbufs;
    for (let i = 0; i < 12; i++) u8[ether.start + i] = this.#macs[hop * 12 + i]!;
    leg.out.put(handle);
    this.forwarded++;
  }

  /** Our own address, a neighbour that must be asked for, or no route. */
  #aside(handle: number, hop: number, from: Leg): void {
    const [ether, ip] = [this.#ether, this.#ip];
    ether.at(handle);
    ip.at(handle, ether.end);
    if (hop === OWN) return from.takeOwn(handle, ip);
    if (hop === LPM_NONE) return from.refuse(handle, ip, ICMP_UNREACHABLE, 0, 'no route');
    if (ip.decrementTtl() === 0) return from.refuse(handle, ip, ICMP_TIME_EXCEEDED, 0, 'TTL');
    this.legs[hop - CONNECTED]!.sendTo(handle, ip.destination);
  }

  #other(handle: number, leg: Leg): void {
    if (this.#ether.at(handle) && this.#ether.type === ETHERTYPE_ARP) leg.takeArp(handle, this.#ether.end);
    else this.drops.put(handle, 'not for a router');
  }

  #neighbour(leg: Leg, address: number, mac: Uint8Array): void {
    const hop = this.#adjacency(leg, address);
    if (hop === 0) return; // full: such neighbours are served, from the leg's own list
    this.#macs.set(mac, hop * 12);
    this.#macs.set(leg.mac, hop * 12 + 6);
    this.#known[hop] = 1;
    this.#lpm.add(address, 32, hop);
  }

  /** The number of an adjacency, a new one where there is none; 0 when there is no room. */
  #adjacency(leg: Leg, address: number): number {
    const known = this.#addressOf.indexOf(address);
    if (known >= 0) return known;
    const hop = Math.max(this.#addressOf.length, CONNECTED + this.legs.length);
    if (hop >= ADJACENCIES) return 0;
    this.#legOf[hop] = leg;
    this.#addressOf[hop] = address;
    return hop;
  }

  tick(): string {
    for (const leg of this.legs) {
      leg.tick(performance.now());
      leg.out.flush();
    }
    this.drops.flush();
    return `forwarded ${this.forwarded}, routes ${this.#lpm.count}; ${Object.entries(this.drops.counts).map(([reason, count]) => `${reason} ${count}`).join(', ')}`;
  }

  close(): void {
    for (const leg of this.legs) leg.close();
    this.drops.flush();
  }
}

async function l3fwd(words: string[], options: Options): Promise<void> {
  if (words.length < 2 || words.length % 2 !== 0) throw new PollmodeError('EOPTION', 'l3fwd wants a device and an address for each leg: af_xdp:eth0 10.0.1.1/24 …');
  const host = open(words.filter((_, i) => i % 2 === 0));
  const router = new Router(host, words.filter((_, i) => i % 2 === 1), Number(options.routes));
  for (const text of options.route ?? []) router.route(text);
  for (const leg of router.legs) process.stdout.write(`${String(leg)}\n`);
  await run(host, () => router.turn(), () => router.tick(), options, () => router.close());
}

const collect = (value: string, list: string[] = []): string[] => [...list, value];
await main(new Command('l3fwd').description(`Routes IPv4 between its legs, and answers ARP and pings. ${formatIpv4(0)}/0 is the default route.`)
  .argument('<device address...>', 'for each leg a device string and its address in its network: af_xdp:eth0 10.0.1.1/24 af_xdp:eth1 10.0.2.1/24')
  .option('--route <prefix=gateway>', 'a network behind a neighbour; may be given several times', collect)
  .option('--routes <n>', 'routes that the table may hold', '65536')
  .option('--seconds <s>', 'stop after so long', Number)
  .option('--quiet', 'no line every second')
  .action(l3fwd));

/**
 * l3fwd: a router of IPv4 and IPv6. Longest-prefix match over a whole burst at once, TTL and checksum (RFC 1624) or hop
 * limit, ARP and neighbour solicitations (RFC 4861) and pings answered, ICMP errors for what cannot go on; so that Linux
 * hosts can use it as their gateway. It sends no router advertisements: hosts are told of it.
 *
 *   node dist/examples/l3fwd.js af_xdp:eth0 10.0.1.1/24,fd01::1/64 af_xdp:eth1 10.0.2.1/24,fd02::1/64 --route 0.0.0.0/0=10.0.2.254 --route ::/0=fd02::fe
 *
 * How an IPv4 packet goes: rxBurst → `Forwarder`, which looks up a burst in a call, gives each packet whose next hop is
 * known its new MAC addresses, and says by which leg it leaves → txBurst. What that leaves is looked at packet by packet:
 * IPv6, which is put aside and goes on behind the others, with a table of its own; ARP, our own address, options, errors,
 * neighbours that are not known yet. They may take their time.
 */
import { Command } from 'commander';
import {
  Adjacencies, ADJACENCY_NONE, addressBytes, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Forwarder, Fragmenter, Ipv4, Ipv6, Lpm, LPM_NONE, open, PollmodeError, Vector, type Burst, type Host,
} from '../lib/index.js';
import { Leg, prefixOf, refuseSameNetwork } from './parts/leg.js';
import type { Neighbour } from './parts/neighbours.js';
import { Drops } from './parts/out.js';
import { main, run, seconds, type RunOptions } from './parts/run.js';

/** Next hops of the tables that are not adjacencies: our own addresses, and networks whose hosts we have not asked for yet, one for each leg. */
const OWN = 0;
const CONNECTED = 1;
const ADJACENCIES = 1024;
/** Where an IPv6 packet's destination stands in its frame, without a VLAN tag. */
const DESTINATION_SIX = 38;

interface Options extends RunOptions { readonly route: string[]; readonly routes: string }

class Router {
  readonly drops: Drops;
  readonly legs: readonly Leg[];
  forwarded = 0;
  readonly #host: Host;
  readonly #lpm: Lpm;
  readonly #lpm6: Lpm;
  readonly #addresses: Vector;
  readonly #hops: Vector;
  readonly #burst: Burst;
  readonly #ether: Ethernet;
  readonly #ip: Ipv4;
  readonly #ip6: Ipv6;
  /** The burst's IPv6 packets. */
  readonly #sixes: Burst;
  #sixCount = 0;
  /** Of next hop n, once the neighbour is known: the MAC addresses, and the number of its leg. */
  readonly #adjacencies: Adjacencies;
  /** One for each leg: only what was sent to its MAC address goes on. */
  readonly #forwarders: readonly Forwarder[];
  readonly #legOf: Leg[] = [];
  /** The longest packet that every leg has room for, Ethernet header counted. */
  readonly #longest: number;
  /** Are there packets that one leg has room for, and another not? */
  readonly #mtusDiffer: boolean;
  readonly #fragmenter: Fragmenter;
  readonly #pieces: Burst;
  readonly #neighbourOf: Neighbour[] = [];
  /** Networks that have a route: each has one. */
  readonly #routed = new Set<string>();

  constructor(host: Host, networks: readonly string[], routes: number) {
    this.#host = host;
    this.drops = new Drops(host);
    this.legs = networks.map((network, i) => new Leg(host, host.ports[i]!, network, this.drops));
    refuseSameNetwork(this.legs);
    // Neighbours are learned from what others send: they must not use up what the user's routes are to have.
    this.#lpm = Lpm.create(host.arena, 'routes', { family: 4, routes: routes + ADJACENCIES });
    this.#lpm6 = Lpm.create(host.arena, 'routes6', { family: 6, routes: routes + ADJACENCIES, rootBits: 16 });
    this.#burst = host.burst(32);
    this.#sixes = host.burst(32);
    this.#addresses = this.#lpm.addresses(32);
    this.#hops = new Vector(host.arena, 32);
    this.#ether = new Ethernet(host.mbufs);
    this.#ip = new Ipv4(host.mbufs);
    this.#ip6 = new Ipv6(host.mbufs);
    this.#adjacencies = Adjacencies.create(host.arena, 'next hops', ADJACENCIES);
    this.#forwarders = this.legs.map(({ mac }) => new Forwarder(host.arena, this.#lpm, this.#adjacencies, { station: mac, checksum: true }));
    this.#longest = Math.min(...host.ports.map(port => port.capabilities.mtu)) + 14;
    this.#mtusDiffer = new Set(host.ports.map(port => port.capabilities.mtu)).size > 1;
    this.#fragmenter = new Fragmenter(host.pool);
    this.#pieces = host.burst(64);
    this.#lpm6.add('fe80::', 10, OWN); // of the link: never routed
    this.legs.forEach((leg, i) => {
      for (const network of [leg.four, leg.six]) {
        if (network === undefined) continue;
        this.#table(network.bytes).add(prefixOf(network), network.depth, CONNECTED + i);
        this.#routed.add(`${prefixOf(network).join()}/${network.depth}`);
        this.#table(network.bytes).add(network.bytes, network.bytes.length * 8, OWN);
      }
      // A neighbour that is known has a route of its own: its packets never leave the straight path.
      leg.learned = neighbour => this.#learned(leg, neighbour);
    });
  }

  /** "10.9.0.0/16=10.0.2.9" or "fd09::/16=fd02::9": that network lies behind that neighbour. */
  route(text: string): void {
    const [, prefix = '', depth = '', gateway = ''] = /^([\da-f.:]+)\/(\d+)=([\da-f.:]+)$/i.exec(text) ?? [];
    if (prefix === '') throw new PollmodeError('EOPTION', `"${text}" is no route: write it as 10.9.0.0/16=10.0.2.9 or fd09::/16=fd02::9.`);
    const address = Uint8Array.from(addressBytes(gateway));
    const leg = this.legs.find(each => each.holdsBytes(address));
    if (leg === undefined) throw new PollmodeError('EOPTION', `${gateway} is in no network of ours: a gateway must be a neighbour.`);
    const network = `${addressBytes(prefix).join()}/${Number(depth)}`;
    if (this.#routed.has(network)) throw new PollmodeError('EOPTION', `"${text}": ${prefix}/${depth} has a route already: give each network one.`);
    const hop = this.#adjacency(leg, leg.neighbour(address));
    if (hop === 0) throw new PollmodeError('ETABLEFULL', `"${text}": ${ADJACENCIES - CONNECTED - this.legs.length} gateways are the most: lead several networks by the same ones.`);
    this.#table(address).add(prefix, Number(depth), hop);
    this.#routed.add(network);
  }

  turn(): number {
    let got = 0;
    for (let i = 0; i < this.legs.length; i++) got += this.#receive(this.legs[i]!, this.#forwarders[i]!);
    for (const leg of this.legs) leg.out.flush();
    this.drops.flush();
    return got;
  }

  #receive(leg: Leg, forwarder: Forwarder): number {
    const got = leg.port.rx[0]!.rxBurst(this.#burst);
    const left = this.#areShort(got) ? this.#forwardAll(got, forwarder) : got;
    if (left > 0) this.#lookAt(left, leg);
    return got;
  }

  #areShort(count: number): boolean {
    if (!this.#mtusDiffer) return true;
    const { handles } = this.#burst;
    for (let i = 0; i < count; i++) if (this.#host.mbufs.pktLen(handles[i]!) > this.#longest) return false;
    return true;
  }

  /** Returns how many are left, which stand first in the burst then. */
  #forwardAll(count: number, forwarder: Forwarder): number {
    const { handles } = this.#burst;
    const { values } = forwarder;
    forwarder.forward(this.#burst, count);
    let left = 0;
    for (let i = 0; i < count; i++) {
      if (values[i] === ADJACENCY_NONE) handles[left++] = handles[i]!;
      else this.legs[values[i]!]!.out.put(handles[i]!);
    }
    this.forwarded += count - left;
    return left;
  }

  /** Packet by packet. */
  #lookAt(got: number, leg: Leg): void {
    const burst = this.#burst;
    const ip = this.#ip;
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
    if (this.#sixCount > 0) this.#receive6(leg);
  }

  /** An IPv4 packet to our MAC address, sound, and to one host. What has a VLAN tag is of another network than the leg's, here and at the other end. */
  #isRoutable(handle: number, leg: Leg): boolean {
    const ether = this.#ether;
    const ip = this.#ip;
    return ether.at(handle) && ether.type === ETHERTYPE_IPV4 && ether.tags === 0 && ether.destinationIs(leg.mac) && ip.at(handle, ether.end, ether.limit) && ip.checksumValid
      && ip.destination >>> 28 < 14;
  }

  #forward(handle: number, hop: number, from: Leg): void {
    const ether = this.#ether;
    const ip = this.#ip;
    const leg = this.#legOf[hop]!;
    ether.at(handle);
    ip.at(handle, ether.end);
    if (this.#mtusDiffer && !leg.fits(handle)) return this.#cut(handle, from, leg, this.#neighbourOf[hop]);
    if (ip.decrementTtl() === 0) return from.refuse(handle, 'time exceeded');
    const neighbour = this.#neighbourOf[hop]!;
    if (neighbour.mac !== undefined) this.forwarded++;
    leg.send(handle, neighbour);
  }

  /** A packet that the leg has no room for: cut into fragments, if it may be (RFC 791). Else its sender is told of the MTU (RFC 1191). */
  #cut(handle: number, from: Leg, leg: Leg, neighbour?: Neighbour): void {
    const ip = this.#ip;
    const { mtu } = leg.port.capabilities;
    if (ip.dontFragment) return from.refuse(handle, 'too big', mtu);
    if (ip.decrementTtl() === 0) return from.refuse(handle, 'time exceeded');
    const count = this.#fragmenter.fragment(handle, mtu, this.#pieces);
    for (const piece of this.#pieces.handles.subarray(0, count)) {
      if (neighbour === undefined) leg.sendTo(piece, ip.destination);
      else leg.send(piece, neighbour);
    }
    this.drops.put(handle, count > 0 ? 'cut into fragments' : 'too long');
  }

  /** Our own address, a neighbour that must be asked for, or no route. */
  #aside(handle: number, hop: number, from: Leg): void {
    const [ether, ip] = [this.#ether, this.#ip];
    ether.at(handle);
    ip.at(handle, ether.end);
    if (hop === OWN) return from.takeOwn(handle);
    if (hop === LPM_NONE) return from.refuse(handle, 'no route');
    const leg = this.legs[hop - CONNECTED]!;
    if (!leg.fits(handle)) return this.#cut(handle, from, leg);
    if (ip.decrementTtl() === 0) return from.refuse(handle, 'time exceeded');
    leg.sendTo(handle, ip.destination);
  }

  #other(handle: number, leg: Leg): void {
    const ether = this.#ether;
    if (ether.at(handle) && ether.type === ETHERTYPE_ARP && ether.tags === 0) leg.takeArp(handle, ether.end);
    else if (ether.type === ETHERTYPE_IPV6 && leg.six !== undefined) this.#sixes.handles[this.#sixCount++] = handle;
    else this.drops.put(handle, 'not for a router');
  }

  /** The IPv6 packets of the burst. */
  #receive6(leg: Leg): void {
    const burst = this.#sixes;
    let count = 0;
    for (let i = 0; i < this.#sixCount; i++) if (this.#isRoutable6(burst.handles[i]!, leg)) burst.handles[count++] = burst.handles[i]!;
    this.#sixCount = 0;
    this.#lpm6.lookupBurst(burst, count, DESTINATION_SIX, this.#hops);
    for (let i = 0; i < count; i++) this.#forward6(burst.handles[i]!, this.#hops.u32[i]!, leg);
  }

  /** To our MAC address, and to one host from one host. What is not is taken care of here: neighbours speak to groups. */
  #isRoutable6(handle: number, leg: Leg): boolean {
    const ether = this.#ether;
    const ip = this.#ip6;
    if (!ether.at(handle) || ether.tags > 0 || !ip.at(handle, ether.end, ether.limit)) this.drops.put(handle, 'not for a router');
    else if (ip.destinationIsMulticast) leg.take6(handle, ip);
    else if (!ether.destinationIs(leg.mac) || ip.sourceIsMulticast || ip.sourceIsUnspecified) this.drops.put(handle, 'not for a router');
    else return true;
    return false;
  }

  #forward6(handle: number, hop: number, from: Leg): void {
    const ether = this.#ether;
    const ip = this.#ip6;
    ether.at(handle);
    ip.at(handle, ether.end, ether.limit);
    if (hop === OWN && ip.destinationIsLinkLocal && !from.isOwn6(this.#host.mbufs.u8, ip.destinationAt)) return this.drops.put(handle, 'of the link only');
    if (hop === OWN) return from.take6(handle, ip);
    if (hop === LPM_NONE) return from.refuse(handle, 'no route');
    if (ip.sourceIsLinkLocal) return this.drops.put(handle, 'of the link only');
    const leg = hop < CONNECTED + this.legs.length ? this.legs[hop - CONNECTED]! : this.#legOf[hop]!;
    if (!leg.fits(handle)) return from.refuse(handle, 'too big', leg.port.capabilities.mtu);
    if (ip.decrementHopLimit() === 0) return from.refuse(handle, 'time exceeded');
    if (hop < CONNECTED + this.legs.length) return leg.sendTo6(handle, this.#host.mbufs.u8, ip.destinationAt);
    leg.send(handle, this.#neighbourOf[hop]!);
    this.forwarded++;
  }

  #table(address: Uint8Array): Lpm {
    return address.length === 4 ? this.#lpm : this.#lpm6;
  }

  #learned(leg: Leg, neighbour: Neighbour): void {
    const hop = this.#adjacency(leg, neighbour);
    if (hop === 0) return; // full: such neighbours are served, from the leg's own list
    this.#adjacencies.set(hop, { destination: neighbour.mac!, source: leg.mac, value: this.legs.indexOf(leg) });
    this.#table(neighbour.address).add(neighbour.address, neighbour.address.length * 8, hop);
  }

  /** The number of an adjacency, a new one where there is none; 0 when there is no room. */
  #adjacency(leg: Leg, neighbour: Neighbour): number {
    const known = this.#neighbourOf.indexOf(neighbour);
    if (known >= 0) return known;
    const hop = Math.max(this.#neighbourOf.length, CONNECTED + this.legs.length);
    if (hop >= ADJACENCIES) return 0;
    this.#legOf[hop] = leg;
    this.#neighbourOf[hop] = neighbour;
    neighbour.isFixed = true; // a route leads to it
    return hop;
  }

  tick(): string {
    for (const leg of this.legs) {
      leg.tick(performance.now());
      leg.out.flush();
    }
    this.drops.flush();
    return `forwarded ${this.forwarded}, routes ${this.#lpm.count + this.#lpm6.count}; ${Object.entries(this.drops.counts).map(([reason, count]) => `${reason} ${count}`).join(', ')}`;
  }

  close(): void {
    for (const leg of this.legs) leg.close();
    for (const forwarder of this.#forwarders) forwarder.close();
    this.#fragmenter.close();
    this.drops.flush();
  }
}

async function l3fwd(words: string[], options: Options): Promise<void> {
  if (words.length < 2 || words.length % 2 !== 0) throw new PollmodeError('EOPTION', 'l3fwd wants a device and an address for each leg: af_xdp:eth0 10.0.1.1/24 …');
  const host = open(words.filter((_, i) => i % 2 === 0));
  const router = new Router(host, words.filter((_, i) => i % 2 === 1), Number(options.routes));
  for (const text of options.route) router.route(text);
  for (const leg of router.legs) process.stdout.write(`${String(leg)}\n`);
  await run(host, () => router.turn(), () => router.tick(), options, () => router.close());
}

const collect = (value: string, list: string[]): string[] => [...list, value];
await main(new Command('l3fwd').description('Routes IPv4 and IPv6 between its legs, and answers ARP, neighbour solicitations and pings. 0.0.0.0/0 and ::/0 are the default routes.')
  .argument('<device address...>', 'for each leg a device string and its address in its network, or one of each family: af_xdp:eth0 10.0.1.1/24,fd01::1/64 af_xdp:eth1 10.0.2.1/24,fd02::1/64')
  .option('--route <prefix=gateway>', 'a network behind a neighbour (10.9.0.0/16=10.0.2.9, ::/0=fd02::9); may be given several times', collect, [])
  .option('--routes <n>', 'routes that each family\'s table may hold', '65536')
  .option('--seconds <s>', 'stop after so long', seconds)
  .option('--quiet', 'no line every second')
  .action(l3fwd));

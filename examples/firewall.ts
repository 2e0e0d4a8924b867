/**
 * firewall: a stateful firewall of IPv4 with NAT (RFC 3022's NAPT), and of IPv6 without (RFC 6092). In RFC 4787's words its
 * mapping and filtering depend on the far side's address and port: each connection has a port outside of its own, so that
 * peers that want to meet through two NATs need a relay, and hosts inside do not reach each other by the address outside.
 * What hosts inside begin goes out, IPv4 under the one address outside, and its answers come back, and ICMP errors about it,
 * so that traceroute and path MTU discovery work; what comes from outside by itself ends here, but for what is published.
 * Fragments, which have no ports but in the first, are put together first with --reassemble, and are
 * dropped and counted without.
 *
 *   node dist/examples/firewall.js af_xdp:eth0 10.0.0.1/24,fd01::1/64 af_xdp:eth1 192.0.2.10/24,fd02::10/64 --gateway 192.0.2.1 --gateway fd02::1 --publish tcp:8080=10.0.0.5:80 --publish 'tcp:[fd01::5]:80'
 *
 * How a packet goes: rxBurst → a key of 40 bytes (addresses, ports, protocol) for each, a burst at a time → one look-up in a
 * hash table for the burst → IPv4: addresses, ports and both checksums changed in place (RFC 1624) → txBurst. A connection
 * is two entries of that table, one for each way, and a row in the arrays of `Connections`; `Admission` says what may begin one.
 */
import { Command } from 'commander';
import {
  addressBytes, Checksums, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Fragmenter, HASH_NONE, HashTable, Icmp, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST, Ipv4, Ipv6, open, PollmodeError, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, Reassembler, translateDestination,
  translateSource, Vector, type Burst, type Host,
} from '../lib/index.js';
import { Admission, FULL, servicesOf } from './parts/admission.js';
import { Connections, IN, KEY_BYTES, OUT } from './parts/connections.js';
import { FlowKeys } from './parts/flow_keys.js';
import { Leg, refuseSameNetwork } from './parts/leg.js';
import type { Neighbour } from './parts/neighbours.js';
import { Drops } from './parts/out.js';
import { main, run, seconds, type RunOptions } from './parts/run.js';

interface Options extends RunOptions { readonly gateway: string[]; readonly publish: string[]; readonly connections: string; readonly reassemble?: boolean }

class Firewall {
  readonly drops: Drops;
  readonly inside: Leg;
  readonly outside: Leg;
  passed = 0;
  readonly #host: Host;
  readonly #connections: Connections;
  readonly #table: HashTable;
  readonly #keys: FlowKeys;
  readonly #values: Vector;
  readonly #burst: Burst;
  readonly #pieces: Burst;
  readonly #one: Burst;
  readonly #views;
  readonly #checksums: Checksums;
  readonly #reassembler: Reassembler | undefined;
  readonly #fragmenter: Fragmenter;
  /** Which packets of the burst came in fragments. */
  readonly #joined = new Uint8Array(32);
  readonly #gateway4: Neighbour | undefined;
  readonly #gateway6: Neighbour | undefined;
  readonly #admission: Admission;

  constructor(host: Host, insideNetwork: string, outsideNetwork: string, options: Options) {
    this.#host = host;
    this.drops = new Drops(host);
    this.inside = new Leg(host, host.ports[0]!, insideNetwork, this.drops);
    this.outside = new Leg(host, host.ports[1]!, outsideNetwork, this.drops);
    refuseSameNetwork([this.inside, this.outside]);
    const gateways = options.gateway.map(text => {
      const address = Uint8Array.from(addressBytes(text));
      if (!this.outside.holdsBytes(address)) throw new PollmodeError('EOPTION', `--gateway ${text} is not in ${outsideNetwork}: it must be a neighbour outside.`);
      return this.outside.neighbour(address);
    });
    if (new Set(gateways.map(({ address }) => address.length)).size < gateways.length) throw new PollmodeError('EOPTION', '--gateway: give one for each family.');
    [this.#gateway4, this.#gateway6] = [4, 16].map(bytes => gateways.find(({ address }) => address.length === bytes)) as [Neighbour?, Neighbour?];
    this.#table = HashTable.create(host.arena, 'connections', { entries: 2 * Number(options.connections), keyBytes: KEY_BYTES });
    const services = servicesOf(options.publish, this.inside, this.outside);
    this.#connections = new Connections(Number(options.connections), this.#table, services.filter(({ address }) => address.length === 4).map(({ port }) => port));
    this.#admission = new Admission(this.#connections, this.inside, this.outside, services);
    this.#keys = new FlowKeys(host, 32);
    this.#values = new Vector(host.arena, 32);
    [this.#burst, this.#pieces, this.#one] = [host.burst(32), host.burst(64), host.burst(1)];
    this.#views = { ether: new Ethernet(host.mbufs), four: new Ipv4(host.mbufs), six: new Ipv6(host.mbufs), icmp: new Icmp(host.mbufs), quoted: new Ipv4(host.mbufs) };
    this.#checksums = new Checksums(host.arena);
    this.#reassembler = options.reassemble === true ? new Reassembler(host.pool) : undefined;
    this.#fragmenter = new Fragmenter(host.pool);
  }

  turn(): number {
    const got = this.#receive(this.inside, OUT) + this.#receive(this.outside, IN);
    this.inside.out.flush();
    this.outside.out.flush();
    this.drops.flush();
    return got;
  }

  #receive(from: Leg, way: number): number {
    const burst = this.#burst;
    const got = from.port.rx[0]!.rxBurst(burst);
    const whole = this.#reassembler === undefined ? got : this.#join(this.#reassembler, got);
    this.#keys.read(burst, whole);
    this.#table.lookupBulk(this.#keys.vector, this.#values, whole);
    for (let i = 0; i < whole; i++) this.#decide(burst.handles[i]!, i, this.#values.u32[i]!, from, way);
    return got;
  }

  /** Fragments wait for each other; what is whole stands in the burst's first entries then. */
  #join(reassembler: Reassembler, got: number): number {
    const { handles } = this.#burst;
    let whole = 0;
    for (let i = 0; i < got; i++) {
      const before = reassembler.stats.datagrams;
      const handle = reassembler.add(handles[i]!, performance.now());
      if (handle === 0) continue;
      this.#joined[whole] = reassembler.stats.datagrams - before;
      handles[whole++] = handle;
    }
    return whole;
  }

  /** 4 or 6, with the views at the packet; 0 for another, one that is not sound, and one with a VLAN tag, which would be of another network outside, too. */
  #read(handle: number): number {
    const { ether, four, six } = this.#views;
    if (!ether.at(handle) || ether.tags > 0) return 0;
    if (ether.type === ETHERTYPE_IPV4) return four.at(handle, ether.end, ether.limit) && four.checksumValid ? 4 : 0;
    return ether.type === ETHERTYPE_IPV6 && six.at(handle, ether.end, ether.limit) && six.complete ? 6 : 0;
  }

  #decide(handle: number, i: number, value: number, from: Leg, way: number): void {
    const { ether, four, six } = this.#views;
    const family = this.#read(handle);
    if (family === 0) return this.#other(handle, from);
    if (family === 6 && (six.destinationIsMulticast || from.isOwn6(this.#host.mbufs.u8, six.destinationAt))) return from.take6(handle, six);
    if (!ether.destinationIs(from.mac)) return this.drops.put(handle, 'not to us');
    if (this.#keys.isFragment(i)) return this.drops.put(handle, 'a fragment');
    const isError = this.#keys.isError[i] === 1;
    // The same burst may hold a connection's first two packets: the second was looked up before the first made it.
    const found = value === HASH_NONE && !isError ? this.#admission.find(this.#keys.copy(i), family === 4 ? four : six, way) : value;
    if (found === HASH_NONE || (!isError && found !== FULL && this.#isPingBack(family, way))) {
      if (family === 4 && four.destination === from.address) return from.takeOwn(handle);
      return this.drops.put(handle, isError ? 'an error about no connection' : way === IN ? 'not asked for' : 'not the start of a connection');
    }
    if (found === FULL) return this.drops.put(handle, 'too many connections');
    if ((found & 1) !== way) return this.drops.put(handle, 'from the wrong side');
    const to = way === OUT ? this.outside : this.inside;
    const mayCut = this.#joined[i] === 1 || (family === 4 && !four.dontFragment);
    if (!mayCut && !to.fits(handle)) return from.refuse(handle, 'too big', to.port.capabilities.mtu);
    if ((family === 4 ? four.decrementTtl() : six.decrementHopLimit()) === 0) return from.refuse(handle, 'time exceeded');
    if (isError) {
      if (!this.#passError(handle, found >>> 1, family, way)) return this.drops.put(handle, 'a bad checksum');
    } else this.#pass(found >>> 1, family, way);
    this.passed++;
    if (to.fits(handle)) this.#send(handle, to);
    else this.#cut(handle, to);
  }

  /** Requests go out and replies come in: who was pinged has the same key as his answer, and is no more let in for that. */
  #isPingBack(family: number, way: number): boolean {
    const ip = family === 4 ? this.#views.four : this.#views.six;
    if (ip.protocol !== (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) return false;
    const [request, reply] = family === 4 ? [ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY] : [ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY];
    return ip.payloadLength < 8 || this.#host.mbufs.view.getUint8(ip.start + ip.length) !== (way === OUT ? request : reply);
  }

  /** IPv4: another source outwards, another destination inwards. */
  #pass(index: number, family: number, way: number): void {
    const { four, six } = this.#views;
    const list = this.#connections;
    const ip = family === 4 ? four : six;
    if (family === 4 && way === OUT) translateSource(four, this.outside.address, list.outsidePort[index]!);
    else if (family === 4) translateDestination(four, list.inside[index]!, list.insidePort[index]!);
    list.seen(index, way, ip.protocol === PROTOCOL_TCP && ip.payloadLength >= 20 ? this.#host.mbufs.view.getUint8(ip.start + ip.length + 13) : 0);
  }

  /** An ICMP error: what it quotes was changed on its way out, or in, and is changed back (RFC 5508 section 4.2). False for one that is not sound. */
  #passError(handle: number, index: number, family: number, way: number): boolean {
    const { four, icmp, quoted } = this.#views;
    const list = this.#connections;
    this.#one.handles[0] = handle;
    if (this.#checksums.check(this.#one, 1) > 0) return false;
    if (family === 6) return true;
    if (!icmp.at(handle, four.end, four.limit) || !quoted.at(handle, icmp.end, icmp.limit)) return false;
    if (way === IN) {
      translateDestination(four, list.inside[index]!, -1);
      translateSource(quoted, list.inside[index]!, list.insidePort[index]!);
    } else {
      translateSource(four, this.outside.address, -1);
      translateDestination(quoted, this.outside.address, list.outsidePort[index]!);
    }
    this.#checksums.fill(this.#one, 1);
    return true;
  }

  #send(handle: number, to: Leg): void {
    const { four, six } = this.#views;
    const { u8 } = this.#host.mbufs;
    const family = this.#read(handle);
    const gateway = to === this.inside ? undefined : family === 4 ? this.#gateway4 : this.#gateway6;
    if (family === 4 && to.holds(four.destination)) to.sendTo(handle, four.destination);
    else if (family === 6 && to.holds6(u8, six.destinationAt)) to.sendTo6(handle, u8, six.destinationAt);
    else if (gateway !== undefined) to.send(handle, gateway);
    else this.drops.put(handle, 'no way there');
  }

  /** What was put together, and IPv4 that may be cut, goes on in fragments. */
  #cut(handle: number, to: Leg): void {
    const count = this.#fragmenter.fragment(handle, to.port.capabilities.mtu, this.#pieces);
    for (let i = 0; i < count; i++) this.#send(this.#pieces.handles[i]!, to);
    this.drops.put(handle, count > 0 ? 'cut into fragments' : 'too long');
  }

  #other(handle: number, leg: Leg): void {
    const { ether } = this.#views;
    if (!ether.at(handle)) this.drops.put(handle, 'no IP');
    else if (ether.tags > 0) this.drops.put(handle, 'tagged');
    else if (ether.type === ETHERTYPE_ARP) leg.takeArp(handle, ether.end);
    else this.drops.put(handle, 'no IP');
  }

  tick(): string {
    const now = performance.now();
    this.#connections.expire(now / 1000);
    this.#reassembler?.expire(now);
    for (const leg of [this.inside, this.outside]) {
      leg.tick(now);
      leg.out.flush();
    }
    this.drops.flush();
    return `passed ${this.passed}, connections ${this.#connections.count}; ${Object.entries(this.drops.counts).map(([reason, count]) => `${reason} ${count}`).join(', ')}`;
  }

  close(): void {
    this.inside.close();
    this.outside.close();
    this.#reassembler?.close();
    this.#fragmenter.close();
    this.drops.flush();
  }
}

async function firewall(insideDevice: string, insideNetwork: string, outsideDevice: string, outsideNetwork: string, options: Options): Promise<void> {
  if (!/^\d+$/.test(options.connections) || Number(options.connections) < 1 || Number(options.connections) > 50_000) throw new PollmodeError('EOPTION', `--connections ${options.connections}: give 1 to 50000, since each has a port outside.`);
  const host = open([insideDevice, outsideDevice]);
  const wall = new Firewall(host, insideNetwork, outsideNetwork, options);
  process.stdout.write(`inside ${String(wall.inside)}\noutside ${String(wall.outside)}\n`);
  await run(host, () => wall.turn(), () => wall.tick(), options, () => wall.close());
}

const collect = (value: string, list: string[]): string[] => [...list, value];
await main(new Command('firewall').description('Lets out what hosts inside begin, IPv4 under one address and IPv6 as it is, and its answers in; nothing else.')
  .argument('<inside-device>').argument('<inside-address>', 'ours inside, with its network: 10.0.0.1/24, fd01::1/64, or both with a comma between')
  .argument('<outside-device>').argument('<outside-address>', 'ours outside: 192.0.2.10/24,fd02::10/64')
  .option('--gateway <address>', 'the router outside; may be given twice, for one of each family', collect, [])
  .option('--publish <service>', 'a service inside that may be reached from outside, as tcp:8080=10.0.0.5:80 or tcp:[fd01::5]:80; may be given several times', collect, [])
  .option('--reassemble', 'put fragments together, and let them pass')
  .option('--connections <n>', 'connections at once, at most 50000', '32768')
  .option('--seconds <s>', 'stop after so long', seconds)
  .option('--quiet', 'no line every second')
  .action(firewall));

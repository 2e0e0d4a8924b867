/**
 * firewall: a stateful IPv4 firewall with NAT (RFC 3022's NAPT, with RFC 4787's and 5382's words). What hosts inside begin
 * goes out under the one address outside, and its answers come back; what comes from outside by itself ends here, but for
 * what is published. Fragments, and ICMP errors about a connection, are dropped and counted: it keeps no state for them.
 *
 *   node dist/examples/firewall.js af_xdp:eth0 10.0.0.1/24 af_xdp:eth1 192.0.2.10/24 --gateway 192.0.2.1 --publish tcp:8080=10.0.0.5:80
 *
 * How a packet goes: rxBurst → a key of 16 bytes (addresses, ports, protocol) for each → one look-up in a hash table for
 * the burst → addresses, ports and both checksums changed in place (RFC 1624) → txBurst. A connection is two entries of
 * that table, one for each way, and a row in the arrays of `Connections`.
 */
import { Command } from 'commander';
import {
  adjustChecksum, adjustChecksum32, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet, HASH_NONE, HashTable, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST,
  ICMP_TIME_EXCEEDED, Ipv4, open, parseIpv4, PollmodeError, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Vector,
  type Burst, type Host,
} from '../lib/index.js';
import { Connections, OUT, IN } from './parts/connections.js';
import { Leg } from './parts/leg.js';
import { Drops } from './parts/out.js';
import { main, run, type RunOptions } from './parts/run.js';

interface Options extends RunOptions { readonly gateway?: string; readonly publish: string[]; readonly connections: string }

/** A service inside that hosts outside may reach. */
interface Published { readonly protocol: number; readonly port: number; readonly address: number; readonly insidePort: number }

/** Source, destination, both ports, protocol: a word each. */
const KEY_BYTES = 16;

class Firewall {
  readonly drops: Drops;
  readonly inside: Leg;
  readonly outside: Leg;
  translated = 0;
  readonly #host: Host;
  readonly #connections: Connections;
  readonly #table: HashTable;
  readonly #keys: Vector;
  readonly #values: Vector;
  readonly #burst: Burst;
  readonly #ether: Ethernet;
  readonly #ip: Ipv4;
  readonly #gateway: number;
  readonly #published: readonly Published[];

  constructor(host: Host, insideNetwork: string, outsideNetwork: string, options: Options) {
    this.#host = host;
    this.drops = new Drops(host);
    this.inside = new Leg(host, host.ports[0]!, insideNetwork, this.drops);
    this.outside = new Leg(host, host.ports[1]!, outsideNetwork, this.drops);
    this.#gateway = options.gateway === undefined ? 0 : parseIpv4(options.gateway);
    if (this.#gateway !== 0 && !this.outside.holds(this.#gateway)) throw new PollmodeError('EOPTION', `--gateway ${options.gateway!} is not in ${outsideNetwork}: it must be a neighbour outside.`);
    this.#published = (options.publish ?? []).map(published);
    this.#table = HashTable.create(host.arena, 'connections', { entries: 2 * Number(options.connections), keyBytes: KEY_BYTES });
    this.#connections = new Connections(Number(options.connections), this.#table);
    this.#keys = this.#table.keys(32);
    this.#values = new Vector(host.arena, 32);
    this.#burst = host.burst(32);
    this.#ether = new Ethernet(host.mbufs);
    this.#ip = new Ipv4(host.mbufs);
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
    for (let i = 0; i < got; i++) this.#writeKey(burst.handles[i]!, i);
    this.#table.lookupBulk(this.#keys, this.#values, got);
    for (let i = 0; i < got; i++) this.#decide(burst.handles[i]!, i, this.#values.u32[i]!, from, way);
    return got;
  }

  /** The key of packet i: all zero for what has none, which is never in the table. Points no view at anything that lasts. */
  #writeKey(handle: number, i: number): void {
    const words = this.#keys.u32;
    const ip = this.#ip;
    const { view } = this.#host.mbufs;
    const at = i * (KEY_BYTES / 4);
    words[at] = words[at + 1] = words[at + 2] = words[at + 3] = 0;
    if (!this.#sound(handle)) return;
    const { protocol } = ip;
    const start = ip.start + ip.length;
    if (ip.isFragment || ip.payloadLength < (protocol === PROTOCOL_TCP ? 20 : 8)) return;
    if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) words[at + 2] = view.getUint32(start);
    else if (protocol === PROTOCOL_ICMP && isEcho(view.getUint8(start))) words[at + 2] = Math.imul(view.getUint16(start + 4), 0x10001); // the identifier is both ports
    else return;
    words[at] = ip.source;
    words[at + 1] = ip.destination;
    words[at + 3] = protocol;
  }

  #sound(handle: number): boolean {
    return this.#ether.at(handle) && this.#ether.type === ETHERTYPE_IPV4 && this.#ip.at(handle, this.#ether.end, this.#ether.limit) && this.#ip.checksumValid;
  }

  #decide(handle: number, i: number, value: number, from: Leg, way: number): void {
    const words = this.#keys.u32;
    const at = i * (KEY_BYTES / 4);
    if (!this.#sound(handle)) return this.#other(handle, from);
    const ip = this.#ip;
    if (!this.#ether.destinationIs(from.mac)) return this.drops.put(handle, 'not to us');
    // The same burst may hold a connection's first two packets: the second was looked up before the first made it.
    let found = value;
    if (found === HASH_NONE && words[at + 3] !== 0) found = this.#begin(at, way);
    if (found === HASH_NONE) {
      if (ip.destination === from.address) return from.takeOwn(handle, ip);
      return this.drops.put(handle, words[at + 3] === 0 ? 'no TCP, UDP or ping' : way === IN ? 'not asked for' : 'not the start of a connection');
    }
    if ((found & 1) !== way) return this.drops.put(handle, 'from the wrong side');
    if (ip.decrementTtl() === 0) return from.refuse(handle, ip, ICMP_TIME_EXCEEDED, 0, 'TTL');
    this.#translate(handle, found >>> 1, way);
  }

  /** A packet of no connection: one is made when this may begin it. Returns its value in the table. */
  #begin(at: number, way: number): number {
    const ip = this.#ip;
    const words = this.#keys.u32;
    const { view } = this.#host.mbufs;
    const [source, destination, ports, protocol] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!];
    const known = this.#connections.find(words.subarray(at, at + 4));
    if (known !== HASH_NONE) return known;
    const start = ip.start + ip.length;
    if (protocol === PROTOCOL_TCP && (view.getUint8(start + 13) & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) !== TCP_SYN) return HASH_NONE;
    if (protocol === PROTOCOL_ICMP && view.getUint8(start) !== ICMP_ECHO_REQUEST) return HASH_NONE;
    if (way === OUT) {
      if (!this.inside.holds(source) || this.inside.holds(destination) || destination === this.outside.address) return HASH_NONE;
      return this.#connections.begin({ protocol, inside: source, insidePort: ports >>> 16, remote: destination, remotePort: protocol === PROTOCOL_ICMP ? -1 : ports & 0xffff, outside: this.outside.address, outsidePort: -1 }, OUT);
    }
    const service = this.#published.find(each => each.protocol === protocol && each.port === (ports & 0xffff));
    if (service === undefined || destination !== this.outside.address) return HASH_NONE;
    return this.#connections.begin({ protocol, inside: service.address, insidePort: service.insidePort, remote: source, remotePort: ports >>> 16, outside: destination, outsidePort: service.port }, IN);
  }

  /** Source outwards, destination inwards; the IP checksum, and TCP's, UDP's or ICMP's. */
  #translate(handle: number, index: number, way: number): void {
    const ip = this.#ip;
    const { view } = this.#host.mbufs;
    const list = this.#connections;
    const { protocol } = ip;
    const start = ip.start + ip.length;
    const before = way === OUT ? ip.source : ip.destination;
    const after = way === OUT ? this.outside.address : list.inside[index]!;
    const port = way === OUT ? list.outsidePort[index]! : list.insidePort[index]!;
    const portAt = protocol === PROTOCOL_ICMP ? start + 4 : way === OUT ? start : start + 2;
    const sumAt = start + (protocol === PROTOCOL_TCP ? 16 : protocol === PROTOCOL_UDP ? 6 : 2);
    ip.checksum = adjustChecksum32(ip.checksum, before, after);
    if (way === OUT) ip.source = after;
    else ip.destination = after;
    let sum = view.getUint16(sumAt);
    if (protocol !== PROTOCOL_UDP || sum !== 0) { // UDP without a checksum stays without
      if (protocol !== PROTOCOL_ICMP) sum = adjustChecksum32(sum, before, after); // ICMP's has no pseudo header
      sum = adjustChecksum(sum, view.getUint16(portAt), port);
      view.setUint16(sumAt, protocol === PROTOCOL_UDP && sum === 0 ? 0xffff : sum);
    }
    view.setUint16(portAt, port);
    list.seen(index, way, protocol === PROTOCOL_TCP ? view.getUint8(start + 13) : 0);
    this.translated++;
    const leg = way === OUT ? this.outside : this.inside;
    const { destination } = ip;
    if (leg.holds(destination)) leg.sendTo(handle, destination);
    else if (way === OUT && this.#gateway !== 0) leg.sendTo(handle, this.#gateway);
    else this.drops.put(handle, 'no way there');
  }

  #other(handle: number, leg: Leg): void {
    if (this.#ether.at(handle) && this.#ether.type === ETHERTYPE_ARP) leg.takeArp(handle, this.#ether.end);
    else this.drops.put(handle, 'no IPv4');
  }

  tick(): string {
    const now = performance.now();
    this.#connections.expire(now / 1000);
    for (const leg of [this.inside, this.outside]) {
      leg.tick(now);
      leg.out.flush();
    }
    this.drops.flush();
    return `translated ${this.translated}, connections ${this.#connections.count}; ${Object.entries(this.drops.counts).map(([reason, count]) => `${reason} ${count}`).join(', ')}`;
  }

  close(): void {
    this.inside.close();
    this.outside.close();
    this.drops.flush();
  }
}

function isEcho(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY;
}

/** "tcp:8080=10.0.0.5:80" */
function published(text: string): Published {
  const [, protocol, port, address, insidePort] = /^(tcp|udp):(\d{1,5})=([\d.]+):(\d{1,5})$/.exec(text) ?? [];
  if (protocol === undefined || Number(port) > 65535 || Number(insidePort) > 65535) throw new PollmodeError('EOPTION', `"${text}" publishes nothing: write it as tcp:8080=10.0.0.5:80.`);
  return { protocol: protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP, port: Number(port), address: parseIpv4(address!), insidePort: Number(insidePort) };
}

async function firewall(insideDevice: string, insideNetwork: string, outsideDevice: string, outsideNetwork: string, options: Options): Promise<void> {
  if (!/^\d+$/.test(options.connections) || Number(options.connections) < 1 || Number(options.connections) > 50_000) throw new PollmodeError('EOPTION', `--connections ${options.connections}: give 1 to 50000, since each has a port outside.`);
  const host = open([insideDevice, outsideDevice]);
  const wall = new Firewall(host, insideNetwork, outsideNetwork, options);
  process.stdout.write(`inside ${String(wall.inside)}\noutside ${String(wall.outside)}\n`);
  await run(host, () => wall.turn(), () => wall.tick(), options, () => wall.close());
}

const collect = (value: string, list: string[] = []): string[] => [...list, value];
await main(new Command('firewall').description('Lets out what hosts inside begin, under one address, and its answers in; nothing else.')
  .argument('<inside-device>').argument('<inside-address>', 'ours inside, with its network: 10.0.0.1/24')
  .argument('<outside-device>').argument('<outside-address>', 'ours outside: 192.0.2.10/24')
  .option('--gateway <address>', 'the router outside')
  .option('--publish <protocol:port=address:port>', 'a service inside that may be reached from outside; may be given several times', collect)
  .option('--connections <n>', 'connections at once, at most 50000', '32768')
  .option('--seconds <s>', 'stop after so long', Number)
  .option('--quiet', 'no line every second')
  .action(firewall));

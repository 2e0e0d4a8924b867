/**
 * balancer: a layer-4 load balancer. Connections to one address are spread over backends by Maglev hashing (Eisenbud and
 * others, NSDI 2016), so that many such machines with the same list of backends choose alike, with no state between
 * them; and when a backend goes, hardly any connection of the others moves. An IPv4 address and an IPv6 address may be
 * served, by the same backends and the same table.
 *
 *   node dist/examples/balancer.js af_xdp:eth0 10.0.0.1/24,fd00::1/64 --service 10.0.0.100 --service fd00::100 --backend a=10.0.0.11 --backend b=fd00::12*2
 *
 * Packets are given to a backend as they are, under its MAC address (direct server return): each backend has the service's
 * address on its loopback and answers the client itself, past this machine. So it does not matter by which family's address
 * a backend is known. On Linux a backend must not say by ARP that it has the service's address
 * (net.ipv4.conf.all.arp_ignore=1 and arp_announce=2); of an IPv6 address on its loopback it says nothing by itself.
 *
 * How a packet goes: rxBurst → 5-tuples hashed, a burst at a time → the table's answers, a burst at a time → the backend's
 * MAC address → txBurst. A backend that does not say for three seconds where it is is taken out of the table, and put back
 * when it does. Fragments, whose ports are not there, go by their addresses alone, to one backend that may not be the
 * connection's; and so do ICMP errors: a service should send no packets that are longer than the way to its clients takes.
 */
import { Command } from 'commander';
import {
  addressBytes, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, Maglev, MAGLEV_NONE, open, parseIpv4, PollmodeError, Rss, Vector,
  type Burst, type Host,
} from '../lib/index.js';
import { isAddress, Leg } from './parts/leg.js';
import type { Neighbour } from './parts/neighbours.js';
import { Drops } from './parts/out.js';
import { main, run, seconds, type RunOptions } from './parts/run.js';

interface Options extends RunOptions { readonly service: string[]; readonly backend: string[]; readonly key: string }

/** A machine that serves. */
interface Server { readonly name: string; readonly neighbour: Neighbour; readonly weight: number; seen: number; up: boolean; packets: number }

const ASK_EVERY_MS = 1000;
const DEAD_AFTER_MS = 3000;

class Balancer {
  readonly drops: Drops;
  readonly leg: Leg;
  readonly servers: readonly Server[];
  /** The addresses served: -1 and nothing where there is none of that family. */
  readonly #four: number;
  readonly #six: Uint8Array | undefined;
  readonly #maglev: Maglev;
  readonly #rss: Rss;
  readonly #hashes: Vector;
  readonly #chosen: Vector;
  readonly #burst: Burst;
  readonly #host: Host;
  readonly #ether: Ethernet;
  readonly #ip: Ipv4;
  readonly #ip6: Ipv6;
  #asked = -Infinity;

  constructor(host: Host, network: string, { service, backend, key }: Options) {
    this.#host = host;
    this.drops = new Drops(host);
    this.leg = new Leg(host, host.ports[0]!, network, this.drops);
    // The services' addresses are ours to say where they are, and nothing else.
    this.leg.also = service.map(each => Uint8Array.from(addressBytes(each)));
    if (this.leg.six !== undefined) this.leg.listen();
    const [four, six] = [4, 16].map(bytes => this.leg.also.filter(each => each.length === bytes)) as [Uint8Array[], Uint8Array[]];
    if (service.length === 0 || four.length > 1 || six.length > 1) throw new PollmodeError('EOPTION', '--service: give the address that is served, or one of each family.');
    for (const each of this.leg.also) if (isOneOf(each, [this.leg.four?.bytes, this.leg.six?.bytes])) throw new PollmodeError('EOPTION', `--service: ${network} has that address for the balancer itself: serve another one.`);
    if (six.length > 0 && this.leg.six === undefined) throw new PollmodeError('EOPTION', `--service: an IPv6 address is served from an IPv6 address: give one beside ${network}.`);
    this.#four = four.length > 0 ? parseIpv4(four[0]!.join('.')) : -1;
    this.#six = six[0];
    this.servers = backend.map(text => this.#server(text, network));
    if (new Set(this.servers.map(({ neighbour }) => neighbour)).size < this.servers.length) throw new PollmodeError('EOPTION', '--backend: two have the same address: give a machine once, with a weight if it is to have more (*2).');
    // Every machine must hash alike: the key is part of the configuration.
    this.#rss = Rss.create(host.arena, 'balancer', { key: key === 'default' || key === 'symmetric' ? key : Uint8Array.from(Buffer.from(key, 'hex')) });
    this.#maglev = Maglev.create(host.arena, 'backends');
    this.#build(true); // what will not do, such as two of one name, is said now, and not when they are there
    this.#hashes = new Vector(host.arena, 32);
    this.#chosen = new Vector(host.arena, 32);
    this.#burst = host.burst(32);
    this.#ether = new Ethernet(host.mbufs);
    this.#ip = new Ipv4(host.mbufs);
    this.#ip6 = new Ipv6(host.mbufs);
    this.leg.heard = neighbour => this.#alive(neighbour);
    this.#build();
  }

  turn(): number {
    const burst = this.#burst;
    const got = this.leg.port.rx[0]!.rxBurst(burst);
    this.#rss.hashBurst(burst, got);
    for (let i = 0; i < got; i++) this.#hashes.u32[i] = this.#host.mbufs.hash(burst.handles[i]!);
    this.#maglev.lookupBulk(this.#hashes, this.#chosen, got);
    for (let i = 0; i < got; i++) this.#give(burst.handles[i]!, this.#chosen.u32[i]!);
    this.leg.out.flush();
    this.drops.flush();
    return got;
  }

  #give(handle: number, chosen: number): void {
    const ether = this.#ether;
    if (!ether.at(handle)) return this.drops.put(handle, 'too short');
    if (ether.tags > 0) return this.drops.put(handle, 'tagged');
    if (ether.type === ETHERTYPE_ARP) return this.leg.takeArp(handle, ether.end);
    if (ether.type === ETHERTYPE_IPV4) return this.#give4(handle, chosen);
    if (ether.type === ETHERTYPE_IPV6 && this.leg.six !== undefined) return this.#give6(handle, chosen);
    this.drops.put(handle, 'not for us');
  }

  #give4(handle: number, chosen: number): void {
    const ether = this.#ether;
    const ip = this.#ip;
    if (!ether.destinationIs(this.leg.mac) || !ip.at(handle, ether.end, ether.limit)) return this.drops.put(handle, 'not for us');
    if (ip.destination === this.leg.address) return this.leg.takeOwn(handle);
    if (ip.destination !== this.#four) return this.drops.put(handle, 'not for us');
    this.#pass(handle, chosen);
  }

  #give6(handle: number, chosen: number): void {
    const ether = this.#ether;
    const ip = this.#ip6;
    const { u8 } = this.#host.mbufs;
    if (!ip.at(handle, ether.end, ether.limit)) return this.drops.put(handle, 'too short');
    if (ip.destinationIsMulticast || this.leg.isOwn6(u8, ip.destinationAt)) return this.leg.take6(handle, ip);
    if (!ether.destinationIs(this.leg.mac) || this.#six === undefined || !isAddress(u8, ip.destinationAt, this.#six)) return this.drops.put(handle, 'not for us');
    this.#pass(handle, chosen);
  }

  #pass(handle: number, chosen: number): void {
    if (chosen === MAGLEV_NONE) return this.drops.put(handle, 'no backend');
    const to = this.servers[chosen]!;
    to.packets++;
    this.leg.send(handle, to.neighbour);
  }

  #alive(neighbour: Neighbour): void {
    const found = this.servers.find(each => each.neighbour === neighbour);
    if (found === undefined) return;
    found.seen = performance.now();
    if (!found.up) this.#set(found, true);
  }

  #set(which: Server, up: boolean): void {
    which.up = up;
    const moved = this.#build();
    process.stdout.write(`${which.name} is ${up ? 'up' : 'down'}: ${(moved / this.#maglev.size * 100).toFixed(1)} % of the table moved\n`);
  }

  #build(all = false): number {
    return this.#maglev.build(this.servers.flatMap(({ name, up, weight }, value) => up || all ? [{ name, value, weight }] : []));
  }

  /** "a=10.0.0.11", "a=10.0.0.11*2" or "a=fd00::11" */
  #server(text: string, network: string): Server {
    const [, name, address, weight = '1'] = /^([\w.-]+)=([\da-f.:]+)(?:\*(\d{1,5}))?$/i.exec(text) ?? [];
    if (name === undefined) throw new PollmodeError('EOPTION', `"${text}" is no backend: write it as a=10.0.0.11 or a=fd00::11, or with a weight as a=10.0.0.11*2.`);
    const bytes = Uint8Array.from(addressBytes(address!));
    if (!this.leg.holdsBytes(bytes)) throw new PollmodeError('EOPTION', `Backend ${name} (${address!}) is not in ${network}: a backend must be a neighbour.`);
    return { name, neighbour: this.leg.neighbour(bytes), weight: Number(weight), seen: -Infinity, up: false, packets: 0 };
  }

  tick(): string {
    const now = performance.now();
    if (now - this.#asked > ASK_EVERY_MS) {
      this.#asked = now;
      for (const each of this.servers) {
        this.leg.ask(each.neighbour);
        if (each.up && now - each.seen > DEAD_AFTER_MS) this.#set(each, false);
      }
    }
    this.leg.tick(now);
    this.leg.out.flush();
    this.drops.flush();
    return `${this.servers.map(({ name, up, packets }) => `${name} ${up ? packets : `${packets} (down)`}`).join(', ')}; ${Object.entries(this.drops.counts).map(([reason, count]) => `${reason} ${count}`).join(', ')}`;
  }

  close(): void {
    this.leg.close();
    this.drops.flush();
  }
}

function isOneOf(address: Uint8Array, list: readonly (Uint8Array | undefined)[]): boolean {
  return list.some(each => each !== undefined && each.length === address.length && isAddress(address, 0, each));
}

async function balancer(device: string, network: string, options: Options): Promise<void> {
  const host = open([device]);
  const program = new Balancer(host, network, options);
  process.stdout.write(`${String(program.leg)}, serves ${options.service.join(' and ')}\n`);
  await run(host, () => program.turn(), () => program.tick(), options, () => program.close());
}

const collect = (value: string, list: string[] = []): string[] => [...list, value];
await main(new Command('balancer').description('Spreads connections to one address over backends that have it on their loopback.')
  .argument('<device>').argument('<address>', 'ours, with its network: 10.0.0.1/24, fd00::1/64, or both with a comma between')
  .requiredOption('--service <address>', 'the address that is served; may be given twice, for one of each family', collect)
  .requiredOption('--backend <name=address>', 'a machine that serves, by its address of either family, with a weight if wanted (*2); may be given several times; the same on every balancer', collect)
  .option('--key <hex>', 'of the Toeplitz hash, 40 bytes or more, or a word: default, symmetric; the same on every balancer', 'default')
  .option('--seconds <s>', 'stop after so long', seconds)
  .option('--quiet', 'no line every second')
  .action(balancer));

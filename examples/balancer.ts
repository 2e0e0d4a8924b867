/**
 * balancer: a layer-4 load balancer. Connections to one address are spread over backends by Maglev hashing (Eisenbud and
 * others, NSDI 2016), so that many such machines with the same list of backends choose alike, with no state between
 * them; and when a backend goes, hardly any connection of the others moves.
 *
 *   node dist/examples/balancer.js af_xdp:eth0 10.0.0.1/24 --service 10.0.0.100 --backend a=10.0.0.11 --backend b=10.0.0.12*2
 *
 * Packets are given to a backend as they are, under its MAC address (direct server return): each backend has the service's
 * address on its loopback and answers the client itself, past this machine. On Linux a backend must not say by ARP that
 * it has that address: net.ipv4.conf.all.arp_ignore=1 and arp_announce=2.
 *
 * How a packet goes: rxBurst → 5-tuples hashed, a burst at a time → the table's answers, a burst at a time → the backend's
 * MAC address → txBurst. A backend that answers no ARP for three seconds is taken out of the table, and put back when it does.
 */
import { Command } from 'commander';
import {
  ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet, formatIpv4, Ipv4, Maglev, MAGLEV_NONE, open, parseIpv4, PollmodeError, Rss, Vector, type Burst, type Host,
} from '../lib/index.js';
import { Leg } from './parts/leg.js';
import { Drops } from './parts/out.js';
import { main, run, type RunOptions } from './parts/run.js';

interface Options extends RunOptions { readonly service: string; readonly backend: string[]; readonly key: string }

/** A machine that serves. */
interface Server { readonly name: string; readonly address: number; readonly weight: number; seen: number; up: boolean; packets: number }

const ASK_EVERY_MS = 1000;
const DEAD_AFTER_MS = 3000;

class Balancer {
  readonly drops: Drops;
  readonly leg: Leg;
  readonly servers: readonly Server[];
  readonly #service: number;
  readonly #maglev: Maglev;
  readonly #rss: Rss;
  readonly #hashes: Vector;
  readonly #chosen: Vector;
  readonly #burst: Burst;
  readonly #host: Host;
  readonly #ether: Ethernet;
  readonly #ip: Ipv4;
  #asked = -Infinity;

  constructor(host: Host, network: string, { service, backend, key }: Options) {
    this.#host = host;
    this.drops = new Drops(host);
    this.leg = new Leg(host, host.ports[0]!, network, this.drops);
    // The service's address is ours to answer ARP for, and nothing else.
    this.leg.also = this.#service = parseIpv4(service);
    this.servers = backend.map(server);
    for (const { name, address } of this.servers) if (!this.leg.holds(address)) throw new PollmodeError('EOPTION', `Backend ${name} (${formatIpv4(address)}) is not in ${network}: a backend must be a neighbour.`);
    // Every machine must hash alike: the key is part of the configuration.
    this.#rss = Rss.create(host.arena, 'balancer', { key: key === 'default' ? 'default' : Uint8Array.from(Buffer.from(key, 'hex')) });
    this.#maglev = Maglev.create(host.arena, 'backends');
    this.#hashes = new Vector(host.arena, 32);
    this.#chosen = new Vector(host.arena, 32);
    this.#burst = host.burst(32);
    this.#ether = new Ethernet(host.mbufs);
    this.#ip = new Ipv4(host.mbufs);
    this.leg.heard = address => this.#alive(address);
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
    const ip = this.#ip;
    if (!ether.at(handle)) return this.drops.put(handle, 'too short');
    if (ether.type === ETHERTYPE_ARP) return this.leg.takeArp(handle, ether.end);
    if (ether.type !== ETHERTYPE_IPV4 || !ether.destinationIs(this.leg.mac) || !ip.at(handle, ether.end, ether.limit)) return this.drops.put(handle, 'not for us');
    if (ip.destination === this.leg.address) return this.leg.takeOwn(handle, ip);
    if (ip.destination !== this.#service) return this.drops.put(handle, 'not for us');
    if (chosen === MAGLEV_NONE) return this.drops.put(handle, 'no backend');
    const to = this.servers[chosen]!;
    to.packets++;
    this.leg.sendTo(handle, to.address);
  }

  #alive(address: number): void {
    const found = this.servers.find(each => each.address === address);
    if (found === undefined) return;
    found.seen = performance.now();
    if (!found.up) this.#set(found, true);
  }

  #set(which: Server, up: boolean): void {
    which.up = up;
    const moved = this.#build();
    process.stdout.write(`${which.name} is ${up ? 'up' : 'down'}: ${(moved / this.#maglev.size * 100).toFixed(1)} % of the table moved\n`);
  }

  #build(): number {
    return this.#maglev.build(this.servers.flatMap(({ name, up, weight }, value) => up ? [{ name, value, weight }] : []));
  }

  tick(): string {
    const now = performance.now();
    if (now - this.#asked > ASK_EVERY_MS) {
      this.#asked = now;
      for (const each of this.servers) {
        this.leg.ask(each.address);
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

/** "a=10.0.0.11" or "a=10.0.0.11*2" */
function server(text: string): Server {
  const [, name, address, weight = '1'] = /^([\w.-]+)=([\d.]+)(?:\*(\d{1,5}))?$/.exec(text) ?? [];
  if (name === undefined) throw new PollmodeError('EOPTION', `"${text}" is no backend: write it as a=10.0.0.11, or with a weight as a=10.0.0.11*2.`);
  return { name, address: parseIpv4(address!), weight: Number(weight), seen: -Infinity, up: false, packets: 0 };
}

async function balancer(device: string, network: string, options: Options): Promise<void> {
  const host = open([device]);
  const program = new Balancer(host, network, options);
  process.stdout.write(`${String(program.leg)}, serves ${options.service}\n`);
  await run(host, () => program.turn(), () => program.tick(), options, () => program.close());
}

const collect = (value: string, list: string[] = []): string[] => [...list, value];
await main(new Command('balancer').description('Spreads connections to one address over backends that have it on their loopback.')
  .argument('<device>').argument('<address>', 'ours, with its network: 10.0.0.1/24')
  .requiredOption('--service <address>', 'the address that is served')
  .requiredOption('--backend <name=address>', 'a machine that serves, with a weight if wanted (*2); may be given several times; the same on every balancer', collect)
  .option('--key <hex>', 'of the Toeplitz hash, 40 bytes; the same on every balancer', 'default')
  .option('--seconds <s>', 'stop after so long', Number)
  .option('--quiet', 'no line every second')
  .action(balancer));

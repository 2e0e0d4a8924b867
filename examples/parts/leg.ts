import {
  Arp, ARP_REQUEST, Checksums, Ethernet, formatIpv4, Icmp, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, Ipv4, parseIpv4,
  adjustChecksum, ETHERTYPE_ARP, PollmodeError, PROTOCOL_ICMP, type Burst, type Host, type Port,
} from '../../lib/index.js';
import { Out, type Drops } from './out.js';

/** Packets that wait for their neighbour's address, since when, and when it was last asked for (`performance.now()`). */
interface Waiting { readonly handles: number[]; readonly since: number; asked: number }

const ASK_AGAIN_MS = 1000;
const GIVE_UP_MS = 3000;
/** Packets that wait for one neighbour, and neighbours that are waited for: more are dropped, so that a scan of a whole network holds few. */
const WAITING_MAX = 8;
const ASKED_MAX = 64;
/** Neighbours that are known: the oldest goes. */
const NEIGHBOURS_MAX = 4096;

/**
 * A router's leg: a port with an IPv4 address in a network. It answers ARP (RFC 826) and pings (RFC 792) to its address,
 * learns its neighbours, and holds a packet for one that it must ask for first.
 */
export class Leg {
  readonly port: Port;
  readonly address: number;
  /** Bits of the network. */
  readonly depth: number;
  readonly mac: Uint8Array;
  readonly out: Out;
  /** A second address that ARP is answered for: one that a load balancer serves. */
  also = -1;
  /** Is told of each ARP packet that a neighbour sent. */
  heard: (address: number) => void = () => undefined;
  /** Is told of each neighbour that is new or has moved. */
  learned: (address: number, mac: Uint8Array) => void = () => undefined;
  // By address as i32, which V8 keeps as a small integer.
  readonly #neighbours = new Map<number, Uint8Array>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #host: Host;
  readonly #drops: Drops;
  readonly #one: Burst;
  readonly #ether: Ethernet;
  readonly #arp: Arp;
  readonly #icmp: Icmp;
  readonly #ip: Ipv4;
  readonly #checksums: Checksums;

  /** @param network "10.0.0.1/24": the leg's own address in it */
  constructor(host: Host, port: Port, network: string, drops: Drops) {
    const [address = '', depth = '24'] = network.split('/');
    if (!/^\d+$/.test(depth) || Number(depth) > 32) throw new PollmodeError('EOPTION', `"${network}" is no address in a network: write it as 10.0.0.1/24.`);
    this.port = port;
    this.address = parseIpv4(address);
    this.depth = Number(depth);
    // A port that has none (a ring, a capture file) gets a locally administered one.
    this.mac = Uint8Array.from((port.mac ?? `02:00:00:00:01:0${port.number}`).split(':'), byte => parseInt(byte, 16));
    this.out = new Out(host, port);
    this.#host = host;
    this.#drops = drops;
    this.#one = host.burst(1);
    this.#ether = new Ethernet(host.mbufs);
    this.#arp = new Arp(host.mbufs);
    this.#icmp = new Icmp(host.mbufs);
    this.#ip = new Ipv4(host.mbufs);
    this.#checksums = new Checksums(host.arena);
  }

  /** The network's own address. */
  get network(): number {
    return this.depth === 0 ? 0 : (this.address & (-1 << (32 - this.depth))) >>> 0;
  }

  /** Is it in this leg's network? */
  holds(address: number): boolean {
    return this.depth === 0 || (address ^ this.address) >>> (32 - this.depth) === 0;
  }

  /** An ARP packet that came in here: learned from, answered when it asks for us. The packet is this leg's. */
  takeArp(handle: number, offset: number): void {
    const arp = this.#arp;
    if (!arp.at(handle, offset)) return this.#drops.put(handle, 'bad ARP');
    if (this.holds(arp.senderAddress)) this.#learn(arp.senderAddress, this.#host.mbufs.u8.slice(arp.senderMacAt, arp.senderMacAt + 6));
    if (arp.operation !== ARP_REQUEST || (arp.targetAddress !== this.address && arp.targetAddress !== this.also)) return this.#drops.put(handle, 'ARP');
    arp.reply(this.mac);
    this.#ether.at(handle);
    this.#ether.swap();
    this.#ether.setSource(this.mac);
    this.out.put(handle);
  }

  /** An IPv4 packet for our own address. The packet is this leg's. */
  takeOwn(handle: number, ip: Ipv4): void {
    const icmp = this.#icmp;
    if (ip.protocol !== PROTOCOL_ICMP || ip.isFragment || !icmp.at(handle, ip.end, ip.limit) || icmp.type !== ICMP_ECHO_REQUEST) return this.#drops.put(handle, 'for us');
    icmp.type = ICMP_ECHO_REPLY;
    icmp.checksum = adjustChecksum(icmp.checksum, ICMP_ECHO_REQUEST << 8, ICMP_ECHO_REPLY << 8);
    const asker = ip.source;
    ip.source = ip.destination; // the header's sum stays: the same words in another order
    ip.destination = asker;
    this.#ether.at(handle);
    this.#ether.swap();
    this.out.put(handle);
  }

  /**
   * An ICMP error about an IPv4 packet that came in here, to who sent it (RFC 792; RFC 1122 section 3.2.2 says about
   * which packets there is none). The packet is this leg's: the error is written around its first bytes.
   */
  refuse(handle: number, ip: Ipv4, type: number, code: number, reason: string): void {
    const { mbufs } = this.#host;
    const quoted = ip.length + Math.min(8, ip.payloadLength);
    const [sender, whole] = [ip.source, ip.offset + quoted];
    const silent = ip.fragmentOffset !== 0 || sender >>> 28 >= 14 || sender === 0 || (ip.protocol === PROTOCOL_ICMP && !this.#isEcho(handle, ip));
    if (silent || ip.offset !== 14 || !mbufs.trim(handle, mbufs.pktLen(handle) - whole) || mbufs.prepend(handle, 28) === 0) return this.#drops.put(handle, reason);
    const start = mbufs.data(handle);
    mbufs.u8.copyWithin(start, start + 28, start + 42);
    this.#ether.at(handle);
    this.#ether.swap();
    this.#ether.setSource(this.mac);
    this.#ip.make(handle, 14, PROTOCOL_ICMP);
    this.#ip.source = this.address;
    this.#ip.destination = sender;
    this.#icmp.make(handle, 34, type, code);
    this.#one.handles[0] = handle;
    this.#checksums.fill(this.#one, 1);
    this.#drops.counts[reason] = (this.#drops.counts[reason] ?? 0) + 1;
    this.out.put(handle);
  }

  #isEcho(handle: number, ip: Ipv4): boolean {
    return this.#icmp.at(handle, ip.end, ip.limit) && (this.#icmp.type === ICMP_ECHO_REQUEST || this.#icmp.type === ICMP_ECHO_REPLY);
  }

  /** Sends an IPv4 packet to a neighbour, now or when its address is known. The packet is this leg's. */
  sendTo(handle: number, neighbour: number): void {
    const mac = this.#neighbours.get(neighbour | 0);
    if (mac === undefined) return this.#wait(handle, neighbour);
    this.#ether.at(handle);
    this.#ether.setDestination(mac);
    this.#ether.setSource(this.mac);
    this.out.put(handle);
  }

  /** Asks for a neighbour, without a packet for it. */
  ask(address: number): void {
    if (this.#host.pool.alloc(this.#one, 1) === 0) return;
    const handle = this.#one.handles[0]!;
    const { mbufs } = this.#host;
    mbufs.u8.fill(0, mbufs.append(handle, 60), mbufs.data(handle) + 60);
    this.#ether.make(handle, 0, ETHERTYPE_ARP);
    this.#ether.setDestination(BROADCAST);
    this.#ether.setSource(this.mac);
    this.#arp.make(handle, 14, ARP_REQUEST);
    mbufs.u8.set(this.mac, this.#arp.senderMacAt);
    this.#arp.senderAddress = this.address;
    this.#arp.targetAddress = address;
    this.out.put(handle);
  }

  /** Now and then: asks again, and gives up. */
  tick(now: number): void {
    for (const [address, waiting] of this.#waiting) {
      if (now - waiting.since >= GIVE_UP_MS) {
        this.#waiting.delete(address);
        for (const handle of waiting.handles) this.#drops.put(handle, 'no such neighbour');
      } else if (now - waiting.asked >= ASK_AGAIN_MS) {
        waiting.asked = now;
        this.ask(address >>> 0);
      }
    }
  }

  /** What it holds is freed. */
  close(): void {
    for (const { handles } of this.#waiting.values()) for (const handle of handles) this.#drops.put(handle, 'at the end');
    this.#waiting.clear();
  }

  #wait(handle: number, address: number): void {
    let waiting = this.#waiting.get(address | 0);
    if (waiting === undefined) {
      if (this.#waiting.size === ASKED_MAX) return this.#drops.put(handle, 'no such neighbour');
      const now = performance.now();
      waiting = { handles: [], since: now, asked: now };
      this.#waiting.set(address | 0, waiting);
      this.ask(address);
    }
    if (waiting.handles.length === WAITING_MAX) this.#drops.put(handle, 'no such neighbour');
    else waiting.handles.push(handle);
  }

  #learn(address: number, mac: Uint8Array): void {
    if ((mac[0]! & 1) !== 0 || address === this.address || address === this.also) return; // a group has no address, and ours is ours
    this.heard(address);
    const known = this.#neighbours.get(address | 0);
    if (known === undefined || known.some((byte, i) => byte !== mac[i])) {
      if (this.#neighbours.size === NEIGHBOURS_MAX) this.#neighbours.delete(this.#neighbours.keys().next().value!);
      this.#neighbours.set(address | 0, mac);
      this.learned(address, mac);
    }
    const waiting = this.#waiting.get(address | 0);
    this.#waiting.delete(address | 0);
    for (const handle of waiting?.handles ?? []) this.sendTo(handle, address);
  }

  toString(): string {
    return `${formatIpv4(this.address)}/${this.depth} on ${this.port.name}, ${this.#neighbours.size} neighbours`;
  }
}

const BROADCAST = new Uint8Array(6).fill(0xff);

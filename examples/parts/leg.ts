import {
  addressBytes, Arp, ARP_REQUEST, Checksums, Ethernet, formatIpv6, Ipv6, NeighborMessage, parseIpv4, parseMac, PollmodeError, PROTOCOL_ICMPV6, Responder,
  type Burst, type Host, type IcmpError, type Port,
} from '../../lib/index.js';
import { Neighbours, type Neighbour } from './neighbours.js';
import { Out, type Drops } from './out.js';

const ASK_AGAIN_MS = 1000;
const GIVE_UP_MS = 3000;
/** Packets that wait for one neighbour, and neighbours that are waited for: more are dropped, so that a scan of a whole network holds few. */
const WAITING_MAX = 8;
const ASKED_MAX = 64;
/** ICMP errors in a tenth of a second: more would make a flood of them an attack on who is said to have sent it (RFC 4443 section 2.4 (f)). */
const ERRORS_PER_TICK = 100;

/** An address of ours, as it stands in packets, and the bits of its network. */
interface Network { readonly bytes: Uint8Array; readonly depth: number }

/**
 * A router's leg: a port with an address in a network, of IPv4, IPv6 or both. It answers ARP (RFC 826), neighbour
 * solicitations (RFC 4861) and pings to its addresses, learns its neighbours, and holds a packet for one that it must ask
 * for first. With IPv6 it has a link-local address too (RFC 4291 section 2.5.6, from its MAC address).
 */
export class Leg {
  readonly port: Port;
  readonly four: Network | undefined;
  readonly six: Network | undefined;
  /** The IPv4 address as a number, -1 for none. */
  readonly address: number;
  readonly mac: Uint8Array;
  readonly out: Out;
  /** Addresses that neighbours are told are here, too: those that a load balancer serves. 4 or 16 bytes each. */
  also: readonly Uint8Array[] = [];
  /** Is told of each message by which a neighbour said where it is. */
  heard: (neighbour: Neighbour) => void = () => undefined;
  /** Is told of each neighbour that is new or has moved. */
  learned: (neighbour: Neighbour) => void = () => undefined;
  readonly #linkLocal: Uint8Array;
  readonly #neighbours: Neighbours;
  readonly #asked = new Set<Neighbour>();
  readonly #host: Host;
  readonly #drops: Drops;
  readonly #responder: Responder;
  readonly #checksums: Checksums;
  readonly #one: Burst;
  readonly #ether: Ethernet;
  readonly #arp: Arp;
  readonly #message: NeighborMessage;
  #errors = ERRORS_PER_TICK;

  /** @param networks "10.0.0.1/24", "fd00::1/64", or both with a comma between them: the leg's own address in each */
  constructor(host: Host, port: Port, networks: string, drops: Drops) {
    const list = networks.split(',').map(network);
    this.port = port;
    this.four = list.find(({ bytes }) => bytes.length === 4);
    this.six = list.find(({ bytes }) => bytes.length === 16);
    if (list.length > (this.four === undefined ? 0 : 1) + (this.six === undefined ? 0 : 1)) throw new PollmodeError('EOPTION', `"${networks}": a leg has one address of each family at most.`);
    this.address = this.four === undefined ? -1 : parseIpv4(this.four.bytes.join('.'));
    // A port that has none (a ring, a capture file) gets a locally administered one.
    this.mac = port.mac === undefined ? Uint8Array.of(2, 0, 0, 0, 1, port.number) : parseMac(port.mac);
    this.#linkLocal = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, this.mac[0]! ^ 2, this.mac[1]!, this.mac[2]!, 0xff, 0xfe, this.mac[3]!, this.mac[4]!, this.mac[5]!);
    this.out = new Out(host, port);
    this.#neighbours = new Neighbours(host, String(port.number));
    this.#host = host;
    this.#drops = drops;
    this.#responder = new Responder(host.pool);
    this.#checksums = new Checksums(host.arena);
    this.#one = host.burst(1);
    this.#ether = new Ethernet(host.mbufs);
    this.#arp = new Arp(host.mbufs);
    this.#message = new NeighborMessage(host.mbufs);
    if (this.six !== undefined) this.listen();
  }

  /** Has a NIC that filters let through what is sent to those who are asked for: all nodes, and the groups of our addresses (RFC 4291 section 2.7.1). */
  listen(): void {
    const mine = [this.six!.bytes, this.#linkLocal, ...this.also.filter(each => each.length === 16)];
    this.port.multicast?.(['33:33:00:00:00:01', ...mine.map(each => `33:33:ff:${Array.from(each.subarray(13), byte => byte.toString(16).padStart(2, '0')).join(':')}`)]);
  }

  /** Is it in this leg's network? */
  holds(address: number): boolean {
    return this.four !== undefined && (this.four.depth === 0 || (address ^ this.address) >>> (32 - this.four.depth) === 0);
  }

  /** The same for 16 bytes, wherever they stand. */
  holds6(u8: Uint8Array, at: number): boolean {
    return this.six !== undefined && isWithin(u8, at, this.six);
  }

  /** The same for 4 or 16 bytes. */
  holdsBytes(address: Uint8Array): boolean {
    return address.length === 4 ? this.four !== undefined && isWithin(address, 0, this.four) : this.holds6(address, 0);
  }

  isOwn6(u8: Uint8Array, at: number): boolean {
    return this.six !== undefined && (isAddress(u8, at, this.six.bytes) || isAddress(u8, at, this.#linkLocal));
  }

  /** An ARP packet that came in here: learned from, answered when it asks for us. The packet is this leg's. */
  takeArp(handle: number, offset: number): void {
    const arp = this.#arp;
    const { u8 } = this.#host.mbufs;
    if (!arp.at(handle, offset)) return this.#drops.put(handle, 'bad ARP');
    if (this.holds(arp.senderAddress)) this.#learn(u8.slice(arp.start + 14, arp.start + 18), u8.slice(arp.senderMacAt, arp.senderMacAt + 6));
    if (arp.operation !== ARP_REQUEST || !this.#isHere(u8.subarray(arp.start + 24, arp.start + 28))) return this.#drops.put(handle, 'ARP');
    arp.reply(this.mac);
    this.#ether.at(handle);
    this.#ether.swap();
    this.#ether.setSource(this.mac);
    this.out.put(handle);
  }

  /** An IPv4 or IPv6 packet for our own address: pings are answered. The packet is this leg's. */
  takeOwn(handle: number): void {
    if (this.#responder.echo(handle)) this.out.put(handle);
    else this.#drops.put(handle, 'for us');
  }

  /** An IPv6 packet for one of our addresses, or to a group: neighbours' messages are learned from and answered. The packet is this leg's. */
  take6(handle: number, ip: Ipv6): void {
    const message = this.#message;
    if (ip.protocol !== PROTOCOL_ICMPV6 || !message.at(handle, ip.end, ip.limit)) return this.takeOwn(handle);
    this.#one.handles[0] = handle;
    if (!message.isValid(ip) || this.#checksums.check(this.#one, 1) > 0) return this.#drops.put(handle, 'bad neighbour message');
    const { u8 } = this.#host.mbufs;
    const who = message.isSolicitation ? ip.sourceAt : message.targetAt;
    const address = u8.slice(who, who + 16);
    // An advertisement that nobody asked for makes no neighbour (section 7.2.5).
    if (message.macAt > 0 && this.holds6(u8, who) && (message.isSolicitation || this.#neighbours.find(address) !== undefined)) this.#learn(address, u8.slice(message.macAt, message.macAt + 6));
    const isForUs = message.isSolicitation && (this.isOwn6(u8, message.targetAt) || this.#isHere(u8.subarray(message.targetAt, message.targetAt + 16)));
    if (isForUs && this.#responder.advertise(handle, this.mac)) this.out.put(handle);
    else this.#drops.put(handle, 'neighbour message');
  }

  /** An ICMP error about a packet that came in here, to who sent it. The packet is this leg's. */
  refuse(handle: number, why: IcmpError, mtu = 0): void {
    const [four, six] = [this.four, this.six];
    const isMade = this.#errors > 0 && ((four !== undefined && this.#responder.error(handle, why, four.bytes, mtu)) || (six !== undefined && this.#responder.error(handle, why, six.bytes, mtu)));
    if (!isMade) return this.#drops.put(handle, why);
    this.#errors--;
    this.#drops.count(why);
    this.#ether.at(handle);
    this.#ether.setSource(this.mac);
    this.out.put(handle);
  }

  /** Has the port room for a packet of this length? */
  fits(handle: number): boolean {
    return this.#host.mbufs.pktLen(handle) <= this.port.capabilities.mtu + 14;
  }

  /** Sends a packet to a neighbour by its IPv4 address, now or when its MAC address is known. The packet is this leg's. */
  sendTo(handle: number, address: number): void {
    const known = this.#neighbours.find4(address);
    if (known?.mac !== undefined) this.send(handle, known);
    else this.#wait(handle, known ?? this.#neighbours.add(Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address)));
  }

  /** The same by 16 bytes, wherever they stand. */
  sendTo6(handle: number, u8: Uint8Array, at: number): void {
    const known = this.#neighbours.find6(u8, at);
    if (known?.mac !== undefined) this.send(handle, known);
    else this.#wait(handle, known ?? this.#neighbours.add(u8.slice(at, at + 16)));
  }

  /** The same for one that was found before. */
  send(handle: number, neighbour: Neighbour): void {
    if (neighbour.mac === undefined) return this.#wait(handle, neighbour);
    this.#ether.at(handle);
    this.#ether.setDestination(neighbour.mac);
    this.#ether.setSource(this.mac);
    this.out.put(handle);
  }

  /** A neighbour that is to be kept, known or not: 4 or 16 bytes. Throws EOPTION for an address of ours. */
  neighbour(address: Uint8Array): Neighbour {
    if (this.#isHere(address)) throw new PollmodeError('EOPTION', `${textOf(address)} is an address of ours: a gateway or a backend is another machine.`);
    const neighbour = this.#neighbours.add(address);
    neighbour.isFixed = true;
    return neighbour;
  }

  /** Asks for a neighbour, without a packet for it. */
  ask({ address }: Neighbour): void {
    const source = (address.length === 4 ? this.four : this.six)?.bytes;
    if (source === undefined || this.#host.pool.alloc(this.#one, 1) === 0) return;
    const handle = this.#one.handles[0]!;
    if (this.#responder.ask(handle, this.mac, source, address)) this.out.put(handle);
    else this.#drops.put(handle, 'no room');
  }

  /** Ten times a second: asks again, and gives up. */
  tick(now: number): void {
    this.#errors = ERRORS_PER_TICK;
    for (const each of this.#asked) {
      if (now - each.since >= GIVE_UP_MS) this.#giveUp(each, 'no such neighbour');
      else if (now - each.asked >= ASK_AGAIN_MS) {
        each.asked = now;
        this.ask(each);
      }
    }
  }

  /** What it holds is freed. */
  close(): void {
    for (const each of this.#asked) this.#giveUp(each, 'at the end');
    this.#responder.close();
  }

  #giveUp(neighbour: Neighbour, why: string): void {
    this.#asked.delete(neighbour);
    for (const handle of neighbour.waiting.splice(0)) this.#drops.put(handle, why);
    if (!neighbour.isFixed) this.#neighbours.delete(neighbour);
  }

  #wait(handle: number, neighbour: Neighbour): void {
    if (!this.#asked.has(neighbour)) {
      if (this.#asked.size === ASKED_MAX) {
        if (neighbour.mac === undefined && !neighbour.isFixed) this.#neighbours.delete(neighbour);
        return this.#drops.put(handle, 'no such neighbour');
      }
      neighbour.since = neighbour.asked = performance.now();
      this.#asked.add(neighbour);
      this.ask(neighbour);
    }
    if (neighbour.waiting.length === WAITING_MAX) this.#drops.put(handle, 'no such neighbour');
    else neighbour.waiting.push(handle);
  }

  #learn(address: Uint8Array, mac: Uint8Array): void {
    if ((mac[0]! & 1) !== 0 || this.#isHere(address)) return; // a group has no address, and ours is ours
    const neighbour = this.#neighbours.add(address);
    const moved = neighbour.mac === undefined || neighbour.mac.some((byte, i) => byte !== mac[i]);
    neighbour.mac = mac;
    this.#asked.delete(neighbour);
    this.heard(neighbour);
    if (moved) this.learned(neighbour);
    for (const handle of neighbour.waiting.splice(0)) this.send(handle, neighbour);
  }

  /** One of our addresses, or of those that neighbours are told are here: 4 or 16 bytes. */
  #isHere(address: Uint8Array): boolean {
    return [this.four?.bytes, this.six?.bytes, ...this.also].some(each => each !== undefined && each.length === address.length && isAddress(address, 0, each));
  }

  toString(): string {
    const text = [this.four, this.six].flatMap(each => each === undefined ? [] : [`${textOf(each.bytes)}/${each.depth}`]);
    return `${text.join(' and ')} on ${this.port.name}, ${this.#neighbours.count} neighbours`;
  }
}

/** Throws EOPTION where two legs are in the same network: nobody could say by which of them its hosts are reached. */
export function refuseSameNetwork(legs: readonly Leg[]): void {
  const seen = new Set<string>();
  for (const each of legs.flatMap(leg => [leg.four, leg.six]).filter(each => each !== undefined)) {
    const text = `${textOf(prefixOf(each))}/${each.depth}`;
    if (seen.has(text)) throw new PollmodeError('EOPTION', `Two legs are in ${text}: give each a network of its own.`);
    seen.add(text);
  }
}

/** "10.0.0.1/24" or "fd00::1/64". */
function network(text: string): Network {
  const [address = '', depth = address.includes(':') ? '64' : '24'] = text.split('/');
  const bytes = Uint8Array.from(addressBytes(address));
  const bits = bytes.length * 8;
  if (!/^\d+$/.test(depth) || Number(depth) > bits) throw new PollmodeError('EOPTION', `"${text}" is no address in a network: write it as 10.0.0.1/24 or fd00::1/64.`);
  const found = { bytes, depth: Number(depth) };
  const isGroup = bytes[0]! >= (bits === 32 ? 224 : 0xff) || bytes.every(byte => byte === 0);
  // A point-to-point link's two addresses are both hosts' (RFC 3021, RFC 6164).
  const isWhole = found.depth < bits - 1 && (isAddress(bytes, 0, prefixOf(found)) || (bits === 32 && isAddress(bytes, 0, lastOf(found))));
  if (isGroup || isWhole) throw new PollmodeError('EOPTION', `"${text}": ${address} is no host's address${isWhole && !isGroup ? ', but the network\'s own or its broadcast' : ''}: give the one that is ours, as 10.0.0.1/24 or fd00::1/64.`);
  return found;
}

/** The network's broadcast address: the bits behind its length are 1. */
function lastOf({ bytes, depth }: Network): Uint8Array {
  return bytes.map((byte, i) => byte | (0xff >> Math.min(8, Math.max(0, depth - i * 8))));
}

function textOf(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join('.') : formatIpv6(bytes);
}

/** The network's own address: the bits behind its length are 0. */
export function prefixOf({ bytes, depth }: Network): Uint8Array {
  return bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, depth - i * 8))));
}

function isWithin(u8: Uint8Array, at: number, { bytes, depth }: Network): boolean {
  const whole = depth >> 3;
  for (let i = 0; i < whole; i++) if (u8[at + i] !== bytes[i]) return false;
  return (depth & 7) === 0 || ((u8[at + whole]! ^ bytes[whole]!) >>> (8 - (depth & 7))) === 0;
}

/** Do this address's bytes stand there? */
export function isAddress(u8: Uint8Array, at: number, address: Uint8Array): boolean {
  for (let i = 0; i < address.length; i++) if (u8[at + i] !== address[i]) return false;
  return true;
}

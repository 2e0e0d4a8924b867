import { Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { Chains } from '../mbuf/chains.js';
import * as layout from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { ARP_REQUEST, Arp } from './arp.js';
import { adjustChecksum } from './checksum.js';
import { Ethernet } from './ether.js';
import {
  Icmp, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_ADVERTISEMENT, ICMPV6_NEIGHBOR_SOLICITATION, ICMPV6_PACKET_TOO_BIG, ICMPV6_REDIRECT, ICMPV6_TIME_EXCEEDED, ICMPV6_UNREACHABLE,
} from './icmp.js';
import { Ipv4 } from './ipv4.js';
import { Ipv6 } from './ipv6.js';
import { NEIGHBOR_OVERRIDE, NEIGHBOR_ROUTER, NEIGHBOR_SOLICITED, NeighborMessage } from './neighbor.js';
import * as protocol from './protocol_layout.js';

const { MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD, RX_VLAN_STRIPPED } = layout;
const { ARP_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHER_HEADER_BYTES, ICMP_BYTES, IPV4_MIN_BYTES, IPV6_BYTES, PROTOCOL_ICMP, PROTOCOL_ICMPV6 } = protocol;

/** Why a packet goes no farther, as a type and code of each family (those of RFC 792 and RFC 4443; which is which: RFC 7915 section 4.2). */
export const ICMP_ERRORS = {
  'time exceeded': { four: [ICMP_TIME_EXCEEDED, 0], six: [ICMPV6_TIME_EXCEEDED, 0] },
  'no route': { four: [ICMP_UNREACHABLE, 0], six: [ICMPV6_UNREACHABLE, 0] },
  'host unreachable': { four: [ICMP_UNREACHABLE, 1], six: [ICMPV6_UNREACHABLE, 3] },
  'port unreachable': { four: [ICMP_UNREACHABLE, 3], six: [ICMPV6_UNREACHABLE, 4] },
  'too big': { four: [ICMP_UNREACHABLE, 4], six: [ICMPV6_PACKET_TOO_BIG, 0] },
  prohibited: { four: [ICMP_UNREACHABLE, 13], six: [ICMPV6_UNREACHABLE, 1] },
} as const;
export type IcmpError = keyof typeof ICMP_ERRORS;

/** Longest error, from its IP header on: RFC 1812 section 4.3.2.3, and IPv6's least MTU (RFC 4443 section 2.4 (c)). */
const LONGEST_FOUR = 576;
const LONGEST_SIX = 1280;
const FRAME_MIN = 60;

/**
 * What a router or host says by itself, of IPv4 and IPv6: answers to pings and to neighbour solicitations, ICMP errors, and
 * questions for neighbours. An answer is written into the packet that asked, whose mbuf stays the caller's; where there is
 * to be none the packet is as it was. How often errors may be sent is the caller's to say (RFC 4443 section 2.4 (f)).
 *
 * Thread: the one that made it. Nothing here throws or allocates memory.
 */
export class Responder {
  readonly #mbufs: Mbufs;
  readonly #pool: Mempool;
  readonly #burst: BurstFunctions;
  readonly #chains: Chains;
  readonly #one: Burst;
  readonly #ether: Ethernet;
  readonly #arp: Arp;
  readonly #four: Ipv4;
  readonly #six: Ipv6;
  readonly #icmp: Icmp;
  readonly #neighbor: NeighborMessage;

  constructor(pool: Mempool) {
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#burst = burstFunctions(pool.arena);
    this.#chains = new Chains(pool);
    this.#one = new Burst(pool.arena, 1);
    this.#ether = new Ethernet(pool.mbufs);
    this.#arp = new Arp(pool.mbufs);
    this.#four = new Ipv4(pool.mbufs);
    this.#six = new Ipv6(pool.mbufs);
    this.#icmp = new Icmp(pool.mbufs);
    this.#neighbor = new NeighborMessage(pool.mbufs);
  }

  /** An echo request to one host becomes its reply (RFC 792, RFC 4443 section 4.2), of the same data, to who sent it. False, and nothing changed, when it is none. */
  echo(handle: number): boolean {
    const family = this.#readWhole(handle);
    const icmp = this.#icmp;
    if (family === 4) {
      const ip = this.#four;
      if (ip.protocol !== PROTOCOL_ICMP || !isUnicast4(ip.destination) || !isUnicast4(ip.source) || !icmp.at(handle, ip.end, ip.limit) || icmp.type !== ICMP_ECHO_REQUEST) return false;
      [ip.source, ip.destination] = [ip.destination, ip.source];
      ip.ttl = 64;
      ip.updateChecksum();
      this.#retype(ICMP_ECHO_REPLY);
    } else {
      const ip = this.#six;
      if (family !== 6 || ip.protocol !== PROTOCOL_ICMPV6 || ip.destinationIsMulticast || !this.#hasSender6() || !icmp.at(handle, ip.end, ip.limit) || icmp.type !== ICMPV6_ECHO_REQUEST) return false;
      ip.swapAddresses();
      ip.hopLimit = 64;
      this.#retype(ICMPV6_ECHO_REPLY);
    }
    this.#ether.swap();
    return true;
  }

  /**
   * A packet becomes the error about it, to who sent it: its first bytes behind new headers. `source`: our address, 4 or
   * 16 bytes; `mtu`: for 'too big'. False, and nothing changed, for a packet about which there is none (RFC 1122 section
   * 3.2.2, RFC 4443 section 2.4 (e): errors, later fragments, what was sent to many or by nobody), for one that others
   * hold too, and for a source of the other family.
   */
  error(handle: number, why: IcmpError, source: Uint8Array, mtu = 0): boolean {
    const family = this.#read(handle);
    const isFour = family === 4;
    if (family === 0 || source.length !== (isFour ? 4 : 16) || this.#chains.isShared(handle) || this.#ether.isMulticast) return false;
    if (!(isFour ? this.#mayComplain4(handle) : this.#mayComplain6(handle))) return false;
    const header = isFour ? IPV4_MIN_BYTES : IPV6_BYTES;
    const link = this.#ether.end;
    const said = isFour ? this.#four.totalLength : IPV6_BYTES + this.#six.payloadField;
    const quoted = Math.min(said === 0 ? 0xffff : said, this.#mbufs.pktLen(handle) - link, (isFour ? LONGEST_FOUR : LONGEST_SIX) - header - ICMP_BYTES);
    if (this.#mbufs.headroom(handle) < header + ICMP_BYTES || !this.#cut(handle, link + quoted)) return false;
    const start = this.#mbufs.prepend(handle, header + ICMP_BYTES);
    const sender = isFour ? this.#four.start + 12 : this.#six.sourceAt; // the packet stays where it is
    this.#mbufs.u8.copyWithin(start, start + header + ICMP_BYTES, start + header + ICMP_BYTES + link);
    this.#ether.at(handle);
    this.#ether.swap();
    const [type, code] = ICMP_ERRORS[why][isFour ? 'four' : 'six'];
    if (isFour) this.#head4(handle, link, source, sender);
    else this.#head6(handle, link, source, sender);
    this.#icmp.make(handle, link + header, type, code);
    this.#icmp.rest = mtu;
    this.#plain(handle);
    this.#fill(handle);
    return true;
  }

  /** A neighbour solicitation becomes the advertisement "the target is at `mac`, and routes" (RFC 4861 section 7.2.4). Whose target it is, and that it is valid, the caller has seen. */
  advertise(handle: number, mac: Uint8Array): boolean {
    const [ip, neighbor, link] = [this.#six, this.#neighbor, this.#ether];
    if (this.#readWhole(handle) !== 6 || !neighbor.at(handle, ip.end, ip.limit) || !neighbor.isSolicitation || this.#mbufs.segments(handle) !== 1) return false;
    const { u8 } = this.#mbufs;
    const [target, asker, nobody] = [u8.slice(neighbor.targetAt, neighbor.targetAt + 16), u8.slice(ip.sourceAt, ip.sourceAt + 16), ip.sourceIsUnspecified];
    const bytes = link.end + IPV6_BYTES + NEIGHBOR_BYTES_WITH_MAC;
    if (this.#mbufs.tailroom(handle) + this.#mbufs.dataLen(handle) < bytes) return false;
    this.#mbufs.trim(handle, Math.max(0, this.#mbufs.dataLen(handle) - bytes));
    this.#mbufs.append(handle, bytes - this.#mbufs.dataLen(handle));
    link.setDestination(nobody ? ALL_NODES_MAC : u8, nobody ? 0 : link.start + 6);
    link.setSource(mac);
    ip.make(handle, link.end, PROTOCOL_ICMPV6);
    ip.hopLimit = 255;
    u8.set(target, ip.sourceAt);
    u8.set(nobody ? ALL_NODES : asker, ip.destinationAt); // who has no address yet hears it with all others
    neighbor.make(handle, ip.end, ICMPV6_NEIGHBOR_ADVERTISEMENT, NEIGHBOR_ROUTER | NEIGHBOR_OVERRIDE | (nobody ? 0 : NEIGHBOR_SOLICITED), mac);
    u8.set(target, neighbor.targetAt);
    this.#plain(handle);
    this.#fill(handle);
    return true;
  }

  /** A new, empty mbuf becomes the question where `target` is: an ARP request (RFC 826) or a neighbour solicitation. `source` and `target` are both 4 or both 16 bytes. */
  ask(handle: number, mac: Uint8Array, source: Uint8Array, target: Uint8Array): boolean {
    const isFour = target.length === 4;
    const bytes = Math.max(FRAME_MIN, ETHER_HEADER_BYTES + (isFour ? ARP_BYTES : IPV6_BYTES + NEIGHBOR_BYTES_WITH_MAC));
    const at = this.#mbufs.append(handle, bytes);
    if (at === 0) return false;
    const { u8 } = this.#mbufs;
    u8.fill(0, at, at + bytes);
    this.#ether.make(handle, 0, isFour ? ETHERTYPE_ARP : ETHERTYPE_IPV6);
    this.#ether.setSource(mac);
    if (isFour) {
      this.#ether.setDestination(BROADCAST);
      this.#arp.make(handle, ETHER_HEADER_BYTES, ARP_REQUEST);
      u8.set(mac, this.#arp.senderMacAt);
      u8.set(source, this.#arp.start + 14);
      u8.set(target, this.#arp.start + 24);
      return true;
    }
    const [ip, neighbor] = [this.#six, this.#neighbor];
    ip.make(handle, ETHER_HEADER_BYTES, PROTOCOL_ICMPV6);
    ip.hopLimit = 255;
    u8.set(source, ip.sourceAt);
    u8.set(SOLICITED_NODE, ip.destinationAt);
    u8.set(target.subarray(13), ip.destinationAt + 13);
    this.#ether.setDestination(MULTICAST_MAC);
    this.#ether.mbufs.u8.copyWithin(this.#ether.start + 2, ip.destinationAt + 12, ip.destinationAt + 16); // RFC 2464 section 7
    neighbor.make(handle, ip.end, ICMPV6_NEIGHBOR_SOLICITATION, 0, mac);
    u8.set(target, neighbor.targetAt);
    this.#fill(handle);
    return true;
  }

  /** Gives its vectors' memory back. */
  close(): void {
    this.#chains.close();
    this.#one.close();
  }

  /** Points the views at the packet. 4, 6, or 0 for another. */
  #read(handle: number): 0 | 4 | 6 {
    const ether = this.#ether;
    if (!ether.at(handle)) return 0;
    if (ether.type === ETHERTYPE_IPV4) return this.#four.at(handle, ether.end, ether.limit) ? 4 : 0;
    return ether.type === ETHERTYPE_IPV6 && this.#six.at(handle, ether.end, ether.limit) ? 6 : 0;
  }

  /** The same, but 0 for a fragment too, and for a packet that others hold. */
  #readWhole(handle: number): 0 | 4 | 6 {
    const family = this.#read(handle);
    if (family === 0 || (family === 4 ? this.#four : this.#six).isFragment || this.#chains.isShared(handle)) return 0;
    return family;
  }

  #retype(type: number): void {
    const icmp = this.#icmp;
    icmp.checksum = adjustChecksum(icmp.checksum, icmp.type << 8, type << 8);
    icmp.type = type;
  }

  #mayComplain4(handle: number): boolean {
    const ip = this.#four;
    if (ip.fragmentOffset !== 0 || !isUnicast4(ip.source) || !isUnicast4(ip.destination)) return false;
    if (ip.protocol !== PROTOCOL_ICMP) return true;
    return this.#icmp.at(handle, ip.end, ip.limit) && (this.#icmp.type === ICMP_ECHO_REQUEST || this.#icmp.type === ICMP_ECHO_REPLY);
  }

  #mayComplain6(handle: number): boolean {
    const ip = this.#six;
    if (ip.fragmentOffset !== 0 || !this.#hasSender6() || ip.destinationIsMulticast) return false;
    if (ip.protocol !== PROTOCOL_ICMPV6) return true;
    return this.#icmp.at(handle, ip.end, ip.limit) && this.#icmp.type >= 128 && this.#icmp.type !== ICMPV6_REDIRECT; // 0 to 127 are errors
  }

  #hasSender6(): boolean {
    return !this.#six.sourceIsUnspecified && !this.#six.sourceIsMulticast;
  }

  /** The packet's first bytes alone, in one segment. */
  #cut(handle: number, bytes: number): boolean {
    if (this.#mbufs.segments(handle) === 1) return this.#mbufs.trim(handle, this.#mbufs.pktLen(handle) - bytes);
    const at = Math.min(bytes, this.#mbufs.dataLen(handle));
    const rest = this.#chains.split(handle, at);
    if (rest === 0) return false;
    this.#one.handles[0] = rest;
    this.#pool.free(this.#one, 0, 1);
    return true;
  }

  #head4(handle: number, at: number, source: Uint8Array, sender: number): void {
    const { u8 } = this.#mbufs;
    const ip = this.#four;
    ip.make(handle, at, PROTOCOL_ICMP);
    u8.set(source, ip.start + 12);
    u8.copyWithin(ip.start + 16, sender, sender + 4);
  }

  #head6(handle: number, at: number, source: Uint8Array, sender: number): void {
    const { u8 } = this.#mbufs;
    const ip = this.#six;
    ip.make(handle, at, PROTOCOL_ICMPV6);
    u8.set(source, ip.sourceAt);
    u8.copyWithin(ip.destinationAt, sender, sender + 16);
  }

  /** Nothing that its sender left to be done, or that was found out, is so of the answer. */
  #plain(handle: number): void {
    const header = this.#mbufs.header(handle) >>> 2;
    this.#mbufs.u32[header + MBUF_OL_FLAGS / 4]! &= RX_VLAN_STRIPPED;
    this.#mbufs.u32[header + MBUF_PACKET_TYPE / 4] = 0;
    this.#mbufs.u32[header + MBUF_TX_OFFLOAD / 4] = 0;
  }

  #fill(handle: number): void {
    this.#one.handles[0] = handle;
    this.#burst.checksumFill(this.#mbufs.table, this.#one.offset, 1);
  }
}

const NEIGHBOR_BYTES_WITH_MAC = 32;
const BROADCAST = new Uint8Array(6).fill(0xff);
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
/** The last three bytes are the target's (RFC 4291 section 2.7.1). */
const SOLICITED_NODE = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0);
const MULTICAST_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 0);

/** One host's address: not 0/8, loopback, a group or reserved; a network's own broadcast address the caller knows. */
function isUnicast4(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

import { Burst, MAX_BURST } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { Chains } from '../mbuf/chains.js';
import * as layout from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Ethernet } from './ether.js';
import { Ipv4 } from './ipv4.js';
import { Ipv6 } from './ipv6.js';
import * as protocol from './protocol_layout.js';
import { TCP_ACK, TCP_FIN, TCP_PSH, Tcp } from './tcp.js';
import { Udp } from './udp.js';

const { ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_MIN_BYTES, IPV6_BYTES, PROTOCOL_TCP, PROTOCOL_UDP } = protocol;
const { RX_IP_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_VLAN_STRIPPED } = layout;

export interface GroOptions {
  /** UDP too, whose datagrams' ends are then known by their length alone (all alike, the last at most as long). Default false. */
  readonly udp?: boolean;
}

export interface GroStats {
  /** Packets that were put behind another, and the packets that they became a part of. */
  merged: number;
  packets: number;
}

const OPEN = 1;
const OTHER = 0;
const UNCLEAR = 1;
const FLOW = 2;

/**
 * Generic receive offload: within a burst, TCP segments of one flow that follow each other become one packet, a chain of
 * their mbufs, and no byte is copied. Only what a Segmenter would cut into the very same packets is merged: headers alike
 * but for sequence number, identification (one more each time), lengths, checksums, and PSH or FIN on the last; all as
 * long as the first, the last at most; checksums good. Everything else stays as it is, and each flow in its order.
 *
 * Thread: the one that made it.
 */
export class Gro {
  readonly stats: GroStats = { merged: 0, packets: 0 };
  readonly #pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #burst: BurstFunctions;
  readonly #chains: Chains;
  readonly #ether: Ethernet;
  readonly #four: Ipv4;
  readonly #six: Ipv6;
  readonly #tcp: Tcp;
  readonly #udp: Udp;
  readonly #takesUdp: boolean;
  readonly #grown: Burst;
  /** Of the packets that may grow, by their place in `heads`. */
  readonly #heads = new Uint32Array(MAX_BURST);
  readonly #network = new Uint16Array(MAX_BURST);
  readonly #transport = new Uint16Array(MAX_BURST);
  readonly #header = new Uint16Array(MAX_BURST);
  readonly #size = new Uint16Array(MAX_BURST);
  readonly #payload = new Uint32Array(MAX_BURST);
  readonly #packets = new Uint16Array(MAX_BURST);
  readonly #state = new Uint8Array(MAX_BURST);
  #count = 0;
  // Of the packet that is looked at.
  #isFour = false;
  #isTcp = false;
  #bytes = 0;
  #isPlain = false;

  constructor(pool: Mempool, { udp = false }: GroOptions = {}) {
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#burst = burstFunctions(pool.arena);
    this.#chains = new Chains(pool);
    this.#ether = new Ethernet(pool.mbufs);
    this.#four = new Ipv4(pool.mbufs);
    this.#six = new Ipv6(pool.mbufs);
    this.#tcp = new Tcp(pool.mbufs);
    this.#udp = new Udp(pool.mbufs);
    this.#takesUdp = udp;
    this.#grown = new Burst(pool.arena, MAX_BURST);
  }

  /** Merges among the first `count` packets, which stand in the burst's first entries afterwards. Returns how many they are then. Looks at their checksums too (`mbufs.flags`). */
  merge(burst: Burst, count: number): number {
    const bounded = burst.bounded(count);
    if (bounded === 0) return 0;
    this.#burst.checksumCheck(this.#pool.arena.table, burst.offset, bounded);
    this.#count = 0;
    let kept = 0;
    for (let i = 0; i < bounded; i++) {
      const handle = burst.handles[i]!;
      if (!this.#mergeOne(handle)) burst.handles[kept++] = handle;
    }
    this.#mend();
    return kept;
  }

  /** Segment payload of a merged packet: what a Segmenter has to be told to make the same packets again. */
  segmentSize(handle: number): number {
    return this.#read(handle) === FLOW ? this.#mbufs.dataLen(handle) - this.#headerEnd() : 0;
  }

  #mergeOne(handle: number): boolean {
    const found = this.#read(handle);
    if (found === OTHER) return false;
    if (found === UNCLEAR) {
      this.#state.fill(0, 0, this.#count);
      return false;
    }
    const isMergeable = this.#isMergeable(handle);
    for (let i = this.#count - 1; i >= 0; i--) {
      if (!this.#isFlow(i, handle)) continue;
      if (isMergeable && this.#follows(i, handle)) return this.#append(i, handle);
      this.#state[i] = 0; // what comes after this packet must not be put before it
      break;
    }
    if (isMergeable) this.#open(handle);
    return false;
  }

  #isMergeable(handle: number): boolean {
    const flags = this.#mbufs.flags(handle);
    return (flags & RX_L4_CKSUM_GOOD) !== 0 && (flags & RX_IP_CKSUM_BAD) === 0 && this.#bytes > 0 && this.#isPlain
      && this.#mbufs.segments(handle) === 1 && this.#mbufs.refcnt(handle) === 1;
  }

  /** Points the views at a packet's headers: a FLOW's; of OTHER things; or UNCLEAR, a part of some flow that cannot be told. */
  #read(handle: number): number {
    const ether = this.#ether;
    if (!ether.at(handle)) return OTHER;
    this.#isFour = ether.type === ETHERTYPE_IPV4;
    if (!this.#isFour && ether.type !== ETHERTYPE_IPV6) return OTHER;
    const ip = this.#isFour ? this.#four : this.#six;
    if (!ip.at(handle, ether.end)) return OTHER;
    this.#isTcp = ip.protocol === PROTOCOL_TCP;
    if (!this.#isTcp && !(this.#takesUdp && ip.protocol === PROTOCOL_UDP)) return OTHER;
    if (ip.isFragment || ip.length !== (this.#isFour ? IPV4_MIN_BYTES : IPV6_BYTES)) return UNCLEAR;
    const transport = this.#isTcp ? this.#tcp : this.#udp;
    if (!transport.at(handle, ip.end, ip.limit)) return UNCLEAR;
    this.#bytes = transport.limit - transport.end;
    // A datagram that ends before its packet does is not what a Segmenter makes.
    this.#isPlain = transport.limit === ip.limit && !(this.#isTcp && (this.#tcp.flags & ~(TCP_ACK | TCP_PSH | TCP_FIN)) !== 0);
    return FLOW;
  }

  #headerEnd(): number {
    return this.#isTcp ? this.#tcp.end : this.#udp.end;
  }

  #transportStart(): number {
    return this.#isTcp ? this.#tcp.offset : this.#udp.offset;
  }

  #open(handle: number): void {
    const i = this.#count++;
    this.#heads[i] = handle;
    this.#network[i] = this.#ether.end;
    this.#transport[i] = this.#transportStart();
    this.#header[i] = this.#headerEnd();
    this.#size[i] = this.#payload[i] = this.#bytes;
    this.#packets[i] = 1;
    this.#state[i] = this.#isTcp && (this.#tcp.flags & (TCP_PSH | TCP_FIN)) !== 0 ? 0 : OPEN;
  }

  /** The same addresses, protocol and ports, behind the same link-layer header, with the tag that the port took off? */
  #isFlow(i: number, handle: number): boolean {
    const [network, transport] = [this.#network[i]!, this.#transport[i]!];
    if (network !== this.#ether.end || transport !== this.#transportStart() || this.#tagOf(this.#heads[i]!) !== this.#tagOf(handle)) return false;
    const [head, other] = [this.#mbufs.data(this.#heads[i]!), this.#mbufs.data(handle)];
    const addresses = this.#isFour ? 12 : 8;
    return same(this.#mbufs.u8, head, other, network) && this.#mbufs.u8[head + network + (this.#isFour ? 9 : 6)] === this.#mbufs.u8[other + network + (this.#isFour ? 9 : 6)]
      && same(this.#mbufs.u8, head + network + addresses, other + network + addresses, transport - network - addresses + 4);
  }

  #tagOf(handle: number): number {
    return (this.#mbufs.flags(handle) & RX_VLAN_STRIPPED) === 0 ? -1 : this.#mbufs.vlanTci(handle);
  }

  /** Is it what the Segmenter's next packet would be? */
  #follows(i: number, handle: number): boolean {
    if (this.#state[i] !== OPEN || this.#header[i] !== this.#headerEnd() || this.#bytes > this.#size[i]!) return false;
    if (this.#header[i]! - this.#network[i]! + this.#payload[i]! + this.#bytes > 0xffff) return false;
    const { u8, view } = this.#mbufs;
    const [head, other] = [this.#mbufs.data(this.#heads[i]!), this.#mbufs.data(handle)];
    const [network, transport] = [this.#network[i]!, this.#transport[i]!];
    const [ip, ip2, l4, l42] = [head + network, other + network, head + transport, other + transport];
    if (this.#isFour) {
      const identification = (view.getUint16(ip + 4) + this.#packets[i]!) & 0xffff;
      if (view.getUint16(ip) !== view.getUint16(ip2) || view.getUint16(ip + 6) !== view.getUint16(ip2 + 6) || u8[ip + 8] !== u8[ip2 + 8] || view.getUint16(ip2 + 4) !== identification) return false;
    } else if (view.getUint32(ip) !== view.getUint32(ip2) || u8[ip + 7] !== u8[ip2 + 7]) return false;
    if (!this.#isTcp) return true;
    // Acknowledgment; length and flags but for PSH and FIN; window; urgent pointer and options.
    const flags = ~(TCP_PSH | TCP_FIN) & 0xffff;
    return ((view.getUint32(l4 + 4) + this.#payload[i]!) >>> 0) === view.getUint32(l42 + 4) && view.getUint32(l4 + 8) === view.getUint32(l42 + 8)
      && (view.getUint16(l4 + 12) & flags) === (view.getUint16(l42 + 12) & flags) && view.getUint16(l4 + 14) === view.getUint16(l42 + 14)
      && same(u8, l4 + 18, l42 + 18, this.#header[i]! - transport - 18);
  }

  #append(i: number, handle: number): boolean {
    const head = this.#heads[i]!;
    const header = this.#header[i]!;
    if (this.#packets[i] === 1) this.#mbufs.trim(head, this.#mbufs.dataLen(head) - header - this.#size[i]!); // padding
    const last = this.#isTcp ? this.#tcp.flags & (TCP_PSH | TCP_FIN) : 0;
    this.#mbufs.trim(handle, this.#mbufs.dataLen(handle) - header - this.#bytes);
    this.#mbufs.adjust(handle, header);
    this.#chains.chain(head, handle);
    this.#payload[i]! += this.#bytes;
    this.#packets[i]!++;
    if (last !== 0) this.#mbufs.u8[this.#mbufs.data(head) + this.#transport[i]! + 13]! |= last;
    if (last !== 0 || this.#bytes < this.#size[i]!) this.#state[i] = 0;
    this.stats.merged++;
    return true;
  }

  /** Lengths and checksums of what has grown. */
  #mend(): void {
    let grown = 0;
    for (let i = 0; i < this.#count; i++) {
      if (this.#packets[i] === 1) continue;
      const at = this.#mbufs.data(this.#heads[i]!);
      const { view } = this.#mbufs;
      const isFour = view.getUint8(at + this.#network[i]!) >>> 4 === 4;
      const bytes = this.#header[i]! + this.#payload[i]! - this.#network[i]!;
      view.setUint16(at + this.#network[i]! + (isFour ? 2 : 4), isFour ? bytes : bytes - IPV6_BYTES);
      const kind = view.getUint8(at + this.#network[i]! + (isFour ? 9 : 6));
      if (kind === PROTOCOL_UDP) view.setUint16(at + this.#transport[i]! + 4, this.#payload[i]! + 8);
      this.#grown.handles[grown++] = this.#heads[i]!;
    }
    if (grown > 0) this.#burst.checksumFill(this.#pool.arena.table, this.#grown.offset, grown);
    this.stats.packets += grown;
  }

  /** Gives its vectors' memory back. */
  close(): void {
    this.#chains.close();
    this.#grown.close();
  }
}

function same(u8: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (u8[a + i] !== u8[b + i]) return false;
  return true;
}

import { randomInt } from 'node:crypto';
import { Burst, MAX_BURST } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import * as mbufLayout from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Arp, ARP_REPLY, ARP_REQUEST } from '../wire/arp.js';
import type { Cause } from './actions.js';
import type { Copies } from './copies.js';
import { Neighbours, type Neighbour } from './neighbours.js';
import type { SwitchPort } from './ports.js';
import { readOuter, sourcePort, writeOuter, VXLAN_OVERHEAD, type Outer, type Seen } from './vxlan.js';

const { MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD, RX_VLAN_STRIPPED, TX_OFFLOADS } = mbufLayout;
const ETHERNET_BYTES = 14;
const ARP_FRAME_BYTES = 60;
/** IPv4's longest packet, with the Ethernet header. */
const LONGEST = 65_535 + ETHERNET_BYTES;

export interface VtepOptions {
  /** IPv4, host order; bits of its network; next hop to others, 0 for none. */
  readonly local: number;
  readonly prefix: number;
  readonly gateway: number;
  readonly mac: Uint8Array;
  readonly pool: Mempool;
  readonly copies: Copies;
  /** Takes packets of the underlay; all of them, and they are gone then. */
  readonly transmit: (burst: Burst, count: number) => void;
  /** What came out of a tunnel, for the port that stands for where it came from. */
  readonly deliver: (port: SwitchPort, burst: Burst, count: number) => void;
}

/** One tunnel's way to one remote. */
interface Way {
  readonly outer: Outer;
  readonly neighbour: Neighbour;
  readonly port: SwitchPort;
}

/**
 * A VXLAN tunnel end point (RFC 7348): one IPv4 address on an underlay, and all tunnels that end there. Puts headers on and
 * takes them off, answers ARP for its address and asks for others'. Takes from the underlay only what is for its address,
 * of a known network, from a remote that the tunnel names: the rest is counted at the underlay's port.
 */
export class Vtep {
  readonly #options: VtepOptions;
  readonly #mbufs: Mbufs;
  readonly #copies: Copies;
  readonly #arp: Arp;
  readonly #neighbours: Neighbours;
  /** By UDP port and VNI, then by remote. */
  readonly #tunnels = new Map<number, Map<number, SwitchPort>>();
  readonly #out: Burst;
  readonly #in: Burst;
  readonly #one: Burst;
  readonly #checksumFill: BurstFunctions['checksumFill'];
  readonly #seen: Seen = { headers: 0, inner: 0, source: 0, port: 0, vni: 0 };
  readonly #mac = new Uint8Array(6);
  #identification = randomInt(0x10000);
  #outCount = 0;
  #inCount = 0;
  #inPort: SwitchPort | undefined;
  #now = 0;
  /** Counts what is not taken from the underlay. */
  underlay: SwitchPort | undefined;

  constructor(options: VtepOptions) {
    this.#options = options;
    this.#mbufs = options.pool.mbufs;
    this.#copies = options.copies;
    this.#arp = new Arp(options.pool.mbufs);
    this.#out = new Burst(options.pool.arena, MAX_BURST);
    this.#in = new Burst(options.pool.arena, MAX_BURST);
    this.#one = new Burst(options.pool.arena, 1);
    this.#checksumFill = burstFunctions(options.pool.arena).checksumFill;
    this.#neighbours = new Neighbours(address => this.#ask(address), handle => {
      this.underlay?.drop('vxlan_no_neighbour');
      this.#copies.free(handle);
    });
  }

  /** From now on what leaves by the port goes to that remote, and what comes from there comes in by it. Returns how to undo that. */
  connect(port: SwitchPort, vni: number, udpPort: number, remote: number): () => void {
    const { local, prefix, gateway } = this.#options;
    const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
    const isNear = ((local & mask) >>> 0) === ((remote & mask) >>> 0);
    const neighbour = this.#neighbours.use(isNear || gateway === 0 ? remote : gateway);
    const way: Way = { outer: { local, remote, vni, port: udpPort }, neighbour, port };
    const key = udpPort * 2 ** 24 + vni;
    const tunnel = this.#tunnels.get(key) ?? new Map<number, SwitchPort>();
    tunnel.set(remote, port);
    this.#tunnels.set(key, tunnel);
    port.sink = { send: (line, count) => this.#send(way, line, count) };
    return () => {
      this.#neighbours.leave(neighbour);
      tunnel.delete(remote);
      if (tunnel.size === 0) this.#tunnels.delete(key);
    };
  }

  /** What came from the underlay; it is gone afterwards. */
  receive(burst: Burst, count: number): number {
    for (let i = 0; i < count; i++) this.#receiveOne(burst.handles[i]!);
    this.#deliver();
    this.#transmit();
    return count;
  }

  tick(now: number): void {
    this.#now = now;
    this.#neighbours.tick(now);
    this.#transmit();
  }

  close(): void {
    this.#neighbours.close();
    this.#out.close();
    this.#in.close();
    this.#one.close();
  }

  #send(way: Way, line: Burst, count: number): number {
    for (let i = 0; i < count; i++) this.#encapsulate(way, line.handles[i]!);
    this.#transmit();
    return count;
  }

  #encapsulate(way: Way, handle: number): void {
    const inner = this.#mbufs.pktLen(handle);
    if (inner + VXLAN_OVERHEAD > LONGEST) return this.#lose(way.port, handle, inner, 'vxlan_bad_length');
    let frame = this.#copies.own(handle);
    if (frame !== 0 && this.#mbufs.headroom(frame) < VXLAN_OVERHEAD) {
      const roomy = this.#copies.copy(frame);
      this.#copies.free(frame);
      frame = roomy;
    }
    if (frame === 0) return this.#lose(way.port, 0, inner, 'no_mbuf');
    this.#finishChecksums(frame);
    const entropy = sourcePort(this.#mbufs, frame);
    const start = this.#mbufs.prepend(frame, VXLAN_OVERHEAD);
    if (start === 0) return this.#lose(way.port, frame, inner, 'no_headroom');
    this.#plain(frame);
    writeOuter(this.#mbufs.view, start, way.outer, inner, entropy, this.#identification = (this.#identification + 1) & 0xffff);
    this.#mbufs.u8.set(this.#options.mac, start + 6);
    this.#toNeighbour(way, frame, start, inner);
  }

  #toNeighbour({ neighbour, port }: Way, frame: number, start: number, inner: number): void {
    if (neighbour.known) {
      this.#mbufs.u8.set(neighbour.mac, start);
      this.#put(frame);
    } else if (!this.#neighbours.wait(neighbour, frame, this.#now)) this.#lose(port, frame, inner, 'vxlan_no_neighbour');
  }

  /** What a guest left to the network card cannot be left to one that sees the outer headers. */
  #finishChecksums(frame: number): void {
    if ((this.#mbufs.flags(frame) & TX_OFFLOADS) === 0) return;
    this.#one.handles[0] = frame;
    this.#checksumFill(this.#mbufs.table, this.#one.offset, 1);
  }

  /** Nothing that was said of the inner packet is so of the outer one, nor the other way round. */
  #plain(frame: number): void {
    const header = this.#mbufs.header(frame);
    for (const field of [MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD]) this.#mbufs.u32[(header + field) >>> 2] = 0;
  }

  /** It was counted as sent when it left the line. */
  #lose(port: SwitchPort, handle: number, bytes: number, cause: Cause): void {
    port.txPackets--;
    port.droppedBytes += bytes;
    port.drop(cause);
    if (handle !== 0) this.#copies.free(handle);
  }

  #receiveOne(handle: number): void {
    const cause = this.#admit(handle);
    if (cause === undefined) return;
    this.underlay?.drop(cause);
    this.#copies.free(handle);
  }

  /** Takes the packet, or returns why not. */
  #admit(handle: number): Cause | undefined {
    const { view } = this.#mbufs;
    if (this.#mbufs.dataLen(handle) < ETHERNET_BYTES) return 'runt';
    if ((this.#mbufs.flags(handle) & RX_VLAN_STRIPPED) !== 0) return 'vxlan_not_for_us';
    const start = this.#mbufs.data(handle);
    const type = view.getUint16(start + 12);
    if (type === 0x0806) return this.#admitArp(handle);
    if (type !== 0x0800 || !this.#isOurs(start)) return 'vxlan_not_for_us';
    const cause = readOuter(this.#mbufs, handle, this.#options.local, this.#seen);
    if (cause !== undefined) return cause;
    const { port: udpPort, vni, source } = this.#seen;
    const tunnel = this.#tunnels.get(udpPort * 2 ** 24 + vni);
    if (tunnel === undefined) return 'vxlan_unknown_vni';
    const port = tunnel.get(source);
    return port === undefined ? 'vxlan_unknown_remote' : this.#decapsulate(handle, port);
  }

  #decapsulate(handle: number, port: SwitchPort): Cause | undefined {
    const { headers, inner } = this.#seen;
    const surplus = this.#mbufs.pktLen(handle) - headers - inner;
    if (surplus > 0 && this.#mbufs.segments(handle) > 1) return 'vxlan_bad_length';
    const frame = this.#copies.own(handle);
    if (frame === 0) {
      this.underlay?.drop('no_mbuf');
      return undefined;
    }
    this.#mbufs.adjust(frame, headers);
    if (surplus > 0) this.#mbufs.trim(frame, surplus);
    this.#plain(frame);
    if (this.#inPort !== port || this.#inCount === MAX_BURST) this.#deliver();
    this.#inPort = port;
    this.#in.handles[this.#inCount++] = frame;
    return undefined;
  }

  #admitArp(handle: number): Cause | undefined {
    if (!this.#arp.at(handle, ETHERNET_BYTES)) return 'vxlan_not_for_us';
    const { operation, senderAddress, senderMacAt, targetAddress } = this.#arp;
    if (targetAddress !== this.#options.local || (this.#mbufs.u8[senderMacAt]! & 1) !== 0) return 'vxlan_not_for_us';
    this.#mac.set(this.#mbufs.u8.subarray(senderMacAt, senderMacAt + 6));
    const neighbour = this.#neighbours.heard(senderAddress, this.#mac, this.#now);
    if (neighbour !== undefined) for (const frame of neighbour.waiting.splice(0)) {
      this.#mbufs.u8.set(neighbour.mac, this.#mbufs.data(frame));
      this.#put(frame);
    }
    if (operation !== ARP_REQUEST) {
      this.#copies.free(handle);
      return undefined;
    }
    this.#answer(handle);
    return undefined;
  }

  #answer(handle: number): void {
    const frame = this.#copies.own(handle);
    if (frame === 0 || !this.#arp.at(frame, ETHERNET_BYTES)) return this.underlay?.drop('no_mbuf');
    const start = this.#mbufs.data(frame);
    this.#arp.reply(this.#options.mac);
    this.#arp.operation = ARP_REPLY;
    this.#mbufs.u8.set(this.#mac, start);
    this.#mbufs.u8.set(this.#options.mac, start + 6);
    this.#put(frame);
  }

  #ask(address: number): void {
    const frame = this.#copies.alloc();
    if (frame === 0) return this.underlay?.drop('no_mbuf');
    const { mac, local } = this.#options;
    const start = this.#mbufs.append(frame, ARP_FRAME_BYTES);
    this.#mbufs.u8.fill(0, start, start + ARP_FRAME_BYTES);
    this.#mbufs.u8.fill(0xff, start, start + 6);
    this.#mbufs.u8.set(mac, start + 6);
    this.#mbufs.view.setUint16(start + 12, 0x0806);
    this.#arp.make(frame, ETHERNET_BYTES, ARP_REQUEST);
    this.#mbufs.u8.set(mac, this.#arp.senderMacAt);
    this.#arp.senderAddress = local;
    this.#arp.targetAddress = address;
    this.#put(frame);
  }

  #isOurs(start: number): boolean {
    const { mac } = this.#options;
    for (let i = 0; i < 6; i++) if (this.#mbufs.u8[start + i] !== mac[i]) return false;
    return true;
  }

  #put(frame: number): void {
    if (this.#outCount === MAX_BURST) this.#transmit();
    this.#out.handles[this.#outCount++] = frame;
  }

  #transmit(): void {
    const count = this.#outCount;
    this.#outCount = 0;
    if (count > 0) this.#options.transmit(this.#out, count);
  }

  #deliver(): void {
    const [count, port] = [this.#inCount, this.#inPort];
    this.#inCount = 0;
    if (count > 0 && port !== undefined) this.#options.deliver(port, this.#in, count);
  }
}

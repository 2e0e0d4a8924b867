/** VXLAN over IPv4, the headers (RFC 7348 section 5): written in front of a frame, and looked at in front of one. */
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Cause } from './actions.js';

/** Ethernet 14, IPv4 20, UDP 8, VXLAN 8. */
export const VXLAN_OVERHEAD = 50;
export const VXLAN_PORT = 4789;
const IPV4_BYTES = 20;
const UDP_VXLAN_BYTES = 16;
const ETHERNET_BYTES = 14;
const TTL = 64;
const LOWEST_SOURCE_PORT = 49_152; // the range that section 5 recommends: 49152 to 65535

/** What the headers in front of a tunnel's frames say; addresses are u32 in host order. */
export interface Outer {
  readonly local: number;
  readonly remote: number;
  readonly vni: number;
  /** UDP destination port. */
  readonly port: number;
}

/**
 * Writes the headers at `start`, the first of VXLAN_OVERHEAD bytes in front of a frame of `inner` bytes; both MACs are
 * the caller's to write. No UDP checksum (section 5: SHOULD be zero), no fragments are forbidden here: a VTEP never makes any, but
 * routers may, and then the identification is what tells one packet's from another's (RFC 6864 section 4.1).
 */
export function writeOuter(view: DataView, start: number, { local, remote, vni, port }: Outer, inner: number, sourcePort: number, identification: number): void {
  const ip = start + ETHERNET_BYTES;
  const length = inner + VXLAN_OVERHEAD - ETHERNET_BYTES;
  view.setUint16(start + 12, 0x0800);
  view.setUint16(ip, 0x4500);
  view.setUint16(ip + 2, length);
  view.setUint32(ip + 4, (identification << 16) >>> 0);
  view.setUint16(ip + 8, (TTL << 8) | 17);
  view.setUint32(ip + 12, local);
  view.setUint32(ip + 16, remote);
  view.setUint16(ip + 10, ~folded(0x4500 + length + (identification & 0xffff) + ((TTL << 8) | 17) + (local >>> 16) + (local & 0xffff) + (remote >>> 16) + (remote & 0xffff)) & 0xffff);
  const udp = ip + IPV4_BYTES;
  view.setUint16(udp, sourcePort);
  view.setUint16(udp + 2, port);
  view.setUint16(udp + 4, length - IPV4_BYTES);
  view.setUint16(udp + 6, 0);
  view.setUint32(udp + 8, 0x0800_0000);
  view.setUint32(udp + 12, (vni << 8) >>> 0);
}

/** What an outer header turned out to be. One object, filled in by `readOuter`. */
export interface Seen {
  /** Bytes in front of the inner frame, and of it. */
  headers: number;
  inner: number;
  source: number;
  port: number;
  vni: number;
}

/** Looks at a packet of the underlay that is IPv4 and for our MAC. Returns why it is no tunnel's, or undefined. */
export function readOuter(mbufs: Mbufs, handle: number, local: number, seen: Seen): Cause | undefined {
  const { view } = mbufs;
  const [first, whole] = [mbufs.dataLen(handle), mbufs.pktLen(handle)];
  const ip = mbufs.data(handle) + ETHERNET_BYTES;
  if (first < ETHERNET_BYTES + IPV4_BYTES) return 'vxlan_bad_ip';
  const headerBytes = (view.getUint8(ip) & 15) * 4;
  const total = view.getUint16(ip + 2);
  if (view.getUint8(ip) >>> 4 !== 4 || headerBytes < IPV4_BYTES || total < headerBytes || ETHERNET_BYTES + total > whole || first < ETHERNET_BYTES + headerBytes) return 'vxlan_bad_ip';
  if (view.getUint32(ip + 16) !== local || view.getUint8(ip + 9) !== 17) return 'vxlan_not_for_us';
  // Fragments are dropped (section 4.3 lets a VTEP do that).
  if ((view.getUint16(ip + 6) & 0x3fff) !== 0 || headerSum(view, ip, headerBytes) !== 0xffff) return 'vxlan_bad_ip';
  const udp = ip + headerBytes;
  seen.headers = ETHERNET_BYTES + headerBytes + UDP_VXLAN_BYTES;
  if (total < headerBytes + UDP_VXLAN_BYTES || first < seen.headers) return 'vxlan_bad_length';
  seen.port = view.getUint16(udp + 2);
  const length = view.getUint16(udp + 4);
  if (length < UDP_VXLAN_BYTES + ETHERNET_BYTES || length > total - headerBytes) return 'vxlan_bad_length';
  seen.inner = length - UDP_VXLAN_BYTES;
  if ((view.getUint8(udp + 8) & 8) === 0) return 'vxlan_bad_flags'; // other flags are ignored on receipt
  seen.vni = view.getUint32(udp + 12) >>> 8;
  seen.source = view.getUint32(ip + 12);
  return undefined;
}

/** A UDP source port that is the same for all packets of a flow: from the addresses, and those of IP and the ports where they are there. */
export function sourcePort(mbufs: Mbufs, handle: number): number {
  const { view } = mbufs;
  const start = mbufs.data(handle);
  const length = mbufs.dataLen(handle);
  let hash = mix(mix(mix(0, view.getUint32(start)), view.getUint32(start + 4)), view.getUint32(start + 8));
  const at = length >= 18 && view.getUint16(start + 12) === 0x8100 ? 18 : 14;
  const type = view.getUint16(start + at - 2);
  if (type === 0x0800 && length >= at + IPV4_BYTES) hash = mixIpv4(view, start + at, length - at, hash);
  else if (type === 0x86dd && length >= at + 40) hash = mixIpv6(view, start + at, length - at, hash);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 12;
  return LOWEST_SOURCE_PORT + (hash & 0x3fff);
}

function mixIpv4(view: DataView, ip: number, length: number, hash: number): number {
  const addresses = mix(mix(hash, view.getUint32(ip + 12)), view.getUint32(ip + 16));
  const header = (view.getUint8(ip) & 15) * 4;
  const whole = (view.getUint16(ip + 6) & 0x3fff) === 0;
  return whole && hasPorts(view.getUint8(ip + 9)) && header >= IPV4_BYTES && length >= header + 4 ? mix(addresses, view.getUint32(ip + header)) : addresses;
}

function mixIpv6(view: DataView, ip: number, length: number, hash: number): number {
  let mixed = hash;
  for (let word = 8; word < 40; word += 4) mixed = mix(mixed, view.getUint32(ip + word));
  return hasPorts(view.getUint8(ip + 6)) && length >= 44 ? mix(mixed, view.getUint32(ip + 40)) : mixed;
}

/** TCP, UDP, SCTP. */
function hasPorts(protocol: number): boolean {
  return protocol === 6 || protocol === 17 || protocol === 132;
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 16);
}

function headerSum(view: DataView, ip: number, bytes: number): number {
  let sum = 0;
  for (let at = 0; at < bytes; at += 2) sum += view.getUint16(ip + at);
  return folded(sum);
}

function folded(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

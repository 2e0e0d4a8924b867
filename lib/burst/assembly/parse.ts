/**
 * Packet types, header lengths and 5-tuples of bursts. The twin is burst/parse.ts. A layer that was parsed is one u64,
 * since there is no other way to return two things; types are compared as they stand in memory, low byte first.
 */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD } from '../../mbuf/layout';
import {
  ETHERTYPE_1588, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_LLDP, ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST,
  ETHERTYPE_PPPOE_SESSION, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD, ETHERTYPE_TEB, ETHERTYPE_VLAN, EXTENSIONS_MAX, PORT_VXLAN, PROTOCOL_AH,
  PROTOCOL_DCCP, PROTOCOL_DSTOPTS, PROTOCOL_ESP, PROTOCOL_FRAGMENT, PROTOCOL_GRE, PROTOCOL_HIP, PROTOCOL_HOPOPTS, PROTOCOL_ICMP,
  PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_MOBILITY, PROTOCOL_NONE, PROTOCOL_ROUTING, PROTOCOL_SCTP,
  PROTOCOL_SHIM6, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDPLITE, VLAN_TAGS_MAX,
} from '../../wire/protocol_layout';
import {
  L2_LEN_MASK, L3_LEN_MASK, L3_LEN_SHIFT, L4_LEN_SHIFT, MPLS_ENTRIES_MAX, PTYPE_INNER_L2_ETHER, PTYPE_INNER_L2_ETHER_QINQ,
  PTYPE_INNER_L2_ETHER_VLAN, PTYPE_INNER_L3_IPV4, PTYPE_INNER_L3_IPV4_EXT, PTYPE_INNER_L3_IPV6, PTYPE_INNER_L3_IPV6_EXT,
  PTYPE_INNER_L4_SHIFT, PTYPE_L2_ETHER, PTYPE_L2_ETHER_ARP, PTYPE_L2_ETHER_LLDP, PTYPE_L2_ETHER_MPLS, PTYPE_L2_ETHER_PPPOE,
  PTYPE_L2_ETHER_QINQ, PTYPE_L2_ETHER_TIMESYNC, PTYPE_L2_ETHER_VLAN, PTYPE_L3_IPV4, PTYPE_L3_IPV4_EXT, PTYPE_L3_IPV6, PTYPE_L3_IPV6_EXT,
  PTYPE_L4_FRAG, PTYPE_L4_ICMP, PTYPE_L4_IGMP, PTYPE_L4_NONFRAG, PTYPE_L4_SCTP, PTYPE_L4_TCP, PTYPE_L4_UDP, PTYPE_TUNNEL_ESP,
  PTYPE_TUNNEL_GRE, PTYPE_TUNNEL_IP, PTYPE_TUNNEL_NVGRE, PTYPE_TUNNEL_VXLAN,
} from '../../wire/ptype_layout';
import { TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_FRAGMENT, TUPLE_PROTOCOL, TUPLE_SOURCE_PORT } from '../../wire/tuple_layout';

/** A number in network byte order. */
// @ts-ignore: decorator
@inline
export function big16(at: usize): u32 {
  const word: u32 = load<u16>(at);
  return ((word & 0xff) << 8) | (word >>> 8);
}

/** What the constant looks like when it is loaded from network byte order. */
// @ts-ignore: decorator
@inline
function swapped(type: u32): u32 {
  return ((type & 0xff) << 8) | (type >>> 8);
}

// @ts-ignore: decorator
@inline
export function isTag(type: u32): bool {
  return type == swapped(ETHERTYPE_VLAN) || type == swapped(ETHERTYPE_QINQ) || type == swapped(ETHERTYPE_QINQ_OLD);
}

// The link layer: bytes in the low 8 bits, tags in the next 4, its packet type in the next 4, then 4, 6 or 0 for what it carries.
// @ts-ignore: decorator
@inline
function link(bytes: u32, tags: u32, ptype: u32, version: u32): u32 {
  return bytes | (tags << 8) | (ptype << 12) | (version << 16);
}

const NO_LINK: u32 = 0;

export function parseLink(frame: usize, length: u32): u32 {
  if (length < 14) return NO_LINK;
  let type: u32 = load<u16>(frame, 12);
  if (type == swapped(ETHERTYPE_IPV4)) return link(14, 0, PTYPE_L2_ETHER, 4);
  let bytes: u32 = 14;
  let tags: u32 = 0;
  while (isTag(type) && tags < (VLAN_TAGS_MAX as u32) && bytes + 4 <= length) {
    type = load<u16>(frame + (bytes as usize), 2);
    bytes += 4;
    tags++;
  }
  const tagged: u32 = tags == 1 ? PTYPE_L2_ETHER_VLAN : PTYPE_L2_ETHER_QINQ;
  if (type == swapped(ETHERTYPE_IPV4)) return link(bytes, tags, tagged, 4);
  if (type == swapped(ETHERTYPE_IPV6)) return link(bytes, tags, tags == 0 ? PTYPE_L2_ETHER : tagged, 6);
  if (type == swapped(ETHERTYPE_MPLS) || type == swapped(ETHERTYPE_MPLS_MULTICAST)) return parseMpls(frame, bytes, length, tags);
  if (type == swapped(ETHERTYPE_PPPOE_SESSION)) return parsePppoe(frame, bytes, length, tags);
  if (tags > 0) return link(bytes, tags, tagged, 0);
  if (type == swapped(ETHERTYPE_ARP)) return link(bytes, 0, PTYPE_L2_ETHER_ARP, 0);
  if (type == swapped(ETHERTYPE_LLDP)) return link(bytes, 0, PTYPE_L2_ETHER_LLDP, 0);
  return link(bytes, 0, type == swapped(ETHERTYPE_1588) ? PTYPE_L2_ETHER_TIMESYNC : PTYPE_L2_ETHER, 0);
}

function parseMpls(frame: usize, bytes: u32, length: u32, tags: u32): u32 {
  let isBottom: u32 = 0;
  for (let entries: u32 = 0; entries < (MPLS_ENTRIES_MAX as u32) && isBottom == 0 && bytes + 4 <= length; entries++) {
    isBottom = load<u8>(frame + (bytes as usize), 2) & 1;
    bytes += 4;
  }
  const version: u32 = isBottom != 0 && bytes < length ? load<u8>(frame + (bytes as usize)) >> 4 : 0;
  return link(bytes, tags, PTYPE_L2_ETHER_MPLS, version == 4 || version == 6 ? version : 0);
}

function parsePppoe(frame: usize, bytes: u32, length: u32, tags: u32): u32 {
  if (bytes + 8 > length) return link(bytes, tags, PTYPE_L2_ETHER_PPPOE, 0);
  const kind = load<u16>(frame + (bytes as usize), 6);
  return link(bytes + 8, tags, PTYPE_L2_ETHER_PPPOE, kind == 0x2100 ? 4 : kind == 0x5700 ? 6 : 0);
}

// The network layer: bytes behind its header in the low 32 bits; its header's bytes in the next 9, then 1 for options or
// extension headers, 1 for a fragment, 1 for IPv6, and the protocol in the top 8. Bytes are 0 for none.
const NETWORK_LONG: u64 = 1 << 41;
export const NETWORK_FRAGMENT: u64 = 1 << 42;
export const NETWORK_SIX: u64 = 1 << 43;
export const NO_NETWORK: u64 = 0;

// @ts-ignore: decorator
@inline
export function bytesOf(network: u64): u32 {
  return ((network >>> 32) as u32) & L3_LEN_MASK;
}

// @ts-ignore: decorator
@inline
export function protocolOf(network: u64): u32 {
  return (network >>> 56) as u32;
}

// @ts-ignore: decorator
@inline
export function parseNetwork(ip: usize, length: u32, version: u32): u64 {
  if (version == 4) return parseIpv4(ip, length);
  return version == 6 ? parseIpv6(ip, length) : NO_NETWORK;
}

// @ts-ignore: decorator
@inline
function parseIpv4(ip: usize, length: u32): u64 {
  if (length < 20) return NO_NETWORK;
  const first: u32 = load<u8>(ip);
  const bytes = (first & 15) << 2;
  let total = big16(ip + 2);
  if (total == 0) total = length;
  if (first >> 4 != 4 || bytes < 20 || bytes > length || total < bytes) return NO_NETWORK;
  let network: u64 = ((min(length, total) - bytes) as u64) | ((bytes as u64) << 32) | ((load<u8>(ip, 9) as u64) << 56);
  if (bytes > 20) network |= NETWORK_LONG;
  // MF and offset, in memory order.
  if ((load<u16>(ip, 6) & 0xff3f) != 0) network |= NETWORK_FRAGMENT;
  return network;
}

// @ts-ignore: decorator
@inline
function isExtension(type: u32): bool {
  return type == PROTOCOL_HOPOPTS || type == PROTOCOL_ROUTING || type == PROTOCOL_FRAGMENT || type == PROTOCOL_AH
    || type == PROTOCOL_DSTOPTS || type == PROTOCOL_MOBILITY || type == PROTOCOL_HIP || type == PROTOCOL_SHIM6;
}

// @ts-ignore: decorator
@inline
export function extensionBytes(type: u32, field: u32): u32 {
  return type == PROTOCOL_FRAGMENT ? 8 : type == PROTOCOL_AH ? max(8, (field + 2) << 2) : (field + 1) << 3;
}

function parseIpv6(ip: usize, length: u32): u64 {
  if (length < 40 || load<u8>(ip) >> 4 != 6) return NO_NETWORK;
  const payload = big16(ip + 4);
  const end = payload == 0 ? length : min(length, 40 + payload);
  let next: u32 = load<u8>(ip, 6);
  let bytes: u32 = 40;
  let network: u64 = isExtension(next) ? NETWORK_SIX | NETWORK_LONG : NETWORK_SIX;
  let isLater = false;
  for (let headers: u32 = 0; headers < (EXTENSIONS_MAX as u32) && !isLater && isExtension(next); headers++) {
    if (bytes + 8 > end) break;
    const at = ip + (bytes as usize);
    const field: u32 = load<u8>(at, 1);
    const longer = bytes + extensionBytes(next, field);
    if (longer > end || longer > (L3_LEN_MASK as u32)) break;
    if (next == PROTOCOL_FRAGMENT) {
      const word = big16(at + 2);
      network = (word & 0xfff9) != 0 ? network | NETWORK_FRAGMENT : network & ~NETWORK_FRAGMENT;
      isLater = (word & 0xfff8) != 0;
    }
    next = load<u8>(at);
    bytes = longer;
  }
  const protocol: u32 = isLater || !isExtension(next) ? next : PROTOCOL_NONE;
  return network | ((end - bytes) as u64) | ((bytes as u64) << 32) | ((protocol as u64) << 56);
}

// The transport layer: packet type in the low 28 bits; its header's bytes from bit 32 on.
// @ts-ignore: decorator
@inline
function transport(ptype: u32, bytes: u32): u64 {
  return (ptype as u64) | ((bytes as u64) << 32);
}

// @ts-ignore: decorator
@inline
function transportOf(at: usize, network: u64): u64 {
  const left = network as u32;
  const protocol = protocolOf(network);
  if (protocol == PROTOCOL_TCP) {
    const bytes: u32 = left >= 20 ? ((load<u8>(at, 12) as u32) >> 4) << 2 : 0;
    return bytes >= 20 && bytes <= left ? transport(PTYPE_L4_TCP, bytes) : 0;
  }
  if (protocol == PROTOCOL_UDP) return left >= 8 ? transport(PTYPE_L4_UDP, 8) : 0;
  if (protocol == PROTOCOL_SCTP) return left >= 12 ? transport(PTYPE_L4_SCTP, 12) : 0;
  const control: u32 = (network & NETWORK_SIX) == 0 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  if (protocol == control) return left >= 8 ? transport(PTYPE_L4_ICMP, 8) : 0;
  return transport(protocol == PROTOCOL_IGMP ? PTYPE_L4_IGMP : PTYPE_L4_NONFRAG, 0);
}

// @ts-ignore: decorator
@inline
function parseTransport(at: usize, network: u64): u64 {
  if ((network & NETWORK_FRAGMENT) != 0) return PTYPE_L4_FRAG;
  const outer = transportOf(at, network);
  const ptype = outer as u32;
  if (ptype == PTYPE_L4_UDP) return big16(at + 2) == PORT_VXLAN ? outer | (parseVxlan(at, network as u32) as u64) : outer;
  if (ptype != PTYPE_L4_NONFRAG) return outer;
  const tunnel = parseTunnel(at, protocolOf(network), network as u32);
  return tunnel != 0 ? tunnel as u64 : outer;
}

function parseVxlan(at: usize, left: u32): u32 {
  return left >= 16 && (load<u8>(at, 8) & 8) != 0 ? (PTYPE_TUNNEL_VXLAN as u32) | innerFrame(at + 16, left - 16) : 0;
}

function parseTunnel(at: usize, protocol: u32, left: u32): u32 {
  if (protocol == PROTOCOL_IPV4) return (PTYPE_TUNNEL_IP as u32) | innerNetwork(at, left, 4);
  if (protocol == PROTOCOL_IPV6) return (PTYPE_TUNNEL_IP as u32) | innerNetwork(at, left, 6);
  if (protocol == PROTOCOL_ESP) return PTYPE_TUNNEL_ESP;
  return protocol == PROTOCOL_GRE ? parseGre(at, left) : 0;
}

function parseGre(at: usize, left: u32): u32 {
  if (left < 4) return 0;
  const flags = big16(at);
  const bytes: u32 = 4 + ((flags & 0x8000) >> 13) + ((flags & 0x2000) >> 11) + ((flags & 0x1000) >> 10);
  if ((flags & 0x4007) != 0 || bytes > left) return 0;
  const type: u32 = load<u16>(at, 2);
  const inner = at + (bytes as usize);
  if (type == swapped(ETHERTYPE_TEB)) return (PTYPE_TUNNEL_NVGRE as u32) | innerFrame(inner, left - bytes);
  return (PTYPE_TUNNEL_GRE as u32) | innerNetwork(inner, left - bytes, type == swapped(ETHERTYPE_IPV4) ? 4 : type == swapped(ETHERTYPE_IPV6) ? 6 : 0);
}

function innerFrame(frame: usize, length: u32): u32 {
  const inner = parseLink(frame, length);
  if (inner == NO_LINK) return 0;
  const bytes = inner & 0xff;
  const tags = (inner >> 8) & 15;
  const ptype: u32 = tags == 0 ? PTYPE_INNER_L2_ETHER : tags == 1 ? PTYPE_INNER_L2_ETHER_VLAN : PTYPE_INNER_L2_ETHER_QINQ;
  return ptype | innerNetwork(frame + (bytes as usize), length - bytes, inner >> 16);
}

function innerNetwork(ip: usize, length: u32, version: u32): u32 {
  const network = parseNetwork(ip, length, version);
  if (network == NO_NETWORK) return 0;
  const l4: u32 = (network & NETWORK_FRAGMENT) != 0 ? PTYPE_L4_FRAG : (transportOf(ip + (bytesOf(network) as usize), network) as u32);
  return networkType(network, PTYPE_INNER_L3_IPV4, PTYPE_INNER_L3_IPV4_EXT, PTYPE_INNER_L3_IPV6, PTYPE_INNER_L3_IPV6_EXT) | (l4 << PTYPE_INNER_L4_SHIFT);
}

// @ts-ignore: decorator
@inline
function networkType(network: u64, four: u32, fourLong: u32, six: u32, sixLong: u32): u32 {
  const isLong = (network & NETWORK_LONG) != 0;
  if ((network & NETWORK_SIX) == 0) return isLong ? fourLong : four;
  return isLong ? sixLong : six;
}

/** Packet type and header lengths of each, into its header. */
export function parse(table: usize, burst: usize, count: u32): void {
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const handle: usize = load<u32>(burst);
    const header = table + (handle << HEADER_SHIFT);
    const frame = (handle << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    const outer = parseLink(frame, length);
    const l2 = outer & 0xff;
    const network = parseNetwork(frame + (l2 as usize), length - l2, outer >> 16);
    let ptype = (outer >> 12) & 15;
    let lengths = l2 & L2_LEN_MASK;
    if (network != NO_NETWORK) {
      const l3 = bytesOf(network);
      const upper = parseTransport(frame + ((l2 + l3) as usize), network);
      ptype |= networkType(network, PTYPE_L3_IPV4, PTYPE_L3_IPV4_EXT, PTYPE_L3_IPV6, PTYPE_L3_IPV6_EXT) | (upper as u32);
      lengths |= (l3 << L3_LEN_SHIFT) | (((upper >>> 32) as u32) << L4_LEN_SHIFT);
    }
    store<u32>(header, ptype, MBUF_PACKET_TYPE);
    store<u32>(header, lengths, MBUF_TX_OFFLOAD);
  }
}

// @ts-ignore: decorator
@inline
function isPorted(protocol: u32): bool {
  return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP || protocol == PROTOCOL_DCCP || protocol == PROTOCOL_UDPLITE;
}

/** The 5-tuple of each, 40 bytes from `to` on. Returns how many are IP. */
export function tuples(table: usize, burst: usize, count: u32, to: usize): u32 {
  let found: u32 = 0;
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const handle: usize = load<u32>(burst);
    const header = table + (handle << HEADER_SHIFT);
    found += writeTuple((handle << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize), load<u16>(header, MBUF_DATA_LEN), to);
    to += TUPLE_BYTES;
  }
  return found;
}

// @ts-ignore: decorator
@inline
function writeTuple(frame: usize, length: u32, to: usize): u32 {
  const outer = parseLink(frame, length);
  const l2 = outer & 0xff;
  const ip = frame + (l2 as usize);
  const network = parseNetwork(ip, length - l2, outer >> 16);
  if (network == NO_NETWORK) {
    v128.store(to, i64x2.splat(0));
    v128.store(to, i64x2.splat(0), TUPLE_DESTINATION);
    store<u64>(to, 0, TUPLE_SOURCE_PORT);
    return 0;
  }
  const isFragment = (network & NETWORK_FRAGMENT) != 0;
  const protocol = protocolOf(network);
  const ports = !isFragment && (network as u32) >= 4 && isPorted(protocol) ? load<u32>(ip + (bytesOf(network) as usize)) : 0;
  const isSix = (network & NETWORK_SIX) != 0;
  if (isSix) {
    v128.store(to, v128.load(ip, 8));
    v128.store(to, v128.load(ip, 24), TUPLE_DESTINATION);
  } else {
    v128.store(to, v128.load32_zero(ip, 12));
    v128.store(to, v128.load32_zero(ip, 16), TUPLE_DESTINATION);
  }
  const rest: u32 = protocol | (isSix ? 0x600 : 0x400) | (isFragment ? TUPLE_FRAGMENT << 16 : 0);
  store<u32>(to, ports, TUPLE_SOURCE_PORT);
  store<u32>(to, rest, TUPLE_PROTOCOL);
  return 1;
}

/** Packet types, header lengths and 5-tuples of bursts. What comes before the transport layer is in parse_link.ts and parse_network.ts. The twin is burst/parse.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD } from '../../mbuf/layout';
import {
  ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_TEB, PORT_VXLAN, PROTOCOL_DCCP, PROTOCOL_ESP, PROTOCOL_GRE, PROTOCOL_ICMP, PROTOCOL_ICMPV6,
  PROTOCOL_IGMP, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDPLITE,
} from '../../wire/protocol_layout';
import {
  L2_LEN_MASK, L3_LEN_SHIFT, L4_LEN_SHIFT, PTYPE_INNER_L2_ETHER, PTYPE_INNER_L2_ETHER_QINQ, PTYPE_INNER_L2_ETHER_VLAN, PTYPE_INNER_L3_IPV4,
  PTYPE_INNER_L3_IPV4_EXT, PTYPE_INNER_L3_IPV6, PTYPE_INNER_L3_IPV6_EXT, PTYPE_INNER_L4_SHIFT, PTYPE_L3_IPV4, PTYPE_L3_IPV4_EXT, PTYPE_L3_IPV6,
  PTYPE_L3_IPV6_EXT, PTYPE_L4_FRAG, PTYPE_L4_ICMP, PTYPE_L4_IGMP, PTYPE_L4_NONFRAG, PTYPE_L4_SCTP, PTYPE_L4_TCP, PTYPE_L4_UDP, PTYPE_TUNNEL_ESP,
  PTYPE_TUNNEL_GRE, PTYPE_TUNNEL_IP, PTYPE_TUNNEL_NVGRE, PTYPE_TUNNEL_VXLAN,
} from '../../wire/ptype_layout';
import { TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_FRAGMENT, TUPLE_PROTOCOL, TUPLE_SOURCE_PORT } from '../../wire/tuple_layout';
import { NO_LINK, big16, parseLink, swapped } from './parse_link';
import { NETWORK_FRAGMENT, NETWORK_LONG, NETWORK_SIX, NO_NETWORK, bytesOf, parseNetwork, protocolOf } from './parse_network';

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

/**
 * Packet types, header lengths and 5-tuples, in plain TypeScript. The fast double is assembly/parse*.ts; neither calls
 * the other. Only the first segment is looked at; nothing past it, nor past what IP says is the packet.
 */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD } from '../mbuf/layout.js';
import {
  ETHERTYPE_1588, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_LLDP, ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST,
  ETHERTYPE_PPPOE_SESSION, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD, ETHERTYPE_TEB, ETHERTYPE_VLAN, EXTENSIONS_MAX, PORT_VXLAN, PROTOCOL_AH,
  PROTOCOL_DCCP, PROTOCOL_DSTOPTS, PROTOCOL_ESP, PROTOCOL_FRAGMENT, PROTOCOL_GRE, PROTOCOL_HIP, PROTOCOL_HOPOPTS, PROTOCOL_ICMP,
  PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_MOBILITY, PROTOCOL_NONE, PROTOCOL_ROUTING, PROTOCOL_SCTP,
  PROTOCOL_SHIM6, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDPLITE, VLAN_TAGS_MAX,
} from '../wire/protocol_layout.js';
import {
  L3_LEN_MASK, L3_LEN_SHIFT, L4_LEN_SHIFT, MPLS_ENTRIES_MAX, PTYPE_INNER_L2_ETHER, PTYPE_INNER_L2_ETHER_QINQ, PTYPE_INNER_L2_ETHER_VLAN,
  PTYPE_INNER_L3_IPV4, PTYPE_INNER_L3_IPV4_EXT, PTYPE_INNER_L3_IPV6, PTYPE_INNER_L3_IPV6_EXT, PTYPE_INNER_L4_SHIFT, PTYPE_L2_ETHER,
  PTYPE_L2_ETHER_ARP, PTYPE_L2_ETHER_LLDP, PTYPE_L2_ETHER_MPLS, PTYPE_L2_ETHER_PPPOE, PTYPE_L2_ETHER_QINQ, PTYPE_L2_ETHER_TIMESYNC,
  PTYPE_L2_ETHER_VLAN, PTYPE_L3_IPV4, PTYPE_L3_IPV4_EXT, PTYPE_L3_IPV6, PTYPE_L3_IPV6_EXT, PTYPE_L4_FRAG, PTYPE_L4_ICMP, PTYPE_L4_IGMP,
  PTYPE_L4_NONFRAG, PTYPE_L4_SCTP, PTYPE_L4_TCP, PTYPE_L4_UDP, PTYPE_TUNNEL_ESP, PTYPE_TUNNEL_GRE, PTYPE_TUNNEL_IP, PTYPE_TUNNEL_NVGRE,
  PTYPE_TUNNEL_VXLAN, PTYPE_UNKNOWN,
} from '../wire/ptype_layout.js';
import {
  TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_FAMILY, TUPLE_FLAGS, TUPLE_FRAGMENT, TUPLE_PROTOCOL, TUPLE_SOURCE, TUPLE_SOURCE_PORT,
} from '../wire/tuple_layout.js';
import type { BurstFunctions } from './functions.js';
import type { ArenaViews } from './views.js';

const VLAN_TAGS = [ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD];
const EXTENSIONS = [
  PROTOCOL_HOPOPTS, PROTOCOL_ROUTING, PROTOCOL_FRAGMENT, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_MOBILITY, PROTOCOL_HIP, PROTOCOL_SHIM6,
];
const PORTED = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_DCCP, PROTOCOL_SCTP, PROTOCOL_UDPLITE];
const L2_TYPES = new Map([[ETHERTYPE_ARP, PTYPE_L2_ETHER_ARP], [ETHERTYPE_LLDP, PTYPE_L2_ETHER_LLDP], [ETHERTYPE_1588, PTYPE_L2_ETHER_TIMESYNC]]);
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;

/** Of an Ethernet header and all before the network header; `network` is ETHERTYPE_IPV4, ETHERTYPE_IPV6 or 0. */
interface LinkLayer { readonly ptype: number; readonly bytes: number; readonly network: number; readonly tags: number }
/** Of an IP header. `left`: bytes of the packet behind it. */
export interface NetworkLayer { readonly family: 4 | 6; readonly isLong: boolean; readonly bytes: number; readonly protocol: number; readonly isFragment: boolean; readonly left: number }
interface Transport { readonly ptype: number; readonly bytes: number }

/** For the checksums. */
export interface ParseInternals {
  /** An mbuf's outer IP header; `frame` and `ip` are where they start in the arena. */
  networkOf(table: number, handle: number): { readonly frame: number; readonly ip: number; readonly network: NetworkLayer } | undefined;
  extensionBytes(type: number, field: number): number;
}

export type ParseFunctions = Pick<BurstFunctions, 'parse' | 'tuples'>;

export function parseFunctions({ u8, u16, u32 }: ArenaViews): ParseFunctions & ParseInternals {
  return { parse, tuples, networkOf, extensionBytes };

  function networkOf(table: number, handle: number): { frame: number; ip: number; network: NetworkLayer } | undefined {
    const { frame, length } = packetOf(table, handle);
    const link = parseLink(frame, length);
    const network = link === undefined ? undefined : parseNetwork(frame + link.bytes, length - link.bytes, link.network);
    return network === undefined ? undefined : { frame, ip: frame + link!.bytes, network };
  }

  function parse(table: number, burst: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const { header, frame, length } = packetAt(table, burst, i);
      const link = parseLink(frame, length);
      const network = link === undefined ? undefined : parseNetwork(frame + link.bytes, length - link.bytes, link.network);
      const transport = network === undefined ? undefined : parseTransport(frame + link!.bytes + network.bytes, network);
      u32[(header + MBUF_PACKET_TYPE) >>> 2] = link === undefined ? PTYPE_UNKNOWN : link.ptype | outerL3(network) | (transport?.ptype ?? 0);
      u32[(header + MBUF_TX_OFFLOAD) >>> 2] = (link?.bytes ?? 0) | ((network?.bytes ?? 0) << L3_LEN_SHIFT) | ((transport?.bytes ?? 0) << L4_LEN_SHIFT);
    }
  }

  function tuples(table: number, burst: number, count: number, to: number): number {
    let found = 0;
    for (let i = 0; i < count; i++) found += writeTuple(packetAt(table, burst, i), to + i * TUPLE_BYTES);
    return found;
  }

  function writeTuple({ frame, length }: { frame: number; length: number }, to: number): number {
    u8.fill(0, to, to + TUPLE_BYTES);
    const link = parseLink(frame, length);
    if (link === undefined) return 0;
    const ip = frame + link.bytes;
    const network = parseNetwork(ip, length - link.bytes, link.network);
    if (network === undefined) return 0;
    const [source, bytes] = network.family === 4 ? [ip + 12, 4] : [ip + 8, 16];
    u8.copyWithin(to + TUPLE_SOURCE, source, source + bytes);
    u8.copyWithin(to + TUPLE_DESTINATION, source + bytes, source + 2 * bytes);
    const ports = ip + network.bytes;
    if (!network.isFragment && PORTED.includes(network.protocol) && network.left >= 4) u8.copyWithin(to + TUPLE_SOURCE_PORT, ports, ports + 4);
    u8[to + TUPLE_PROTOCOL] = network.protocol;
    u8[to + TUPLE_FAMILY] = network.family;
    u8[to + TUPLE_FLAGS] = network.isFragment ? TUPLE_FRAGMENT : 0;
    return 1;
  }

  function parseLink(frame: number, length: number): LinkLayer | undefined {
    if (length < 14) return undefined;
    let [type, bytes, tags] = [big16(frame + 12), 14, 0];
    for (; VLAN_TAGS.includes(type) && tags < VLAN_TAGS_MAX && bytes + 4 <= length; tags++, bytes += 4) type = big16(frame + bytes + 2);
    const ptype = tags === 0 ? L2_TYPES.get(type) ?? PTYPE_L2_ETHER : tags === 1 ? PTYPE_L2_ETHER_VLAN : PTYPE_L2_ETHER_QINQ;
    if (type === ETHERTYPE_MPLS || type === ETHERTYPE_MPLS_MULTICAST) return parseMpls(frame, bytes, length, tags);
    if (type === ETHERTYPE_PPPOE_SESSION) return parsePppoe(frame, bytes, length, tags);
    return { ptype, bytes, network: type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6 ? type : 0, tags };
  }

  /** What is below the bottom of the stack, its first four bits say, as IP's version. A stack that does not end has nothing below it. */
  function parseMpls(frame: number, start: number, length: number, tags: number): LinkLayer {
    let [bytes, entries, isBottom] = [start, 0, false];
    for (; entries < MPLS_ENTRIES_MAX && !isBottom && bytes + 4 <= length; entries++, bytes += 4) isBottom = (u8[frame + bytes + 2] & 1) !== 0;
    const version = isBottom && bytes < length ? u8[frame + bytes] >>> 4 : 0;
    return { ptype: PTYPE_L2_ETHER_MPLS, bytes, network: version === 4 ? ETHERTYPE_IPV4 : version === 6 ? ETHERTYPE_IPV6 : 0, tags };
  }

  /** RFC 2516 section 4, then a PPP protocol number of two bytes. */
  function parsePppoe(frame: number, bytes: number, length: number, tags: number): LinkLayer {
    if (bytes + 8 > length) return { ptype: PTYPE_L2_ETHER_PPPOE, bytes, network: 0, tags };
    const kind = big16(frame + bytes + 6);
    return { ptype: PTYPE_L2_ETHER_PPPOE, bytes: bytes + 8, network: kind === PPP_IPV4 ? ETHERTYPE_IPV4 : kind === PPP_IPV6 ? ETHERTYPE_IPV6 : 0, tags };
  }

  function parseNetwork(ip: number, length: number, type: number): NetworkLayer | undefined {
    if (type === ETHERTYPE_IPV4) return parseIpv4(ip, length);
    return type === ETHERTYPE_IPV6 ? parseIpv6(ip, length) : undefined;
  }

  /** A total length of 0 is a packet that is still to be cut into segments. */
  function parseIpv4(ip: number, length: number): NetworkLayer | undefined {
    if (length < 20 || u8[ip] >>> 4 !== 4) return undefined;
    const bytes = (u8[ip] & 15) * 4;
    const total = big16(ip + 2) || length;
    if (bytes < 20 || bytes > length || total < bytes) return undefined;
    const isFragment = (big16(ip + 6) & 0x3fff) !== 0;
    return { family: 4, isLong: bytes > 20, bytes, protocol: u8[ip + 9], isFragment, left: Math.min(length, total) - bytes };
  }

  /** Extension headers are followed while they fit into the packet, and into the 9 bits that a header's length has here. */
  function parseIpv6(ip: number, length: number): NetworkLayer | undefined {
    if (length < 40 || u8[ip] >>> 4 !== 6) return undefined;
    const payload = big16(ip + 4);
    const end = payload === 0 ? length : Math.min(length, 40 + payload);
    let [next, bytes, isFragment, isLater] = [u8[ip + 6], 40, false, false];
    const isLong = EXTENSIONS.includes(next);
    for (let headers = 0; headers < EXTENSIONS_MAX && !isLater && EXTENSIONS.includes(next); headers++) {
      if (bytes + 8 > end) break;
      const longer = bytes + extensionBytes(next, u8[ip + bytes + 1]);
      if (longer > end || longer > L3_LEN_MASK) break;
      if (next === PROTOCOL_FRAGMENT) {
        isFragment = (big16(ip + bytes + 2) & 0xfff9) !== 0;
        isLater = (big16(ip + bytes + 2) & 0xfff8) !== 0;
      }
      next = u8[ip + bytes];
      bytes = longer;
    }
    const protocol = isLater || !EXTENSIONS.includes(next) ? next : PROTOCOL_NONE;
    return { family: 6, isLong, bytes, protocol, isFragment, left: end - bytes };
  }

  function parseTransport(at: number, { protocol, isFragment, left, family }: NetworkLayer): Transport {
    if (isFragment) return { ptype: PTYPE_L4_FRAG, bytes: 0 };
    const outer = transportOf(at, protocol, left, family);
    if (outer.ptype === PTYPE_L4_NONFRAG || outer.ptype === PTYPE_L4_UDP) {
      const tunnel = parseTunnel(at, protocol, left);
      if (tunnel !== 0) return { ptype: (outer.ptype === PTYPE_L4_UDP ? PTYPE_L4_UDP : 0) | tunnel, bytes: outer.bytes };
    }
    return outer;
  }

  /** A header that is not whole has no type. */
  function transportOf(at: number, protocol: number, left: number, family: 4 | 6): Transport {
    switch (protocol) {
      case PROTOCOL_TCP: {
        const bytes = left >= 20 ? (u8[at + 12] >>> 4) * 4 : 0;
        return bytes >= 20 && bytes <= left ? { ptype: PTYPE_L4_TCP, bytes } : { ptype: 0, bytes: 0 };
      }
      case PROTOCOL_UDP: return left >= 8 ? { ptype: PTYPE_L4_UDP, bytes: 8 } : { ptype: 0, bytes: 0 };
      case PROTOCOL_SCTP: return left >= 12 ? { ptype: PTYPE_L4_SCTP, bytes: 12 } : { ptype: 0, bytes: 0 };
      case family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6: return left >= 8 ? { ptype: PTYPE_L4_ICMP, bytes: 8 } : { ptype: 0, bytes: 0 };
      case PROTOCOL_IGMP: return { ptype: PTYPE_L4_IGMP, bytes: 0 };
      default: return { ptype: PTYPE_L4_NONFRAG, bytes: 0 };
    }
  }

  /** The tunnel's type and the inner ones, 0 for no tunnel. A tunnel in the tunnel is not looked into. */
  function parseTunnel(at: number, protocol: number, left: number): number {
    switch (protocol) {
      case PROTOCOL_IPV4: return PTYPE_TUNNEL_IP | innerNetwork(at, left, ETHERTYPE_IPV4);
      case PROTOCOL_IPV6: return PTYPE_TUNNEL_IP | innerNetwork(at, left, ETHERTYPE_IPV6);
      case PROTOCOL_ESP: return PTYPE_TUNNEL_ESP;
      case PROTOCOL_GRE: return parseGre(at, left);
      case PROTOCOL_UDP: return big16(at + 2) === PORT_VXLAN && left >= 16 && (u8[at + 8] & 8) !== 0 ? PTYPE_TUNNEL_VXLAN | innerFrame(at + 16, left - 16) : 0;
      default: return 0;
    }
  }

  /** RFC 2784 and 2890: four bytes, and four more for each of checksum, key and sequence number. Other versions are no tunnel that we know. */
  function parseGre(at: number, left: number): number {
    if (left < 4 || (big16(at) & 0x4007) !== 0) return 0;
    const bytes = 4 + [0x80, 0x20, 0x10].filter(bit => (u8[at] & bit) !== 0).length * 4;
    if (bytes > left) return 0;
    const type = big16(at + 2);
    if (type === ETHERTYPE_TEB) return PTYPE_TUNNEL_NVGRE | innerFrame(at + bytes, left - bytes);
    return PTYPE_TUNNEL_GRE | innerNetwork(at + bytes, left - bytes, type);
  }

  function innerFrame(frame: number, length: number): number {
    const link = parseLink(frame, length);
    if (link === undefined) return 0;
    const ptype = link.tags === 0 ? PTYPE_INNER_L2_ETHER : link.tags === 1 ? PTYPE_INNER_L2_ETHER_VLAN : PTYPE_INNER_L2_ETHER_QINQ;
    return ptype | innerNetwork(frame + link.bytes, length - link.bytes, link.network);
  }

  function innerNetwork(ip: number, length: number, type: number): number {
    const network = parseNetwork(ip, length, type);
    if (network === undefined) return 0;
    const l4 = network.isFragment ? PTYPE_L4_FRAG : transportOf(ip + network.bytes, network.protocol, network.left, network.family).ptype;
    return innerL3(network) | (l4 << PTYPE_INNER_L4_SHIFT);
  }

  function packetAt(table: number, burst: number, i: number): { header: number; frame: number; length: number } {
    return packetOf(table, u32[(burst >>> 2) + i]);
  }

  function packetOf(table: number, handle: number): { header: number; frame: number; length: number } {
    const header = (table + (handle << HEADER_SHIFT)) >>> 0;
    return { header, frame: ((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1], length: u16[(header + MBUF_DATA_LEN) >>> 1] };
  }

  function big16(at: number): number {
    return (u8[at] << 8) | u8[at + 1];
  }
}

/** From its length field: in units of 8 bytes less the first, or, for AH, of 4 less two. A fragment header's is reserved. */
function extensionBytes(type: number, field: number): number {
  if (type === PROTOCOL_FRAGMENT) return 8;
  return type === PROTOCOL_AH ? Math.max(8, (field + 2) * 4) : (field + 1) * 8;
}

function outerL3(network: NetworkLayer | undefined): number {
  if (network === undefined) return 0;
  if (network.family === 4) return network.isLong ? PTYPE_L3_IPV4_EXT : PTYPE_L3_IPV4;
  return network.isLong ? PTYPE_L3_IPV6_EXT : PTYPE_L3_IPV6;
}

function innerL3({ family, isLong }: NetworkLayer): number {
  if (family === 4) return isLong ? PTYPE_INNER_L3_IPV4_EXT : PTYPE_INNER_L3_IPV4;
  return isLong ? PTYPE_INNER_L3_IPV6_EXT : PTYPE_INNER_L3_IPV6;
}

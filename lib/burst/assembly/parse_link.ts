/** What comes before a packet's network layer: Ethernet, tags, MPLS, PPPoE. The twin is burst/parse.ts. Types are compared as they stand in memory, low byte first. */
import {
  ETHERTYPE_1588, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_LLDP, ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST, ETHERTYPE_PPPOE_SESSION,
  ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD, ETHERTYPE_VLAN, VLAN_TAGS_MAX,
} from '../../wire/protocol_layout';
import {
  MPLS_ENTRIES_MAX, PTYPE_L2_ETHER, PTYPE_L2_ETHER_ARP, PTYPE_L2_ETHER_LLDP, PTYPE_L2_ETHER_MPLS, PTYPE_L2_ETHER_PPPOE, PTYPE_L2_ETHER_QINQ,
  PTYPE_L2_ETHER_TIMESYNC, PTYPE_L2_ETHER_VLAN,
} from '../../wire/ptype_layout';

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
export function swapped(type: u32): u32 {
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

export const NO_LINK: u32 = 0;

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

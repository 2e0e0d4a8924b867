/** The little that a discipline reads of a packet: where its IP header stands, its ECN bits (RFC 3168) and its length. */
import type { Mbufs } from '../mbuf/mbufs.js';
import * as protocol from '../wire/protocol_layout.js';

// V8 knows a module's own constants, and loads an imported one at each use.
const { ETHER_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN } = protocol;
/** Congestion experienced, and the mask of the two bits. */
const CE = 3;

/** Bytes from the frame's start to a whole IPv4 or IPv6 header in its first segment, behind at most two VLAN tags; 0 when there is none. */
export function ipOffset(mbufs: Mbufs, handle: number): number {
  const { u8 } = mbufs;
  const frame = mbufs.data(handle);
  const length = mbufs.dataLen(handle);
  let at = ETHER_HEADER_BYTES;
  if (length < at + 20) return 0;
  let type = (u8[frame + 12]! << 8) | u8[frame + 13]!;
  for (let tags = 0; tags < 2 && (type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ); tags++) {
    at += 4;
    if (length < at + 20) return 0;
    type = (u8[frame + at - 2]! << 8) | u8[frame + at - 1]!;
  }
  const version = u8[frame + at]! >> 4;
  if (type === ETHERTYPE_IPV4 && version === 4) return at;
  return type === ETHERTYPE_IPV6 && version === 6 && length >= at + 40 ? at : 0;
}

/** Marks an ECN-capable packet as having met congestion, its IPv4 checksum with it (RFC 1624). Returns whether it was capable. */
export function markCongestion(mbufs: Mbufs, handle: number): boolean {
  const offset = ipOffset(mbufs, handle);
  if (offset === 0) return false;
  const at = mbufs.data(handle) + offset;
  return mbufs.u8[at]! >> 4 === 4 ? markIpv4(mbufs.u8, at) : markIpv6(mbufs.u8, at);
}

function markIpv4(u8: Uint8Array, at: number): boolean {
  const old = u8[at + 1]!;
  if ((old & CE) === 0) return false;
  if ((old & CE) === CE) return true;
  u8[at + 1] = old | CE;
  // HC' = ~(~HC + ~m + m'), RFC 1624 equation 3; only the low byte of the word changes.
  let sum = (~((u8[at + 10]! << 8) | u8[at + 11]!) & 0xffff) + (~((u8[at]! << 8) | old) & 0xffff) + ((u8[at]! << 8) | u8[at + 1]!);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
  u8[at + 10] = sum >>> 8;
  u8[at + 11] = sum & 0xff;
  return true;
}

/** The traffic class stands across the first two bytes; its ECN bits are bits 4 and 5 of the second. */
function markIpv6(u8: Uint8Array, at: number): boolean {
  if ((u8[at + 1]! & (CE << 4)) === 0) return false;
  u8[at + 1]! |= CE << 4;
  return true;
}

/** Bytes of the IP packet, as RFC 2697 and 2698 count them: header and payload, no link header and no padding. 0 for what is no IP. */
export function ipLength(mbufs: Mbufs, handle: number): number {
  const offset = ipOffset(mbufs, handle);
  if (offset === 0) return 0;
  const { u8 } = mbufs;
  const at = mbufs.data(handle) + offset;
  const said = u8[at]! >> 4 === 4 ? (u8[at + 2]! << 8) | u8[at + 3]! : 40 + ((u8[at + 4]! << 8) | u8[at + 5]!);
  const most = mbufs.pktLen(handle) - offset;
  return said < most ? said : most;
}

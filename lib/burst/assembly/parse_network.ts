/** A packet's network layer, IPv4 and IPv6 with its extension headers. The twin is burst/parse.ts. A layer that was parsed is one u64, since there is no other way to return two things. */
import {
  EXTENSIONS_MAX, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_FRAGMENT, PROTOCOL_HIP, PROTOCOL_HOPOPTS, PROTOCOL_MOBILITY, PROTOCOL_NONE,
  PROTOCOL_ROUTING, PROTOCOL_SHIM6,
} from '../../wire/protocol_layout';
import { L3_LEN_MASK } from '../../wire/ptype_layout';
import { big16 } from './parse_link';

// The network layer: bytes behind its header in the low 32 bits; its header's bytes in the next 9, then 1 for options or
// extension headers, 1 for a fragment, 1 for IPv6, and the protocol in the top 8. Bytes are 0 for none.
export const NETWORK_LONG: u64 = 1 << 41;
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

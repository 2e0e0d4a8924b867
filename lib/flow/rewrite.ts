import type { Mbufs } from '../mbuf/mbufs.js';
import type { Step } from './actions.js';
import * as protocol from '../wire/protocol_layout.js';

const { ETHER_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, VLAN_TAG_BYTES } = protocol;

/** Writes what a rewrite action says; what a frame has no place for stays as it is. The reader has seen that there is an Ethernet header. */
export function rewrite(mbufs: Mbufs, handle: number, { destinationMac, sourceMac, dscp }: Step): void {
  const { u8 } = mbufs;
  const frame = mbufs.data(handle);
  for (let i = 0; i < 6; i++) {
    if (destinationMac !== undefined) u8[frame + i] = destinationMac[i]!;
    if (sourceMac !== undefined) u8[frame + 6 + i] = sourceMac[i]!;
  }
  if (dscp >= 0) writeDscp(u8, frame, mbufs.dataLen(handle), dscp);
}

function writeDscp(u8: Uint8Array, frame: number, length: number, dscp: number): void {
  let at = ETHER_HEADER_BYTES;
  let type = (u8[frame + 12]! << 8) | u8[frame + 13]!;
  for (let tags = 0; tags < 2 && (type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ) && length >= at + VLAN_TAG_BYTES; tags++) {
    type = (u8[frame + at + 2]! << 8) | u8[frame + at + 3]!;
    at += VLAN_TAG_BYTES;
  }
  const ip = frame + at;
  if (type === ETHERTYPE_IPV4 && length >= at + 20 && u8[ip]! >> 4 === 4) writeIpv4Dscp(u8, ip, dscp);
  else if (type === ETHERTYPE_IPV6 && length >= at + 40 && u8[ip]! >> 4 === 6) {
    u8[ip] = 0x60 | (dscp >> 2);
    u8[ip + 1] = ((dscp & 3) << 6) | (u8[ip + 1]! & 0x3f);
  }
}

/** The checksum goes with it: HC' = ~(~HC + ~m + m'), RFC 1624 equation 3. */
function writeIpv4Dscp(u8: Uint8Array, ip: number, dscp: number): void {
  const old = (u8[ip]! << 8) | u8[ip + 1]!;
  u8[ip + 1] = (dscp << 2) | (u8[ip + 1]! & 3);
  const fresh = (u8[ip]! << 8) | u8[ip + 1]!;
  let sum = (~((u8[ip + 10]! << 8) | u8[ip + 11]!) & 0xffff) + (~old & 0xffff) + fresh;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
  u8[ip + 10] = sum >>> 8;
  u8[ip + 11] = sum & 0xff;
}

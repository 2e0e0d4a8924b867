/** A port's rule as the kernel's n-tuple (struct ethtool_rx_flow_spec). */
import { getU32, setU32 } from '../../../kernel/bytes.js';
import {
  ETH_RX_NFC_IP4, ETHER_FLOW, FLOW_EXT, IP_USER_FLOW, IPV6_USER_FLOW, ntupleSpec, RX_CLS_FLOW_DISC, SCTP_V4_FLOW, SCTP_V6_FLOW, SPEC_MASK, SPEC_VALUE, SPEC_VLAN_TCI,
  TCP_V4_FLOW, TCP_V6_FLOW, UDP_V4_FLOW, UDP_V6_FLOW, type NtupleSpec,
} from '../../../kernel/ntuple.js';
import { versionOf, type AddressPrefix, type PortFlowMatch, type PortFlowRule } from '../../flow_rules.js';

const TCP = 6;
const UDP = 17;
const SCTP = 132;

/** `firstQueue`: what the interface calls the port's queue 0. Returns a sentence for what an n-tuple has no words for. */
export function specOf({ match, to }: PortFlowRule, firstQueue: number): NtupleSpec | string {
  const action = to === 'drop' ? RX_CLS_FLOW_DISC : BigInt(firstQueue + to);
  const version = versionOf(match);
  const aboutIp = match.source !== undefined || match.destination !== undefined || match.protocol !== undefined;
  if (aboutIp && (match.destinationMac !== undefined || match.sourceMac !== undefined)) return 'an n-tuple rule is about MAC addresses or about IP, not both';
  if (aboutIp && version === undefined) return 'an n-tuple rule is about IPv4 or IPv6: name an address, or the etherType';
  const spec = aboutIp ? ipSpec(match, version!, action) : ntupleSpec(ETHER_FLOW, action);
  if (!aboutIp) etherFields(spec, match);
  if (match.vlan !== undefined) withVlan(spec, match.vlan);
  return spec;
}

/** struct ethhdr */
function etherFields(spec: NtupleSpec, { destinationMac, sourceMac, etherType }: PortFlowMatch): void {
  const all = new Uint8Array(6).fill(0xff);
  if (destinationMac !== undefined) put(spec, 0, destinationMac, all);
  if (sourceMac !== undefined) put(spec, 6, sourceMac, all);
  if (etherType !== undefined) put(spec, 12, big16(etherType), big16(0xffff));
}

/** struct ethtool_tcpip4_spec and ethtool_tcpip6_spec for protocols with ports, struct ethtool_usrip4_spec and ethtool_usrip6_spec for the others. */
function ipSpec({ source, destination, protocol, sourcePort, destinationPort }: PortFlowMatch, version: 4 | 6, action: bigint): NtupleSpec {
  const ported = protocol === TCP ? [TCP_V4_FLOW, TCP_V6_FLOW] : protocol === UDP ? [UDP_V4_FLOW, UDP_V6_FLOW] : protocol === SCTP ? [SCTP_V4_FLOW, SCTP_V6_FLOW] : undefined;
  const types = ported ?? [IP_USER_FLOW, IPV6_USER_FLOW];
  const spec = ntupleSpec(version === 4 ? types[0]! : types[1]!, action);
  const bytes = version === 4 ? 4 : 16;
  if (source !== undefined) put(spec, 0, ...masked(source));
  if (destination !== undefined) put(spec, bytes, ...masked(destination));
  const behind = 2 * bytes;
  if (ported !== undefined) {
    if (sourcePort !== undefined) put(spec, behind, big16(sourcePort), big16(0xffff));
    if (destinationPort !== undefined) put(spec, behind + 2, big16(destinationPort), big16(0xffff));
    return spec;
  }
  // l4_4_bytes and the traffic class stand before; for IPv4 the version too, which counts without a mask.
  if (version === 4) spec[SPEC_VALUE + behind + 5] = ETH_RX_NFC_IP4;
  if (protocol !== undefined) put(spec, version === 4 ? behind + 6 : behind + 5, [protocol], [0xff]);
  return spec;
}

function withVlan(spec: NtupleSpec, vlan: number): void {
  setU32(spec, 0, (getU32(spec, 0) | FLOW_EXT) >>> 0);
  put(spec, SPEC_VLAN_TCI, big16(vlan), big16(0x0fff));
}

function masked({ bytes, length }: AddressPrefix): [number[], number[]] {
  const mask = Array.from(bytes, (_, i) => (0xff00 >> Math.max(0, Math.min(8, length - 8 * i))) & 0xff);
  return [Array.from(bytes, (byte, i) => byte & mask[i]!), mask];
}

function put(spec: NtupleSpec, at: number, value: ArrayLike<number>, mask: ArrayLike<number>): void {
  spec.set(value, SPEC_VALUE + at);
  spec.set(mask, SPEC_MASK + at);
}

function big16(value: number): number[] {
  return [value >> 8, value & 0xff];
}

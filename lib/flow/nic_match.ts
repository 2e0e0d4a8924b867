/** A match in the words that NICs have (port/flow_rules.ts), where it has such. */
import { addressBytes } from '../address.js';
import { versionOf, type AddressPrefix, type PortFlowMatch } from '../port/flow_rules.js';
import { parseMac } from '../wire/ethernet.js';
import {
  ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_FRAGMENT, PROTOCOL_HOPOPTS,
  PROTOCOL_NONE, PROTOCOL_ROUTING, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP,
} from '../wire/protocol_layout.js';
import { protocolNumber } from './match.js';
import type { FlowMatch } from './rule.js';

/** What IPv6 headers say "next" of that is no protocol above it: the table walks on, or says that there is none. */
const INSIDE_IPV6 = [PROTOCOL_HOPOPTS, PROTOCOL_ROUTING, PROTOCOL_FRAGMENT, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_NONE];

/** Of a match that was checked (match.ts). Returns a sentence for what a NIC cannot look at, or would look at otherwise. */
export function nicMatchOf(match: FlowMatch): PortFlowMatch | string {
  const { destinationMac, sourceMac, etherType, vlan, source, destination, protocol, sourcePort, destinationPort, fragment } = match;
  if (Object.values(match).every(value => value === undefined)) return 'a NIC\'s filter matches something, and not every packet';
  if (vlan === 'none') return 'a NIC\'s filter cannot say that there is no tag';
  if (fragment !== undefined) return 'a NIC\'s filter does not tell fragments';
  if (etherType === ETHERTYPE_VLAN || etherType === ETHERTYPE_QINQ) return 'that etherType is a tag\'s, where a NIC looks at it';
  if (isRange(sourcePort) || isRange(destinationPort)) return 'a NIC\'s filter matches one port, and no range';
  const found: PortFlowMatch = defined({
    destinationMac: destinationMac === undefined ? undefined : parseMac(destinationMac), sourceMac: sourceMac === undefined ? undefined : parseMac(sourceMac),
    etherType, vlan, source: prefixOf(source), destination: prefixOf(destination), protocol: protocol === undefined ? undefined : protocolNumber(protocol),
    sourcePort: onePort(sourcePort), destinationPort: onePort(destinationPort),
  });
  return wontDo(found) ?? withoutType(found);
}

function wontDo(match: PortFlowMatch): string | undefined {
  const { source, destination, protocol, sourcePort, destinationPort, etherType } = match;
  if (source?.length === 0 || destination?.length === 0) return 'a prefix of length 0 is every whole IP header, which a NIC\'s filter cannot say';
  if (source !== undefined && destination !== undefined && source.bytes.length !== destination.bytes.length) return 'no packet is of two versions of IP';
  const version = versionOf(match);
  if (etherType !== undefined && (source ?? destination) !== undefined && etherType !== (version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6)) return 'no packet of that etherType has such an address';
  if (protocol !== undefined && version === undefined) return 'a NIC\'s filter is about IPv4 or IPv6: name an address, or the etherType';
  if (protocol !== undefined && version === 6 && INSIDE_IPV6.includes(protocol)) return 'that protocol is within IPv6\'s headers, which a NIC does not walk as the table does';
  if ((sourcePort !== undefined || destinationPort !== undefined) && ![PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP].includes(protocol ?? -1)) return 'a NIC\'s filter takes ports with a protocol: name tcp, udp or sctp';
  return undefined;
}

/** An etherType that the rest says anyway is left out: filters of IP have no room for one. */
function withoutType(match: PortFlowMatch): PortFlowMatch {
  const { etherType, ...rest } = match;
  const aboutIp = match.source !== undefined || match.destination !== undefined;
  return aboutIp && etherType !== undefined ? rest : match;
}

function isRange(wanted: FlowMatch['sourcePort']): boolean {
  return typeof wanted === 'object' && wanted[0] !== wanted[1];
}

function onePort(wanted: FlowMatch['sourcePort']): number | undefined {
  return typeof wanted === 'object' ? wanted[0] : wanted;
}

function prefixOf(text: string | undefined): AddressPrefix | undefined {
  if (text === undefined) return undefined;
  const [address = '', bits] = text.split('/');
  const bytes = Uint8Array.from(addressBytes(address));
  return { bytes, length: bits === undefined ? bytes.length * 8 : Number(bits) };
}

function defined<T extends object>(fields: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [Key in keyof T]: Exclude<T[Key], undefined> };
}

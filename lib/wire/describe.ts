/**
 * A packet in words, for people: one line as tcpdump's, or every header with its fields. It makes strings and views, so
 * it is for looking, not for the packet loop. It may be given any packet, sound or not: it says what is there and where
 * it stops making sense, and never throws or reads past the packet.
 */
import type { Mbufs } from '../mbuf/mbufs.js';
import { formatIpv4, formatIpv6 } from '../address.js';
import { Arp } from './arp.js';
import { Ethernet } from './ether.js';
import { formatMac } from './ethernet.js';
import { Icmp } from './icmp.js';
import { Ipv4 } from './ipv4.js';
import { Ipv6 } from './ipv6.js';
import { etherTypeName, icmpName, protocolName, tcpFlags } from './names.js';
import * as protocols from './protocol_layout.js';
import { Sctp } from './sctp.js';
import { Tcp } from './tcp.js';
import { Gre, Mpls, Vxlan } from './tunnel.js';
import { Udp } from './udp.js';

/** One header: what the line says of it, and its name and fields for the long form. */
interface Part { readonly line: string; readonly name: string; readonly fields: readonly (readonly [name: string, value: string | number])[] }

/** What comes next, as the header before it says. */
type Next = { readonly kind: 'ether' | 'type' | 'protocol' | 'data' | 'vxlan' | 'inside'; readonly number: number; readonly offset: number; readonly limit: number; readonly family?: 4 | 6 };

/** Headers that are looked through; a packet that nests deeper is described so far. */
const DEPTH = 24;

/** "02:…:0a > 02:…:0b, IPv4 10.0.0.1 > 10.0.0.2, UDP 1000 > 53, 20 bytes of data" */
export function describe(mbufs: Mbufs, handle: number): string {
  return partsOf(mbufs, handle).map(({ line }) => line).join(', ');
}

/** The same line, then each header with its fields, then the first bytes that no header explains. */
export function describeLong(mbufs: Mbufs, handle: number): string {
  const parts = partsOf(mbufs, handle);
  const length = mbufs.pktLen(handle);
  const segments = mbufs.segments(handle);
  const head = `${length} bytes${segments > 1 ? ` in ${segments} segments, the first of ${mbufs.dataLen(handle)}` : ''}, from port ${mbufs.port(handle) === 0xffff ? 'none' : mbufs.port(handle)}`;
  const lines = parts.flatMap(({ name, fields }) => [name, ...fields.map(([field, value]) => `  ${field.padEnd(18)}${value}`)]);
  return [`${parts.map(({ line }) => line).join(', ')}`, head, ...lines].join('\n');
}

function partsOf(mbufs: Mbufs, handle: number): Part[] {
  const parts: Part[] = [];
  const reader = new Reader(mbufs, handle, parts);
  let next: Next | undefined = { kind: 'ether', number: 0, offset: 0, limit: mbufs.dataLen(handle) };
  for (let depth = 0; depth < DEPTH && next !== undefined; depth++) next = reader.step(next);
  return parts;
}

class Reader {
  readonly #mbufs: Mbufs;
  readonly #handle: number;
  readonly #parts: Part[];

  constructor(mbufs: Mbufs, handle: number, parts: Part[]) {
    this.#mbufs = mbufs;
    this.#handle = handle;
    this.#parts = parts;
  }

  step(next: Next): Next | undefined {
    switch (next.kind) {
      case 'ether': return this.#ethernet(next);
      case 'type': return this.#byType(next);
      case 'protocol': return this.#byProtocol(next);
      case 'vxlan': return this.#vxlan(next);
      case 'inside': return this.#inside(next);
      case 'data': return this.#data(next);
    }
  }

  #add(line: string, name: string, fields: Part['fields']): void {
    this.#parts.push({ line, name, fields });
  }

  /** A header that is not there as it should be. */
  #broken(what: string, { offset, limit }: Next): undefined {
    this.#add(`${what} broken or cut off`, what, [['broken', `no whole header in the ${Math.max(0, limit - offset)} bytes from ${offset} on`]]);
    return undefined;
  }

  #ethernet(next: Next): Next | undefined {
    const ether = new Ethernet(this.#mbufs);
    if (!ether.at(this.#handle, next.offset, next.limit)) return this.#broken('Ethernet', next);
    const { u8, view } = this.#mbufs;
    const [destination, source] = [formatMac(u8, ether.start), formatMac(u8, ether.start + 6)];
    const tags = Array.from({ length: ether.tags }, (_, i) => view.getUint16(ether.start + 14 + i * 4));
    const isLength = ether.type < protocols.ETHERTYPE_MIN;
    const names = tags.map(tci => `VLAN ${tci & 0xfff}`);
    this.#add([`${source} > ${destination}`, ...names].join(', '), 'Ethernet', [
      ['destination', destination + (ether.isBroadcast ? ' (broadcast)' : ether.isMulticast ? ' (multicast)' : '')], ['source', source],
      ...tags.map((tci): [string, string] => ['VLAN tag', `${tci & 0xfff}, priority ${tci >>> 13}${tci & 0x1000 ? ', drop eligible' : ''}`]),
      isLength ? ['length', ether.type] : ['type', `0x${ether.type.toString(16).padStart(4, '0')} ${etherTypeName(ether.type)}`],
    ]);
    return { kind: isLength ? 'data' : 'type', number: ether.type, offset: ether.end, limit: ether.limit };
  }

  #byType(next: Next): Next | undefined {
    switch (next.number) {
      case protocols.ETHERTYPE_IPV4: return this.#ipv4(next);
      case protocols.ETHERTYPE_IPV6: return this.#ipv6(next);
      case protocols.ETHERTYPE_ARP: return this.#arp(next);
      case protocols.ETHERTYPE_MPLS: case protocols.ETHERTYPE_MPLS_MULTICAST: return this.#mpls(next);
      case protocols.ETHERTYPE_TEB: return { ...next, kind: 'ether' };
      default:
        this.#add(etherTypeName(next.number) || `type 0x${next.number.toString(16).padStart(4, '0')}`, etherTypeName(next.number) || 'unknown type', []);
        return { ...next, kind: 'data' };
    }
  }

  #arp(next: Next): Next | undefined {
    const arp = new Arp(this.#mbufs);
    if (!arp.at(this.#handle, next.offset, next.limit)) return this.#broken('ARP', next);
    const [sender, target] = [formatIpv4(arp.senderAddress), formatIpv4(arp.targetAddress)];
    const [senderMac, targetMac] = [formatMac(this.#mbufs.u8, arp.senderMacAt), formatMac(this.#mbufs.u8, arp.targetMacAt)];
    const line = arp.operation === 1 ? `ARP who has ${target}, tell ${sender}` : arp.operation === 2 ? `ARP ${sender} is at ${senderMac}` : `ARP operation ${arp.operation}`;
    this.#add(line, 'ARP', [['operation', arp.operation], ['sender', `${sender} ${senderMac}`], ['target', `${target} ${targetMac}`]]);
    return undefined;
  }

  #mpls(next: Next): Next | undefined {
    const mpls = new Mpls(this.#mbufs);
    if (!mpls.at(this.#handle, next.offset, next.limit)) return this.#broken('MPLS', next);
    this.#add(`MPLS ${mpls.label}`, 'MPLS', [['label', mpls.label], ['traffic class', mpls.trafficClass], ['bottom', mpls.isBottom ? 'yes' : 'no'], ['TTL', mpls.ttl]]);
    return mpls.isBottom ? { ...next, kind: 'inside', offset: mpls.end } : { ...next, offset: mpls.end };
  }

  /** Below a label stack the first four bits are all that says what follows. */
  #inside(next: Next): Next | undefined {
    const version = next.offset < next.limit ? this.#mbufs.u8[this.#mbufs.data(this.#handle) + next.offset]! >>> 4 : 0;
    if (version === 4) return this.#ipv4(next);
    return version === 6 ? this.#ipv6(next) : { ...next, kind: 'data' };
  }

  #ipv4(next: Next): Next | undefined {
    const ip = new Ipv4(this.#mbufs);
    if (!ip.at(this.#handle, next.offset, next.limit)) return this.#broken('IPv4', next);
    const [source, destination] = [formatIpv4(ip.source), formatIpv4(ip.destination)];
    const part = ip.isFragment ? ` fragment ${ip.fragmentOffset} to ${ip.fragmentOffset + ip.payloadLength}${ip.moreFragments ? ', more' : ''}` : '';
    const options: string[] = [];
    while (ip.nextOption()) options.push(`${ip.optionKind} (${ip.optionLength} bytes)`);
    const isGood = ip.checksumValid;
    this.#add(`IPv4 ${source} > ${destination}${part}${isGood ? '' : ', bad header checksum'}`, 'IPv4', [
      ['source', source], ['destination', destination], ['protocol', `${ip.protocol} ${protocolName(ip.protocol)}`], ['total length', ip.totalLength],
      ['header', `${ip.length} bytes`], ...(options.length > 0 ? [['options', options.join(', ')] as const] : []),
      ['DSCP, ECN', `${ip.dscp}, ${ip.ecn}`], ['identification', ip.identification],
      ['fragment', `offset ${ip.fragmentOffset}${ip.moreFragments ? ', more follow' : ''}${ip.dontFragment ? ', must not be cut' : ''}`], ['TTL', ip.ttl],
      ['checksum', `0x${ip.checksum.toString(16).padStart(4, '0')} ${isGood ? 'good' : 'bad'}`],
    ]);
    if (ip.totalLength > 0 && ip.offset + ip.totalLength > this.#mbufs.pktLen(this.#handle)) this.#add('cut short', 'cut short', [['missing', `${ip.offset + ip.totalLength - this.#mbufs.pktLen(this.#handle)} bytes`]]);
    return { kind: ip.fragmentOffset > 0 ? 'data' : 'protocol', number: ip.protocol, offset: ip.end, limit: ip.limit, family: 4 };
  }

  #ipv6(next: Next): Next | undefined {
    const ip = new Ipv6(this.#mbufs);
    if (!ip.at(this.#handle, next.offset, next.limit)) return this.#broken('IPv6', next);
    const [source, destination] = [formatIpv6(this.#mbufs.u8, ip.start + 8), formatIpv6(this.#mbufs.u8, ip.start + 24)];
    const part = ip.isFragment ? ` fragment ${ip.fragmentOffset} to ${ip.fragmentOffset + ip.payloadLength}${ip.moreFragments ? ', more' : ''}` : '';
    const extensions: string[] = [];
    while (ip.nextExtension()) extensions.push(`${protocolName(ip.extensionType)} (${ip.extensionLength} bytes)`);
    this.#add(`IPv6 ${source} > ${destination}${part}${ip.complete ? '' : ', extension headers broken or cut off'}`, 'IPv6', [
      ['source', source], ['destination', destination], ['next header', `${ip.nextHeader} ${protocolName(ip.nextHeader)}`], ['payload length', ip.payloadField],
      ...(extensions.length > 0 ? [['extensions', extensions.join(', ')] as const] : []), ['traffic class', ip.trafficClass], ['flow label', `0x${ip.flowLabel.toString(16).padStart(5, '0')}`], ['hop limit', ip.hopLimit],
      ...(ip.fragmentStart > 0 ? [['fragment', `offset ${ip.fragmentOffset}${ip.moreFragments ? ', more follow' : ''}, identification ${ip.identification}`] as const] : []),
    ]);
    return { kind: ip.fragmentOffset > 0 || !ip.complete ? 'data' : 'protocol', number: ip.protocol, offset: ip.end, limit: ip.limit, family: 6 };
  }

  #byProtocol(next: Next): Next | undefined {
    switch (next.number) {
      case protocols.PROTOCOL_TCP: return this.#tcp(next);
      case protocols.PROTOCOL_UDP: return this.#udp(next);
      case protocols.PROTOCOL_SCTP: return this.#sctp(next);
      case protocols.PROTOCOL_ICMP: return next.family === 4 ? this.#icmp(next) : this.#other(next);
      case protocols.PROTOCOL_ICMPV6: return next.family === 6 ? this.#icmp(next) : this.#other(next);
      case protocols.PROTOCOL_GRE: return this.#gre(next);
      case protocols.PROTOCOL_IPV4: return this.#ipv4(next);
      case protocols.PROTOCOL_IPV6: return this.#ipv6(next);
      default: return this.#other(next);
    }
  }

  #other(next: Next): Next {
    const name = protocolName(next.number) || `protocol ${next.number}`;
    this.#add(name, name, []);
    return { ...next, kind: 'data' };
  }

  #tcp(next: Next): Next | undefined {
    const tcp = new Tcp(this.#mbufs);
    if (!tcp.at(this.#handle, next.offset, next.limit)) return this.#broken('TCP', next);
    const options: string[] = [];
    while (tcp.nextOption()) options.push(`${tcp.optionKind} (${tcp.optionLength} bytes)`);
    const flags = tcpFlags(tcp.flags);
    this.#add(`TCP ${tcp.sourcePort} > ${tcp.destinationPort} ${flags || 'no flags'}, seq ${tcp.sequence}${tcp.flags & 0x10 ? `, ack ${tcp.acknowledgment}` : ''}, win ${tcp.window}`, 'TCP', [
      ['source port', tcp.sourcePort], ['destination port', tcp.destinationPort], ['sequence', tcp.sequence], ['acknowledgment', tcp.acknowledgment],
      ['flags', flags || 'none'], ['window', tcp.window], ['header', `${tcp.length} bytes`], ...(options.length > 0 ? [['options', options.join(', ')] as const] : []), ['checksum', `0x${tcp.checksum.toString(16).padStart(4, '0')}`],
    ]);
    return { ...next, kind: 'data', offset: tcp.end, limit: tcp.limit };
  }

  #udp(next: Next): Next | undefined {
    const udp = new Udp(this.#mbufs);
    if (!udp.at(this.#handle, next.offset, next.limit)) return this.#broken('UDP', next);
    this.#add(`UDP ${udp.sourcePort} > ${udp.destinationPort}`, 'UDP', [
      ['source port', udp.sourcePort], ['destination port', udp.destinationPort], ['length', udp.lengthField], ['checksum', udp.checksum === 0 ? 'none' : `0x${udp.checksum.toString(16).padStart(4, '0')}`],
    ]);
    return { ...next, kind: udp.destinationPort === protocols.PORT_VXLAN ? 'vxlan' : 'data', offset: udp.end, limit: udp.limit };
  }

  #vxlan(next: Next): Next | undefined {
    const vxlan = new Vxlan(this.#mbufs);
    if (!vxlan.at(this.#handle, next.offset, next.limit)) return { ...next, kind: 'data' };
    this.#add(`VXLAN ${vxlan.vni}`, 'VXLAN', [['VNI', vxlan.vni]]);
    return { ...next, kind: 'ether', offset: vxlan.end };
  }

  #gre(next: Next): Next | undefined {
    const gre = new Gre(this.#mbufs);
    if (!gre.at(this.#handle, next.offset, next.limit)) return this.#broken('GRE', next);
    this.#add(`GRE${gre.hasKey ? ` key ${gre.key}` : ''}`, 'GRE', [['type', `0x${gre.type.toString(16).padStart(4, '0')} ${etherTypeName(gre.type)}`], ...(gre.hasKey ? [['key', gre.key] as const] : []), ...(gre.hasSequence ? [['sequence', gre.sequence] as const] : [])]);
    return { ...next, kind: 'type', number: gre.type, offset: gre.end, limit: gre.limit };
  }

  #sctp(next: Next): Next | undefined {
    const sctp = new Sctp(this.#mbufs);
    if (!sctp.at(this.#handle, next.offset, next.limit)) return this.#broken('SCTP', next);
    const chunks: string[] = [];
    while (chunks.length < 32 && sctp.nextChunk()) chunks.push(`${sctp.chunkType} (${sctp.chunkLength} bytes)`);
    this.#add(`SCTP ${sctp.sourcePort} > ${sctp.destinationPort}`, 'SCTP', [['source port', sctp.sourcePort], ['destination port', sctp.destinationPort], ['tag', sctp.verificationTag], ['chunks', chunks.join(', ') || 'none']]);
    return undefined;
  }

  #icmp(next: Next): Next | undefined {
    const icmp = new Icmp(this.#mbufs);
    const name = next.family === 6 ? 'ICMPv6' : 'ICMP';
    if (!icmp.at(this.#handle, next.offset, next.limit)) return this.#broken(name, next);
    const what = icmpName(next.family === 6, icmp.type) || `type ${icmp.type}`;
    const isEcho = what.startsWith('echo');
    this.#add(`${name} ${what}${isEcho ? ` ${icmp.identifier}/${icmp.sequence}` : icmp.code > 0 ? `, code ${icmp.code}` : ''}`, name, [
      ['type', `${icmp.type} ${what}`], ['code', icmp.code], ['checksum', `0x${icmp.checksum.toString(16).padStart(4, '0')}`], ...(isEcho ? [['echo', `identifier ${icmp.identifier}, sequence ${icmp.sequence}`] as const] : []),
    ]);
    return { ...next, kind: 'data', offset: icmp.end, limit: icmp.limit };
  }

  #data({ offset, limit }: Next): undefined {
    const bytes = limit - offset;
    if (bytes <= 0) return undefined;
    const { u8 } = this.#mbufs;
    const from = this.#mbufs.data(this.#handle) + offset;
    const shown = Array.from(u8.subarray(from, from + Math.min(bytes, 32)), byte => byte.toString(16).padStart(2, '0')).join(' ');
    this.#add(`${bytes} bytes of data`, 'data', [['bytes', bytes], ['first', shown]]);
    return undefined;
  }
}

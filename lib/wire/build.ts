/**
 * Whole frames from what a person writes: for templates that are sent many times, for answers, for tests. These make
 * objects and arrays, so they are for set-up; in the packet loop there is `make` of each view.
 *
 *   build.frame(build.ethernet({ destination: '02:00:00:00:00:01' }), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }),
 *     build.udp({ sourcePort: 1000, destinationPort: 53 }), payload)
 *
 * Types, lengths and checksums are filled in from what stands inside; each can be given instead, also wrongly. No
 * padding is added: the shortest frame on a wire has 60 bytes here.
 */
import { PollmodeError } from '../errors.js';
import { addressBytes } from '../address.js';
import { foldSum } from './checksum.js';
import { parseMac } from './ethernet.js';
import {
  ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_MPLS, ETHERTYPE_QINQ, ETHERTYPE_TEB, ETHERTYPE_VLAN, PORT_VXLAN,
  PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_FRAGMENT, PROTOCOL_GRE, PROTOCOL_HOPOPTS, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_IPV4, PROTOCOL_IPV6,
  PROTOCOL_NONE, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP,
} from './protocol_layout.js';

/** What was made so far, from the inside out, and how the header around it names it, where it can. */
export interface Made {
  readonly bytes: readonly number[];
  readonly etherType?: number;
  readonly protocol?: number;
  /** A checksum over the bytes from `start` on and the pseudo header of the IP around it: `at` is where it stands. */
  readonly checksum?: { readonly start: number; readonly at: number; readonly protocol: number };
}

/** A header: puts itself around what is inside it. */
export type Layer = (inner: Made) => Made;

/** The frame: headers from the outside in, then the payload. Throws EOPTION for what no address, number or header can be. */
export function frame(...parts: readonly (Layer | Uint8Array | readonly number[])[]): Uint8Array {
  const made = [...parts].reverse().reduce<Made>((inner, part) => typeof part === 'function' ? part(inner) : { bytes: [...part, ...inner.bytes] }, { bytes: [] });
  return Uint8Array.from(made.bytes);
}

export interface EthernetFields { readonly destination?: string; readonly source?: string; readonly type?: number }

export function ethernet({ destination = '00:00:00:00:00:00', source = '00:00:00:00:00:00', type }: EthernetFields = {}): Layer {
  const macs = [...parseMac(destination), ...parseMac(source)];
  numbers({ type }, 0xffff);
  return inner => ({ etherType: ETHERTYPE_TEB, bytes: [...macs, ...word16(type ?? inner.etherType ?? 0), ...inner.bytes] });
}

export interface VlanFields { readonly id: number; readonly priority?: number; readonly type?: number; readonly service?: boolean }

/** A VLAN tag; `service` makes it the outer one of QinQ. */
export function vlan({ id, priority = 0, type, service = false }: VlanFields): Layer {
  const tci = ranged('VLAN id', id, 0xfff) | (ranged('priority', priority, 7) << 13);
  numbers({ type }, 0xffff);
  return inner => ({ etherType: service ? ETHERTYPE_QINQ : ETHERTYPE_VLAN, bytes: [...word16(tci), ...word16(type ?? inner.etherType ?? 0), ...inner.bytes] });
}

export interface ArpFields {
  readonly operation: number; readonly senderMac: string; readonly senderAddress: string; readonly targetMac?: string; readonly targetAddress: string;
}

export function arp({ operation, senderMac, senderAddress, targetMac = '00:00:00:00:00:00', targetAddress }: ArpFields): Layer {
  numbers({ operation }, 0xffff);
  const sender = [...parseMac(senderMac), ...addressBytes(senderAddress)];
  const target = [...parseMac(targetMac), ...addressBytes(targetAddress)];
  return inner => ({ etherType: ETHERTYPE_ARP, bytes: [0, 1, 8, 0, 6, 4, ...word16(operation), ...sender, ...target, ...inner.bytes] });
}

export interface MplsFields { readonly label: number; readonly trafficClass?: number; readonly ttl?: number; readonly bottom?: boolean }

/** One entry of a label stack; the bottom one is the one that has no other inside. */
export function mpls({ label, trafficClass = 0, ttl = 64, bottom }: MplsFields): Layer {
  numbers({ trafficClass }, 7);
  numbers({ ttl }, 0xff);
  const entry = ranged('label', label, 0xfffff) * 4096 + (trafficClass << 9) + ttl;
  return inner => ({ etherType: ETHERTYPE_MPLS, bytes: [...word32(entry + (bottom ?? inner.etherType !== ETHERTYPE_MPLS ? 256 : 0)), ...inner.bytes] });
}

export interface Ipv4Fields {
  readonly source: string; readonly destination: string; readonly protocol?: number; readonly ttl?: number; readonly tos?: number;
  readonly identification?: number; readonly dontFragment?: boolean; readonly moreFragments?: boolean;
  /** In bytes. */
  readonly fragmentOffset?: number;
  /** Whole words. */
  readonly options?: readonly number[];
  readonly totalLength?: number; readonly checksum?: number;
}

export function ipv4(fields: Ipv4Fields): Layer {
  const addresses = [...addressBytes(fields.source), ...addressBytes(fields.destination)];
  const { options = [], ttl = 64, tos = 0, identification = 0, fragmentOffset = 0 } = fields;
  if (addresses.length !== 8) refuse(`${fields.source} and ${fields.destination} are not both IPv4 addresses`);
  if (options.length % 4 !== 0 || options.length > 40) refuse(`options of IPv4 are whole words and at most 40 bytes, not ${options.length} bytes`);
  numbers({ ttl, tos, protocol: fields.protocol }, 0xff);
  numbers({ identification, fragmentOffset, totalLength: fields.totalLength, checksum: fields.checksum }, 0xffff);
  const flags = (fields.dontFragment === true ? 0x4000 : 0) | (fields.moreFragments === true ? 0x2000 : 0) | (fragmentOffset >>> 3);
  return inner => {
    const payload = (flags & 0x3fff) === 0 ? sealed(inner, addresses) : inner.bytes;
    const protocol = fields.protocol ?? inner.protocol ?? PROTOCOL_NONE;
    const total = fields.totalLength ?? 20 + options.length + payload.length;
    const header = [0x45 + options.length / 4, tos, ...word16(total), ...word16(identification), ...word16(flags), ttl, protocol, 0, 0, ...addresses, ...options];
    header.splice(10, 2, ...word16(fields.checksum ?? checksumOf(header)));
    return { etherType: ETHERTYPE_IPV4, protocol: PROTOCOL_IPV4, bytes: [...header, ...payload] };
  };
}

export interface Ipv6Fields {
  readonly source: string; readonly destination: string; readonly nextHeader?: number; readonly hopLimit?: number;
  readonly trafficClass?: number; readonly flowLabel?: number; readonly payloadLength?: number;
}

export function ipv6(fields: Ipv6Fields): Layer {
  const addresses = [...addressBytes(fields.source), ...addressBytes(fields.destination)];
  const { hopLimit = 64, trafficClass = 0, flowLabel = 0 } = fields;
  numbers({ hopLimit, trafficClass, nextHeader: fields.nextHeader }, 0xff);
  numbers({ flowLabel }, 0xfffff);
  numbers({ payloadLength: fields.payloadLength }, 0xffff);
  if (addresses.length !== 32) refuse(`${fields.source} and ${fields.destination} are not both IPv6 addresses`);
  return inner => {
    const payload = sealed(inner, addresses);
    const first = 0x60000000 + trafficClass * 0x100000 + flowLabel;
    const nextHeader = fields.nextHeader ?? inner.protocol ?? PROTOCOL_NONE;
    return {
      etherType: ETHERTYPE_IPV6, protocol: PROTOCOL_IPV6,
      bytes: [...word32(first), ...word16(fields.payloadLength ?? payload.length), nextHeader, hopLimit, ...addresses, ...payload],
    };
  };
}

export interface ExtensionFields { readonly kind?: number; readonly body?: readonly number[]; readonly nextHeader?: number }

/** An extension header of options: padding, unless its bytes behind the first two are given (6, 14, 22 ... of them). */
export function extension({ kind = PROTOCOL_DSTOPTS, body = [1, 4, 0, 0, 0, 0], nextHeader }: ExtensionFields = {}): Layer {
  if (body.length % 8 !== 6) refuse(`an extension header has 6, 14, 22 ... bytes behind its first two, not ${body.length}`);
  // In units of 8 bytes less the first; AH's in words less two (RFC 4302 section 2.2).
  const length = kind === PROTOCOL_AH ? (body.length + 2) / 4 - 2 : (body.length + 2) / 8 - 1;
  return inner => around(kind, inner, [nextHeader ?? inner.protocol ?? PROTOCOL_NONE, length, ...body]);
}

/** Hop-by-hop options. */
export function hopByHop(body?: readonly number[]): Layer {
  return extension({ kind: PROTOCOL_HOPOPTS, ...(body === undefined ? {} : { body }) });
}

export interface FragmentFields { readonly offset?: number; readonly more?: boolean; readonly identification?: number; readonly nextHeader?: number }

/** IPv6's fragment header. `offset` in bytes. */
export function fragment({ offset = 0, more = false, identification = 0, nextHeader }: FragmentFields): Layer {
  numbers({ offset }, 0xffff);
  numbers({ identification }, 0xffffffff);
  numbers({ nextHeader }, 0xff);
  const rest = [0, ...word16((offset & 0xfff8) | (more ? 1 : 0)), ...word32(identification)];
  const isPart = offset > 0 || more; // the sum is over all of the datagram, which is not here
  return inner => around(PROTOCOL_FRAGMENT, isPart ? without(inner) : inner, [nextHeader ?? inner.protocol ?? PROTOCOL_NONE, ...rest]);
}

export interface IcmpFields { readonly type: number; readonly code?: number; readonly rest?: number; readonly checksum?: number }

export function icmp({ type, code = 0, rest = 0, checksum }: IcmpFields): Layer {
  messageNumbers(type, code, rest, checksum);
  return inner => {
    const message = [type, code, 0, 0, ...word32(rest), ...inner.bytes];
    message.splice(2, 2, ...word16(checksum ?? checksumOf(message)));
    return { protocol: PROTOCOL_ICMP, bytes: message };
  };
}

export function icmpv6({ type, code = 0, rest = 0, checksum }: IcmpFields): Layer {
  messageNumbers(type, code, rest, checksum);
  return inner => summed(PROTOCOL_ICMPV6, [type, code, ...word16(checksum ?? 0), ...word32(rest), ...inner.bytes], 2, checksum);
}

export interface UdpFields { readonly sourcePort: number; readonly destinationPort: number; readonly length?: number; readonly checksum?: number }

export function udp({ sourcePort, destinationPort, length, checksum }: UdpFields): Layer {
  numbers({ sourcePort, destinationPort, length, checksum }, 0xffff);
  return ({ bytes }) => summed(PROTOCOL_UDP, [...word16(sourcePort), ...word16(destinationPort), ...word16(length ?? 8 + bytes.length), ...word16(checksum ?? 0), ...bytes], 6, checksum);
}

export interface TcpFields {
  readonly sourcePort: number; readonly destinationPort: number; readonly sequence?: number; readonly acknowledgment?: number;
  readonly flags?: number; readonly window?: number; readonly urgentPointer?: number; readonly checksum?: number;
  /** Whole words. */
  readonly options?: readonly number[];
}

export function tcp(fields: TcpFields): Layer {
  const { options = [], sequence = 0, acknowledgment = 0, flags = 0x10, window = 0xffff, urgentPointer = 0, checksum } = fields;
  if (options.length % 4 !== 0 || options.length > 40) refuse(`options of TCP are whole words and at most 40 bytes, not ${options.length} bytes`);
  numbers({ sourcePort: fields.sourcePort, destinationPort: fields.destinationPort, window, urgentPointer, checksum }, 0xffff);
  numbers({ sequence, acknowledgment }, 0xffffffff);
  numbers({ flags }, 0x1ff);
  return inner => summed(PROTOCOL_TCP, [
    ...word16(fields.sourcePort), ...word16(fields.destinationPort), ...word32(sequence), ...word32(acknowledgment),
    ...word16(((5 + options.length / 4) << 12) | flags), ...word16(window), ...word16(checksum ?? 0), ...word16(urgentPointer), ...options, ...inner.bytes,
  ], 16, checksum);
}

export interface SctpFields { readonly sourcePort: number; readonly destinationPort: number; readonly verificationTag?: number; readonly checksum?: number }

/** The common header; chunks are payload. The checksum, a CRC32c, is 0 unless it is given. */
export function sctp({ sourcePort, destinationPort, verificationTag = 0, checksum = 0 }: SctpFields): Layer {
  numbers({ sourcePort, destinationPort }, 0xffff);
  numbers({ verificationTag, checksum }, 0xffffffff);
  const header = [...word16(sourcePort), ...word16(destinationPort), ...word32(verificationTag), ...word32(checksum)];
  return inner => ({ protocol: PROTOCOL_SCTP, bytes: [...header, ...inner.bytes] });
}

export function vxlan({ vni }: { readonly vni: number }): Layer {
  const header = [8, 0, 0, 0, ...word32(ranged('VNI', vni, 0xffffff) * 256)];
  return inner => ({ bytes: [...header, ...inner.bytes] });
}

/** UDP to VXLAN's port and VXLAN, in one. */
export function vxlanOverUdp(vni: number, sourcePort = 49152): Layer {
  const [outer, header] = [udp({ sourcePort, destinationPort: PORT_VXLAN, checksum: 0 }), vxlan({ vni })];
  return inner => outer(header(inner));
}

export interface GreFields { readonly type?: number; readonly key?: number; readonly sequence?: number }

export function gre({ type, key, sequence }: GreFields = {}): Layer {
  numbers({ type }, 0xffff);
  numbers({ key, sequence }, 0xffffffff);
  const flags = (key === undefined ? 0 : 0x2000) | (sequence === undefined ? 0 : 0x1000);
  const extra = [...(key === undefined ? [] : word32(key)), ...(sequence === undefined ? [] : word32(sequence))];
  return inner => ({ protocol: PROTOCOL_GRE, bytes: [...word16(flags), ...word16(type ?? inner.etherType ?? 0), ...extra, ...inner.bytes] });
}

/** An extension header: what is inside is still to be summed up by IP. */
function around(protocol: number, { bytes, checksum }: Made, header: readonly number[]): Made {
  const moved = checksum === undefined ? {} : { checksum: { ...checksum, start: checksum.start + header.length, at: checksum.at + header.length } };
  return { protocol, bytes: [...header, ...bytes], ...moved };
}

/** The same, but not to be summed up. */
function without({ bytes, protocol }: Made): Made {
  return { bytes, ...(protocol === undefined ? {} : { protocol }) };
}

/** A message that IP sums up, unless its checksum was given. */
function summed(protocol: number, bytes: readonly number[], at: number, given: number | undefined): Made {
  return { protocol, bytes, ...(given === undefined ? { checksum: { start: 0, at, protocol } } : {}) };
}

/** The payload of IP with the checksum of TCP, UDP or ICMPv6 in it. */
function sealed({ bytes, checksum }: Made, addresses: readonly number[]): readonly number[] {
  if (checksum === undefined) return bytes;
  const { start, at, protocol } = checksum;
  const message = bytes.slice(start);
  const sum = checksumOf([...addresses, ...word32(message.length), 0, 0, 0, protocol, ...message]);
  // A sum of 0 would say that there is none (RFC 768).
  return [...bytes.slice(0, at), ...word16(sum === 0 && protocol === PROTOCOL_UDP ? 0xffff : sum), ...bytes.slice(at + 2)];
}

function checksumOf(bytes: readonly number[]): number {
  return ~foldSum(bytes.reduce((sum, byte, i) => sum + (i % 2 === 0 ? byte * 256 : byte), 0)) & 0xffff;
}

function word16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

function word32(value: number): number[] {
  return [...word16(Math.floor(value / 65536) & 0xffff), ...word16(value % 65536)];
}

function ranged(name: string, value: number, most: number): number {
  if (!Number.isInteger(value) || value < 0 || value > most) refuse(`${name} ${String(value)}: give a whole number from 0 to ${most}`);
  return value;
}

/** Each of them, by its name, if it was given: a whole number that its field holds. */
function numbers(fields: Readonly<Record<string, number | undefined>>, most: number): void {
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) ranged(name, value, most);
}

function messageNumbers(type: number, code: number, rest: number, checksum: number | undefined): void {
  numbers({ type, code }, 0xff);
  numbers({ rest }, 0xffffffff);
  numbers({ checksum }, 0xffff);
}

function refuse(sentence: string): never {
  throw new PollmodeError('EOPTION', `${sentence}.`);
}

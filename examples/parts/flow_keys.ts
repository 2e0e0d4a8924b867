import {
  Ethernet, Icmp, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_PARAMETER_PROBLEM, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST,
  ICMPV6_PARAMETER_PROBLEM, ICMPV6_UNREACHABLE, Ipv4, Ipv6, Parser, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, tuple, Vector, type Burst, type Host,
} from '../../lib/index.js';

const { TUPLE_BYTES, TUPLE_DESTINATION, TUPLE_DESTINATION_PORT, TUPLE_FAMILY, TUPLE_PROTOCOL, TUPLE_SOURCE, TUPLE_SOURCE_PORT } = tuple;

/**
 * For each packet of a burst the key of its connection, as the parser reads it in one call: 40 bytes of addresses, ports,
 * protocol and family. Two kinds of packets have another key than that: a ping's identifier stands for both its ports; and
 * an ICMP error belongs to the connection whose packet it quotes, and comes as that one's answer would (RFC 5508 section 4).
 */
export class FlowKeys {
  /** The keys, for a hash table's bulk calls. */
  readonly vector: Vector;
  /** 1 for ICMP errors. */
  readonly isError: Uint8Array;
  readonly #parser: Parser;
  readonly #host: Host;
  readonly #ether: Ethernet;
  readonly #four: Ipv4;
  readonly #six: Ipv6;
  readonly #icmp: Icmp;

  constructor(host: Host, capacity: number) {
    this.vector = new Vector(host.arena, capacity, TUPLE_BYTES);
    this.isError = new Uint8Array(capacity);
    this.#parser = new Parser(host.arena, capacity);
    this.#host = host;
    this.#ether = new Ethernet(host.mbufs);
    this.#four = new Ipv4(host.mbufs);
    this.#six = new Ipv6(host.mbufs);
    this.#icmp = new Icmp(host.mbufs);
  }

  read(burst: Burst, count: number): void {
    const parser = this.#parser;
    parser.tuples(burst, count);
    this.#host.mbufs.u8.copyWithin(this.vector.offset, parser.offset, parser.offset + count * TUPLE_BYTES);
    for (let i = 0; i < count; i++) {
      this.isError[i] = 0;
      const protocol = parser.protocol(i);
      if ((protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) && !parser.isFragment(i)) this.#readMessage(burst.handles[i]!, i);
    }
  }

  /** A copy of a packet's key, for a connection that begins. */
  copy(i: number): Uint8Array {
    return this.vector.u8.slice(i * TUPLE_BYTES, (i + 1) * TUPLE_BYTES);
  }

  /** 4, 6, or 0 for what is no IP. */
  family(i: number): number {
    return this.#parser.family(i);
  }

  isFragment(i: number): boolean {
    return this.#parser.isFragment(i);
  }

  #readMessage(handle: number, i: number): void {
    const [ether, icmp, family] = [this.#ether, this.#icmp, this.family(i)];
    const ip = family === 4 ? this.#four : this.#six;
    if (!ether.at(handle) || !ip.at(handle, ether.end, ether.limit) || !icmp.at(handle, ip.end, ip.limit)) return;
    if (isEcho(family, icmp.type)) this.#setPorts(i, icmp.identifier, icmp.identifier);
    else if (isError(family, icmp.type)) this.#readQuoted(handle, i, family);
  }

  /** The quoted packet's key, turned round. What quotes too little has one that no connection has: of a reserved protocol. */
  #readQuoted(handle: number, i: number, family: number): void {
    const ip = family === 4 ? this.#four : this.#six;
    const { u8, view } = this.#host.mbufs;
    const key = this.vector.offset + i * TUPLE_BYTES;
    this.isError[i] = 1;
    u8[key + TUPLE_PROTOCOL] = 0xff;
    if (!ip.at(handle, this.#icmp.end, this.#icmp.limit) || ip.fragmentOffset !== 0 || ip.payloadLength < 8) return;
    const start = ip.start + ip.length;
    const [first, second] = [view.getUint16(start), view.getUint16(start + 2)];
    if (ip.protocol === PROTOCOL_TCP || ip.protocol === PROTOCOL_UDP) this.#setPorts(i, second, first);
    else if (ip.protocol === (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) && isEcho(family, first >>> 8)) this.#setPorts(i, view.getUint16(start + 4), view.getUint16(start + 4));
    else return;
    const bytes = family === 4 ? 4 : 16;
    const source = ip.start + (family === 4 ? 12 : 8);
    u8.copyWithin(key + TUPLE_SOURCE, source + bytes, source + 2 * bytes);
    u8.copyWithin(key + TUPLE_DESTINATION, source, source + bytes);
    u8[key + TUPLE_PROTOCOL] = ip.protocol;
  }

  #setPorts(i: number, source: number, destination: number): void {
    const key = this.vector.offset + i * TUPLE_BYTES;
    this.#host.mbufs.view.setUint16(key + TUPLE_SOURCE_PORT, source);
    this.#host.mbufs.view.setUint16(key + TUPLE_DESTINATION_PORT, destination);
  }
}

export function isEcho(family: number, type: number): boolean {
  return family === 4 ? type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY : type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY;
}

function isError(family: number, type: number): boolean {
  if (family === 4) return type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM;
  return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

/** What a key says. IPv4's addresses are the first four of their sixteen bytes. */
export interface Ends { readonly source: Uint8Array; readonly sourcePort: number; readonly destination: Uint8Array; readonly destinationPort: number; readonly protocol: number }

export function endsOf(key: Uint8Array): Ends {
  const view = new DataView(key.buffer, key.byteOffset);
  const bytes = key[TUPLE_FAMILY] === 4 ? 4 : 16;
  return {
    source: key.slice(TUPLE_SOURCE, TUPLE_SOURCE + bytes), sourcePort: view.getUint16(TUPLE_SOURCE_PORT),
    destination: key.slice(TUPLE_DESTINATION, TUPLE_DESTINATION + bytes), destinationPort: view.getUint16(TUPLE_DESTINATION_PORT), protocol: key[TUPLE_PROTOCOL]!,
  };
}

export function keyOf({ source, sourcePort, destination, destinationPort, protocol }: Ends): Uint8Array {
  const key = new Uint8Array(TUPLE_BYTES);
  const view = new DataView(key.buffer);
  key.set(source, TUPLE_SOURCE);
  key.set(destination, TUPLE_DESTINATION);
  view.setUint16(TUPLE_SOURCE_PORT, sourcePort);
  view.setUint16(TUPLE_DESTINATION_PORT, destinationPort);
  key[TUPLE_PROTOCOL] = protocol;
  key[TUPLE_FAMILY] = source.length === 4 ? 4 : 6;
  return key;
}

/** The key of what comes back. */
export function reversed({ source, sourcePort, destination, destinationPort, protocol }: Ends): Ends {
  return { source: destination, sourcePort: destinationPort, destination: source, destinationPort: sourcePort, protocol };
}

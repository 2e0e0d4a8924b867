import {
  addressBytes, HASH_NONE, ICMP_ECHO_REQUEST, ICMPV6_ECHO_REQUEST, parseIpv4, PollmodeError, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP,
  TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type Ipv4, type Ipv6,
} from '../../lib/index.js';
import { IN, OUT, type Connections } from './connections.js';
import { endsOf, keyOf, reversed, type Ends } from './flow_keys.js';
import { isAddress, type Leg } from './leg.js';

/** A service inside that hosts outside may reach: under our address and `port`, or, of IPv6, as it is. */
export interface Published { readonly protocol: number; readonly port: number; readonly address: Uint8Array; readonly insidePort: number }

/** A packet that might have begun a connection, had there been room for another; no value in the table. */
export const FULL = HASH_NONE - 1;

/** Who may begin a connection: hosts inside, and hosts outside with what is published. IPv4's get an address and port outside. */
export class Admission {
  readonly #connections: Connections;
  readonly #inside: Leg;
  readonly #outside: Leg;
  readonly #published: readonly Published[];

  constructor(connections: Connections, inside: Leg, outside: Leg, services: readonly Published[]) {
    this.#connections = connections;
    this.#inside = inside;
    this.#outside = outside;
    this.#published = services;
  }

  /** The connection of a packet with this key, which the view stands at: one that is known, or a new one where the packet may begin it. Returns its value in the table, or FULL. */
  find(key: Uint8Array, ip: Ipv4 | Ipv6, way: number): number {
    const ends = endsOf(key);
    if (ip.payloadLength < (ends.protocol === PROTOCOL_TCP ? 20 : 8)) return HASH_NONE;
    const known = this.#connections.find(key);
    if (known !== HASH_NONE || !isFirst(ends, ip)) return known;
    return way === OUT ? this.#beginOut(ends) : this.#beginIn(ends);
  }

  #beginOut(ends: Ends): number {
    const index = this.#connections.next;
    const { four } = this.#outside;
    const isOurs = four !== undefined && isAddress(ends.destination, 0, four.bytes);
    if (isOurs || !this.#inside.holdsBytes(ends.source) || this.#inside.holdsBytes(ends.destination)) return HASH_NONE;
    if (ends.source.length === 16) return this.#outside.isOwn6(ends.destination, 0) ? HASH_NONE : this.#add(index, ends, reversed(ends), OUT);
    if (four === undefined) return HASH_NONE;
    if (index < 0) return FULL;
    const port = this.#connections.portOf(index);
    const isPing = ends.protocol === PROTOCOL_ICMP; // whose identifier is both ports
    return this.#add(index, ends, reversed({ ...ends, source: four.bytes, sourcePort: port, destinationPort: isPing ? port : ends.destinationPort }), OUT);
  }

  #beginIn(ends: Ends): number {
    const index = this.#connections.next;
    const service = this.#published.find(({ protocol, port, address }) => protocol === ends.protocol && port === ends.destinationPort && address.length === ends.source.length);
    if (service === undefined) return HASH_NONE;
    const at = service.address.length === 4 ? this.#outside.four?.bytes : service.address;
    if (at === undefined || !isAddress(ends.destination, 0, at)) return HASH_NONE;
    return this.#add(index, reversed({ ...ends, destination: service.address, destinationPort: service.insidePort }), ends, IN);
  }

  /**
   * `out` as it is inside, `back` as it is outside. None where another connection has these ends inside: of two ports outside
   * that are one service, or of a host that begins from its service's own port.
   */
  #add(index: number, out: Ends, back: Ends, way: number): number {
    if (index < 0) return FULL;
    const list = this.#connections;
    const key = keyOf(out);
    if (list.find(key) !== HASH_NONE) return HASH_NONE;
    list.begin(key, keyOf(back), out.protocol);
    if (out.source.length === 4) {
      list.inside[index] = parseIpv4(out.source.join('.'));
      list.insidePort[index] = out.sourcePort;
      list.outsidePort[index] = back.destinationPort;
    }
    return index * 2 + way;
  }
}

/** Does a connection begin with such a packet? */
function isFirst({ protocol, source }: Ends, ip: Ipv4 | Ipv6): boolean {
  const { view } = ip.mbufs;
  const start = ip.start + ip.length;
  if (protocol === PROTOCOL_TCP) return (view.getUint8(start + 13) & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) === TCP_SYN;
  if (protocol === PROTOCOL_UDP) return true;
  const isFour = source.length === 4;
  return protocol === (isFour ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) && view.getUint8(start) === (isFour ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST);
}

/**
 * "tcp:8080=10.0.0.5:80" or "tcp:[fd01::5]:80", each once. Throws EOPTION: also for what nobody could reach, as the inside
 * has no such address, or the outside no address of that family.
 */
export function servicesOf(publish: readonly string[], inside: Leg, outside: Leg): Published[] {
  const seen = new Set<string>();
  return publish.map(text => {
    const service = published(text);
    const { protocol, port, address } = service;
    if (!inside.holdsBytes(address)) refuse(text, 'is not of the network inside: give the address that a host inside has');
    if (address.length === 4 && outside.four === undefined) refuse(text, 'is of IPv4, of which there is no address outside: give one');
    const where = address.length === 4 ? `${protocol} ${port}` : `${protocol} ${port} ${address.join()}`;
    if (seen.has(where)) refuse(text, 'is published twice: a port leads to one service');
    seen.add(where);
    return service;
  });
}

function published(text: string): Published {
  const [, protocol, port, four, insidePort] = /^(tcp|udp):(\d{1,5})=([\d.]+):(\d{1,5})$/.exec(text) ?? [];
  const [, protocol6, six, port6] = /^(tcp|udp):\[([\da-f:.]+)\]:(\d{1,5})$/i.exec(text) ?? [];
  const ports = [port ?? port6, insidePort ?? port6].map(Number);
  if (!ports.every(each => each >= 1 && each <= 65535)) refuse(text, 'publishes nothing: write it as tcp:8080=10.0.0.5:80, or of IPv6 as tcp:[fd01::5]:80');
  return { protocol: (protocol ?? protocol6)!.toLowerCase() === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP, port: ports[0]!, address: Uint8Array.from(addressBytes(four ?? six!)), insidePort: ports[1]! };
}

function refuse(text: string, why: string): never {
  throw new PollmodeError('EOPTION', `--publish "${text}" ${why}.`);
}

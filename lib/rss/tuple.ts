import { isIPv4, isIPv6 } from 'node:net';
import { PollmodeError } from '../errors.js';
import { RSS_IPV4, RSS_IPV6, RSS_SCTP_IPV4, RSS_SCTP_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_UDP_IPV4, RSS_UDP_IPV6 } from './layout.js';

/** A flow as a person writes it. Without ports, or with any other protocol, it is known by its addresses alone. */
export interface Flow {
  readonly source: string;
  readonly destination: string;
  readonly protocol?: 'tcp' | 'udp' | 'sctp';
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

const PORTED = {
  4: { tcp: RSS_TCP_IPV4, udp: RSS_UDP_IPV4, sctp: RSS_SCTP_IPV4 },
  6: { tcp: RSS_TCP_IPV6, udp: RSS_UDP_IPV6, sctp: RSS_SCTP_IPV6 },
} as const;

/** What a NIC hashes of a flow's packets: source, destination, then the ports, all in network order. Empty when `types` leave it out. Throws EOPTION. */
export function hashInput(flow: Flow, types: number): Uint8Array {
  const source = addressBytes(flow.source);
  const destination = addressBytes(flow.destination);
  if (source.length !== destination.length) throw new PollmodeError('EOPTION', `${flow.source} and ${flow.destination} are of two families: give two IPv4 or two IPv6 addresses.`);
  const family = source.length === 4 ? 4 : 6;
  const ported = flow.protocol !== undefined && flow.sourcePort !== undefined && flow.destinationPort !== undefined && (types & PORTED[family][flow.protocol]) !== 0;
  if (ported) return Uint8Array.from([...source, ...destination, ...portBytes(flow.sourcePort!), ...portBytes(flow.destinationPort!)]);
  return types & (family === 4 ? RSS_IPV4 : RSS_IPV6) ? Uint8Array.from([...source, ...destination]) : new Uint8Array(0);
}

/** 4 or 16 bytes. Throws EOPTION. */
export function addressBytes(text: string): number[] {
  if (isIPv4(text)) return text.split('.').map(Number);
  if (!isIPv6(text) || text.includes('%')) throw new PollmodeError('EOPTION', `"${text.slice(0, 60)}" is no IP address: write it as 10.0.0.1 or fe80::1.`);
  return ipv6Bytes(text);
}

/** RFC 4291 section 2.2: groups of 16 bits, one run of zeros as "::", the last 32 bits perhaps as IPv4. */
function ipv6Bytes(text: string): number[] {
  const [head = '', tail] = text.split('::') as [string, string?];
  const groups = (part: string): number[] => part === '' ? [] : part.split(':').flatMap(group => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
  const [front, back] = [groups(head), groups(tail ?? '')];
  return [...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back];
}

function portBytes(port: number): [number, number] {
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new PollmodeError('EOPTION', `${String(port)} is no port: give a number from 0 to 65535.`);
  return [port >> 8, port & 0xff];
}

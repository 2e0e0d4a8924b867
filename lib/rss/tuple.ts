import { addressBytes } from '../address.js';
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

function portBytes(port: number): [number, number] {
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new PollmodeError('EOPTION', `${String(port)} is no port: give a number from 0 to 65535.`);
  return [port >> 8, port & 0xff];
}

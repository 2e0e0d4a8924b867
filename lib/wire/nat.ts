/**
 * Network address and port translation of IPv4 packets, in place (RFC 3022 section 4): the address, the port (of an ICMP
 * echo, its identifier), and the checksums over them by their differences (RFC 1624). Neither allocates.
 *
 * The view may stand at the packet that an ICMP error quotes, of which often only the first eight bytes behind its header
 * are there (RFC 5508 section 4.2): what is there is changed, and the error's own checksum is the caller's to fill in.
 */
import { adjustChecksum, adjustChecksum32 } from './checksum.js';
import type { Ipv4 } from './ipv4.js';
import * as protocol from './protocol_layout.js';

const { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } = protocol;

/** Another source; `port` -1 leaves that, as there is none in an ICMP error. */
export function translateSource(ip: Ipv4, address: number, port: number): void {
  const before = ip.source;
  ip.source = address;
  translate(ip, before, address, port, 0);
}

/** Another destination. */
export function translateDestination(ip: Ipv4, address: number, port: number): void {
  const before = ip.destination;
  ip.destination = address;
  translate(ip, before, address, port, 2);
}

function translate(ip: Ipv4, before: number, after: number, port: number, portPlace: 0 | 2): void {
  const { view } = ip.mbufs;
  const { protocol } = ip;
  ip.checksum = adjustChecksum32(ip.checksum, before, after);
  if (ip.fragmentOffset !== 0) return; // a later fragment has neither ports nor a checksum
  const start = ip.start + ip.length;
  const end = start + ip.payloadLength;
  const portAt = protocol === PROTOCOL_ICMP ? start + 4 : protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP ? start + portPlace : end;
  const sumAt = protocol === PROTOCOL_TCP ? start + 16 : protocol === PROTOCOL_UDP ? start + 6 : protocol === PROTOCOL_ICMP ? start + 2 : end;
  const hasPort = port >= 0 && portAt + 2 <= end;
  if (sumAt + 2 <= end) {
    let sum = view.getUint16(sumAt);
    const none = protocol === PROTOCOL_UDP && sum === 0; // UDP without a checksum stays without
    if (protocol !== PROTOCOL_ICMP) sum = adjustChecksum32(sum, before, after); // ICMP's has no pseudo header
    if (hasPort) sum = adjustChecksum(sum, view.getUint16(portAt), port);
    if (!none) view.setUint16(sumAt, protocol === PROTOCOL_UDP && sum === 0 ? 0xffff : sum);
  }
  if (hasPort) view.setUint16(portAt, port);
}

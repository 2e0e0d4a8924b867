/** What is in the frames of a `null:` port. */
import { PollmodeError } from '../../../errors.js';
import { ethernet, frame, ipv4, ipv6, udp } from '../../../wire/build.js';

export const patterns = ['none', 'udp', 'udp6'] as const;
export type Pattern = (typeof patterns)[number];

/** RFC 2544 appendix C.2.2 and C.2.6.4: its addresses for tests, and the port of echo from one of its own. */
const PORTS = { sourcePort: 0xc020, destinationPort: 7 };
const MACS = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const HEADERS = {
  udp: [ethernet(MACS), ipv4({ source: '198.18.0.2', destination: '198.19.0.2' }), udp(PORTS)],
  // RFC 5180 section 8: 2001:2::/48 is what 198.18.0.0/15 is.
  udp6: [ethernet(MACS), ipv6({ source: '2001:2::2', destination: '2001:2:0:1::2' }), udp(PORTS)],
} as const;
const HEADER_BYTES = { udp: 42, udp6: 62 };

/** The frame, of `size` bytes, its checksums right; undefined for `none`. Throws EOPTION where the headers do not fit. */
export function patternOf(pattern: Pattern, size: number): Uint8Array | undefined {
  if (pattern === 'none') return undefined;
  const payload = size - HEADER_BYTES[pattern];
  if (payload < 0) throw new PollmodeError('EOPTION', `null: frame=${pattern} has headers of ${HEADER_BYTES[pattern]} bytes, and size is ${size}: ask for ${HEADER_BYTES[pattern]} or more.`);
  return frame(...HEADERS[pattern], Uint8Array.from({ length: payload }, (_, i) => i));
}

/** Frames for the tests of hashing: well-formed ones of a flow, and ones that are broken in likely places. */
import fc from 'fast-check';
import { addressBytes } from '../../lib/address.js';
import type { Flow } from '../../lib/rss/tuple.js';

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

export interface FrameShape extends Flow {
  readonly tags: number;
  /** IPv6 extension headers before the ports, by number. */
  readonly extensions: readonly number[];
  readonly fragment: boolean;
}

export function frameOf(shape: FrameShape): Uint8Array {
  const six = shape.source.includes(':');
  const tags = Array.from({ length: shape.tags }, (_, i) => [...(i === 0 && shape.tags === 2 ? [0x88, 0xa8] : [0x81, 0x00]), 0, 5]).flat();
  const type = six ? [0x86, 0xdd] : [0x08, 0x00];
  const protocol = shape.protocol === undefined ? 59 : PROTOCOLS[shape.protocol];
  const { sourcePort = 0, destinationPort = 0 } = shape;
  const payload = [sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255, ...new Array<number>(16).fill(0xa5)];
  const packet = six ? ipv6(shape, protocol, payload) : ipv4(shape, protocol, payload);
  return Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ...tags, ...type, ...packet]);
}

function ipv4({ source, destination, fragment }: FrameShape, protocol: number, payload: number[]): number[] {
  return [0x45, 0, 0, 20 + payload.length, 0, 0, fragment ? 0x20 : 0x40, 0, 64, protocol, 0, 0, ...addressBytes(source), ...addressBytes(destination), ...payload];
}

/** A fragment header comes last, as RFC 8200 section 4.1 has it but for destination options. */
function ipv6({ source, destination, extensions, fragment }: FrameShape, protocol: number, payload: number[]): number[] {
  const chain = [...extensions, ...(fragment ? [44] : [])];
  const next = [...chain.slice(1), protocol];
  const headers = chain.flatMap((kind, i) => (kind === 44 ? [next[i]!, 0, 0, 1, 0, 0, 0, 9] : [next[i]!, i % 2, ...new Array<number>(6 + (i % 2) * 8).fill(0)]));
  return [0x60, 0, 0, 0, 0, headers.length + payload.length, chain[0] ?? protocol, 64, ...addressBytes(source), ...addressBytes(destination), ...headers, ...payload];
}

/** Like a frame, with a few bytes changed and cut anywhere. */
export const frames: fc.Arbitrary<Uint8Array> = fc.tuple(
  fc.record({
    source: fc.ipV4(), destination: fc.ipV4(), six: fc.boolean(), high: fc.ipV6(), protocol: fc.constantFrom('tcp', 'udp', 'sctp', undefined),
    sourcePort: fc.nat(65535), destinationPort: fc.nat(65535), tags: fc.nat(3), extensions: fc.array(fc.constantFrom(0, 43, 60, 51), { maxLength: 10 }), fragment: fc.boolean(),
  }),
  fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 3 }), fc.nat(300),
).map(([shape, changes, cut]) => {
  const { six, high, ...flow } = shape;
  const bytes = frameOf({ ...flow, ...(six ? { source: high, destination: high } : {}) } as FrameShape);
  for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
  return cut < bytes.length ? bytes.slice(0, cut) : bytes;
});

/** Flows of TCP, UDP and what has no ports. */
export const flows: fc.Arbitrary<Flow> = fc.tuple(fc.boolean(), fc.ipV4(), fc.ipV4(), fc.ipV6(), fc.ipV6(), fc.constantFrom('tcp', 'udp', undefined), fc.nat(65535), fc.nat(65535))
  .map(([six, a, b, c, d, protocol, sourcePort, destinationPort]) => ({
    source: six ? plainIpv6(c) : a, destination: six ? plainIpv6(d) : b, ...(protocol === undefined ? {} : { protocol: protocol as 'tcp' | 'udp', sourcePort, destinationPort }),
  }));

/** Without an IPv4 address in it. */
function plainIpv6(text: string): string {
  return text.includes('.') ? '2001:db8::1' : text;
}

/** Ethernet, the IP header, and a payload of 20 bytes, of which the last four are the mark. */
const MARK = { 4: 14 + 20 + 16, 6: 14 + 40 + 16 } as const;

/** A frame of the flow with a number in its payload, and what a bridge looks at in order (br_validate_ipv4). */
export function marked(flow: Flow, number: number): Uint8Array {
  const whole = new Uint8Array(Math.max(60, MARK[6] + 4));
  const bytes = frameOf({ ...flow, tags: 0, extensions: [], fragment: false });
  whole.set(bytes);
  const view = new DataView(whole.buffer);
  view.setUint32(bytes.length - 4, number);
  if (isIpv4(whole)) view.setUint16(24, complement(view, 14, 34));
  return whole.subarray(0, Math.max(60, bytes.length));
}

export function markOf(frame: Uint8Array): number {
  const at = MARK[isIpv4(frame) ? 4 : 6];
  return frame.length < at + 4 ? -1 : new DataView(frame.buffer, frame.byteOffset).getUint32(at);
}

function isIpv4(frame: Uint8Array): boolean {
  return frame[12] === 0x08 && frame[13] === 0x00;
}

function complement(view: DataView, start: number, end: number): number {
  let sum = 0;
  for (let at = start; at < end; at += 2) sum += view.getUint16(at);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

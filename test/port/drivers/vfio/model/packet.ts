/** What the 82599's parsers see in a frame (sections 7.1.2.8 and 7.1.11), and the sums over it: from the RFCs, no code of lib/. */
export interface Packet {
  readonly bytes: DataView;
  /** The tag's 16 bits where the frame has one of the type that VLNCTRL.VET names. */
  readonly vlan: number | undefined;
  readonly l3: 4 | 6 | undefined;
  readonly l3At: number;
  /** IPv4 options, or IPv6 extension headers. */
  readonly extended: boolean;
  readonly fragment: boolean;
  /** The protocol behind the IP headers (6, 17, 132), where it is there whole; not in fragments. */
  readonly l4: number | undefined;
  readonly l4At: number;
  /** Where the IP packet ends: padding is behind it. */
  readonly end: number;
}

const NONE = { l3: undefined, l3At: 0, extended: false, fragment: false, l4: undefined, l4At: 0, end: 0 } as const;
const L4_HEADER: Readonly<Record<number, number>> = { 6: 20, 17: 8, 132: 12 };

export function parse(frame: Uint8Array, vet: number): Packet {
  const bytes = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const tagged = bytes.byteLength >= 18 && bytes.getUint16(12) === vet;
  const vlan = tagged ? bytes.getUint16(14) : undefined;
  const at = tagged ? 18 : 14;
  const type = bytes.byteLength >= at ? bytes.getUint16(at - 2) : 0;
  const l3 = type === 0x0800 ? parseIpv4(bytes, at) : type === 0x86dd ? parseIpv6(bytes, at) : NONE;
  return { bytes, vlan, ...l3 };
}

type Layer3 = Omit<Packet, 'bytes' | 'vlan'>;

function parseIpv4(bytes: DataView, at: number): Layer3 {
  if (bytes.byteLength < at + 20 || bytes.getUint8(at) >> 4 !== 4) return NONE;
  const header = (bytes.getUint8(at) & 0xf) * 4;
  const end = at + bytes.getUint16(at + 2);
  if (header < 20 || end < at + header || end > bytes.byteLength) return NONE;
  const fragment = (bytes.getUint16(at + 6) & 0x3fff) !== 0;
  return { l3: 4, l3At: at, extended: header > 20, fragment, end, ...layer4(bytes.getUint8(at + 9), at + header, end, fragment) };
}

function parseIpv6(bytes: DataView, at: number): Layer3 {
  if (bytes.byteLength < at + 40 || bytes.getUint8(at) >> 4 !== 6) return NONE;
  const end = at + 40 + bytes.getUint16(at + 4);
  if (end > bytes.byteLength) return NONE;
  let next = bytes.getUint8(at + 6);
  let here = at + 40;
  let fragment = false;
  // Hop-by-hop, routing, fragment and destination options; at most as many as fit, 8 bytes at least each.
  while ([0, 43, 44, 60].includes(next) && here + 8 <= end) {
    fragment ||= next === 44;
    const length = next === 44 ? 8 : (bytes.getUint8(here + 1) + 1) * 8;
    next = bytes.getUint8(here);
    here += length;
  }
  return { l3: 6, l3At: at, extended: here > at + 40, fragment, end, ...layer4(next, here, end, fragment) };
}

function layer4(protocol: number, l4At: number, end: number, fragment: boolean): { l4: number | undefined; l4At: number } {
  const header = L4_HEADER[protocol];
  return { l4: header === undefined || fragment || l4At + header > end ? undefined : protocol, l4At };
}

/** The one's complement sum of RFC 1071, folded, not complemented. */
export function onesSum(bytes: DataView, from: number, to: number, initial = 0): number {
  let sum = initial;
  for (let i = from; i + 1 < to; i += 2) sum += bytes.getUint16(i);
  if ((to - from) % 2 === 1) sum += bytes.getUint8(to - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** The sum over TCP's and UDP's pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoSum({ bytes, l3, l3At, l4, l4At, end }: Packet): number {
  const [from, to] = l3 === 4 ? [l3At + 12, l3At + 20] : [l3At + 8, l3At + 40];
  return onesSum(bytes, from, to, (l4 ?? 0) + (end - l4At));
}

/** CRC-32 of IEEE 802.3: what a frame ends with on the wire, least significant byte first. */
export function frameCheck(frame: Uint8Array): number {
  let crc = -1;
  for (const byte of frame) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

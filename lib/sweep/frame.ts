/** The frame that every path sends: Ethernet II, IPv4, UDP (RFC 791, RFC 768), as Node's dgram would put it on the same link. */

export interface FrameEnds {
  readonly from: { readonly mac: string; readonly ip: string };
  readonly to: { readonly mac: string; readonly ip: string };
}

export const UDP_PORT = 9; // RFC 863, discard
/** Ethernet, IPv4 and UDP headers. */
export const HEADERS = 42;
/** Where the sender's clock stands in a frame (f64, nanoseconds): a multiple of 8 from a frame's start in an mbuf. */
export const TIMESTAMP = 48;
export const FCS = 4;

/** Bytes in the buffer of a frame that RFC 2544 calls `size` bytes long. */
export function frameBytes(size: number): number {
  return size - FCS;
}

/** The UDP payload of such a frame. */
export function payloadBytes(size: number): number {
  return frameBytes(size) - HEADERS;
}

export function buildFrame({ from, to }: FrameEnds, size: number): Uint8Array {
  const length = frameBytes(size);
  const frame = new Uint8Array(length);
  const view = new DataView(frame.buffer);
  frame.set([...macBytes(to.mac), ...macBytes(from.mac), 0x08, 0x00]);
  view.setUint8(14, 0x45);
  view.setUint16(16, length - 14);
  view.setUint16(20, 0x4000); // do not fragment
  view.setUint8(22, 64);
  view.setUint8(23, 17);
  frame.set(ipBytes(from.ip), 26);
  frame.set(ipBytes(to.ip), 30);
  view.setUint16(24, ipv4Checksum(view, 14, 20));
  view.setUint16(34, UDP_PORT);
  view.setUint16(36, UDP_PORT);
  view.setUint16(38, length - 34);
  // A UDP checksum of 0 says that there is none (RFC 768): the payload changes with each packet's clock.
  return frame;
}

/** RFC 1071 over a header whose checksum field is 0. */
function ipv4Checksum(view: DataView, at: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i += 2) sum += view.getUint16(at + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function macBytes(mac: string): number[] {
  return mac.split(':').map(byte => parseInt(byte, 16));
}

function ipBytes(ip: string): number[] {
  return ip.split('.').map(Number);
}

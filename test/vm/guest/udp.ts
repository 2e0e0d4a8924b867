/** UDP packets as they should be, and what their checksums are made of. */

/** UDP over IPv4 with right checksums. */
export function udpFrame(payload: number, source = [192, 0, 2, 1, 0x12, 0x34], destination = [192, 0, 2, 2, 0x56, 0x78]): Uint8Array {
  const bytes = new Uint8Array(42 + payload);
  const view = new DataView(bytes.buffer);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0]);
  view.setUint16(16, 28 + payload);
  bytes.set(source.slice(0, 4), 26);
  bytes.set(destination.slice(0, 4), 30);
  bytes.set(source.slice(4), 34);
  bytes.set(destination.slice(4), 36);
  view.setUint16(38, 8 + payload);
  for (let i = 42; i < bytes.length; i++) bytes[i] = i * 7;
  view.setUint16(24, ~sum16(bytes.subarray(14, 34)) & 0xffff);
  bytes.set(pseudoSum(bytes), 40);
  view.setUint16(40, ~sum16(bytes.subarray(34)) & 0xffff);
  return bytes;
}

/** RFC 768: over addresses, protocol and length. */
export function pseudoSum(bytes: Uint8Array): [number, number] {
  const sum = sum16(Uint8Array.from([...bytes.subarray(26, 34), 0, 17, bytes[38]!, bytes[39]!]));
  return [sum >> 8, sum & 255];
}

/** RFC 1071, not complemented. */
export function sum16(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! << 8 | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

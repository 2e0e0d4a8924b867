/**
 * The Internet checksum (RFC 1071) of a few bytes in a header, and its incremental update (RFC 1624). For whole packets
 * there is `Checksums` (checksums.ts).
 */

/** The 16-bit one's complement sum of `length` bytes, folded: 0xffff over bytes whose checksum holds. Not yet the complement of it. */
export function sumBytes(view: DataView, start: number, length: number, initial = 0): number {
  let sum = initial;
  const whole = length & ~1;
  for (let i = 0; i < whole; i += 2) sum += view.getUint16(start + i);
  if (whole < length) sum += view.getUint8(start + whole) << 8;
  return foldSum(sum);
}

/** To 16 bits, the carries added in again. */
export function foldSum(sum: number): number {
  let folded = (sum & 0xffff) + Math.floor(sum / 0x10000);
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/**
 * What the checksum is after a 16-bit word under it has changed: HC' = ~(~HC + ~m + m'), RFC 1624 equation 3. For a word
 * at an even offset from where the sum starts.
 */
export function adjustChecksum(checksum: number, before: number, after: number): number {
  let sum = (~checksum & 0xffff) + (~before & 0xffff) + (after & 0xffff);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~(sum + (sum >>> 16)) & 0xffff;
}

/** The same for two words at once: an IPv4 address. */
export function adjustChecksum32(checksum: number, before: number, after: number): number {
  return adjustChecksum(adjustChecksum(checksum, before >>> 16, after >>> 16), before & 0xffff, after & 0xffff);
}

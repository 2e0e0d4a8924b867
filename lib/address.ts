/** IP addresses as people write them, to the bytes of the wire and back. */
import { isIPv4, isIPv6 } from 'node:net';
import { PollmodeError } from './errors.js';

/** 4 or 16 bytes, in network order. Throws EOPTION. */
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

/**
 * What is wrong with an address and a prefix length, with the prefix that was probably meant; undefined where no bit
 * behind the length is set. Tables refuse such a prefix: 10.0.0.1/8 may as well mean the one address.
 */
export function prefixFault(address: ArrayLike<number>, length: number): string | undefined {
  const network = Array.from(address, (byte, index) => byte & ~(0xff >> Math.min(8, Math.max(0, length - 8 * index))));
  if (network.every((byte, index) => byte === address[index])) return undefined;
  const own = addressText(address);
  return `${own}/${length} has bits behind its length: write ${addressText(network)}/${length}, or ${own}/${8 * address.length} for the one address`;
}

/** The u32 that `Ipv4.source` and its like hold. Throws EOPTION. */
export function parseIpv4(text: string): number {
  const bytes = addressBytes(text);
  if (bytes.length !== 4) throw new PollmodeError('EOPTION', `"${text.slice(0, 60)}" is no IPv4 address: write it as 10.0.0.1.`);
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** "10.0.0.1" */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** "2001:db8::1", as RFC 5952 section 4 has it: lower case, the longest run of two zero groups or more (the first of equals) as "::". */
export function formatIpv6(u8: Uint8Array, at = 0): string {
  const groups = Array.from({ length: 8 }, (_, i) => (u8[at + 2 * i]! << 8) | u8[at + 2 * i + 1]!);
  const mapped = groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff;
  if (mapped) return `::ffff:${u8.subarray(at + 12, at + 16).join('.')}`; // section 5
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const words = groups.map(group => group.toString(16));
  if (best.length < 2) return words.join(':');
  return `${words.slice(0, best.start).join(':')}::${words.slice(best.start + best.length).join(':')}`;
}

/** Of 4 or 16 bytes in network order. */
export function addressText(bytes: ArrayLike<number>): string {
  return bytes.length === 4 ? Array.from(bytes).join('.') : formatIpv6(Uint8Array.from(bytes));
}

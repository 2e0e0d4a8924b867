/** IP addresses as people write them, to the bytes of the wire and back. */
import { isIPv4, isIPv6 } from 'node:net';
import { PollmodeError } from './errors.js';

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

/** Of 4 or 16 bytes. IPv6 by RFC 5952: lower case, the first of the longest runs of two zero groups or more as "::". */
export function addressText(bytes: ArrayLike<number>): string {
  if (bytes.length === 4) return Array.from(bytes).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] << 8) | bytes[i * 2 + 1]).toString(16));
  const runs = groups.map((_, from) => groups.slice(from).findIndex(group => group !== '0')).map((length, from) => (length < 0 ? 8 - from : length));
  const longest = Math.max(...runs);
  if (longest < 2) return groups.join(':');
  const from = runs.indexOf(longest);
  return `${groups.slice(0, from).join(':')}::${groups.slice(from + longest).join(':')}`;
}

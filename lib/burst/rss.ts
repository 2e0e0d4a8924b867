/**
 * Toeplitz hashes (Microsoft, "RSS hashing types" and "Verifying the RSS hash calculation"), in plain TypeScript: for
 * each bit that is set in the input, the 32 bits of the key that start there are exclusive-ored into the hash. The fast
 * double is assembly/rss.ts, which looks whole bytes up; neither calls the other.
 */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_OL_FLAGS, RX_RSS_HASH } from '../mbuf/layout.js';
import {
  RSS_HASHED, RSS_IPV4, RSS_IPV6, RSS_KEY, RSS_SCTP_IPV4, RSS_SCTP_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_TYPES, RSS_UDP_IPV4, RSS_UDP_IPV6,
  RSS_UNHASHED,
} from '../rss/layout.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/protocol_layout.js';
import type { BurstFunctions } from './functions.js';
import { count64, type ArenaViews } from './views.js';

export interface RssFunctions extends Pick<BurstFunctions, 'toeplitz' | 'rssHash'> {
  /** Hashes one mbuf into its header. Returns 1 when there was something to hash. */
  hashOne(rss: number, table: number, handle: number): number;
}

const VLAN_TAGS = [0x8100, 0x88a8, 0x9100];
const IPV4_TYPES = new Map([[6, RSS_TCP_IPV4], [17, RSS_UDP_IPV4], [132, RSS_SCTP_IPV4]]);
const IPV6_TYPES = new Map([[6, RSS_TCP_IPV6], [17, RSS_UDP_IPV6], [132, RSS_SCTP_IPV6]]);
/** Hop-by-hop options, routing, destination options: RFC 8200 section 4.1. */
const EXTENSIONS = [0, 43, 60];

export function rssFunctions({ u8, u16, u32 }: ArenaViews): RssFunctions {
  return { toeplitz, rssHash, hashOne };

  function toeplitz(rss: number, inputs: number, stride: number, length: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) u32[(to >>> 2) + i] = hashOf(rss, [[inputs + i * stride, length]]);
  }

  function rssHash(rss: number, table: number, burst: number, count: number): number {
    let hashed = 0;
    for (let i = 0; i < count; i++) hashed += hashOne(rss, table, u32[(burst >>> 2) + i]);
    count64(u32, rss + RSS_HASHED, hashed);
    count64(u32, rss + RSS_UNHASHED, count - hashed);
    return hashed;
  }

  function hashOne(rss: number, table: number, handle: number): number {
    const header = (table + (handle << HEADER_SHIFT)) >>> 0;
    const frame = ((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1];
    const parts = inputOf(frame, u16[(header + MBUF_DATA_LEN) >>> 1], u32[(rss + RSS_TYPES) >>> 2]);
    const flags = (header + MBUF_OL_FLAGS) >>> 2;
    u32[(header + MBUF_HASH) >>> 2] = hashOf(rss, parts);
    u32[flags] = parts.length > 0 ? u32[flags] | RX_RSS_HASH : u32[flags] & ~RX_RSS_HASH;
    return parts.length > 0 ? 1 : 0;
  }

  /** Of the bytes of all parts, one behind the other. No parts hash to 0. */
  function hashOf(rss: number, parts: readonly (readonly [at: number, length: number])[]): number {
    let hash = 0;
    let bit = 0;
    for (const [at, length] of parts) {
      for (let i = 0; i < length; i++) {
        for (let mask = 0x80; mask > 0; mask >>= 1, bit++) if (u8[at + i] & mask) hash ^= keyBits(rss, bit);
      }
    }
    return hash >>> 0;
  }

  /** The 32 bits of the key from bit `start` on. */
  function keyBits(rss: number, start: number): number {
    let bits = 0;
    for (let bit = start; bit < start + 32; bit++) bits = (bits << 1) | (u8[rss + RSS_KEY + (bit >> 3)] >> (7 - (bit & 7)) & 1);
    return bits;
  }

  /** Where the hash input of a frame stands: the addresses, then the ports. */
  function inputOf(frame: number, length: number, types: number): [number, number][] {
    let at = 12;
    for (let tags = 0; tags < 2 && at + 2 <= length && VLAN_TAGS.includes(big16(frame + at)); tags++) at += 4;
    if (at + 2 > length) return [];
    const type = big16(frame + at);
    const [ip, left] = [frame + at + 2, length - at - 2];
    if (type === ETHERTYPE_IPV4) return ipv4Input(ip, left, types);
    return type === ETHERTYPE_IPV6 ? ipv6Input(ip, left, types) : [];
  }

  function ipv4Input(ip: number, length: number, types: number): [number, number][] {
    const bytes = (u8[ip] & 15) * 4;
    if (length < 20 || u8[ip] >> 4 !== 4 || bytes < 20) return [];
    const fragment = (big16(ip + 6) & 0x3fff) !== 0;
    const wanted = IPV4_TYPES.get(u8[ip + 9]) ?? 0;
    if ((types & wanted) !== 0 && !fragment && length >= bytes + 4) return [[ip + 12, 8], [ip + bytes, 4]];
    return types & RSS_IPV4 ? [[ip + 12, 8]] : [];
  }

  /** A fragment header (44) ends the walk, as any other that is no extension: then the addresses alone count. */
  function ipv6Input(ip: number, length: number, types: number): [number, number][] {
    if (length < 40 || u8[ip] >> 4 !== 6) return [];
    let next = u8[ip + 6];
    let at = 40;
    for (let headers = 0; headers < 8 && EXTENSIONS.includes(next); headers++) {
      if (length < at + 8) {
        next = -1;
        break;
      }
      next = u8[ip + at];
      at += (u8[ip + at + 1] + 1) * 8;
    }
    const wanted = IPV6_TYPES.get(next) ?? 0;
    if ((types & wanted) !== 0 && length >= at + 4) return [[ip + 8, 32], [ip + at, 4]];
    return types & RSS_IPV6 ? [[ip + 8, 32]] : [];
  }

  function big16(at: number): number {
    return (u8[at] << 8) | u8[at + 1];
  }
}

/** Toeplitz hashes of bursts. The twin is burst/rss.ts, which computes them bit by bit from the key. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_OL_FLAGS, RX_RSS_HASH,
} from '../../mbuf/layout';
import {
  RSS_HASHED, RSS_IPV4, RSS_IPV6, RSS_SCTP_IPV4, RSS_SCTP_IPV6, RSS_TABLES, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_TYPES, RSS_UDP_IPV4,
  RSS_UDP_IPV6, RSS_UNHASHED,
} from '../../rss/layout';
import { count64 } from './memory_ports';
import { isTag } from './parse_link';

const NO_HASH: u64 = 0xffffffffffffffff;

/** What four input bytes contribute, the first of them in the word's low byte. */
// @ts-ignore: decorator
@inline
function four(tables: usize, word: u32): u32 {
  return load<u32>(tables + ((word & 0xff) << 2))
    ^ load<u32>(tables + ((word >>> 6) & 0x3fc), 1024)
    ^ load<u32>(tables + ((word >>> 14) & 0x3fc), 2048)
    ^ load<u32>(tables + ((word >>> 24) << 2), 3072);
}

/** Hashes `count` inputs of `length` bytes (a multiple of 4, at most 36) that stand `stride` apart. */
export function toeplitz(rss: usize, inputs: usize, stride: u32, length: u32, to: usize, count: u32): void {
  const tables = rss + RSS_TABLES;
  if (length == 12) {
    for (const end = to + ((count as usize) << 2); to < end; to += 4) {
      store<u32>(to, four(tables, load<u32>(inputs)) ^ four(tables + 4096, load<u32>(inputs, 4)) ^ four(tables + 8192, load<u32>(inputs, 8)));
      inputs += stride;
    }
    return;
  }
  for (const end = to + ((count as usize) << 2); to < end; to += 4) {
    let hash: u32 = 0;
    for (let i: u32 = 0; i < length; i += 4) hash ^= four(tables + ((i as usize) << 10), load<u32>(inputs + (i as usize)));
    store<u32>(to, hash);
    inputs += stride;
  }
}

/** Hashes the first `count` mbufs as a NIC does, into their headers. Returns how many had something to hash. */
export function rssHash(rss: usize, table: usize, burst: usize, count: u32): u32 {
  const types = load<u32>(rss, RSS_TYPES);
  const tables = rss + RSS_TABLES;
  let hashed: u32 = 0;
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) hashed += hashOne(tables, types, table, load<u32>(burst));
  count64(rss + RSS_HASHED, hashed);
  count64(rss + RSS_UNHASHED, count - hashed);
  return hashed;
}

// @ts-ignore: decorator
@inline
export function hashOne(tables: usize, types: u32, table: usize, handle: u32): u32 {
  const header = table + ((handle as usize) << HEADER_SHIFT);
  const frame = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
  const hash = hashFrame(tables, types, frame, load<u16>(header, MBUF_DATA_LEN));
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  if (hash == NO_HASH) {
    store<u32>(header, 0, MBUF_HASH);
    store<u32>(header, flags & ~(RX_RSS_HASH as u32), MBUF_OL_FLAGS);
    return 0;
  }
  store<u32>(header, hash as u32, MBUF_HASH);
  store<u32>(header, flags | RX_RSS_HASH, MBUF_OL_FLAGS);
  return 1;
}

/** Types are compared as they stand in memory, low byte first. */
function hashFrame(tables: usize, types: u32, frame: usize, length: u32): u64 {
  if (length < 14) return NO_HASH;
  let at: u32 = 14;
  let type: u32 = load<u16>(frame, 12);
  for (let tags = 0; tags < 2 && isTag(type); tags++) {
    if (length < at + 4) return NO_HASH;
    type = load<u16>(frame + (at as usize), 2);
    at += 4;
  }
  if (type == 0x0008) return hashIpv4(tables, types, frame + (at as usize), length - at);
  if (type == 0xdd86) return hashIpv6(tables, types, frame + (at as usize), length - at);
  return NO_HASH;
}

function hashIpv4(tables: usize, types: u32, ip: usize, length: u32): u64 {
  if (length < 20) return NO_HASH;
  const first: u32 = load<u8>(ip);
  const bytes = (first & 15) << 2;
  if (first >> 4 != 4 || bytes < 20) return NO_HASH;
  const protocol: u32 = load<u8>(ip, 9);
  const wanted: u32 = protocol == 6 ? RSS_TCP_IPV4 : protocol == 17 ? RSS_UDP_IPV4 : protocol == 132 ? RSS_SCTP_IPV4 : 0;
  // A fragment's ports are in the first one only: all of them go by their addresses. MF and offset, in memory order.
  const ported = (types & wanted) != 0 && (load<u16>(ip, 6) & 0xff3f) == 0 && length >= bytes + 4;
  if (!ported && (types & RSS_IPV4) == 0) return NO_HASH;
  let hash = four(tables, load<u32>(ip, 12)) ^ four(tables + 4096, load<u32>(ip, 16));
  if (ported) hash ^= four(tables + 8192, load<u32>(ip + (bytes as usize)));
  return hash as u64;
}

function hashIpv6(tables: usize, types: u32, ip: usize, length: u32): u64 {
  if (length < 40 || load<u8>(ip) >> 4 != 6) return NO_HASH;
  let next: u32 = load<u8>(ip, 6);
  let at: u32 = 40;
  // Hop-by-hop options, routing and destination options lie before the ports (RFC 8200 section 4.1).
  for (let headers = 0; headers < 8 && (next == 0 || next == 43 || next == 60); headers++) {
    if (length < at + 8) {
      next = 59;
      break;
    }
    next = load<u8>(ip + (at as usize));
    at += ((load<u8>(ip + (at as usize), 1) as u32) + 1) << 3;
  }
  const wanted: u32 = next == 6 ? RSS_TCP_IPV6 : next == 17 ? RSS_UDP_IPV6 : next == 132 ? RSS_SCTP_IPV6 : 0;
  const ported = (types & wanted) != 0 && length >= at + 4;
  if (!ported && (types & RSS_IPV6) == 0) return NO_HASH;
  let hash: u32 = 0;
  for (let i: usize = 0; i < 32; i += 4) hash ^= four(tables + (i << 10), load<u32>(ip + i, 8));
  if (ported) hash ^= four(tables + 32768, load<u32>(ip + (at as usize)));
  return hash as u64;
}

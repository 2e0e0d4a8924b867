/** What a frame leaves to be done, between struct virtio_net_hdr and an mbuf's header, on either side of a virtqueue. The twin is burst/virtqueue_offload.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_TSO_SEGSZ, MBUF_TX_OFFLOAD, RX_L4_CKSUM_GOOD,
  TX_IPV6, TX_IP_CKSUM, TX_L2_LEN_MASK, TX_L3_LEN_MASK, TX_L3_LEN_SHIFT, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM, TX_VLAN,
} from '../../mbuf/layout';
import { QUEUE_TABLE } from '../../port/layout';
import {
  DEVICE_BAD_FRAME, DEVICE_BAD_OFFLOAD, LONGEST_GSO, NET_CSUM_OFFSET, NET_DATA_VALID, NET_GSO_TCPV4, NET_GSO_TCPV6, NET_HEADER, NET_NEEDS_CSUM, NET_NUM_BUFFERS,
  OFFLOAD_CSUM, OFFLOAD_FINISH, OFFLOAD_TSO4, OFFLOAD_TSO6, VQ_LONGEST, VQ_OFFLOADS, VQ_UNFINISHED,
} from '../../virtqueue/layout';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/protocol_layout';
import { fold, sumChain, turned } from './checksum';
import { count64 } from './memory_ports';
import { parseLink } from './parse_link';
import { NETWORK_FRAGMENT, NETWORK_SIX, NO_NETWORK, bytesOf, parseNetwork, protocolOf } from './parse_network';

/** In a header's first word: it asks for something. */
export const ASKS: u64 = 0xff00 | NET_NEEDS_CSUM;
/** The same, or tells something: what a driver is to look at. */
export const SAYS: u64 = ASKS | NET_DATA_VALID;
/** In ol_flags: a header says something of it. */
export const TOLD: u32 = TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG | TX_IP_CKSUM | TX_VLAN | RX_L4_CKSUM_GOOD;

/** Bytes of the longest frame that may be received; what is still to be cut may be longer than frames are. */
// @ts-ignore: decorator
@inline
export function longestReceived(queue: usize): u32 {
  return load<u32>(queue, VQ_OFFLOADS) & (OFFLOAD_TSO4 | OFFLOAD_TSO6) ? LONGEST_GSO : load<u32>(queue, VQ_LONGEST);
}

/** The same as `accept`, of a driver: its device may have looked at the checksum (5.1.6.4). */
export function acceptChecked(queue: usize, handle: u32, word: u64, offset: u32): bool {
  const header = (load<u32>(queue, QUEUE_TABLE) as usize) + ((handle as usize) << HEADER_SHIFT);
  if ((word & SAYS) == NET_DATA_VALID) store<u32>(header, load<u32>(header, MBUF_OL_FLAGS) | RX_L4_CKSUM_GOOD, MBUF_OL_FLAGS);
  return accept(queue, handle, word, offset);
}

/**
 * Looks at a received frame whose header, of which `word` and `offset` are a copy, asks for something, or that is longer
 * than frames are. False, and counted: it is dropped.
 */
export function accept(queue: usize, handle: u32, word: u64, offset: u32): bool {
  const header = (load<u32>(queue, QUEUE_TABLE) as usize) + ((handle as usize) << HEADER_SHIFT);
  if ((word & ASKS) != 0 && !readOffload(queue, header, handle, word, offset)) {
    count64(queue + DEVICE_BAD_OFFLOAD, 1);
    return false;
  }
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  if (!(flags & TX_TCP_SEG) && load<u32>(header, MBUF_PKT_LEN) > load<u32>(queue, VQ_LONGEST)) {
    count64(queue + DEVICE_BAD_FRAME, 1);
    return false;
  }
  if (flags & (TX_TCP_CKSUM | TX_UDP_CKSUM)) store<u32>(queue, load<u32>(queue, VQ_UNFINISHED) + 1, VQ_UNFINISHED);
  return true;
}

/** Both headers of the packet are in the first segment, and are what the guest says, or it is bad. */
function readOffload(queue: usize, header: usize, handle: u32, word: u64, offset: u32): bool {
  const kind = ((word >> 8) as u32) & 0xff;
  const start = (word >> 48) as u32;
  const segment: u32 = load<u16>(header, MBUF_DATA_LEN);
  if (!(word & NET_NEEDS_CSUM) || start + offset + 2 > segment) return false;
  const frame = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
  const outer = parseLink(frame, segment);
  const l2 = outer & 0xff;
  const network = parseNetwork(frame + (l2 as usize), segment - l2, outer >> 16);
  const whole = network != NO_NETWORK && (network & NETWORK_FRAGMENT) == 0 && l2 + bytesOf(network) == start;
  const isTcp = whole && protocolOf(network) == PROTOCOL_TCP && offset == 16;
  if (!isTcp && !(whole && protocolOf(network) == PROTOCOL_UDP && offset == 6)) return kind == 0 && sumNow(queue, header, handle, start, offset, frame);
  if (load<u32>(queue, VQ_OFFLOADS) & OFFLOAD_FINISH) {
    if (kind != 0) return false;
    store<u32>(header, load<u32>(header, MBUF_OL_FLAGS) | RX_L4_CKSUM_GOOD, MBUF_OL_FLAGS);
    return sumNow(queue, header, handle, start, offset, frame);
  }
  const six: u32 = (network & NETWORK_SIX) != 0 ? TX_IPV6 : 0;
  let flags: u32 = (isTcp ? TX_TCP_CKSUM : TX_UDP_CKSUM) | six;
  if (kind != 0) {
    if (!isTcp || kind != (six ? (NET_GSO_TCPV6 as u32) : (NET_GSO_TCPV4 as u32))) return false;
    if (!(load<u32>(queue, VQ_OFFLOADS) & (six ? OFFLOAD_TSO6 : OFFLOAD_TSO4))) return false;
    const left = network as u32;
    const bytes: u32 = left >= 20 ? ((load<u8>(frame + (start as usize), 12) as u32) >> 4) << 2 : 0;
    const size = ((word >> 32) as u32) & 0xffff;
    const headers = start + bytes;
    if (bytes < 20 || bytes > left || size == 0 || headers + size > load<u32>(queue, VQ_LONGEST)) return false;
    if (load<u32>(header, MBUF_PKT_LEN) > headers + size) {
      flags |= TX_TCP_SEG;
      store<u16>(header, size as u16, MBUF_TSO_SEGSZ);
    }
  }
  store<u32>(header, load<u32>(header, MBUF_OL_FLAGS) | flags, MBUF_OL_FLAGS);
  store<u32>(header, l2 | (bytesOf(network) << TX_L3_LEN_SHIFT), MBUF_TX_OFFLOAD);
  return true;
}

/** A checksum that is not the packet's own (a tunnel's inner one, say) is no flag's: it is written at once; or all are. */
function sumNow(queue: usize, header: usize, handle: u32, start: u32, offset: u32, frame: usize): bool {
  const sum = sumChain(load<u32>(queue, QUEUE_TABLE), handle, start, load<u32>(header, MBUF_PKT_LEN) - start, 0);
  // As Linux does, whatever protocol it is: 0 would say that there is none (RFC 768).
  store<u16>(frame + ((start + offset) as usize), turned(sum == 0xffff ? 0xffff : ~sum & 0xffff) as u16);
  return true;
}

/** Does the other side take a frame with these flags? */
// @ts-ignore: decorator
@inline
export function takes(offloads: u32, flags: u32): bool {
  if (flags & (TX_VLAN | TX_IP_CKSUM)) return false;
  if (flags & (TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG) && !(offloads & OFFLOAD_CSUM)) return false;
  return !(flags & TX_TCP_SEG) || (offloads & (flags & TX_IPV6 ? OFFLOAD_TSO6 : OFFLOAD_TSO4)) != 0;
}

/** The header's first eight bytes for a frame that the other side takes with its flags. What was checked only a driver may be told (5.1.6.2). */
export function headerWord(queue: usize, header: usize, handle: u32, flags: u32): u64 {
  if (!(flags & (TX_TCP_CKSUM | TX_UDP_CKSUM))) return flags & RX_L4_CKSUM_GOOD && load<u32>(queue, VQ_OFFLOADS) & OFFLOAD_CSUM ? NET_DATA_VALID : 0;
  const start = csumStart(header);
  const word: u64 = NET_NEEDS_CSUM | ((start as u64) << 48);
  if (!(flags & TX_TCP_SEG)) return word;
  const frame = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
  const isThere = start + 20 <= (load<u16>(header, MBUF_DATA_LEN) as u32);
  const headers: u32 = start + (isThere ? ((load<u8>(frame + (start as usize), 12) as u32) >> 4) << 2 : 0);
  const kind: u64 = flags & TX_IPV6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4;
  return word | (kind << 8) | ((headers as u64) << 16) | ((load<u16>(header, MBUF_TSO_SEGSZ) as u64) << 32);
}

// @ts-ignore: decorator
@inline
function csumStart(header: usize): u32 {
  const lengths = load<u32>(header, MBUF_TX_OFFLOAD);
  return (lengths & TX_L2_LEN_MASK) + ((lengths >> TX_L3_LEN_SHIFT) & TX_L3_LEN_MASK);
}

/** Where in the message the checksum stands that the other side is to compute. */
// @ts-ignore: decorator
@inline
export function csumOffset(flags: u32): u32 {
  return flags & TX_TCP_CKSUM ? 16 : flags & TX_UDP_CKSUM ? 6 : 0;
}

// @ts-ignore: decorator
@inline
export function writeHeader(to: usize, head: u32, buffers: u32, word: u64, offset: u32): void {
  store<u64>(to, word);
  store<u16>(to, offset as u16, NET_CSUM_OFFSET);
  if (head >= (NET_HEADER as u32)) store<u16>(to, buffers as u16, NET_NUM_BUFFERS);
}

/** Has the frame the headers that its flags and lengths speak of, in its first segment? */
export function isWhole(header: usize, flags: u32): bool {
  if (flags & TX_TCP_SEG && (!(flags & TX_TCP_CKSUM) || load<u16>(header, MBUF_TSO_SEGSZ) == 0)) return false;
  const needs: u32 = flags & TX_TCP_SEG ? 20 : flags & TX_TCP_CKSUM ? 18 : 8;
  return csumStart(header) + needs <= (load<u16>(header, MBUF_DATA_LEN) as u32);
}

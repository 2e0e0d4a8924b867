/** What a frame leaves to be done, between struct virtio_net_hdr and an mbuf's header, on either side of a virtqueue, in plain TypeScript. The fast double is assembly/virtqueue_offload.ts; neither calls the other. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_TSO_SEGSZ, MBUF_TX_OFFLOAD, RX_L4_CKSUM_GOOD,
  TX_IPV6, TX_IP_CKSUM, TX_L2_LEN_MASK, TX_L3_LEN_MASK, TX_L3_LEN_SHIFT, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM, TX_VLAN,
} from '../mbuf/layout.js';
import { QUEUE_TABLE } from '../port/layout.js';
import {
  DEVICE_BAD_FRAME, DEVICE_BAD_OFFLOAD, LONGEST_GSO, NET_DATA_VALID, NET_FLAGS, NET_GSO_TCPV4, NET_GSO_TCPV6, NET_GSO_TYPE, NET_HEADER, NET_NEEDS_CSUM, OFFLOAD_CSUM,
  OFFLOAD_FINISH, OFFLOAD_TSO4, OFFLOAD_TSO6, VQ_LONGEST, VQ_OFFLOADS, VQ_UNFINISHED,
} from '../virtqueue/layout.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/protocol_layout.js';
import type { ChecksumInternals } from './checksum.js';
import type { ParseInternals } from './parse.js';
import { count64, type ArenaViews } from './views.js';

/** A frame's header, copied once. */
export interface NetHeader { readonly flags: number; readonly kind: number; readonly headers: number; readonly size: number; readonly start: number; readonly offset: number }

export const NOTHING: NetHeader = { flags: 0, kind: 0, headers: 0, size: 0, start: 0, offset: 0 };

export interface OffloadFunctions {
  /** Bytes of the longest frame that may be received; what is still to be cut may be longer than frames are. */
  longestReceived(queue: number): number;
  /**
   * Looks at a received frame whose header asks for something, or that is longer than frames are. False, and counted: it
   * is dropped.
   */
  accept(queue: number, handle: number, asked: NetHeader): boolean;
  /** The same, of a driver: its device may have looked at the checksum (5.1.6.4). */
  acceptChecked(queue: number, handle: number, asked: NetHeader): boolean;
  /** Does the other side take a frame with these flags? */
  takes(queue: number, flags: number): boolean;
  /** Has the frame the headers that its flags and lengths speak of, in its first segment? */
  isWhole(queue: number, handle: number): boolean;
  /** What the other side is told of a frame that it takes with its flags. What was checked only a driver may be told (5.1.6.2). */
  tell(queue: number, handle: number): NetHeader;
  readHeader(at: number): NetHeader;
  writeHeader(to: number, head: number, buffers: number, asked: NetHeader): void;
}

export function asks({ flags, kind }: NetHeader): boolean {
  return (flags & NET_NEEDS_CSUM) !== 0 || kind !== 0;
}

export function offloadFunctions({ u8, u16, u32 }: ArenaViews, { networkOf }: ParseInternals, { sumChain }: ChecksumInternals): OffloadFunctions {
  return { longestReceived, accept, acceptChecked, takes, isWhole, tell, readHeader, writeHeader };

  function longestReceived(queue: number): number {
    return (field(queue, VQ_OFFLOADS) & (OFFLOAD_TSO4 | OFFLOAD_TSO6)) !== 0 ? LONGEST_GSO : field(queue, VQ_LONGEST);
  }

  function acceptChecked(queue: number, handle: number, asked: NetHeader): boolean {
    if (!asks(asked) && (asked.flags & NET_DATA_VALID) !== 0) u32[(headerOf(queue, handle) + MBUF_OL_FLAGS) >>> 2] |= RX_L4_CKSUM_GOOD;
    return accept(queue, handle, asked);
  }

  function accept(queue: number, handle: number, asked: NetHeader): boolean {
    const header = headerOf(queue, handle);
    if (asks(asked) && !read(queue, handle, asked)) {
      count64(u32, queue + DEVICE_BAD_OFFLOAD, 1);
      return false;
    }
    const flags = field(header, MBUF_OL_FLAGS);
    if ((flags & TX_TCP_SEG) === 0 && field(header, MBUF_PKT_LEN) > field(queue, VQ_LONGEST)) {
      count64(u32, queue + DEVICE_BAD_FRAME, 1);
      return false;
    }
    if ((flags & (TX_TCP_CKSUM | TX_UDP_CKSUM)) !== 0) u32[(queue + VQ_UNFINISHED) >>> 2]++;
    return true;
  }

  /** Both headers of the packet are in the first segment, and are what the guest says, or it is bad. */
  function read(queue: number, handle: number, asked: NetHeader): boolean {
    const { flags, kind, start, offset } = asked;
    const header = headerOf(queue, handle);
    if ((flags & NET_NEEDS_CSUM) === 0 || start + offset + 2 > u16[(header + MBUF_DATA_LEN) >>> 1]) return false;
    const found = networkOf(field(queue, QUEUE_TABLE), handle);
    const protocol = found === undefined || found.network.isFragment || found.ip - found.frame + found.network.bytes !== start ? -1 : found.network.protocol;
    const isTcp = protocol === PROTOCOL_TCP && offset === 16;
    if (!isTcp && !(protocol === PROTOCOL_UDP && offset === 6)) {
      if (kind !== 0) return false;
      sumNow(queue, handle, start, offset);
      return true;
    }
    if ((field(queue, VQ_OFFLOADS) & OFFLOAD_FINISH) !== 0) {
      if (kind !== 0) return false;
      u32[(header + MBUF_OL_FLAGS) >>> 2] |= RX_L4_CKSUM_GOOD;
      sumNow(queue, handle, start, offset);
      return true;
    }
    const { frame, ip, network } = found!;
    let wants = (isTcp ? TX_TCP_CKSUM : TX_UDP_CKSUM) | (network.family === 6 ? TX_IPV6 : 0);
    if (kind !== 0) {
      const headers = isTcp ? cuttable(queue, frame, network, asked) : 0;
      if (headers === 0) return false;
      if (field(header, MBUF_PKT_LEN) > headers + asked.size) {
        wants |= TX_TCP_SEG;
        u16[(header + MBUF_TSO_SEGSZ) >>> 1] = asked.size;
      }
    }
    u32[(header + MBUF_OL_FLAGS) >>> 2] |= wants;
    u32[(header + MBUF_TX_OFFLOAD) >>> 2] = (ip - frame) | (network.bytes << TX_L3_LEN_SHIFT);
    return true;
  }

  /** Bytes of all headers of a TCP packet that may be cut; 0 for one that may not. */
  function cuttable(queue: number, frame: number, { family, left }: { family: 4 | 6; left: number }, { kind, size, start }: NetHeader): number {
    const [wanted, offload] = family === 4 ? [NET_GSO_TCPV4, OFFLOAD_TSO4] : [NET_GSO_TCPV6, OFFLOAD_TSO6];
    const bytes = left >= 20 ? (u8[frame + start + 12] >>> 4) * 4 : 0;
    const isRight = kind === wanted && (field(queue, VQ_OFFLOADS) & offload) !== 0 && bytes >= 20 && bytes <= left && size > 0;
    return isRight && start + bytes + size <= field(queue, VQ_LONGEST) ? start + bytes : 0;
  }

  /** A checksum that is not the packet's own (a tunnel's inner one, say) is no flag's: it is written at once; or all are. */
  function sumNow(queue: number, handle: number, start: number, offset: number): void {
    const header = headerOf(queue, handle);
    const sum = sumChain(field(queue, QUEUE_TABLE), handle, start, field(header, MBUF_PKT_LEN) - start, 0)!;
    // As Linux does, whatever protocol it is: 0 would say that there is none (RFC 768).
    const written = sum === 0xffff ? 0xffff : ~sum;
    const at = frameOf(header, handle) + start + offset;
    u8[at] = written >>> 8;
    u8[at + 1] = written;
  }

  function takes(queue: number, flags: number): boolean {
    const offloads = field(queue, VQ_OFFLOADS);
    if ((flags & (TX_VLAN | TX_IP_CKSUM)) !== 0) return false;
    if ((flags & (TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG)) !== 0 && (offloads & OFFLOAD_CSUM) === 0) return false;
    return (flags & TX_TCP_SEG) === 0 || (offloads & ((flags & TX_IPV6) !== 0 ? OFFLOAD_TSO6 : OFFLOAD_TSO4)) !== 0;
  }

  function tell(queue: number, handle: number): NetHeader {
    const header = headerOf(queue, handle);
    const flags = field(header, MBUF_OL_FLAGS);
    if ((flags & (TX_TCP_CKSUM | TX_UDP_CKSUM)) === 0) {
      const isGood = (flags & RX_L4_CKSUM_GOOD) !== 0 && (field(queue, VQ_OFFLOADS) & OFFLOAD_CSUM) !== 0;
      return isGood ? { ...NOTHING, flags: NET_DATA_VALID } : NOTHING;
    }
    const start = csumStart(header);
    const sums = { ...NOTHING, flags: NET_NEEDS_CSUM, start, offset: (flags & TX_TCP_CKSUM) !== 0 ? 16 : 6 };
    if ((flags & TX_TCP_SEG) === 0) return sums;
    const isThere = start + 20 <= u16[(header + MBUF_DATA_LEN) >>> 1];
    const headers = start + (isThere ? (u8[frameOf(header, handle) + start + 12] >>> 4) * 4 : 0);
    return { ...sums, kind: (flags & TX_IPV6) !== 0 ? NET_GSO_TCPV6 : NET_GSO_TCPV4, headers, size: u16[(header + MBUF_TSO_SEGSZ) >>> 1] };
  }

  function csumStart(header: number): number {
    const lengths = field(header, MBUF_TX_OFFLOAD);
    return (lengths & TX_L2_LEN_MASK) + ((lengths >>> TX_L3_LEN_SHIFT) & TX_L3_LEN_MASK);
  }

  function isWhole(queue: number, handle: number): boolean {
    const header = headerOf(queue, handle);
    const flags = field(header, MBUF_OL_FLAGS);
    const [cuts, isTcp] = [(flags & TX_TCP_SEG) !== 0, (flags & TX_TCP_CKSUM) !== 0];
    if (cuts && (!isTcp || u16[(header + MBUF_TSO_SEGSZ) >>> 1] === 0)) return false;
    return csumStart(header) + (cuts ? 20 : isTcp ? 18 : 8) <= u16[(header + MBUF_DATA_LEN) >>> 1];
  }

  // At any alignment: it may be the other side's buffer.
  function writeHeader(to: number, head: number, buffers: number, { flags, kind, headers, size, start, offset }: NetHeader): void {
    u8[to + NET_FLAGS] = flags;
    u8[to + NET_GSO_TYPE] = kind;
    [headers, size, start, offset, ...(head >= NET_HEADER ? [buffers] : [])].forEach((word, i) => {
      u8[to + 2 + 2 * i] = word & 0xff;
      u8[to + 3 + 2 * i] = word >>> 8;
    });
  }

  function readHeader(at: number): NetHeader {
    const [headers, size, start, offset] = [2, 4, 6, 8].map(i => u8[at + i] | (u8[at + i + 1] << 8));
    return { flags: u8[at + NET_FLAGS], kind: u8[at + NET_GSO_TYPE], headers: headers!, size: size!, start: start!, offset: offset! };
  }

  function frameOf(header: number, handle: number): number {
    return ((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1];
  }

  function headerOf(queue: number, handle: number): number {
    return (field(queue, QUEUE_TABLE) + (handle << HEADER_SHIFT)) >>> 0;
  }

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }
}

/** Sending by AF_PACKET. The twin is burst/packet_tx.ts; the rings are explained in af_packet/layout.ts. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT } from '../../mbuf/layout';
import {
  ETHERNET_ADDRESSES, ETHERNET_HEADER, ETHERTYPE_QINQ, ETHERTYPE_VLAN, PACKET_BAD_FRAME, PACKET_LAST, PACKET_LONGEST, PACKET_RING,
  PACKET_RING_FULL, PACKET_SLOTS, PACKET_SLOT_BYTES, PACKET_TAIL, PACKET_TX_TOO_LONG, TP2_FRAME, TP2_LINEAR, TP_STATUS_AVAILABLE,
  TP_STATUS_SEND_REQUEST, VIRTIO_NET_HEADER, VLAN_TAG,
} from '../../port/drivers/af_packet/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { belongs, mbufFree } from './mempool';
import { headerOf } from './owner';

export function packetTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const ring: usize = load<u32>(queue, PACKET_RING);
  const slotBytes = load<u32>(queue, PACKET_SLOT_BYTES);
  const slots = load<u32>(queue, PACKET_SLOTS);
  let tail = load<u32>(queue, PACKET_TAIL);
  let last = load<u32>(queue, PACKET_LAST);
  let packets: u32 = 0;
  let bytes: u32 = 0;
  let taken: u32 = 0;
  for (; taken < count; taken++) {
    const handle = load<u32>(burst + ((taken as usize) << 2));
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const length = sendable(queue, pool, handle, header);
    if (length == 0) continue;
    const slot = ring + ((tail * slotBytes) as usize);
    // Pairs with the kernel's write when it has sent the slot's frame: its reads before its status.
    if (atomic.load<u32>(slot) != TP_STATUS_AVAILABLE) {
      count64(queue + PACKET_RING_FULL, 1);
      break;
    }
    copyFrame(slot + TP2_FRAME, ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize), load<u16>(header, MBUF_DATA_LEN));
    if (load<u16>(header, MBUF_NB_SEGS) != 1) copySegments(table, header, slot + TP2_FRAME);
    store<u16>(slot, length as u16, TP2_LINEAR);
    store<u64>(slot, (TP_STATUS_SEND_REQUEST as u64) | (((length + VIRTIO_NET_HEADER) as u64) << 32)); // tp_len too
    last = slot as u32;
    tail = tail + 1 == slots ? 0 : tail + 1;
    packets++;
    bytes += length;
  }
  store<u32>(queue, tail, PACKET_TAIL);
  store<u32>(queue, last, PACKET_LAST);
  count64(queue + QUEUE_PACKETS, packets);
  count64(queue + QUEUE_BYTES, bytes);
  if (taken < count) count64(queue + QUEUE_NOMBUF, count - taken);
  mbufFree(pool, lcore, burst, taken);
  return taken;
}

/** Bytes of a whole Ethernet frame inside its buffers, no longer than the interface takes; 0 for the other kinds, which are counted. */
// @ts-ignore: decorator
@inline
function sendable(queue: usize, pool: usize, handle: u32, header: usize): u32 {
  if (!belongs(pool, handle)) return refuse(queue + PACKET_BAD_FRAME);
  const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
  let length: u32 = load<u16>(header, MBUF_DATA_LEN);
  if (offset + length > load<u32>(header, MBUF_BUF_LEN)) return refuse(queue + PACKET_BAD_FRAME);
  if (load<u16>(header, MBUF_NB_SEGS) != 1) length = lengthOfChain(queue, pool, header, length);
  if (length < (ETHERNET_HEADER as u32)) return refuse(queue + PACKET_BAD_FRAME);
  const longest = load<u32>(queue, PACKET_LONGEST);
  if (length <= longest) return length;
  const kind: u32 = bswap<u16>(load<u16>(((handle as usize) << HANDLE_SHIFT) + (offset as usize), ETHERNET_ADDRESSES));
  if (length <= longest + VLAN_TAG && load<u16>(header, MBUF_DATA_LEN) >= (ETHERNET_HEADER as u32) && (kind == ETHERTYPE_VLAN || kind == ETHERTYPE_QINQ)) return length;
  return refuse(queue + PACKET_TX_TOO_LONG);
}

/** Of all segments, the first of which has `first` bytes; 0 when they contradict themselves. */
function lengthOfChain(queue: usize, pool: usize, header: usize, first: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const segments: u32 = load<u16>(header, MBUF_NB_SEGS);
  let total = first;
  let handle = load<u32>(header, MBUF_NEXT);
  for (let i: u32 = 1; i < segments; i++) {
    if (!belongs(pool, handle)) return 0;
    const segment = headerOf(table, handle);
    if (load<u16>(segment, MBUF_DATA_OFF) + load<u16>(segment, MBUF_DATA_LEN) > load<u32>(segment, MBUF_BUF_LEN)) return 0;
    total += load<u16>(segment, MBUF_DATA_LEN);
    handle = load<u32>(segment, MBUF_NEXT);
  }
  return segments == 0 || handle ? 0 : total;
}

/** Those behind the first, which stands at `to`. */
function copySegments(table: usize, header: usize, to: usize): void {
  for (let left: u32 = load<u16>(header, MBUF_NB_SEGS); left > 1; left--) {
    to += load<u16>(header, MBUF_DATA_LEN) as usize;
    const handle = load<u32>(header, MBUF_NEXT);
    header = headerOf(table, handle);
    copyFrame(to, ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize), load<u16>(header, MBUF_DATA_LEN));
  }
}

function refuse(counter: usize): u32 {
  count64(counter, 1);
  return 0;
}

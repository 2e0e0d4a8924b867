/** AF_PACKET's bursts over the kernel's rings. The twin is burst/packet.ts; the rings are explained in af_packet/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER,
  MBUF_PKT_LEN, MBUF_TIMESTAMP, OWNER_APP, OWNER_SHIFT, RX_RSS_HASH, RX_TIMESTAMP, RX_VLAN_STRIPPED,
} from '../../mbuf/layout';
import {
  BLOCK_FIRST_PKT, BLOCK_HEADER, BLOCK_NUM_PKTS, BLOCK_STATUS, ETHERNET_ADDRESSES, ETHERNET_HEADER, ETHERTYPE_QINQ, ETHERTYPE_VLAN,
  PACKET_BAD_BLOCK, PACKET_BAD_FRAME, PACKET_BLOCK, PACKET_BLOCKS, PACKET_BLOCK_BYTES, PACKET_KEEP_TAG, PACKET_LAST, PACKET_LEFT,
  PACKET_LONGEST, PACKET_NEXT, PACKET_RING, PACKET_RING_FULL, PACKET_RX_TOO_LONG, PACKET_SLOTS, PACKET_SLOT_BYTES, PACKET_TAIL,
  PACKET_TRUNCATED, PACKET_TX_TOO_LONG, TP2_FRAME, TP2_LINEAR, TP3_ALIGN_MASK, TP3_HEADER, TP3_LEN, TP3_MAC, TP3_NEXT_OFFSET, TP3_RXHASH,
  TP3_SNAPLEN, TP3_STATUS, TP3_TIME, TP3_VLAN_TCI, TP3_VLAN_TPID, TP_STATUS_AVAILABLE, TP_STATUS_KERNEL, TP_STATUS_SEND_REQUEST,
  TP_STATUS_USER, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID, VIRTIO_NET_HEADER, VLAN_TAG,
} from '../../port/drivers/af_packet/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { belongs, mbufFree, mbufOwn, takeFree } from './mempool';

/** A packet's header, as the type that lengths have here. */
const HEADER: u32 = TP3_HEADER;

/** At most one round of the ring, so that a kernel that says "full" for ever holds nobody. */
export function packetRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  let got: u32 = 0;
  for (let round = load<u32>(queue, PACKET_BLOCKS); round > 0 && got < max; round--) {
    if (load<u32>(queue, PACKET_LEFT) == 0 && !openBlock(queue)) break;
    const left = load<u32>(queue, PACKET_LEFT);
    if (left > 0) {
      const vector = burst + ((got as usize) << 2);
      const room = takeSome(queue, lcore, vector, min(left, max - got));
      if (room == 0) break;
      got += takePackets(queue, vector, room, lcore);
    }
    if (load<u32>(queue, PACKET_LEFT) == 0) returnBlock(queue);
  }
  count64(queue + QUEUE_PACKETS, got);
  return got;
}

// @ts-ignore: decorator
@inline
function blockOf(queue: usize): usize {
  return (load<u32>(queue, PACKET_RING) + load<u32>(queue, PACKET_BLOCK) * load<u32>(queue, PACKET_BLOCK_BYTES)) as usize;
}

/** Is the next block ours? Then PACKET_LEFT is what it holds: nothing, when it is empty or contradicts itself. */
function openBlock(queue: usize): bool {
  const block = blockOf(queue);
  // Pairs with the kernel's barrier before it sets the status: the block before its status.
  if ((atomic.load<u32>(block, BLOCK_STATUS) & TP_STATUS_USER) == 0) return false;
  const packets = load<u32>(block, BLOCK_NUM_PKTS);
  const first = load<u32>(block, BLOCK_FIRST_PKT);
  const blockBytes = load<u32>(queue, PACKET_BLOCK_BYTES);
  if (packets == 0) return true;
  const inside = first >= (BLOCK_HEADER as u32) && (first & TP3_ALIGN_MASK) == 0 && first <= blockBytes - HEADER;
  if (!inside || packets > blockBytes / HEADER) {
    count64(queue + PACKET_BAD_BLOCK, 1);
    return true;
  }
  store<u32>(queue, packets, PACKET_LEFT);
  store<u32>(queue, first, PACKET_NEXT);
  return true;
}

/** Gives the block back to the kernel and goes on to the next. */
function returnBlock(queue: usize): void {
  // Our reads are over: pairs with the kernel's read of the status.
  atomic.store<u32>(blockOf(queue), TP_STATUS_KERNEL, BLOCK_STATUS);
  const following = load<u32>(queue, PACKET_BLOCK) + 1;
  store<u32>(queue, following == load<u32>(queue, PACKET_BLOCKS) ? 0 : following, PACKET_BLOCK);
}

/** `want` mbufs, or as many as the pool has when it runs dry: halves of it are tried. What is not had stays in the ring. */
// @ts-ignore: decorator
@inline
function takeSome(queue: usize, lcore: u32, vector: usize, want: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  for (; want > 0; want >>= 1) {
    if (takeFree(pool, lcore, vector, want) > 0) return want;
  }
  count64(queue + QUEUE_NOMBUF, 1);
  return 0;
}

/** Takes `room` packets of the block into the mbufs of the vector. Returns how many were good; the other mbufs are freed. */
function takePackets(queue: usize, vector: usize, room: u32, lcore: u32): u32 {
  const block = blockOf(queue);
  const blockBytes = load<u32>(queue, PACKET_BLOCK_BYTES);
  const frameRoom = load<u32>(queue, QUEUE_ROOM);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const keepTag = load<u32>(queue, PACKET_KEEP_TAG) != 0;
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const template = v128.load(queue + QUEUE_TEMPLATE);
  let left = load<u32>(queue, PACKET_LEFT);
  let next = load<u32>(queue, PACKET_NEXT);
  let bytes: u32 = 0;
  let slot = vector;
  for (let i: u32 = 0; i < room; i++) {
    const at = block + (next as usize);
    // Copied once, then checked, then used.
    const step = load<u32>(at, TP3_NEXT_OFFSET);
    const time = load<u64>(at, TP3_TIME);
    const length = load<u32>(at, TP3_SNAPLEN);
    const whole = load<u32>(at, TP3_LEN);
    const status = load<u32>(at, TP3_STATUS);
    const mac: u32 = load<u16>(at, TP3_MAC);
    const hash = load<u32>(at, TP3_RXHASH);
    const start = next + mac;
    left--;
    const frameInside = mac >= HEADER && start <= blockBytes && length <= blockBytes - start;
    const stepInside = left == 0 || (step >= HEADER && (step & TP3_ALIGN_MASK) == 0 && step <= blockBytes - HEADER - next);
    if (!frameInside || !stepInside) {
      count64(queue + PACKET_BAD_BLOCK, 1);
      left = 0;
      break;
    }
    next += step;
    if (length < whole) {
      count64(queue + PACKET_TRUNCATED, 1);
      continue;
    }
    if (length > frameRoom) {
      count64(queue + PACKET_RX_TOO_LONG, 1);
      continue;
    }
    const handle = load<u32>(slot);
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const data = ((handle as usize) << HANDLE_SHIFT) + HEADROOM;
    copyFrame(data, block + (start as usize), length);
    v128.store(header, template);
    store<u32>(header, RX_TIMESTAMP | (hash != 0 ? RX_RSS_HASH : 0), MBUF_OL_FLAGS);
    store<u64>(header, (length as u64) | ((length as u64) << 32), MBUF_PKT_LEN); // data_len too, and no VLAN tag
    store<u64>(header, hash as u64, MBUF_HASH); // and no next segment
    store<u64>(header, time, MBUF_TIMESTAMP);
    store<u32>(header, owner, MBUF_OWNER);
    bytes += length;
    if (status & TP_STATUS_VLAN_VALID) bytes += writeTag(header, data, length, status, load<u32>(at, TP3_VLAN_TCI), load<u16>(at, TP3_VLAN_TPID), keepTag);
    slot += 4;
  }
  store<u32>(queue, left, PACKET_LEFT);
  store<u32>(queue, next, PACKET_NEXT);
  count64(queue + QUEUE_BYTES, bytes);
  const good = ((slot - vector) as u32) >> 2;
  if (good < room) giveBack(queue, slot, room - good, lcore);
  return good;
}

/**
 * The tag that the kernel took out of a frame: into the header, as a NIC's VLAN stripping would; or back into the
 * frame, when that is wanted or the header has no word for its kind. Returns by how much the frame grew.
 */
function writeTag(header: usize, data: usize, length: u32, status: u32, tci: u32, tpid: u32, keep: bool): u32 {
  const kind: u32 = status & TP_STATUS_VLAN_TPID_VALID ? tpid : ETHERTYPE_VLAN;
  if ((!keep && kind == ETHERTYPE_VLAN) || length < (ETHERNET_ADDRESSES as u32)) {
    store<u32>(header, load<u32>(header, MBUF_OL_FLAGS) | RX_VLAN_STRIPPED, MBUF_OL_FLAGS);
    store<u32>(header, length | (tci << 16), MBUF_DATA_LEN); // and vlan_tci behind it
    return 0;
  }
  // The addresses move down into the headroom.
  store<u64>(data - VLAN_TAG, load<u64>(data));
  store<u32>(data - VLAN_TAG, load<u32>(data, 8), 8);
  store<u16>(data - VLAN_TAG, bswap<u16>(kind as u16), 12);
  store<u16>(data - VLAN_TAG, bswap<u16>(tci as u16), 14);
  store<u16>(header, HEADROOM - VLAN_TAG, MBUF_DATA_OFF);
  store<u32>(header, length + VLAN_TAG, MBUF_PKT_LEN);
  store<u16>(header, (length + VLAN_TAG) as u16, MBUF_DATA_LEN);
  return VLAN_TAG;
}

/** mbufs that no frame came into. */
function giveBack(queue: usize, from: usize, count: u32, lcore: u32): void {
  mbufOwn(load<u32>(queue, QUEUE_TABLE), from, count, (OWNER_APP << OWNER_SHIFT) | lcore);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, from, count);
}

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
    if (!isSendable(queue, pool, handle, header)) continue;
    const slot = ring + ((tail * slotBytes) as usize);
    // Pairs with the kernel's write when it has sent the slot's frame: its reads before its status.
    if (atomic.load<u32>(slot) != TP_STATUS_AVAILABLE) {
      count64(queue + PACKET_RING_FULL, 1);
      break;
    }
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    copyFrame(slot + TP2_FRAME, ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize), length);
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

/** One whole Ethernet frame inside its buffer, no longer than the interface takes. Counts the other kinds. */
// @ts-ignore: decorator
@inline
function isSendable(queue: usize, pool: usize, handle: u32, header: usize): bool {
  if (!belongs(pool, handle)) return refuse(queue + PACKET_BAD_FRAME);
  const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
  const length: u32 = load<u16>(header, MBUF_DATA_LEN);
  const whole = load<u16>(header, MBUF_NB_SEGS) == 1 && length >= (ETHERNET_HEADER as u32) && offset + length <= load<u32>(header, MBUF_BUF_LEN);
  if (!whole) return refuse(queue + PACKET_BAD_FRAME);
  const longest = load<u32>(queue, PACKET_LONGEST);
  if (length <= longest) return true;
  const kind: u32 = bswap<u16>(load<u16>(((handle as usize) << HANDLE_SHIFT) + (offset as usize), ETHERNET_ADDRESSES));
  if (length <= longest + VLAN_TAG && (kind == ETHERTYPE_VLAN || kind == ETHERTYPE_QINQ)) return true;
  return refuse(queue + PACKET_TX_TOO_LONG);
}

function refuse(counter: usize): bool {
  count64(counter, 1);
  return false;
}

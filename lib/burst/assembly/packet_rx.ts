/** Receiving by AF_PACKET. The twin is burst/packet_rx.ts; the rings are explained in af_packet/layout.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER,
  MBUF_PKT_LEN, MBUF_TIMESTAMP, OWNER_APP, OWNER_SHIFT, RX_RSS_HASH, RX_TIMESTAMP, RX_VLAN_STRIPPED,
} from '../../mbuf/layout';
import { POOL_COUNT } from '../../mbuf/pool_layout';
import {
  BLOCK_FIRST_PKT, BLOCK_HEADER, BLOCK_NUM_PKTS, BLOCK_STATUS, ETHERNET_ADDRESSES, ETHERTYPE_VLAN, PACKET_BAD_BLOCK, PACKET_BLOCK,
  PACKET_BLOCKS, PACKET_BLOCK_BYTES, PACKET_KEEP_TAG, PACKET_LEFT, PACKET_NEXT, PACKET_RING, PACKET_RX_TOO_LONG, PACKET_SCRATCH,
  PACKET_SCRATCH_COUNT, PACKET_TRUNCATED, TP3_ALIGN_MASK, TP3_HEADER, TP3_LEN, TP3_MAC, TP3_NEXT_OFFSET, TP3_RXHASH, TP3_SNAPLEN,
  TP3_STATUS, TP3_TIME, TP3_VLAN_TCI, TP3_VLAN_TPID, TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
  VLAN_TAG,
} from '../../port/drivers/af_packet/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';
import { headerOf, mbufOwn } from './owner';
import { takeSome } from './queue_mbufs';

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
      const taken = takePackets(queue, vector, room, lcore);
      got += taken & ~DRY;
      if (taken & DRY) break;
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

/** In what `takePackets` returns: the pool has not as many mbufs as the next frame takes. */
const DRY: u32 = 0x80000000;

/**
 * Takes packets of the block into the `room` mbufs of the vector. A frame that is longer than one takes others from the
 * vector's end, and from the pool. Returns how many were good; the other mbufs are freed.
 */
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
  let end = vector + ((room as usize) << 2);
  let dry: u32 = 0;
  for (let i: u32 = 0; i < room && slot < end; i++) {
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
      const more = (length - 1) / frameRoom;
      if (more > (PACKET_SCRATCH_COUNT as u32) || more >= load<u32>(load<u32>(queue, QUEUE_POOL) as usize, POOL_COUNT)) {
        count64(queue + PACKET_RX_TOO_LONG, 1);
        continue;
      }
      const spare = min(more, ((end - slot) as u32 >> 2) - 1);
      if (!takeMore(queue, end, spare, more, lcore)) {
        left++;
        next -= step;
        dry = DRY;
        break;
      }
      end -= (spare as usize) << 2;
    }
    const handle = load<u32>(slot);
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const data = ((handle as usize) << HANDLE_SHIFT) + HEADROOM;
    const part = min(length, frameRoom);
    copyFrame(data, block + (start as usize), part);
    v128.store(header, template);
    store<u32>(header, RX_TIMESTAMP | (hash != 0 ? RX_RSS_HASH : 0), MBUF_OL_FLAGS);
    store<u64>(header, (part as u64) | ((part as u64) << 32), MBUF_PKT_LEN); // data_len too, and no VLAN tag
    store<u64>(header, hash as u64, MBUF_HASH); // and no next segment
    store<u64>(header, time, MBUF_TIMESTAMP);
    store<u32>(header, owner, MBUF_OWNER);
    bytes += length;
    if (status & TP_STATUS_VLAN_VALID) bytes += writeTag(header, data, part, status, load<u32>(at, TP3_VLAN_TCI), load<u16>(at, TP3_VLAN_TPID), keepTag);
    if (part < length) appendRest(queue, header, block + ((start + part) as usize), length - part, owner);
    slot += 4;
  }
  store<u32>(queue, left, PACKET_LEFT);
  store<u32>(queue, next, PACKET_NEXT);
  count64(queue + QUEUE_BYTES, bytes);
  if (slot < end) giveBack(queue, slot, ((end - slot) as u32) >> 2, lcore);
  return ((slot - vector) as u32) >> 2 | dry;
}

/** `more` mbufs into the scratch vector: `spare` of them from before `end`, the others from the pool, or none. */
function takeMore(queue: usize, end: usize, spare: u32, more: u32, lcore: u32): bool {
  const scratch = queue + PACKET_SCRATCH;
  if (more > spare && takeFree(load<u32>(queue, QUEUE_POOL), lcore, scratch + ((spare as usize) << 2), more - spare) == 0) {
    count64(queue + QUEUE_NOMBUF, 1);
    return false;
  }
  for (let i: u32 = 0; i < spare; i++) store<u32>(scratch + ((i as usize) << 2), load<u32>(end - ((spare - i) as usize << 2)));
  return true;
}

/** What a frame's first mbuf had no room for, into those of the scratch vector. */
function appendRest(queue: usize, head: usize, from: usize, rest: u32, owner: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const room = load<u32>(queue, QUEUE_ROOM);
  let before = head;
  let segments: u32 = 1;
  store<u32>(head, load<u32>(head, MBUF_PKT_LEN) + rest, MBUF_PKT_LEN);
  for (let left = rest; left > 0; segments++) {
    const handle = load<u32>(queue + PACKET_SCRATCH + ((segments - 1) as usize << 2));
    const header = headerOf(table, handle);
    const part = min(left, room);
    copyFrame(((handle as usize) << HANDLE_SHIFT) + HEADROOM, from, part);
    v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
    store<u64>(header, (part as u64) | ((part as u64) << 32), MBUF_PKT_LEN);
    store<u64>(header, 0, MBUF_HASH); // and no next segment
    store<u32>(header, owner, MBUF_OWNER);
    store<u32>(before, handle, MBUF_NEXT);
    before = header;
    from += part as usize;
    left -= part;
  }
  store<u16>(head, segments as u16, MBUF_NB_SEGS);
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

/** Receiving by AF_PACKET, in plain TypeScript. The fast double is assembly/packet_rx.ts; neither calls the other. */
import {
  HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN, MBUF_TIMESTAMP,
  MBUF_VLAN_TCI, RX_RSS_HASH, RX_TIMESTAMP, RX_VLAN_STRIPPED,
} from '../mbuf/layout.js';
import { POOL_COUNT } from '../mbuf/pool_layout.js';
import {
  BLOCK_FIRST_PKT, BLOCK_HEADER, BLOCK_NUM_PKTS, BLOCK_STATUS, ETHERNET_ADDRESSES, ETHERTYPE_VLAN, PACKET_BAD_BLOCK, PACKET_BLOCK,
  PACKET_BLOCKS, PACKET_BLOCK_BYTES, PACKET_KEEP_TAG, PACKET_LEFT, PACKET_NEXT, PACKET_RING, PACKET_RX_TOO_LONG, PACKET_SCRATCH,
  PACKET_SCRATCH_COUNT, PACKET_TRUNCATED, TP3_ALIGN_MASK, TP3_HEADER, TP3_LEN, TP3_MAC, TP3_NEXT_OFFSET, TP3_RXHASH, TP3_SNAPLEN,
  TP3_STATUS, TP3_TIME, TP3_VLAN_TCI, TP3_VLAN_TPID, TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
  VLAN_TAG,
} from '../port/drivers/af_packet/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { program, queueMbufs, takeSome } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';

export function packetRxFunctions(views: ArenaViews, pools: MempoolFunctions): Pick<BurstFunctions, 'packetRx'> {
  const { u8, u16, u32 } = views;
  const { field, setField, bufferOf, headerOf } = queueMbufs(views);
  return { packetRx };

  /** At most one round of the ring, so that a kernel that says "full" for ever holds nobody. */
  function packetRx(queue: number, burst: number, max: number, lcore: number): number {
    let got = 0;
    for (let round = field(queue, PACKET_BLOCKS); round > 0 && got < max; round--) {
      if (field(queue, PACKET_LEFT) === 0 && !openBlock(queue)) break;
      if (field(queue, PACKET_LEFT) > 0) {
        const vector = burst + got * 4;
        const room = takeSome(u32, pools, queue, lcore, vector, Math.min(field(queue, PACKET_LEFT), max - got));
        if (room === 0) break;
        const { good, dry } = takePackets(queue, vector, room, lcore);
        got += good;
        if (dry) break;
      }
      if (field(queue, PACKET_LEFT) === 0) returnBlock(queue);
    }
    count64(u32, queue + QUEUE_PACKETS, got);
    return got;
  }

  /** Is the next block ours? Then PACKET_LEFT is what it holds: nothing, when it is empty or contradicts itself. */
  function openBlock(queue: number): boolean {
    const block = blockOf(queue);
    // Pairs with the kernel's barrier before it sets the status: the block before its status.
    if ((Atomics.load(u32, (block + BLOCK_STATUS) >>> 2) & TP_STATUS_USER) === 0) return false;
    const packets = field(block, BLOCK_NUM_PKTS);
    const first = field(block, BLOCK_FIRST_PKT);
    const blockBytes = field(queue, PACKET_BLOCK_BYTES);
    if (packets === 0) return true;
    const inside = first >= BLOCK_HEADER && (first & TP3_ALIGN_MASK) === 0 && first + TP3_HEADER <= blockBytes;
    if (!inside || packets > Math.floor(blockBytes / TP3_HEADER)) {
      count64(u32, queue + PACKET_BAD_BLOCK, 1);
      return true;
    }
    setField(queue, PACKET_LEFT, packets);
    setField(queue, PACKET_NEXT, first);
    return true;
  }

  /** Gives the block back to the kernel and goes on to the next. */
  function returnBlock(queue: number): void {
    // Our reads are over: pairs with the kernel's read of the status.
    Atomics.store(u32, (blockOf(queue) + BLOCK_STATUS) >>> 2, TP_STATUS_KERNEL);
    setField(queue, PACKET_BLOCK, (field(queue, PACKET_BLOCK) + 1) % field(queue, PACKET_BLOCKS));
  }

  /**
   * Takes packets of the block into the `room` mbufs of the vector. A frame that is longer than one takes others from the
   * vector's end, and from the pool. Returns how many were good, and whether the pool has not as many as the next takes;
   * the other mbufs are freed.
   */
  function takePackets(queue: number, vector: number, room: number, lcore: number): { good: number; dry: boolean } {
    let [good, end] = [0, room];
    let outcome: ReturnType<typeof takePacket> = 'dropped';
    for (let i = 0; i < room && good < end && outcome !== 'bad' && outcome !== 'dry'; i++) {
      const more = moreOf(queue);
      const spare = Math.min(more, end - good - 1);
      outcome = takePacket(queue, vector, good, end, more, lcore);
      if (outcome !== 'taken') continue;
      good++;
      end -= spare;
    }
    if (good < end) giveBack(queue, vector + good * 4, end - good, lcore);
    return { good, dry: outcome === 'dry' };
  }

  /** How many mbufs the next packet takes besides one. */
  function moreOf(queue: number): number {
    const length = field(blockOf(queue) + field(queue, PACKET_NEXT), TP3_SNAPLEN);
    const room = field(queue, QUEUE_ROOM);
    return length <= room ? 0 : Math.floor((length - 1) / room);
  }

  /** The packet's header is copied once; the copy is checked and used. A bad one takes the rest of the block with it. */
  function takePacket(queue: number, vector: number, good: number, end: number, more: number, lcore: number): 'taken' | 'dropped' | 'bad' | 'dry' {
    const handle = u32[(vector >>> 2) + good];
    const blockBytes = field(queue, PACKET_BLOCK_BYTES);
    const next = field(queue, PACKET_NEXT);
    const left = field(queue, PACKET_LEFT) - 1;
    const at = blockOf(queue) + next;
    const step = field(at, TP3_NEXT_OFFSET);
    const [length, whole, mac] = [field(at, TP3_SNAPLEN), field(at, TP3_LEN), u16[(at + TP3_MAC) >>> 1]];
    const frameInside = mac >= TP3_HEADER && next + mac + length <= blockBytes;
    const stepInside = left === 0 || (step >= TP3_HEADER && (step & TP3_ALIGN_MASK) === 0 && next + step + TP3_HEADER <= blockBytes);
    setField(queue, PACKET_LEFT, frameInside && stepInside ? left : 0);
    if (!frameInside || !stepInside) return drop(queue + PACKET_BAD_BLOCK, 'bad');
    setField(queue, PACKET_NEXT, next + step);
    if (length < whole) return drop(queue + PACKET_TRUNCATED, 'dropped');
    if (more > PACKET_SCRATCH_COUNT || (more > 0 && more >= field(field(queue, QUEUE_POOL), POOL_COUNT))) return drop(queue + PACKET_RX_TOO_LONG, 'dropped');
    if (more > 0 && !takeMore(queue, vector + end * 4, Math.min(more, end - good - 1), more, lcore)) {
      setField(queue, PACKET_LEFT, left + 1);
      setField(queue, PACKET_NEXT, next);
      return drop(queue + QUEUE_NOMBUF, 'dry');
    }
    const part = Math.min(length, field(queue, QUEUE_ROOM));
    const data = bufferOf(handle) + HEADROOM;
    u8.copyWithin(data, at + mac, at + mac + part);
    writeHeader(queue, headerOf(queue, handle), at, part, lcore);
    const grown = (field(at, TP3_STATUS) & TP_STATUS_VLAN_VALID) === 0 ? 0 : writeTag(queue, headerOf(queue, handle), data, at, part);
    if (more > 0) appendRest(queue, headerOf(queue, handle), at + mac + part, length - part, lcore);
    count64(u32, queue + QUEUE_BYTES, length + grown);
    return 'taken';
  }

  /** `more` mbufs into the scratch vector: `spare` of them from before `end`, the others from the pool, or none. */
  function takeMore(queue: number, end: number, spare: number, more: number, lcore: number): boolean {
    const scratch = queue + PACKET_SCRATCH;
    if (more > spare && pools.takeFree(field(queue, QUEUE_POOL), lcore, scratch + spare * 4, more - spare) === 0) return false;
    u32.copyWithin(scratch >>> 2, (end >>> 2) - spare, end >>> 2);
    return true;
  }

  /** What a frame's first mbuf had no room for, into those of the scratch vector. */
  function appendRest(queue: number, head: number, from: number, rest: number, lcore: number): void {
    const room = field(queue, QUEUE_ROOM);
    let [before, segments] = [head, 1];
    setField(head, MBUF_PKT_LEN, field(head, MBUF_PKT_LEN) + rest);
    for (let done = 0; done < rest; done += room, segments++) {
      const handle = u32[((queue + PACKET_SCRATCH) >>> 2) + segments - 1];
      const header = headerOf(queue, handle);
      const part = Math.min(rest - done, room);
      u8.copyWithin(bufferOf(handle) + HEADROOM, from + done, from + done + part);
      for (let word = 0; word < 4; word++) u32[(header >>> 2) + word] = u32[((queue + QUEUE_TEMPLATE) >>> 2) + word];
      setField(header, MBUF_PKT_LEN, part);
      setField(header, MBUF_DATA_LEN, part); // and no VLAN tag
      setField(header, MBUF_HASH, 0);
      setField(header, MBUF_NEXT, 0);
      setField(header, MBUF_OWNER, program(lcore));
      setField(before, MBUF_NEXT, handle);
      before = header;
    }
    u16[(head + MBUF_NB_SEGS) >>> 1] = segments;
  }

  function drop<Outcome>(counter: number, outcome: Outcome): Outcome {
    count64(u32, counter, 1);
    return outcome;
  }

  /** Everything but the VLAN tag: template, flags, lengths, hash, time stamp, owner. */
  function writeHeader(queue: number, header: number, at: number, length: number, lcore: number): void {
    for (let word = 0; word < 4; word++) u32[(header >>> 2) + word] = u32[((queue + QUEUE_TEMPLATE) >>> 2) + word];
    const hash = field(at, TP3_RXHASH);
    setField(header, MBUF_OL_FLAGS, RX_TIMESTAMP | (hash === 0 ? 0 : RX_RSS_HASH));
    setField(header, MBUF_PKT_LEN, length);
    setField(header, MBUF_DATA_LEN, length); // and no VLAN tag
    setField(header, MBUF_HASH, hash);
    setField(header, MBUF_HASH + 4, 0); // no next segment
    setField(header, MBUF_TIMESTAMP, field(at, TP3_TIME));
    setField(header, MBUF_TIMESTAMP + 4, field(at, TP3_TIME + 4));
    setField(header, MBUF_OWNER, program(lcore));
  }

  /**
   * The tag that the kernel took out of a frame: into the header, as a NIC's VLAN stripping would; or back into the
   * frame, when that is wanted or the header has no word for its kind. Returns by how much the frame grew.
   */
  function writeTag(queue: number, header: number, data: number, at: number, length: number): number {
    const tci = u16[(at + TP3_VLAN_TCI) >>> 1];
    const kind = (field(at, TP3_STATUS) & TP_STATUS_VLAN_TPID_VALID) === 0 ? ETHERTYPE_VLAN : u16[(at + TP3_VLAN_TPID) >>> 1];
    const keep = field(queue, PACKET_KEEP_TAG) !== 0 || kind !== ETHERTYPE_VLAN;
    if (!keep || length < ETHERNET_ADDRESSES) {
      setField(header, MBUF_OL_FLAGS, field(header, MBUF_OL_FLAGS) | RX_VLAN_STRIPPED);
      u16[(header + MBUF_VLAN_TCI) >>> 1] = tci;
      return 0;
    }
    // The addresses move down into the headroom.
    u8.copyWithin(data - VLAN_TAG, data, data + ETHERNET_ADDRESSES);
    const tag = data - VLAN_TAG + ETHERNET_ADDRESSES;
    [u8[tag], u8[tag + 1], u8[tag + 2], u8[tag + 3]] = [kind >>> 8, kind, tci >>> 8, tci];
    u16[(header + MBUF_DATA_OFF) >>> 1] = HEADROOM - VLAN_TAG;
    setField(header, MBUF_PKT_LEN, length + VLAN_TAG);
    u16[(header + MBUF_DATA_LEN) >>> 1] = length + VLAN_TAG;
    return VLAN_TAG;
  }

  /** mbufs that no frame came into. */
  function giveBack(queue: number, from: number, count: number, lcore: number): void {
    pools.mbufOwn(field(queue, QUEUE_TABLE), from, count, program(lcore));
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, from, count);
  }

  function blockOf(queue: number): number {
    return field(queue, PACKET_RING) + field(queue, PACKET_BLOCK) * field(queue, PACKET_BLOCK_BYTES);
  }
}

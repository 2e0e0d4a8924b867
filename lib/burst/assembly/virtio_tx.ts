/** The driver's side of a virtqueue, where the device reads and writes the pool's buffers themselves: mbufs go to it and come back. The twin is burst/virtio_tx.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_SHIFT, TX_OFFLOADS, TX_TCP_SEG,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import {
  CHUNK, DRIVER_BAD_FRAME, DRIVER_FOREIGN, DRIVER_RING_FULL, LONGEST_GSO, MOST_GOES, MOST_SEGMENTS, SEGMENTS, VECTOR, VQ_FLAGS, VQ_HEADER,
  VQ_INDIRECT, VQ_LONGEST, VQ_OFFLOADS, VQ_ROOM, VQ_SCRATCH, VQ_SIZE,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { freePlain, mbufFree } from './mempool';
import { isShared, ownChain } from './queue_mbufs';
import { ALONE, preparePlain } from './virtio_plain';
import { enter, isPacked, leave } from './virtqueue';
import { extraAt, fitsExtra, nextId, publishAvail, pushChain, pushFrames } from './virtqueue_driver';
import { csumOffset, headerWord, isWhole, takes, writeHeader } from './virtqueue_offload';
import { popUsed } from './virtqueue_used';

/** An Ethernet header. */
const SHORTEST: u32 = 14;

/** Takes back what was sent, then gives the device what fits. `count` 0 only takes back. */
export function virtioTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) {
    count64(queue + QUEUE_NOMBUF, count);
    return 0;
  }
  const packed = isPacked(queue);
  clean(queue, lcore, packed);
  let taken: u32 = 0;
  let pushed: u32 = 0;
  let packets: u32 = 0;
  let bytes: u32 = 0;
  let stopped: usize = DRIVER_RING_FULL;
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const longest = load<u32>(queue, VQ_LONGEST);
  const head = load<u32>(queue, VQ_HEADER);
  // The last ones of what was taken that are still to be pushed: of one descriptor each.
  let run = preparePlain(queue, burst, min(count, load<u32>(queue, VQ_ROOM)));
  taken = packets = run;
  for (; taken < count; taken++) {
    const slot = burst + ((taken as usize) << 2);
    const handle = load<u32>(slot);
    if (!isShared(queue, handle)) {
      stopped = DRIVER_FOREIGN;
      break;
    }
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    const plain = (load<u64>(header, MBUF_REFCNT) & ALONE) == MBUF_PLAIN && offset >= head;
    if (plain && length - SHORTEST <= longest - SHORTEST && offset + length <= load<u32>(header, MBUF_BUF_LEN)) {
      if (load<u32>(queue, VQ_ROOM) == run) break;
      writeHeader((handle << HANDLE_SHIFT) + offset - head, head, 0, 0, 0);
      run++;
      bytes += length;
    } else {
      if (run > 0) pushFrames(queue, pushed, slot - ((run as usize) << 2), run, packed);
      pushed += run;
      run = 0;
      const places = sendOther(queue, pushed, slot, packed);
      if (places == FULL) break;
      if (places == UNSENDABLE) {
        count64(queue + DRIVER_BAD_FRAME, 1);
        mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
        continue;
      }
      pushed += places;
      bytes += load<u16>(header, MBUF_NB_SEGS) == 1 ? length : load<u32>(header, MBUF_PKT_LEN);
      ownChain(table, handle, mine);
    }
    store<u32>(header, mine, MBUF_OWNER);
    packets++;
  }
  if (run > 0) pushFrames(queue, pushed, burst + (((taken - run) as usize) << 2), run, packed);
  pushed += run;
  if (taken < count) {
    count64(queue + stopped, 1);
    count64(queue + QUEUE_NOMBUF, count - taken);
  }
  count64(queue + QUEUE_PACKETS, packets);
  count64(queue + QUEUE_BYTES, bytes);
  publishAvail(queue, pushed, packed);
  leave(queue);
  return taken;
}

/** What a send says instead of the places that it took. */
const FULL: u32 = 0xffffffff;
const UNSENDABLE: u32 = 0;

/** A frame that wants something done, or is in several pieces, or has no room for its header. */
function sendOther(queue: usize, nth: u32, slot: usize, packed: bool): u32 {
  const handle = load<u32>(slot);
  const header = (load<u32>(queue, QUEUE_TABLE) as usize) + ((handle as usize) << HEADER_SHIFT);
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  const asks = flags & TX_OFFLOADS;
  if (asks && (!takes(load<u32>(queue, VQ_OFFLOADS), flags) || !isWhole(header, flags))) return UNSENDABLE;
  const word: u64 = asks ? headerWord(queue, header, handle, flags) : 0;
  const longest: u32 = asks & TX_TCP_SEG ? LONGEST_GSO : load<u32>(queue, VQ_LONGEST);
  const head = load<u32>(queue, VQ_HEADER);
  const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
  const length: u32 = load<u16>(header, MBUF_DATA_LEN);
  if (load<u32>(header, MBUF_REFCNT) == MBUF_PLAIN && offset >= head && length - SHORTEST <= longest - SHORTEST && offset + length <= load<u32>(header, MBUF_BUF_LEN)) {
    if (load<u32>(queue, VQ_ROOM) == 0) return FULL;
    writeHeader((handle << HANDLE_SHIFT) + offset - head, head, 0, word, csumOffset(asks));
    pushFrames(queue, nth, slot, 1, packed);
    return 1;
  }
  const count = listSegments(queue, handle, longest, word, csumOffset(asks));
  if (count == 0) return UNSENDABLE;
  const indirect = (load<u32>(queue, VQ_FLAGS) & VQ_INDIRECT) != 0 && fitsExtra(count);
  const places: u32 = indirect ? 1 : count;
  // What the ring can never hold is not waited for.
  if (load<u32>(queue, VQ_ROOM) < places) return places <= load<u32>(queue, VQ_SIZE) ? FULL : UNSENDABLE;
  return pushChain(queue, nth, count, indirect, handle, packed);
}

/**
 * The pieces of a frame whose mbufs the header cannot be written into: its own, in the id's extra memory, then the mbufs'.
 * Returns how many; 0 for a frame that cannot be sent.
 */
function listSegments(queue: usize, handle: u32, longest: u32, word: u64, offset: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const head = load<u32>(queue, VQ_HEADER);
  const segments = (load<u32>(queue, VQ_SCRATCH) as usize) + SEGMENTS;
  const first = table + ((handle as usize) << HEADER_SHIFT);
  const chained: u32 = load<u16>(first, MBUF_NB_SEGS);
  const whole = chained == 1 ? load<u16>(first, MBUF_DATA_LEN) as u32 : load<u32>(first, MBUF_PKT_LEN);
  let length: u32 = 0;
  let count: u32 = 1;
  for (let left = chained; left > 0; left--) {
    if (!isShared(queue, handle) || count == (MOST_SEGMENTS as u32)) return 0;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const from: u32 = load<u16>(header, MBUF_DATA_OFF);
    const part: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (from + part > load<u32>(header, MBUF_BUF_LEN)) return 0;
    store<u64>(segments + ((count as usize) << 3), (((handle << HANDLE_SHIFT) + from) as u64) | ((part as u64) << 32));
    count++;
    length += part;
    handle = load<u32>(header, MBUF_NEXT);
  }
  if (length != whole || length - SHORTEST > longest - SHORTEST) return 0;
  // The id is not taken before there is room: what is written here is only seen then. With none free it is nobody's to write to.
  if (load<u32>(queue, VQ_ROOM) == 0) return count;
  const own = extraAt(queue, nextId(queue, 0));
  writeHeader(own, head, 0, word, offset);
  store<u64>(segments, (own as u64) | ((head as u64) << 32));
  return count;
}

/** Frees what the device says it has sent. Returns how many mbufs. */
export function virtioClean(queue: usize, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  const freed = clean(queue, lcore, isPacked(queue));
  leave(queue);
  return freed;
}

// @ts-ignore: decorator
@inline
function clean(queue: usize, lcore: u32, packed: bool): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  let freed: u32 = 0;
  for (let goes: u32 = 0; goes < (MOST_GOES as u32); goes++) {
    const popped = popUsed(queue, CHUNK, packed);
    listHandles(scratch + VECTOR, scratch + SEGMENTS, popped);
    const plain = freePlain(pool, lcore, scratch + VECTOR, popped);
    if (plain < popped) {
      const others = scratch + VECTOR + ((plain as usize) << 2);
      for (let i = plain; i < popped; i++) ownChain(table, load<u32>(scratch + VECTOR + ((i as usize) << 2)), owner);
      mbufFree(pool, lcore, others, popped - plain);
    }
    freed += popped;
    if (popped < (CHUNK as u32)) break;
  }
  return freed;
}

/** Of pairs of handle and length. */
// @ts-ignore: decorator
@inline
function listHandles(vector: usize, pairs: usize, count: u32): void {
  const end = vector + ((count as usize) << 2);
  let pair = pairs;
  for (; vector + 16 <= end; vector += 16, pair += 32) v128.store(vector, v128.shuffle<u32>(v128.load(pair), v128.load(pair, 16), 0, 2, 4, 6));
  for (; vector < end; vector += 4, pair += 8) store<u32>(vector, load<u32>(pair));
}

/** The driver's side of a virtqueue, where the device reads and writes the pool's buffers themselves. The twin is burst/virtio.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PLAIN,
  MBUF_REFCNT, OWNER_APP, OWNER_SHIFT, RX_RSS_HASH, TX_OFFLOADS, TX_TCP_SEG,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import {
  CHUNK, DRIVER_BAD_FRAME, DRIVER_BAD_LENGTH, DRIVER_FOREIGN, DRIVER_RING_FULL, LONGEST_GSO, MOST_GOES, MOST_SEGMENTS, NET_CSUM_OFFSET,
  NET_HASH, NET_HASH_REPORT, NET_NUM_BUFFERS, OFFLOAD_CSUM, OFFLOAD_HASH, SEGMENTS,
  VECTOR, VQ_BUFFER_MASK, VQ_FLAGS, VQ_HEADER, VQ_INDIRECT, VQ_LONGEST, VQ_MERGEABLE, VQ_OFFLOADS, VQ_PART_HEAD, VQ_PART_LEFT, VQ_PART_TAIL, VQ_POOL,
  VQ_POOL_BYTES, VQ_ROOM, VQ_SCRATCH, VQ_SIZE, VQ_UNFINISHED,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { freePlain, mbufFree, takeFree } from './mempool';
import { ALONE, preparePlain, takePlain } from './virtio_plain';
import { enter, isPacked, leave } from './virtqueue';
import { SAYS, acceptChecked, csumOffset, headerWord, isWhole, longestReceived, takes, writeHeader } from './virtqueue_offload';
import { extraAt, fitsExtra, nextId, publishAvail, pushChain, pushEmpty, pushFrames } from './virtqueue_driver';
import { popUsed } from './virtqueue_used';

/** An Ethernet header. */
const SHORTEST: u32 = 14;

/** Receives, then gives the device as many empty buffers as it lacks. */
export function virtioRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  const packed = isPacked(queue);
  const offloads = load<u32>(queue, VQ_OFFLOADS);
  if (offloads) store<u32>(queue, 0, VQ_UNFINISHED);
  let got: u32 = 0;
  for (let goes: u32 = 0; got < max && goes < (MOST_GOES as u32); goes++) {
    const want = min(max - got, CHUNK as u32);
    const popped = popUsed(queue, want, packed);
    const vector = burst + ((got as usize) << 2);
    const plain = takePlain(queue, popped, vector, lcore);
    const others = vector + ((plain as u32 as usize) << 2);
    let taken = (plain as u32) < popped ? takeBuffers(queue, plain as u32, popped, others, lcore) : 0;
    // Afterwards, so that a queue without offloads asks nothing of a frame. All have hashes.
    if (offloads & OFFLOAD_HASH) taken = acceptFrames(queue, vector, (plain as u32) + (taken as u32), lcore);
    else taken = plain + (offloads ? acceptFrames(queue, others, taken as u32, lcore) : taken);
    got += taken as u32;
    count64(queue + QUEUE_BYTES, (taken >> 32) as u32);
    if (popped < want) break;
  }
  count64(queue + QUEUE_PACKETS, got);
  const lack = load<u32>(queue, VQ_ROOM);
  // Worth a fill: half a vector's worth, or in a short ring the half of it.
  if (lack >= (CHUNK as u32) >> 1 || lack >= load<u32>(queue, VQ_SIZE) >> 1) fill(queue, lcore, packed);
  leave(queue);
  return got;
}

/** What popUsed left in the scratch memory becomes frames in the vector, from the pair numbered `from` on. Returns how many, and in the upper half their bytes. */
function takeBuffers(queue: usize, from: u32, count: u32, vector: usize, lcore: u32): u64 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const head = load<u32>(queue, VQ_HEADER);
  const said: usize = (HEADROOM as usize) - (head as usize) + (NET_NUM_BUFFERS as usize);
  const room = load<u32>(queue, QUEUE_ROOM);
  const longest = longestReceived(queue);
  const mergeable = (load<u32>(queue, VQ_FLAGS) & VQ_MERGEABLE) != 0;
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  let pair = (load<u32>(queue, VQ_SCRATCH) as usize) + SEGMENTS + ((from as usize) << 3);
  let slot = vector;
  let bytes: u32 = 0;
  for (let i = from; i < count; i++, pair += 8) {
    const handle = load<u32>(pair);
    const length = load<u32>(pair, 4) - head;
    // Copied once: it stands where the device writes.
    const buffers: u32 = mergeable ? load<u16>(((handle as usize) << HANDLE_SHIFT) + said) : 1;
    if (load<u32>(queue, VQ_PART_LEFT) > 0 || buffers != 1 || length > room || length - SHORTEST > longest - SHORTEST) {
      const whole = takePart(queue, handle, load<u32>(pair, 4), buffers, lcore);
      if (whole == 0) continue;
      store<u32>(slot, whole);
      bytes += load<u32>(table + ((whole as usize) << HEADER_SHIFT), MBUF_PKT_LEN);
      slot += 4;
      continue;
    }
    const header = table + ((handle as usize) << HEADER_SHIFT);
    v128.store(header, first);
    store<u64>(header, (length as u64) | ((length as u64) << 32), MBUF_PKT_LEN); // data_len too
    store<u64>(header, 0, 24); // no hash, no next segment
    store<u32>(header, owner, MBUF_OWNER);
    store<u32>(slot, handle);
    slot += 4;
    bytes += length;
  }
  return ((((slot - vector) as u32) >> 2) as u64) | ((bytes as u64) << 32);
}

/** Does what the frames' headers say, each as of one copy of it; those that are bad are freed, and the others move up. Returns as takeBuffers does. */
function acceptFrames(queue: usize, vector: usize, count: u32, lcore: u32): u64 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const front: usize = (HEADROOM as usize) - (load<u32>(queue, VQ_HEADER) as usize);
  const longest = load<u32>(queue, VQ_LONGEST);
  const offloads = load<u32>(queue, VQ_OFFLOADS);
  let bytes: u32 = 0;
  let slot = vector;
  for (let i: u32 = 0; i < count; i++) {
    const handle = load<u32>(vector + ((i as usize) << 2));
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const length = load<u32>(header, MBUF_PKT_LEN);
    const at = ((handle as usize) << HANDLE_SHIFT) + front;
    const word: u64 = offloads & OFFLOAD_CSUM ? load<u64>(at) : 0;
    if (((word & SAYS) != 0 || length > longest) && !acceptChecked(queue, handle, word, load<u16>(at, NET_CSUM_OFFSET))) {
      freeOne(queue, handle, lcore);
      continue;
    }
    if (offloads & OFFLOAD_HASH && load<u16>(at, NET_HASH_REPORT) != 0) {
      store<u32>(header, load<u32>(at, NET_HASH), MBUF_HASH);
      store<u32>(header, load<u32>(header, MBUF_OL_FLAGS) | RX_RSS_HASH, MBUF_OL_FLAGS);
    }
    store<u32>(slot, handle);
    slot += 4;
    bytes += length;
  }
  return ((((slot - vector) as u32) >> 2) as u64) | ((bytes as u64) << 32);
}

/** A buffer that is no frame by itself. Returns the first mbuf of the frame that it completes, or 0. A part's mbuf 0: the rest of a bad one is to come. */
function takePart(queue: usize, handle: u32, written: u32, buffers: u32, lcore: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const header = table + ((handle as usize) << HEADER_SHIFT);
  const head = load<u32>(queue, VQ_HEADER);
  const begins = load<u32>(queue, VQ_PART_LEFT) == 0;
  const offset: u32 = begins ? HEADROOM : HEADROOM - head;
  const length = begins ? written - head : written;
  if (begins) {
    if (buffers == 0 || buffers > load<u32>(queue, VQ_SIZE)) buffers = 1;
    store<u32>(queue, buffers, VQ_PART_LEFT);
    store<u32>(queue, handle, VQ_PART_HEAD);
  }
  const left = load<u32>(queue, VQ_PART_LEFT) - 1;
  store<u32>(queue, left, VQ_PART_LEFT);
  v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
  v128.store(header, v128.load(queue + QUEUE_TEMPLATE, 16), 16);
  store<u16>(header, offset as u16, MBUF_DATA_OFF);
  store<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
  const most = load<u32>(queue, QUEUE_ROOM) + (begins ? 0 : head);
  const first = load<u32>(queue, VQ_PART_HEAD);
  if (length == 0 || length > most || first == 0) {
    if (begins) store<u32>(queue, 0, VQ_PART_HEAD);
    freeOne(queue, handle, lcore);
    return dropPart(queue, lcore);
  }
  store<u32>(header, length, MBUF_PKT_LEN);
  store<u16>(header, length as u16, MBUF_DATA_LEN);
  if (!begins) link(queue, table, first, handle, length);
  store<u32>(queue, handle, VQ_PART_TAIL);
  if (left > 0) return 0;
  if (load<u32>(table + ((first as usize) << HEADER_SHIFT), MBUF_PKT_LEN) - SHORTEST > longestReceived(queue) - SHORTEST) return dropPart(queue, lcore);
  store<u32>(queue, 0, VQ_PART_HEAD);
  return first;
}

/** One more segment of the packet that begins with `first`. */
// @ts-ignore: decorator
@inline
function link(queue: usize, table: usize, first: u32, handle: u32, length: u32): void {
  const head = table + ((first as usize) << HEADER_SHIFT);
  store<u32>(head, load<u32>(head, MBUF_PKT_LEN) + length, MBUF_PKT_LEN);
  store<u16>(head, load<u16>(head, MBUF_NB_SEGS) + 1, MBUF_NB_SEGS);
  store<u32>(table + ((load<u32>(queue, VQ_PART_TAIL) as usize) << HEADER_SHIFT), handle, MBUF_NEXT);
}

/** The frame is bad: what there is of it goes, counted once; what comes of it still will go too. */
function dropPart(queue: usize, lcore: u32): u32 {
  const first = load<u32>(queue, VQ_PART_HEAD);
  store<u32>(queue, 0, VQ_PART_HEAD);
  if (first) freeOne(queue, first, lcore);
  if (load<u32>(queue, VQ_PART_LEFT) == 0) count64(queue + DRIVER_BAD_LENGTH, 1);
  return 0;
}

function freeOne(queue: usize, handle: u32, lcore: u32): void {
  const vector = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
  store<u32>(vector, handle);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, vector, 1);
}

/** Gives the device empty buffers, as many as it has descriptors for. Returns how many descriptors it still lacks. */
export function virtioFill(queue: usize, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  fill(queue, lcore, isPacked(queue));
  const lack = load<u32>(queue, VQ_ROOM);
  leave(queue);
  return lack;
}

// @ts-ignore: decorator
@inline
function fill(queue: usize, lcore: u32, packed: bool): void {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const vector = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
  let chunk: u32 = CHUNK;
  let pushed: u32 = 0;
  while (chunk > 0 && load<u32>(queue, VQ_ROOM) > 0) {
    const want = min(load<u32>(queue, VQ_ROOM), chunk);
    if (takeFree(pool, lcore, vector, want) == 0) {
      // The pool's last few: smaller and smaller.
      chunk = want >> 1;
      continue;
    }
    // Each from its header's place on, behind which its frame will stand at HEADROOM.
    pushEmpty(queue, pushed, vector, want, packed);
    pushed += want;
  }
  if (load<u32>(queue, VQ_ROOM) > 0) count64(queue + QUEUE_NOMBUF, 1);
  publishAvail(queue, pushed, packed);
}

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

/** All segments change hands. */
function ownChain(table: usize, handle: u32, owner: u32): void {
  for (let left: u32 = load<u16>(table + ((handle as usize) << HEADER_SHIFT), MBUF_NB_SEGS); left > 0 && handle != 0; left--) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    store<u32>(header, owner, MBUF_OWNER);
    handle = load<u32>(header, MBUF_NEXT);
  }
}

/** Is it an mbuf in the memory that the device knows? */
// @ts-ignore: decorator
@inline
function isShared(queue: usize, handle: u32): bool {
  const start = (handle << HANDLE_SHIFT) - load<u32>(queue, VQ_POOL);
  return start < load<u32>(queue, VQ_POOL_BYTES) && (start & load<u32>(queue, VQ_BUFFER_MASK)) == 0;
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

/** The driver's side of a virtqueue, where the device reads and writes the pool's buffers themselves: what it has filled becomes mbufs, and it is given empty ones. The twin is burst/virtio_rx.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  OWNER_APP, OWNER_SHIFT, RX_RSS_HASH,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import {
  CHUNK, DRIVER_BAD_LENGTH, MOST_GOES, NET_CSUM_OFFSET, NET_HASH, NET_HASH_REPORT, NET_NUM_BUFFERS, OFFLOAD_CSUM, OFFLOAD_HASH, SEGMENTS, VECTOR,
  VQ_FLAGS, VQ_HEADER, VQ_LONGEST, VQ_MERGEABLE, VQ_OFFLOADS, VQ_PART_HEAD, VQ_PART_LEFT, VQ_PART_TAIL, VQ_ROOM, VQ_SCRATCH, VQ_SIZE, VQ_UNFINISHED,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';
import { takePlain } from './virtio_plain';
import { enter, isPacked, leave } from './virtqueue';
import { publishAvail, pushEmpty } from './virtqueue_driver';
import { SAYS, acceptChecked, longestReceived } from './virtqueue_offload';
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

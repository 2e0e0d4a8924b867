/** The device's side of a virtqueue, moving frames: out of the driver's buffers, and into them; and memif's, which copies in the same way. The twin is burst/vhost.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER,
  MBUF_PKT_LEN, MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_POOL, OWNER_SHIFT, TX_IPV6, TX_TCP_SEG,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_MORE, CHAIN_SHIFT, CHAIN_WRITTEN, CHUNK, DESC_WRITE, DEVICE_BAD_FRAME, DEVICE_FOREIGN, DEVICE_RING_FULL,
  DEVICE_TOO_SMALL, LONGEST_GSO, MOST_GOES, NET_CSUM_OFFSET, SCRATCH_HEADER, SEGMENT_SHIFT,
  VECTOR, VQ_FLAGS, VQ_HEADER, VQ_LONGEST, VQ_MERGEABLE, VQ_OFFLOADS, VQ_SCRATCH, VQ_SIZE, VQ_UNFINISHED,
} from '../../virtqueue/layout';
import { copyFrame } from './copy';
import { gatherMemif, putMemif } from './memif_ring';
import { count64 } from './memory_ports';
import { belongs, mbufFree, putFree, takeFree } from './mempool';
import { ASKS, TOLD, accept, csumOffset, headerWord, longestReceived, takes, writeHeader } from './virtqueue_offload';
import { enter, isPacked, leave } from './virtqueue';
import { fillPlain, takePlain } from './vhost_plain';
import { chainAt, gatherPacked, gatherSplit, PLACES_SHIFT, putPacked, putSplit } from './virtqueue_device';

/** An Ethernet header. */
const SHORTEST: u32 = 14;

// What is said in one number: mbufs in bits 0 to 15, chains in 16 to 28, and why a send stopped.
const USED_SHIFT: u32 = 16;
const COUNT_MASK: u32 = 0xffff;
const USED_MASK: u32 = 0x1fff;
/** The next mbuf wants what the driver does not do. */
const UNFINISHED: u32 = 1 << 29;
/** The next frame needs more chains than are left. */
const SHORT: u32 = 1 << 30;
/** The next mbuf is another pool's. */
const FOREIGN: u32 = 1 << 31;

// The kinds of ring.
const SPLIT: u32 = 0;
const PACKED: u32 = 1;
const MEMIF: u32 = 2;

// @ts-ignore: decorator
@inline
function gather(queue: usize, want: u32, writable: u32, ring: u32): u32 {
  if (ring == MEMIF) return gatherMemif(queue, want, writable);
  return ring == PACKED ? gatherPacked(queue, want, writable) : gatherSplit(queue, want, writable);
}

/** `gathered` and `writable` as it was gathered; of those that are not, nothing was written. */
// @ts-ignore: decorator
@inline
function put(queue: usize, count: u32, gathered: u32, writable: u32, ring: u32): void {
  if (ring == MEMIF) putMemif(queue, count, writable);
  else if (ring == PACKED) putPacked(queue, count, count == (gathered & COUNT_MASK) ? gathered >> PLACES_SHIFT : 0, writable == 0);
  else putSplit(queue, count, writable == 0);
}

/** Copies frames that the driver sends into mbufs. */
export function vhostRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  return receive(queue, burst, max, lcore, isPacked(queue) ? PACKED : SPLIT);
}

/** The same for a memif ring. */
export function memifRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  return receive(queue, burst, max, lcore, MEMIF);
}

/** In a queue that was entered. */
// @ts-ignore: decorator
@inline
function receive(queue: usize, burst: usize, max: u32, lcore: u32, ring: u32): u32 {
  store<u32>(queue, 0, VQ_UNFINISHED);
  let got: u32 = 0;
  // As many chains as frames are wanted, good or bad.
  for (let left = max; left > 0;) {
    const want = min(left, CHUNK as u32);
    const gathered = gather(queue, want, 0, ring);
    const chains = gathered & COUNT_MASK;
    if (chains == 0) break;
    const vector = burst + ((got as usize) << 2);
    const given = takeSome(queue, lcore, vector, chains);
    if (given == 0) break;
    const taken = takeChains(queue, vector, given, lcore);
    const done = taken >> USED_SHIFT;
    put(queue, done, gathered, 0, ring);
    got += taken & COUNT_MASK;
    left -= done;
    if (done < want) break;
  }
  count64(queue + QUEUE_PACKETS, got);
  leave(queue);
  return got;
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

/**
 * Fills the first mbufs of the vector with the frames of the gathered chains, and frees those that are left. A frame for
 * which there are not enough stays in the ring, with those behind it. Returns the frames and the chains.
 */
// @ts-ignore: decorator
@inline
function takeChains(queue: usize, vector: usize, given: u32, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const longest = load<u32>(queue, VQ_LONGEST);
  const offloads = load<u32>(queue, VQ_OFFLOADS);
  const most = longestReceived(queue);
  const room = load<u32>(queue, QUEUE_ROOM);
  const skip = load<u32>(queue, VQ_HEADER);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const scratch: usize = load<u32>(queue, VQ_SCRATCH);
  const end = scratch + ((given as usize) << CHAIN_SHIFT);
  const plain = takePlain(queue, vector, given, lcore);
  let chain = scratch + ((plain as usize) << CHAIN_SHIFT);
  let slot = vector + ((plain as usize) << 2);
  let bytes: u32 = 0;
  for (; chain < end; chain += 1 << CHAIN_SHIFT) {
    const segments = load<u32>(chain, CHAIN_COUNT);
    if (segments == 0) continue; // counted already
    const length = load<u32>(chain, CHAIN_LENGTH) - skip;
    if (length - SHORTEST > most - SHORTEST) {
      count64(queue + DEVICE_BAD_FRAME, 1);
      continue;
    }
    const handle = load<u32>(slot);
    const header = table + ((handle as usize) << HEADER_SHIFT);
    if (segments == 1 && length <= room) {
      v128.store(header, first);
      store<u64>(header, (length as u64) | ((length as u64) << 32), MBUF_PKT_LEN); // data_len too
      store<u64>(header, 0, MBUF_HASH); // and no next segment
      store<u32>(header, owner, MBUF_OWNER);
      const from: usize = load<u32>(load<u32>(chain, CHAIN_FIRST));
      copyFrame(((handle as usize) << HANDLE_SHIFT) + HEADROOM, from + (skip as usize), length);
      if (offloads) {
        const word = load<u64>(from);
        if (((word & ASKS) != 0 || length > longest) && !accept(queue, handle, word, load<u16>(from, NET_CSUM_OFFSET))) {
          store<u32>(header, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
          continue;
        }
      }
    } else {
      let copied = copyOut(queue, chain, handle, length, lcore);
      if (copied == DRY) {
        // The mbufs of those behind it may be enough.
        const spare = (((slot - vector) as u32) >> 2) + 1;
        putFree(pool, lcore, vector + ((spare as usize) << 2), given - spare);
        given = spare;
        copied = copyOut(queue, chain, handle, length, lcore);
        if (copied == DRY) {
          count64(queue + QUEUE_NOMBUF, 1);
          break;
        }
        if (copied == COPIED) {
          slot += 4;
          bytes += length;
        }
        chain += 1 << CHAIN_SHIFT;
        break;
      }
      if (copied == REJECTED) continue;
    }
    slot += 4;
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  const good = ((slot - vector) as u32) >> 2;
  if (good < given) putFree(pool, lcore, slot, given - good);
  return good | (((chain - scratch) as u32 >> CHAIN_SHIFT) << USED_SHIFT);
}

const COPIED: u32 = 0;
/** The pool has not so many mbufs; nothing was changed. */
const DRY: u32 = 1;
/** Counted; the first mbuf is as if it had not been touched, the others are back in the pool. */
const REJECTED: u32 = 2;

/** A frame in several pieces, or one that needs several mbufs. */
function copyOut(queue: usize, chain: usize, handle: u32, length: u32, lcore: u32): u32 {
  const room = load<u32>(queue, QUEUE_ROOM);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  let vector: usize = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
  const more = (length - 1) / room;
  if (more > (CHUNK as u32) || (more > 0 && takeFree(load<u32>(queue, QUEUE_POOL), lcore, vector, more) == 0)) return DRY;
  const first = handle;
  const whole = length;
  let header = writeMbuf(queue, table, handle, lcore);
  store<u16>(header, (more + 1) as u16, MBUF_NB_SEGS);
  store<u32>(header, length, MBUF_PKT_LEN);
  const asked = (load<u32>(queue, VQ_SCRATCH) as usize) + SCRATCH_HEADER;
  let segment = readSegments(load<u32>(chain, CHAIN_FIRST), asked, load<u32>(queue, VQ_HEADER));
  for (; ; vector += 4) {
    const part = min(length, room);
    segment = readSegments(segment, ((handle as usize) << HANDLE_SHIFT) + HEADROOM, part);
    store<u16>(header, part as u16, MBUF_DATA_LEN);
    length -= part;
    if (length == 0) break;
    handle = load<u32>(vector);
    store<u32>(header, handle, MBUF_NEXT);
    header = writeMbuf(queue, table, handle, lcore);
  }
  if (load<u32>(queue, VQ_OFFLOADS)) {
    const word = load<u64>(asked);
    const isPlain = (word & ASKS) == 0 && whole <= load<u32>(queue, VQ_LONGEST);
    if (!isPlain && !accept(queue, first, word, load<u16>(asked, NET_CSUM_OFFSET))) {
      header = table + ((first as usize) << HEADER_SHIFT);
      store<u32>(header, MBUF_PLAIN, MBUF_REFCNT);
      disown(header);
      if (more > 0) putBack(queue, table, more, lcore);
      return REJECTED;
    }
  }
  return COPIED;
}

/** The further mbufs of a frame that is dropped. */
function putBack(queue: usize, table: usize, count: u32, lcore: u32): void {
  const vector: usize = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
  for (let i: u32 = 0; i < count; i++) disown(table + ((load<u32>(vector + ((i as usize) << 2)) as usize) << HEADER_SHIFT));
  putFree(load<u32>(queue, QUEUE_POOL), lcore, vector, count);
}

// @ts-ignore: decorator
@inline
function disown(header: usize): void {
  store<u32>(header, 0, MBUF_NEXT);
  store<u32>(header, OWNER_POOL << OWNER_SHIFT, MBUF_OWNER);
}

// @ts-ignore: decorator
@inline
function writeMbuf(queue: usize, table: usize, handle: u32, lcore: u32): usize {
  const header = table + ((handle as usize) << HEADER_SHIFT);
  v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
  v128.store(header, v128.load(queue + QUEUE_TEMPLATE, 16), 16);
  store<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
  return header;
}

/** Takes `length` bytes off the front of segments, to `to`. Returns the segment that has the next byte. */
function readSegments(segment: usize, to: usize, length: u32): usize {
  while (length > 0) {
    const part = min(load<u32>(segment, 4), length);
    copyFrame(to, load<u32>(segment), part);
    to += part as usize;
    segment = shorten(segment, part);
    length -= part;
  }
  return segment;
}

/** The other way: `length` bytes into the front of segments. */
function writeSegments(segment: usize, from: usize, length: u32): usize {
  while (length > 0) {
    const part = min(load<u32>(segment, 4), length);
    copyFrame(load<u32>(segment), from, part);
    from += part as usize;
    segment = shorten(segment, part);
    length -= part;
  }
  return segment;
}

// @ts-ignore: decorator
@inline
function shorten(segment: usize, by: u32): usize {
  const left = load<u32>(segment, 4) - by;
  store<u32>(segment, load<u32>(segment) + by);
  store<u32>(segment, left, 4);
  return left == 0 ? segment + (1 << SEGMENT_SHIFT) : segment;
}

/** Copies mbufs into the buffers that the driver has made available, and frees them. Stops before one that wants what the driver does not do, and says so in VQ_UNFINISHED. */
export function vhostTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) return refuse(queue, count);
  return send(queue, burst, count, lcore, isPacked(queue) ? PACKED : SPLIT);
}

/** The same for a memif ring. */
export function memifTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) return refuse(queue, count);
  return send(queue, burst, count, lcore, MEMIF);
}

function refuse(queue: usize, count: u32): u32 {
  store<u32>(queue, 0, VQ_UNFINISHED);
  count64(queue + QUEUE_NOMBUF, count);
  return 0;
}

/** In a queue that was entered. */
// @ts-ignore: decorator
@inline
function send(queue: usize, burst: usize, count: u32, lcore: u32, ring: u32): u32 {
  store<u32>(queue, 0, VQ_UNFINISHED);
  const chunk: u32 = CHUNK;
  let taken: u32 = 0;
  let want = min(count, chunk);
  let stopped: usize = DEVICE_RING_FULL;
  for (let goes: u32 = 0; taken < count && goes < (MOST_GOES as u32); goes++) {
    const gathered = gather(queue, want, DESC_WRITE, ring);
    const chains = gathered & COUNT_MASK;
    const done = fillChains(queue, burst + ((taken as usize) << 2), count - taken, chains);
    const used = (done >> USED_SHIFT) & USED_MASK;
    taken += done & COUNT_MASK;
    put(queue, used, gathered, DESC_WRITE, ring);
    if (done & FOREIGN) {
      stopped = DEVICE_FOREIGN;
      break;
    }
    if (done & UNFINISHED) {
      store<u32>(queue, 1, VQ_UNFINISHED);
      break;
    }
    if (used == 0 && (done & SHORT) && (chains == chunk || chains == load<u32>(queue, VQ_SIZE))) {
      // All that can be looked at, or all that there is, does not hold it.
      count64(queue + DEVICE_TOO_SMALL, 1);
      taken++;
    } else if (chains < want && (used == chains || (done & SHORT))) break;
    want = done & SHORT ? chunk : min(count - taken, chunk);
  }
  // Who is told of an unfinished one offers the rest again.
  if (taken < count && load<u32>(queue, VQ_UNFINISHED) == 0) {
    count64(queue + stopped, 1);
    count64(queue + QUEUE_NOMBUF, count - taken);
  }
  leave(queue);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, burst, taken);
  return taken;
}

/** Copies the first of `count` mbufs into the gathered chains. */
// @ts-ignore: decorator
@inline
function fillChains(queue: usize, burst: usize, count: u32, chains: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const longest = load<u32>(queue, VQ_LONGEST);
  const offloads = load<u32>(queue, VQ_OFFLOADS);
  const head = load<u32>(queue, VQ_HEADER);
  const mergeable = (load<u32>(queue, VQ_FLAGS) & VQ_MERGEABLE) != 0;
  let taken = fillPlain(queue, burst, min(count, chains));
  let used = taken;
  let packets = taken;
  let bytes: u32 = 0;
  let why: u32 = 0;
  while (taken < count && used < chains) {
    const chain = chainAt(queue, used);
    const segments = load<u32>(chain, CHAIN_COUNT);
    if (segments == 0) {
      used++;
      continue;
    }
    const handle = load<u32>(burst + ((taken as usize) << 2));
    if (!belongs(pool, handle)) {
      why = FOREIGN;
      break;
    }
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const flags = load<u32>(header, MBUF_OL_FLAGS) & (TOLD | TX_IPV6);
    const left = flags & TOLD && !takes(offloads, flags);
    if (left && head) {
      why = UNFINISHED;
      break;
    }
    // A memif ring has no header to say it in.
    const length: u32 = left ? 0 : sendable(pool, table, handle, header, flags & TX_TCP_SEG ? LONGEST_GSO : longest);
    if (length == 0) {
      count64(queue + DEVICE_BAD_FRAME, 1);
      taken++;
      continue;
    }
    const need = length + head;
    if (segments == 1 && need <= load<u32>(chain, CHAIN_LENGTH) && load<u16>(header, MBUF_NB_SEGS) == 1) {
      const to: usize = load<u32>(load<u32>(chain, CHAIN_FIRST));
      writeHeader(to, head, 1, flags & TOLD ? headerWord(queue, header, handle, flags) : 0, csumOffset(flags));
      copyFrame(to + (head as usize), ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize), length);
      store<u32>(chain, need, CHAIN_WRITTEN);
      used++;
    } else {
      const run = mergeable ? runOf(queue, used, chains, need) : need <= load<u32>(chain, CHAIN_LENGTH) ? 1 : 0;
      if (run == 0) {
        if (mergeable) {
          why = SHORT;
          break;
        }
        count64(queue + DEVICE_TOO_SMALL, 1);
        taken++;
        continue;
      }
      used += run & COUNT_MASK;
      // A bad chain stands in the middle: what is before it is given back with it, unused.
      if (run > COUNT_MASK) continue;
      copyIn(queue, table, handle, chain, run, need, flags);
    }
    taken++;
    packets++;
    bytes += length;
  }
  count64(queue + QUEUE_PACKETS, packets);
  count64(queue + QUEUE_BYTES, bytes);
  return taken | (used << USED_SHIFT) | why;
}

/** Bytes of the frame; 0 for what is none, is too long, or is not in its buffers. */
// @ts-ignore: decorator
@inline
function sendable(pool: usize, table: usize, handle: u32, header: usize, longest: u32): u32 {
  const length: u32 = load<u16>(header, MBUF_DATA_LEN);
  if (load<u16>(header, MBUF_NB_SEGS) != 1) return sendableChain(pool, table, handle, longest);
  const inside = (load<u16>(header, MBUF_DATA_OFF) as u32) + length <= load<u32>(header, MBUF_BUF_LEN);
  return inside && length - SHORTEST <= longest - SHORTEST ? length : 0;
}

function sendableChain(pool: usize, table: usize, handle: u32, longest: u32): u32 {
  const whole = load<u32>(table + ((handle as usize) << HEADER_SHIFT), MBUF_PKT_LEN);
  let length: u32 = 0;
  for (let left: u32 = load<u16>(table + ((handle as usize) << HEADER_SHIFT), MBUF_NB_SEGS); left > 0; left--) {
    if (!belongs(pool, handle)) return 0;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const part: u32 = load<u16>(header, MBUF_DATA_LEN);
    if ((load<u16>(header, MBUF_DATA_OFF) as u32) + part > load<u32>(header, MBUF_BUF_LEN)) return 0;
    length += part;
    handle = load<u32>(header, MBUF_NEXT);
  }
  return length == whole && length - SHORTEST <= longest - SHORTEST ? length : 0;
}

/** How many chains from `first` on hold `need` bytes together: 0 when there are too few; with a bit above COUNT_MASK, those up to a bad one. */
function runOf(queue: usize, first: u32, chains: u32, need: u32): u32 {
  let held: u64 = 0;
  for (let i = first; i < chains; i++) {
    const chain = chainAt(queue, i);
    if (load<u32>(chain, CHAIN_COUNT) == 0) return (i + 1 - first) | (COUNT_MASK + 1);
    held += load<u32>(chain, CHAIN_LENGTH) as u64;
    if (held >= (need as u64)) return i + 1 - first;
  }
  return 0;
}

/** A frame in several mbufs, or one that needs several buffers. Its segments follow each other, chain after chain. */
function copyIn(queue: usize, table: usize, handle: u32, chain: usize, run: u32, need: u32, flags: u32): void {
  const head = load<u32>(queue, VQ_HEADER);
  const own = (load<u32>(queue, VQ_SCRATCH) as usize) + SCRATCH_HEADER;
  writeHeader(own, head, run, flags & TOLD ? headerWord(queue, table + ((handle as usize) << HEADER_SHIFT), handle, flags) : 0, csumOffset(flags));
  let segment = writeSegments(load<u32>(chain, CHAIN_FIRST), own, head);
  for (let left = need - head; left > 0;) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const part: u32 = load<u16>(header, MBUF_DATA_LEN);
    segment = writeSegments(segment, ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize), part);
    left -= part;
    handle = load<u32>(header, MBUF_NEXT);
  }
  for (; run > 0; run--) {
    const written = min(need, load<u32>(chain, CHAIN_LENGTH));
    store<u32>(chain, written, CHAIN_WRITTEN);
    store<u32>(chain, run > 1 ? 1 : 0, CHAIN_MORE);
    need -= written;
    chain += 1 << CHAIN_SHIFT;
  }
}

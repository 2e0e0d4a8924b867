/** The device's side of a virtqueue, frames out of the driver's buffers into mbufs; and memif's, which copies in the same way. The twin is burst/vhost_rx.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PLAIN,
  MBUF_REFCNT, OWNER_APP, OWNER_POOL, OWNER_SHIFT,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_SHIFT, CHUNK, DEVICE_BAD_FRAME, NET_CSUM_OFFSET, SCRATCH_HEADER, VECTOR, VQ_HEADER,
  VQ_LONGEST, VQ_OFFLOADS, VQ_SCRATCH, VQ_UNFINISHED,
} from '../../virtqueue/layout';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { putFree, takeFree } from './mempool';
import { takeSome } from './queue_mbufs';
import { readSegments } from './vhost_chains';
import { takePlain } from './vhost_plain';
import { COUNT_MASK, MEMIF, PACKED, SHORTEST, SPLIT, USED_SHIFT, gather, put } from './vhost_ring';
import { enter, isPacked, leave } from './virtqueue';
import { ASKS, accept, longestReceived } from './virtqueue_offload';

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

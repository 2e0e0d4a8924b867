/** The device's side of a virtqueue, mbufs into the driver's buffers; and memif's, which copies in the same way. The twin is burst/vhost_tx.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, TX_IPV6,
  TX_TCP_SEG,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_MORE, CHAIN_SHIFT, CHAIN_WRITTEN, CHUNK, DESC_WRITE, DEVICE_BAD_FRAME, DEVICE_FOREIGN,
  DEVICE_RING_FULL, DEVICE_TOO_SMALL, LONGEST_GSO, MOST_GOES, SCRATCH_HEADER, VQ_FLAGS, VQ_HEADER, VQ_LONGEST, VQ_MERGEABLE, VQ_OFFLOADS,
  VQ_SCRATCH, VQ_SIZE, VQ_UNFINISHED,
} from '../../virtqueue/layout';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { belongs, mbufFree } from './mempool';
import { writeSegments } from './vhost_chains';
import { fillPlain } from './vhost_plain';
import { COUNT_MASK, MEMIF, PACKED, SHORTEST, SPLIT, USED_SHIFT, gather, put } from './vhost_ring';
import { enter, isPacked, leave } from './virtqueue';
import { chainAt } from './virtqueue_put';
import { TOLD, csumOffset, headerWord, takes, writeHeader } from './virtqueue_offload';

// Beside both counts (vhost_ring.ts), why it stopped.
const USED_MASK: u32 = 0x1fff;
/** The next mbuf wants what the driver does not do. */
const UNFINISHED: u32 = 1 << 29;
/** The next frame needs more chains than are left. */
const SHORT: u32 = 1 << 30;
/** The next mbuf is another pool's. */
const FOREIGN: u32 = 1 << 31;

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

/** Packets to send that are not one mbuf of one holder, and those that cannot be sent. The twin is burst/xsk_tx_chain.ts; the rings are explained in af_xdp/layout.ts. */
import {
  HANDLE_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT,
} from '../../mbuf/layout';
import {
  XDP_PKT_CONTD, XSK_BAD_FRAME, XSK_BUFFER_MASK, XSK_COPIED, XSK_COPY_NOMBUF, XSK_LONGEST, XSK_MOST_SEGMENTS, XSK_NOT_IN_UMEM, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_TX_TOO_MANY_SEGMENTS, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_BYTES, QUEUE_OWNER, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';
import { headerOf } from './owner';
import { descriptorAt, give, giving } from './xsk_ring';

/** What `sendOther` says when a packet stays the program's. */
export const NO_ROOM: i32 = -1;
const STOP: i32 = -2;

/**
 * The packet in the slot is a chain, is held by others too, or cannot be sent. A shared one is copied: its owner word has
 * room for one queue, and others may send it at the same time. One of this UMEM that cannot be sent is freed, and the port
 * goes on; another's is the program's mistake. Returns how many descriptors it took, 0 when it was dropped, or NO_ROOM or STOP.
 */
export function sendOther(queue: usize, index: u32, room: u32, mask: u32, slot: usize, lcore: u32): i32 {
  const handle = load<u32>(slot);
  if (!inUmem(queue, handle)) {
    count64(queue + XSK_NOT_IN_UMEM, 1);
    return STOP;
  }
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const most = max(load<u32>(queue, XSK_MOST_SEGMENTS), 1);
  const segments: u32 = load<u16>(headerOf(table, handle), MBUF_NB_SEGS);
  if (segments > (XSK_SCRATCH_COUNT as u32)) return drop(queue, XSK_TX_TOO_MANY_SEGMENTS, slot, lcore);
  const total = lengthOf(queue, handle, segments);
  if (total == 0) return drop(queue, XSK_BAD_FRAME, slot, lcore);
  const copies = segments > most || isShared(table, handle, segments);
  const each = load<u32>(queue, XSK_BUFFER_MASK) + 1 - HEADROOM;
  const used = copies ? (total + each - 1) / each : segments;
  if (used > most) return drop(queue, XSK_TX_TOO_MANY_SEGMENTS, slot, lcore);
  if (used > room) return NO_ROOM;
  if (copies && takeFree(load<u32>(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, used) == 0) {
    count64(queue + XSK_COPY_NOMBUF, 1);
    return STOP;
  }
  if (!copies) listSegments(queue, handle, segments);
  giving(queue, used, index, queue + XSK_SCRATCH);
  if (copies) writeCopy(queue, index, mask, handle, total, each);
  else writeChain(queue, index, mask, segments);
  give(queue, index, index + used);
  count64(queue + QUEUE_BYTES, total);
  if (copies) {
    count64(queue + XSK_COPIED, 1);
    mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  }
  return used as i32;
}

function drop(queue: usize, counter: usize, slot: usize, lcore: u32): i32 {
  count64(queue + counter, 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
  return 0;
}

function inUmem(queue: usize, handle: u32): bool {
  const start = (handle << HANDLE_SHIFT) - load<u32>(queue, XSK_UMEM);
  return start < load<u32>(queue, XSK_UMEM_BYTES) && !(start & load<u32>(queue, XSK_BUFFER_MASK));
}

/** Bytes of the packet; 0 when it cannot be sent. */
function lengthOf(queue: usize, handle: u32, segments: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const bufferBytes = load<u32>(queue, XSK_BUFFER_MASK) + 1;
  let total: u32 = 0;
  for (let left = segments; left > 0; left--) {
    if (!inUmem(queue, handle)) return 0;
    const header = headerOf(table, handle);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (length == 0 || load<u16>(header, MBUF_DATA_OFF) + length > bufferBytes) return 0;
    total += length;
    handle = load<u32>(header, MBUF_NEXT);
  }
  // What goes on behind its last segment may lead anywhere, back into itself too.
  return handle || total < 14 || total > load<u32>(queue, XSK_LONGEST) ? 0 : total;
}

function isShared(table: usize, handle: u32, segments: u32): bool {
  for (let left = segments; left > 0; left--) {
    if (load<u16>(headerOf(table, handle), MBUF_REFCNT) != 1) return true;
    handle = load<u32>(headerOf(table, handle), MBUF_NEXT);
  }
  return false;
}

function listSegments(queue: usize, handle: u32, segments: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  for (let i: u32 = 0; i < segments; i++) {
    store<u32>(queue + XSK_SCRATCH + ((i as usize) << 2), handle);
    handle = load<u32>(headerOf(table, handle), MBUF_NEXT);
  }
}

/** Each segment is an mbuf of its own from here on: its completion frees it. */
function writeChain(queue: usize, index: u32, mask: u32, segments: u32): void {
  for (let i: u32 = 0; i < segments; i++) {
    const handle = load<u32>(queue + XSK_SCRATCH + ((i as usize) << 2));
    const header = headerOf(load<u32>(queue, QUEUE_TABLE), handle);
    store<u32>(header, MBUF_PLAIN, MBUF_REFCNT);
    store<u32>(header, 0, MBUF_NEXT);
    describe(queue, index + i, mask, handle, load<u16>(header, MBUF_DATA_OFF), load<u16>(header, MBUF_DATA_LEN), i + 1 < segments);
  }
}

/** Into the mbufs of the scratch vector, `each` bytes behind the headroom of each. */
function writeCopy(queue: usize, index: u32, mask: u32, handle: u32, total: u32, each: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  for (let done: u32 = 0; done < total;) {
    const header = headerOf(table, handle);
    const from = ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    for (let at: u32 = 0; at < length;) {
      const part = min(length - at, each - done % each);
      const to = ((load<u32>(queue + XSK_SCRATCH + ((done / each) as usize << 2)) as usize) << HANDLE_SHIFT) + HEADROOM + ((done % each) as usize);
      copyFrame(to, from + (at as usize), part);
      at += part;
      done += part;
    }
    handle = load<u32>(header, MBUF_NEXT);
  }
  for (let i: u32 = 0; i * each < total; i++) {
    const left = total - i * each;
    describe(queue, index + i, mask, load<u32>(queue + XSK_SCRATCH + ((i as usize) << 2)), HEADROOM, min(left, each), left > each);
  }
}

/** Writes one descriptor of a chain, and that its mbuf is the port's. */
function describe(queue: usize, index: u32, mask: u32, handle: u32, offset: u32, length: u32, goesOn: bool): void {
  const at = descriptorAt(queue, index, mask);
  store<u64>(at, ((handle << HANDLE_SHIFT) - load<u32>(queue, XSK_UMEM) + offset) as u64);
  store<u32>(at, length, 8);
  store<u32>(at, goesOn ? XDP_PKT_CONTD : 0, 12);
  store<u32>(headerOf(load<u32>(queue, QUEUE_TABLE), handle), load<u32>(queue, QUEUE_OWNER), MBUF_OWNER);
  deathPoint(DEATH_MID_BURST);
}

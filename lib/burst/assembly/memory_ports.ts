/** The null and ring ports. The twins are burst/memory_ports.ts. */
import {
  QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE,
} from '../../port/layout';
import { HANDLE_SHIFT, MBUF_DATA_OFF, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import { NULL_CONTENTS, NULL_FRAME, RING_PORT_BYTES, RING_PORT_RING } from '../../port/drivers/memory_layout';
import { RING_FLAGS, RING_SC, RING_SP } from '../../ring/layout';
import { copyFrame } from './copy';
import { freeCounting, spreadFrames, takeFree } from './mempool';
import { headerOf, writeHeader } from './owner';
import { ringDequeueMc, ringDequeueSc, ringEnqueueMp, ringEnqueueSp } from './ring';

// @ts-ignore: decorator
@inline
export function count64(at: usize, by: u32): void {
  store<u64>(at, load<u64>(at) + (by as u64));
}

// In the loops below four packets make a turn, since a turn has a price of its own: V8 looks at the stack's end in each.

export function nullRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  if (takeFree(load<u32>(queue, QUEUE_POOL), lcore, burst, max) == 0) {
    count64(queue + QUEUE_NOMBUF, max);
    return 0;
  }
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const second = v128.load(queue + QUEUE_TEMPLATE, 16);
  const end = burst + ((max as usize) << 2);
  let slot = burst;
  for (; slot + 16 <= end; slot += 16) {
    writeHeader(headerOf(table, load<u32>(slot)), first, second, owner);
    writeHeader(headerOf(table, load<u32>(slot, 4)), first, second, owner);
    writeHeader(headerOf(table, load<u32>(slot, 8)), first, second, owner);
    writeHeader(headerOf(table, load<u32>(slot, 12)), first, second, owner);
  }
  for (; slot < end; slot += 4) writeHeader(headerOf(table, load<u32>(slot)), first, second, owner);
  spreadFrames(load<u32>(queue, QUEUE_POOL), table, burst, max);
  if (load<u32>(queue, NULL_CONTENTS)) writeContents(queue, burst, end);
  count64(queue + QUEUE_PACKETS, max);
  count64(queue + QUEUE_BYTES, max * load<u32>(queue, NULL_FRAME));
  return max;
}

/** The frame's bytes, exactly, where its header says that they begin. */
function writeContents(queue: usize, slot: usize, end: usize): void {
  const contents: usize = load<u32>(queue, NULL_CONTENTS);
  const length = load<u32>(queue, NULL_FRAME);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  for (; slot < end; slot += 4) {
    const handle = load<u32>(slot);
    copyFrame(((handle as usize) << HANDLE_SHIFT) + (load<u16>(headerOf(table, handle), MBUF_DATA_OFF) as usize), contents, length);
  }
}

export function nullTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  const bytes = freeCounting(load<u32>(queue, QUEUE_POOL), lcore, burst, count);
  count64(queue + QUEUE_PACKETS, count);
  count64(queue + QUEUE_BYTES, bytes);
  return count;
}

/** The ring sees to the owner words; everything else in the headers stays as it is, the port too. */
export function ringRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, RING_PORT_RING);
  const single = load<u32>(ring, RING_FLAGS) & RING_SC;
  const got = single ? ringDequeueSc(ring, burst, max, false, lcore) : ringDequeueMc(ring, burst, max, false, lcore);
  if (got == 0) return 0;
  count64(queue + QUEUE_PACKETS, got);
  if (load<u32>(queue, RING_PORT_BYTES)) count64(queue + QUEUE_BYTES, bytesOf(load<u32>(queue, QUEUE_TABLE), burst, got));
  return got;
}

/** Lengths are read before the enqueue, since afterwards the buffers may be another thread's already. */
export function ringTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, RING_PORT_RING);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const counted = load<u32>(queue, RING_PORT_BYTES);
  let bytes = counted ? bytesOf(table, burst, count) : 0;
  const single = load<u32>(ring, RING_FLAGS) & RING_SP;
  const sent = single ? ringEnqueueSp(ring, burst, count, false, lcore) : ringEnqueueMp(ring, burst, count, false, lcore);
  if (sent < count) {
    if (counted) bytes -= bytesOf(table, burst + ((sent as usize) << 2), count - sent);
    count64(queue + QUEUE_NOMBUF, count - sent);
  }
  count64(queue + QUEUE_PACKETS, sent);
  if (counted) count64(queue + QUEUE_BYTES, bytes);
  return sent;
}

/** Of the packets in a vector. */
// @ts-ignore: decorator
@inline
function bytesOf(table: usize, from: usize, count: u32): u32 {
  const end = from + ((count as usize) << 2);
  let bytes: u32 = 0;
  let slot = from;
  for (; slot + 16 <= end; slot += 16) {
    bytes += (length(table, slot) + length(table, slot + 4)) + (length(table, slot + 8) + length(table, slot + 12));
  }
  for (; slot < end; slot += 4) bytes += length(table, slot);
  return bytes;
}

// @ts-ignore: decorator
@inline
function length(table: usize, slot: usize): u32 {
  return load<u32>(headerOf(table, load<u32>(slot)), MBUF_PKT_LEN);
}

/** The null and ring ports. The twins are burst/memory_ports.ts. */
import {
  QUEUE_BYTES, QUEUE_DRIVER, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE,
} from '../../port/layout';
import { MBUF_OWNER, MBUF_PKT_LEN, MBUF_PORT, OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import { NULL_FRAME, RING_PORT_RING } from '../../port/drivers/memory_layout';
import { RING_FLAGS, RING_SC, RING_SP } from '../../ring/layout';
import { freeCounting, headerOf, takeFree } from './mempool';
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
  count64(queue + QUEUE_PACKETS, max);
  count64(queue + QUEUE_BYTES, max * load<u32>(queue, NULL_FRAME));
  return max;
}

// @ts-ignore: decorator
@inline
function writeHeader(header: usize, first: v128, second: v128, owner: u32): void {
  v128.store(header, first);
  v128.store(header, second, 16);
  store<u32>(header, owner, MBUF_OWNER);
}

export function nullTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  const bytes = freeCounting(load<u32>(queue, QUEUE_POOL), lcore, burst, count);
  count64(queue + QUEUE_PACKETS, count);
  count64(queue + QUEUE_BYTES, bytes);
  return count;
}

export function ringRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, RING_PORT_RING);
  const single = load<u32>(ring, RING_FLAGS) & RING_SC;
  const got = single ? ringDequeueSc(ring, burst, max, false, lcore) : ringDequeueMc(ring, burst, max, false, lcore);
  if (got == 0) return 0;
  const bytes = takeOver(load<u32>(queue, QUEUE_TABLE), burst, got, (OWNER_APP << OWNER_SHIFT) | lcore, load<u16>(queue, QUEUE_TEMPLATE + MBUF_PORT));
  count64(queue + QUEUE_PACKETS, got);
  count64(queue + QUEUE_BYTES, bytes);
  return got;
}

/**
 * The owner words are written before the enqueue, since afterwards the buffers may be another thread's already; what
 * the ring refuses is stamped back.
 */
export function ringTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, RING_PORT_RING);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  let bytes = handOver(table, burst, count, load<u32>(queue, QUEUE_OWNER));
  const single = load<u32>(ring, RING_FLAGS) & RING_SP;
  const sent = single ? ringEnqueueSp(ring, burst, count, false, lcore) : ringEnqueueMp(ring, burst, count, false, lcore);
  if (sent < count) {
    bytes -= handOver(table, burst + ((sent as usize) << 2), count - sent, (OWNER_APP << OWNER_SHIFT) | lcore);
    count64(queue + QUEUE_NOMBUF, count - sent);
  }
  count64(queue + QUEUE_PACKETS, sent);
  count64(queue + QUEUE_BYTES, bytes);
  return sent;
}

/** Writes the owner word of each, and returns the bytes of the packets. */
// @ts-ignore: decorator
@inline
function handOver(table: usize, from: usize, count: u32, owner: u32): u32 {
  const end = from + ((count as usize) << 2);
  let bytes: u32 = 0;
  let slot = from;
  for (; slot + 16 <= end; slot += 16) {
    const a = headerOf(table, load<u32>(slot));
    const b = headerOf(table, load<u32>(slot, 4));
    const c = headerOf(table, load<u32>(slot, 8));
    const d = headerOf(table, load<u32>(slot, 12));
    bytes += (stamp(a, owner) + stamp(b, owner)) + (stamp(c, owner) + stamp(d, owner));
  }
  for (; slot < end; slot += 4) bytes += stamp(headerOf(table, load<u32>(slot)), owner);
  return bytes;
}

/** The same at the other end, where the port is written too. */
// @ts-ignore: decorator
@inline
function takeOver(table: usize, from: usize, count: u32, owner: u32, port: u16): u32 {
  const end = from + ((count as usize) << 2);
  let bytes: u32 = 0;
  let slot = from;
  for (; slot + 16 <= end; slot += 16) {
    const a = headerOf(table, load<u32>(slot));
    const b = headerOf(table, load<u32>(slot, 4));
    const c = headerOf(table, load<u32>(slot, 8));
    const d = headerOf(table, load<u32>(slot, 12));
    bytes += (receive(a, owner, port) + receive(b, owner, port)) + (receive(c, owner, port) + receive(d, owner, port));
  }
  for (; slot < end; slot += 4) bytes += receive(headerOf(table, load<u32>(slot)), owner, port);
  return bytes;
}

// @ts-ignore: decorator
@inline
function receive(header: usize, owner: u32, port: u16): u32 {
  store<u16>(header, port, MBUF_PORT);
  return stamp(header, owner);
}

// @ts-ignore: decorator
@inline
function stamp(header: usize, owner: u32): u32 {
  store<u32>(header, owner, MBUF_OWNER);
  return load<u32>(header, MBUF_PKT_LEN);
}

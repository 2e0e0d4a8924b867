/** The null and ring ports. The twins are burst/memory_ports.ts. */
import {
  QUEUE_BYTES, QUEUE_DRIVER, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE,
} from '../../port/layout';
import { HEADER_SHIFT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PORT, OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import { NULL_FRAME, RING_PORT_RING } from '../../port/drivers/memory_layout';
import { RING_FLAGS, RING_SC, RING_SP } from '../../ring/layout';
import { mbufFree, mbufOwn, takeFree } from './mempool';
import { ringDequeueMc, ringDequeueSc, ringEnqueueMp, ringEnqueueSp } from './ring';

// @ts-ignore: decorator
@inline
export function count64(at: usize, by: u32): void {
  store<u64>(at, load<u64>(at) + (by as u64));
}

/** Sum of pkt_len over a vector. */
// @ts-ignore: decorator
@inline
export function sumBytes(table: usize, from: usize, count: u32): u32 {
  let bytes: u32 = 0;
  for (const end = from + ((count as usize) << 2); from < end; from += 4) {
    bytes += load<u32>(table + ((load<u32>(from) as usize) << HEADER_SHIFT), MBUF_PKT_LEN);
  }
  return bytes;
}

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
  for (let slot = burst; slot < end; slot += 4) {
    const header = table + ((load<u32>(slot) as usize) << HEADER_SHIFT);
    v128.store(header, first);
    v128.store(header, second, 16);
    store<u32>(header, owner, MBUF_OWNER);
  }
  count64(queue + QUEUE_PACKETS, max);
  count64(queue + QUEUE_BYTES, max * load<u32>(queue, NULL_FRAME));
  return max;
}

export function nullTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  count64(queue + QUEUE_PACKETS, count);
  count64(queue + QUEUE_BYTES, sumBytes(load<u32>(queue, QUEUE_TABLE), burst, count));
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, burst, count);
  return count;
}

export function ringRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  const ring: usize = load<u32>(queue, RING_PORT_RING);
  const single = load<u32>(ring, RING_FLAGS) & RING_SC;
  const got = single ? ringDequeueSc(ring, burst, max, false) : ringDequeueMc(ring, burst, max, false, lcore);
  if (got == 0) return 0;
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const port = load<u16>(queue, QUEUE_TEMPLATE + MBUF_PORT);
  const end = burst + ((got as usize) << 2);
  let bytes: u32 = 0;
  for (let slot = burst; slot < end; slot += 4) {
    const header = table + ((load<u32>(slot) as usize) << HEADER_SHIFT);
    bytes += load<u32>(header, MBUF_PKT_LEN);
    store<u16>(header, port, MBUF_PORT);
    store<u32>(header, owner, MBUF_OWNER);
  }
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
  const owner = load<u32>(queue, QUEUE_OWNER);
  const end = burst + ((count as usize) << 2);
  let bytes: u32 = 0;
  for (let slot = burst; slot < end; slot += 4) {
    const header = table + ((load<u32>(slot) as usize) << HEADER_SHIFT);
    bytes += load<u32>(header, MBUF_PKT_LEN);
    store<u32>(header, owner, MBUF_OWNER);
  }
  const single = load<u32>(ring, RING_FLAGS) & RING_SP;
  const sent = single ? ringEnqueueSp(ring, burst, count, false) : ringEnqueueMp(ring, burst, count, false, lcore);
  if (sent < count) {
    const kept = burst + ((sent as usize) << 2);
    bytes -= sumBytes(table, kept, count - sent);
    mbufOwn(table, kept, count - sent, (OWNER_APP << OWNER_SHIFT) | lcore);
    count64(queue + QUEUE_NOMBUF, count - sent);
  }
  count64(queue + QUEUE_PACKETS, sent);
  count64(queue + QUEUE_BYTES, bytes);
  return sent;
}

/**
 * The frames that nearly all are: in one mbuf and one buffer, with nothing to be done. A loop that knows no others has its
 * few values in registers, where vhost_rx.ts's and vhost_tx.ts's have them on the stack; each stops before the first of
 * another kind. The twins are those of the others.
 */
import {
  HANDLE_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT,
} from '../../mbuf/layout';
import { POOL_FIRST, POOL_SPAN, POOL_STEP_MASK } from '../../mbuf/pool_layout';
import { QUEUE_BYTES, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_SHIFT, CHAIN_WRITTEN, VQ_HEADER, VQ_LONGEST, VQ_OFFLOADS, VQ_SCRATCH } from '../../virtqueue/layout';
import { copyFrame } from './copy';
import { count64 } from './memory_ports';
import { headerOf } from './owner';
import { SHORTEST } from './vhost_ring';
import { ASKS, TOLD, writeHeader } from './virtqueue_offload';

/** Copies frames out of the first of `given` chains into the vector's first mbufs. Returns how many. */
export function takePlain(queue: usize, vector: usize, given: u32, lcore: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const most = min(load<u32>(queue, VQ_LONGEST), load<u32>(queue, QUEUE_ROOM)) - SHORTEST;
  const offloads = load<u32>(queue, VQ_OFFLOADS) != 0;
  const skip = load<u32>(queue, VQ_HEADER);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const end = vector + ((given as usize) << 2);
  let chain: usize = load<u32>(queue, VQ_SCRATCH);
  let slot = vector;
  let bytes: u32 = 0;
  for (; slot < end; slot += 4, chain += 1 << CHAIN_SHIFT) {
    const length = load<u32>(chain, CHAIN_LENGTH) - skip;
    if (load<u32>(chain, CHAIN_COUNT) != 1 || length - SHORTEST > most) break;
    const from: usize = load<u32>(load<u32>(chain, CHAIN_FIRST));
    // The header's other half is not looked at. What asks is read again, by who does it.
    if (offloads && (load<u64>(from) & ASKS) != 0) break;
    const handle = load<u32>(slot);
    const header = headerOf(table, handle);
    v128.store(header, first);
    store<u64>(header, (length as u64) | ((length as u64) << 32), MBUF_PKT_LEN); // data_len too
    store<u64>(header, 0, MBUF_HASH); // and no next segment
    store<u32>(header, owner, MBUF_OWNER);
    copyFrame(((handle as usize) << HANDLE_SHIFT) + HEADROOM, from + (skip as usize), length);
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return ((slot - vector) as u32) >> 2;
}

/** Copies the first of `count` mbufs into the first of so many chains. Returns how many. */
export function fillPlain(queue: usize, burst: usize, count: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const start = load<u32>(pool, POOL_FIRST);
  const span = load<u32>(pool, POOL_SPAN);
  const stepMask = load<u32>(pool, POOL_STEP_MASK);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const most = load<u32>(queue, VQ_LONGEST) - SHORTEST;
  const head = load<u32>(queue, VQ_HEADER);
  const end = burst + ((count as usize) << 2);
  let chain: usize = load<u32>(queue, VQ_SCRATCH);
  let slot = burst;
  let bytes: u32 = 0;
  for (; slot < end; slot += 4, chain += 1 << CHAIN_SHIFT) {
    const handle = load<u32>(slot);
    const distance = handle - start;
    // `belongs`
    if (distance >= span || (distance & stepMask) != 0) break;
    const header = headerOf(table, handle);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    if (load<u16>(header, MBUF_NB_SEGS) != 1 || (load<u32>(header, MBUF_OL_FLAGS) & TOLD) != 0) break;
    if (length - SHORTEST > most || offset + length > load<u32>(header, MBUF_BUF_LEN)) break;
    if (load<u32>(chain, CHAIN_COUNT) != 1 || length + head > load<u32>(chain, CHAIN_LENGTH)) break;
    const to: usize = load<u32>(load<u32>(chain, CHAIN_FIRST));
    writeHeader(to, head, 1, 0, 0);
    copyFrame(to + (head as usize), ((handle as usize) << HANDLE_SHIFT) + (offset as usize), length);
    store<u32>(chain, length + head, CHAIN_WRITTEN);
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return ((slot - burst) as u32) >> 2;
}

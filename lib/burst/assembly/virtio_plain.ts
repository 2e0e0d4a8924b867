/**
 * The frames that nearly all are: in one mbuf and one buffer, with nothing to be done. Loops that know no others have their
 * few values in registers; each stops before the first of another kind, which is virtio_rx.ts's or virtio_tx.ts's. The twins are burst/virtio_rx.ts and virtio_tx.ts.
 */
import {
  HANDLE_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER, MBUF_PLAIN, MBUF_REFCNT, OWNER_APP, OWNER_SHIFT, TX_OFFLOADS,
} from '../../mbuf/layout';
import { QUEUE_BYTES, QUEUE_OWNER, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import {
  NET_CSUM_OFFSET, NET_HEADER, OFFLOAD_CSUM, SEGMENTS, VQ_BUFFER_MASK, VQ_FLAGS, VQ_HEADER, VQ_LONGEST, VQ_MERGEABLE, VQ_OFFLOADS, VQ_PART_LEFT, VQ_POOL,
  VQ_POOL_BYTES, VQ_SCRATCH,
} from '../../virtqueue/layout';
import { count64 } from './memory_ports';
import { headerOf, writeHeader } from './owner';
import { SAYS } from './virtqueue_offload';

/** An Ethernet header. */
const SHORTEST: u32 = 14;
/** Of the eight bytes from refcnt on: one holder, one segment, and nothing that it wants done. TX_OFFLOADS are in the lower half of ol_flags. */
export const ALONE: u64 = 0xffffffff | ((TX_OFFLOADS as u64) << 48);

/** Of what popUsed left in the scratch memory, the first become frames in the vector, four at once. Returns how many, and in the upper half their bytes. */
// @ts-ignore: decorator
@inline
export function takePlain(queue: usize, count: u32, vector: usize, lcore: u32): u64 {
  if (load<u32>(queue, VQ_PART_LEFT) > 0) return 0;
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const head = load<u32>(queue, VQ_HEADER);
  const front: usize = (HEADROOM as usize) - (head as usize);
  const shortest = i32x4.splat(head + SHORTEST);
  const most = i32x4.splat(min(load<u32>(queue, VQ_LONGEST), load<u32>(queue, QUEUE_ROOM)) - SHORTEST);
  const heads = i32x4.splat(head);
  // Of a header what is looked at, and what it is of a frame in one buffer of which nothing is said.
  const merged: u32 = load<u32>(queue, VQ_FLAGS) & VQ_MERGEABLE ? 0xffff0000 : 0;
  const looked = i32x4(load<u32>(queue, VQ_OFFLOADS) & OFFLOAD_CSUM ? SAYS as u32 : 0, 0, merged, 0);
  const single = i32x4(0, 0, 0x10000, 0);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const zero = i32x4.splat(0);
  let pair = (load<u32>(queue, VQ_SCRATCH) as usize) + SEGMENTS;
  const end = pair + (((count & ~3) as usize) << 3);
  let bytes = zero;
  let slot = vector;
  for (; pair < end; pair += 32, slot += 16) {
    const a: usize = load<u32>(pair);
    const b: usize = load<u32>(pair, 8);
    const c: usize = load<u32>(pair, 16);
    const d: usize = load<u32>(pair, 24);
    // Copied once: they stand where the device writes.
    const unlike01 = v128.or(v128.xor(v128.load((a << HANDLE_SHIFT) + front), single), v128.xor(v128.load((b << HANDLE_SHIFT) + front), single));
    const unlike23 = v128.or(v128.xor(v128.load((c << HANDLE_SHIFT) + front), single), v128.xor(v128.load((d << HANDLE_SHIFT) + front), single));
    const pairs01 = v128.load(pair);
    const pairs23 = v128.load(pair, 16);
    const written = v128.shuffle<u32>(pairs01, pairs23, 1, 3, 5, 7);
    const fits = i32x4.le_u(i32x4.sub(written, shortest), most);
    if (!i32x4.all_true(fits) || v128.any_true(v128.and(v128.or(unlike01, unlike23), looked))) break;
    const lengths = i32x4.sub(written, heads);
    v128.store(slot, v128.shuffle<u32>(pairs01, pairs23, 0, 2, 4, 6));
    // pkt_len and data_len; no tag, no hash, no next segment.
    const lengths01 = v128.shuffle<u32>(lengths, lengths, 0, 4, 1, 5);
    const lengths23 = v128.shuffle<u32>(lengths, lengths, 2, 6, 3, 7);
    writeHeader(headerOf(table, a as u32), first, v128.shuffle<u64>(lengths01, zero, 0, 2), owner);
    writeHeader(headerOf(table, b as u32), first, v128.shuffle<u64>(lengths01, zero, 1, 3), owner);
    writeHeader(headerOf(table, c as u32), first, v128.shuffle<u64>(lengths23, zero, 0, 2), owner);
    writeHeader(headerOf(table, d as u32), first, v128.shuffle<u64>(lengths23, zero, 1, 3), owner);
    bytes = i32x4.add(bytes, lengths);
  }
  const sum = i32x4.extract_lane(bytes, 0) + i32x4.extract_lane(bytes, 1) + i32x4.extract_lane(bytes, 2) + i32x4.extract_lane(bytes, 3);
  return ((((slot - vector) as u32) >> 2) as u64) | ((sum as u64) << 32);
}

/** The headers and owners of the first mbufs, as long as each is sent as it is, in one descriptor. */
export function preparePlain(queue: usize, burst: usize, count: u32): u32 {
  const pool = load<u32>(queue, VQ_POOL);
  const poolBytes = load<u32>(queue, VQ_POOL_BYTES);
  const bufferMask = load<u32>(queue, VQ_BUFFER_MASK);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const most = load<u32>(queue, VQ_LONGEST) - SHORTEST;
  const head = load<u32>(queue, VQ_HEADER);
  const end = burst + ((count as usize) << 2);
  let slot = burst;
  let bytes: u32 = 0;
  for (; slot < end; slot += 4) {
    const buffer = load<u32>(slot) << HANDLE_SHIFT;
    // `isShared`
    if (buffer - pool >= poolBytes || ((buffer - pool) & bufferMask) != 0) break;
    const header = headerOf(table, load<u32>(slot));
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if ((load<u64>(header, MBUF_REFCNT) & ALONE) != MBUF_PLAIN || offset < head) break;
    if (length - SHORTEST > most || offset + length > load<u32>(header, MBUF_BUF_LEN)) break;
    const at = buffer + offset - head;
    store<u64>(at, 0);
    if (head >= (NET_HEADER as u32)) store<u32>(at, 0, NET_CSUM_OFFSET); // and num_buffers
    else store<u16>(at, 0, NET_CSUM_OFFSET);
    store<u32>(header, mine, MBUF_OWNER);
    bytes += length;
  }
  count64(queue + QUEUE_BYTES, bytes);
  return ((slot - burst) as u32) >> 2;
}

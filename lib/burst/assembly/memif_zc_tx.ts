/** A memif client that shares its pool: the server reads the mbufs themselves. The twin is burst/memif_zc_tx.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PLAIN, MBUF_REFCNT,
  OWNER_APP, OWNER_SHIFT,
} from '../../mbuf/layout';
import {
  MEMIF_DESC_NEXT, MEMIF_DESC_OFFSET, MEMIF_NEXT, MEMIF_OURS, MEMIF_POSTED, MEMIF_RING, POOL_REGION, RING_FLAGS,
} from '../../port/drivers/memif/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { CHUNK, DEVICE_BAD_FRAME, DEVICE_FOREIGN, DEVICE_RING_FULL, VECTOR, VQ_LONGEST, VQ_POOL, VQ_SCRATCH, VQ_SIZE } from '../../virtqueue/layout';
import { slotAt } from './memif_ring';
import { doneCount, sideAt } from './memif_zc';
import { count64 } from './memory_ports';
import { mbufFree } from './mempool';
import { publish16 } from './publish';
import { isShared, ownChain } from './queue_mbufs';
import { enter, leave, tellSplit } from './virtqueue';

/** An Ethernet header. */
const SHORTEST: u32 = 14;

/** Frees what the server has taken, then hands over what fits. `count` 0 only frees. */
export function memifZcTx(queue: usize, burst: usize, count: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) {
    count64(queue + QUEUE_NOMBUF, count);
    return 0;
  }
  clean(queue, lcore);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const longest = load<u32>(queue, VQ_LONGEST);
  const size = load<u32>(queue, VQ_SIZE);
  const origin = load<u32>(queue, VQ_POOL);
  const old = load<u32>(queue, MEMIF_POSTED);
  let room = size - ((old - load<u32>(queue, MEMIF_NEXT)) & 0xffff);
  let posted = old;
  let packets: u32 = 0;
  let bytes: u32 = 0;
  let taken: u32 = 0;
  let stopped: usize = DEVICE_RING_FULL;
  for (; taken < count; taken++) {
    const slot = burst + ((taken as usize) << 2);
    const handle = load<u32>(slot);
    if (!isShared(queue, handle)) {
      stopped = DEVICE_FOREIGN;
      break;
    }
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const offset: u32 = load<u16>(header, MBUF_DATA_OFF);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    const plain = load<u32>(header, MBUF_REFCNT) == MBUF_PLAIN && offset + length <= load<u32>(header, MBUF_BUF_LEN);
    if (plain && length - SHORTEST <= longest - SHORTEST) {
      if (room == 0) break;
      post(queue, posted, (handle << HANDLE_SHIFT) + offset - origin, length, 0, handle);
      store<u32>(header, mine, MBUF_OWNER);
      posted++;
      room--;
      bytes += length;
    } else {
      const places = measure(queue, table, handle, longest);
      if (places == 0 || places > size) {
        count64(queue + DEVICE_BAD_FRAME, 1);
        mbufFree(load<u32>(queue, QUEUE_POOL), lcore, slot, 1);
        continue;
      }
      if (room < places) break;
      bytes += postChain(queue, table, posted, handle, places, mine, origin);
      posted += places;
      room -= places;
    }
    packets++;
  }
  if (taken < count) {
    count64(queue + stopped, 1);
    count64(queue + QUEUE_NOMBUF, count - taken);
  }
  count64(queue + QUEUE_PACKETS, packets);
  count64(queue + QUEUE_BYTES, bytes);
  if (packets > 0) {
    store<u32>(queue, posted & 0xffff, MEMIF_POSTED);
    publish16(load<u32>(queue, MEMIF_OURS), posted);
    tellSplit(queue, (load<u32>(queue, MEMIF_RING) as usize) + RING_FLAGS, 0, posted & 0xffff, old);
  }
  leave(queue);
  return taken;
}

// @ts-ignore: decorator
@inline
function post(queue: usize, index: u32, offset: u32, length: u32, flags: u32, handle: u32): void {
  const at = slotAt(queue, index);
  store<u64>(at, (flags as u64) | ((POOL_REGION as u64) << 16) | ((length as u64) << 32));
  store<u32>(at, offset, MEMIF_DESC_OFFSET);
  store<u32>(sideAt(queue, index), handle);
}

/** Segments of a frame; 0 for one that cannot be sent. */
function measure(queue: usize, table: usize, handle: u32, longest: u32): u32 {
  const first = table + ((handle as usize) << HEADER_SHIFT);
  const chained: u32 = load<u16>(first, MBUF_NB_SEGS);
  const whole = chained == 1 ? load<u16>(first, MBUF_DATA_LEN) as u32 : load<u32>(first, MBUF_PKT_LEN);
  let length: u32 = 0;
  for (let left = chained; left > 0; left--) {
    if (!isShared(queue, handle)) return 0;
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const part: u32 = load<u16>(header, MBUF_DATA_LEN);
    if ((load<u16>(header, MBUF_DATA_OFF) as u32) + part > load<u32>(header, MBUF_BUF_LEN)) return 0;
    length += part;
    handle = load<u32>(header, MBUF_NEXT);
  }
  return length == whole && length - SHORTEST <= longest - SHORTEST ? chained : 0;
}

/** Its mbuf is noted at the last one's place: so long is all of it out. Returns its bytes. */
function postChain(queue: usize, table: usize, index: u32, handle: u32, places: u32, mine: u32, origin: u32): u32 {
  const first = handle;
  let bytes: u32 = 0;
  for (let left = places; left > 0; left--, index++) {
    const header = table + ((handle as usize) << HEADER_SHIFT);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    const last = left == 1;
    post(queue, index, (handle << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as u32) - origin, length, last ? 0 : MEMIF_DESC_NEXT, last ? first : 0);
    store<u32>(header, mine, MBUF_OWNER);
    bytes += length;
    handle = load<u32>(header, MBUF_NEXT);
  }
  return bytes;
}

/** Frees what the server has taken. Returns how many packets. */
export function memifZcClean(queue: usize, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  const freed = clean(queue, lcore);
  leave(queue);
  return freed;
}

// @ts-ignore: decorator
@inline
function clean(queue: usize, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const vector = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
  let index = load<u32>(queue, MEMIF_NEXT);
  let freed: u32 = 0;
  for (let done = doneCount(queue); done > 0;) {
    const part = min(done, CHUNK as u32);
    let slot = vector;
    for (let i: u32 = 0; i < part; i++, index++) {
      const side = sideAt(queue, index);
      const handle = load<u32>(side);
      if (!handle) continue; // not a frame's last
      const header = table + ((handle as usize) << HEADER_SHIFT);
      if (load<u32>(header, MBUF_REFCNT) != MBUF_PLAIN) ownChain(table, handle, owner);
      store<u32>(header, owner, MBUF_OWNER);
      store<u32>(side, 0);
      store<u32>(slot, handle);
      slot += 4;
    }
    const count = ((slot - vector) as u32) >> 2;
    mbufFree(pool, lcore, vector, count);
    freed += count;
    done -= part;
  }
  store<u32>(queue, index & 0xffff, MEMIF_NEXT);
  return freed;
}

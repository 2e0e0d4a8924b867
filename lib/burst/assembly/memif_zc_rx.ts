/** A memif client that shares its pool: the server writes into the mbufs themselves. The twin is burst/memif_zc_rx.ts. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT,
} from '../../mbuf/layout';
import { MEMIF_DESC_NEXT, MEMIF_DESC_OFFSET, MEMIF_NEXT, MEMIF_OURS, MEMIF_POSTED, MEMIF_WORTH, POOL_REGION } from '../../port/drivers/memif/layout';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { CHUNK, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, VECTOR, VQ_LONGEST, VQ_POOL, VQ_SCRATCH, VQ_SIZE } from '../../virtqueue/layout';
import { slotAt } from './memif_ring';
import { doneCount, sideAt } from './memif_zc';
import { count64 } from './memory_ports';
import { mbufFree, takeFree } from './mempool';
import { publish16 } from './publish';
import { enter, leave } from './virtqueue';

/** An Ethernet header. */
const SHORTEST: u32 = 14;
const WORTH: u32 = MEMIF_WORTH;

/** Receives, then hands the server as many empty mbufs as it lacks. */
export function memifZcRx(queue: usize, burst: usize, max: u32, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const longest = min(load<u32>(queue, VQ_LONGEST), load<u32>(queue, QUEUE_ROOM));
  const owner = (OWNER_APP << OWNER_SHIFT) | lcore;
  const first = v128.load(queue + QUEUE_TEMPLATE);
  const end = burst + ((max as usize) << 2);
  let index = load<u32>(queue, MEMIF_NEXT);
  let slot = burst;
  let bytes: u32 = 0;
  for (let done = doneCount(queue); done > 0 && slot < end;) {
    // Copied once, then checked, then used.
    const word = load<u64>(slotAt(queue, index));
    const length = (word >> 32) as u32;
    const side = sideAt(queue, index);
    const handle = load<u32>(side);
    if (!(word & MEMIF_DESC_NEXT) && length - SHORTEST <= longest - SHORTEST && handle) {
      const header = table + ((handle as usize) << HEADER_SHIFT);
      v128.store(header, first);
      store<u64>(header, (length as u64) | ((length as u64) << 32), MBUF_PKT_LEN); // data_len too
      store<u64>(header, 0, 24); // no hash, no next segment
      store<u32>(header, owner, MBUF_OWNER);
      store<u32>(side, 0);
      store<u32>(slot, handle);
      slot += 4;
      bytes += length;
      index++;
      done--;
      continue;
    }
    const chain = takeChain(queue, index, done, word, lcore);
    const whole = (chain >> 32) as u32;
    if (whole) {
      bytes += load<u32>(table + ((whole as usize) << HEADER_SHIFT), MBUF_PKT_LEN);
      store<u32>(slot, whole);
      slot += 4;
    }
    index += chain as u32;
    done -= chain as u32;
  }
  store<u32>(queue, index & 0xffff, MEMIF_NEXT);
  const got = ((slot - burst) as u32) >> 2;
  count64(queue + QUEUE_PACKETS, got);
  count64(queue + QUEUE_BYTES, bytes);
  const lack = load<u32>(queue, VQ_SIZE) - ((load<u32>(queue, MEMIF_POSTED) - index) & 0xffff);
  // Worth a fill: several bursts' worth, since each takes the head's line away from the server, which looks at it before every burst; or in a short ring the half of it.
  if (lack >= WORTH || lack >= load<u32>(queue, VQ_SIZE) >> 1) fill(queue, lcore);
  leave(queue);
  return got;
}

/**
 * A frame in several mbufs, or a bad one, whose first descriptor is copied already. A bad one goes back to the pool, to
 * its end. Returns its places, and above them its first mbuf, or 0.
 */
function takeChain(queue: usize, index: u32, done: u32, word: u64, lcore: u32): u64 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const room = load<u32>(queue, QUEUE_ROOM);
  let places: u32 = 0;
  let total: u32 = 0;
  let first: u32 = 0;
  let last: usize = 0;
  let bad: usize = 0;
  while (true) {
    const side = sideAt(queue, index + places);
    const handle = load<u32>(side);
    const length = (word >> 32) as u32;
    if (length == 0 || length > room || !handle) bad = DEVICE_BAD_FRAME;
    const part: u32 = bad ? 0 : length;
    if (handle) {
      const header = table + ((handle as usize) << HEADER_SHIFT);
      v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
      v128.store(header, v128.load(queue + QUEUE_TEMPLATE, 16), 16);
      store<u32>(header, part, MBUF_PKT_LEN);
      store<u16>(header, part as u16, MBUF_DATA_LEN);
      store<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
      store<u32>(side, 0);
      if (first) store<u32>(last, handle, MBUF_NEXT);
      else first = handle;
      last = header;
      total += part;
    }
    places++;
    if (!(word & MEMIF_DESC_NEXT)) break;
    if (places == done) {
      // Its end has not come: who sends publishes whole frames.
      if (!bad) bad = DEVICE_BAD_CHAIN;
      break;
    }
    word = load<u64>(slotAt(queue, index + places));
  }
  const longest = load<u32>(queue, VQ_LONGEST);
  if (!bad && total - SHORTEST > longest - SHORTEST) bad = DEVICE_BAD_FRAME;
  if (first) {
    const header = table + ((first as usize) << HEADER_SHIFT);
    store<u16>(header, places as u16, MBUF_NB_SEGS);
    store<u32>(header, total, MBUF_PKT_LEN);
  }
  if (!bad) return (places as u64) | ((first as u64) << 32);
  count64(queue + bad, 1);
  if (first) {
    const vector = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
    store<u32>(vector, first);
    mbufFree(load<u32>(queue, QUEUE_POOL), lcore, vector, 1);
  }
  return places;
}

/** Hands the server empty mbufs, one for each descriptor. Returns how many descriptors have none still. */
export function memifZcFill(queue: usize, lcore: u32): u32 {
  if (!enter(queue, lcore)) return 0;
  fill(queue, lcore);
  const lack = load<u32>(queue, VQ_SIZE) - ((load<u32>(queue, MEMIF_POSTED) - load<u32>(queue, MEMIF_NEXT)) & 0xffff);
  leave(queue);
  return lack;
}

// @ts-ignore: decorator
@inline
function fill(queue: usize, lcore: u32): void {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const origin = load<u32>(queue, VQ_POOL);
  const kind = ((POOL_REGION as u64) << 16) | ((load<u32>(queue, QUEUE_ROOM) as u64) << 32);
  const vector = (load<u32>(queue, VQ_SCRATCH) as usize) + VECTOR;
  let posted = load<u32>(queue, MEMIF_POSTED);
  let lack = load<u32>(queue, VQ_SIZE) - ((posted - load<u32>(queue, MEMIF_NEXT)) & 0xffff);
  for (let chunk: u32 = CHUNK; chunk > 0 && lack > 0;) {
    const want = min(lack, chunk);
    if (takeFree(pool, lcore, vector, want) == 0) {
      // The pool's last few: smaller and smaller.
      chunk = want >> 1;
      continue;
    }
    const end = vector + ((want as usize) << 2);
    for (let each = vector; each < end; each += 4, posted++) {
      const handle = load<u32>(each);
      store<u32>(table + ((handle as usize) << HEADER_SHIFT), mine, MBUF_OWNER);
      store<u32>(sideAt(queue, posted), handle);
      const at = slotAt(queue, posted);
      store<u64>(at, kind);
      store<u32>(at, (handle << HANDLE_SHIFT) + HEADROOM - origin, MEMIF_DESC_OFFSET);
    }
    lack -= want;
  }
  if (lack > 0) count64(queue + QUEUE_NOMBUF, 1);
  store<u32>(queue, posted & 0xffff, MEMIF_POSTED);
  publish16(load<u32>(queue, MEMIF_OURS), posted);
}

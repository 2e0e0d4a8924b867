/** Received frames in several buffers. The twin is in burst/xsk_rx.ts, which has no other way for those in one; the rings are explained in af_xdp/layout.ts. */
import {
  HANDLE_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT,
} from '../../mbuf/layout';
import {
  XDP_PKT_CONTD, XSK_BAD_DESCRIPTOR, XSK_BROKEN_CHAIN, XSK_BUFFER_MASK, XSK_HELD, XSK_MOST_SEGMENTS, XSK_RX_TOO_MANY_SEGMENTS, XSK_SCRATCH,
  XSK_SKIPPING, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../port/drivers/af_xdp/layout';
import { QUEUE_BYTES, QUEUE_OWNER, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../../port/layout';
import { DEATH_MID_BURST } from '../codes';
import { deathPoint } from './check';
import { count64 } from './memory_ports';
import { mbufFree } from './mempool';
import { headerOf, mbufOwn } from './owner';
import { descriptorAt } from './xsk_ring';

/**
 * A frame in several buffers. Returns how many descriptors it read, negative when the frame was dropped; 0, and nothing
 * is changed, while its end is not there.
 */
export function readChain(queue: usize, index: u32, ready: u32, mask: u32, slot: usize, lcore: u32): i32 {
  const most = max(load<u32>(queue, XSK_MOST_SEGMENTS), 1);
  let looked: u32 = 0;
  let good: u32 = 0;
  let length: u32 = 0;
  let ends = false;
  while (!ends && looked < most && looked < ready) {
    const at = descriptorAt(queue, index + looked, mask);
    // Copied once, then checked, then used.
    const address = load<u64>(at);
    const bytes = load<u32>(at, 8);
    ends = !(load<u32>(at, 12) & XDP_PKT_CONTD);
    looked++;
    const handle = heldHandle(queue, address, bytes);
    if (handle == 0) continue;
    const header = headerOf(load<u32>(queue, QUEUE_TABLE), handle);
    v128.store(header, v128.load(queue + QUEUE_TEMPLATE));
    v128.store(header, v128.load(queue + QUEUE_TEMPLATE, 16), 16);
    store<u16>(header, ((address as u32) & load<u32>(queue, XSK_BUFFER_MASK)) as u16, MBUF_DATA_OFF);
    store<u32>(header, bytes, MBUF_PKT_LEN);
    store<u16>(header, bytes as u16, MBUF_DATA_LEN);
    store<u32>(header, (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
    store<u32>(queue + XSK_SCRATCH + ((good as usize) << 2), handle);
    good++;
    length += bytes;
    deathPoint(DEATH_MID_BURST);
  }
  if (!ends && looked < most) {
    mbufOwn(load<u32>(queue, QUEUE_TABLE), queue + XSK_SCRATCH, good, load<u32>(queue, QUEUE_OWNER));
    return 0;
  }
  store<u32>(queue, load<u32>(queue, XSK_HELD) - good, XSK_HELD);
  if (ends && good == looked) {
    store<u32>(slot, link(queue, good, length));
    count64(queue + QUEUE_BYTES, length);
    return looked as i32;
  }
  count64(queue + XSK_BAD_DESCRIPTOR, looked - good);
  count64(queue + (good < looked ? XSK_BROKEN_CHAIN : XSK_RX_TOO_MANY_SEGMENTS), 1);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, good);
  if (!ends) store<u32>(queue, 1, XSK_SKIPPING);
  return -(looked as i32);
}

/** Makes the mbufs of the scratch vector one packet. Returns its first. */
function link(queue: usize, count: u32, length: u32): u32 {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const first = load<u32>(queue, XSK_SCRATCH);
  store<u16>(headerOf(table, first), count as u16, MBUF_NB_SEGS);
  store<u32>(headerOf(table, first), length, MBUF_PKT_LEN);
  for (let i: u32 = 1; i < count; i++) {
    const at = queue + XSK_SCRATCH + ((i as usize) << 2);
    store<u32>(headerOf(table, load<u32>(at - 4)), load<u32>(at), MBUF_NEXT);
  }
  return first;
}

/** Gives back the buffers of a frame up to its last, or as many as there are. Returns how many descriptors it read. */
export function skip(queue: usize, index: u32, ready: u32, mask: u32, lcore: u32): u32 {
  let looked: u32 = 0;
  while (looked < ready && load<u32>(queue, XSK_SKIPPING)) {
    const at = descriptorAt(queue, index + looked, mask);
    const handle = heldHandle(queue, load<u64>(at), load<u32>(at, 8));
    if (!(load<u32>(at, 12) & XDP_PKT_CONTD)) store<u32>(queue, 0, XSK_SKIPPING);
    looked++;
    if (handle) giveBack(queue, handle, lcore);
    else count64(queue + XSK_BAD_DESCRIPTOR, 1);
  }
  return looked;
}

/** The mbuf whose buffer so many bytes from an address on are in; 0 when they are in none that the kernel has by this queue. */
function heldHandle(queue: usize, address: u64, length: u32): u32 {
  const bufferMask = load<u32>(queue, XSK_BUFFER_MASK);
  if (address >= (load<u32>(queue, XSK_UMEM_BYTES) as u64) || length > bufferMask + 1 - ((address as u32) & bufferMask)) return 0;
  const handle = (load<u32>(queue, XSK_UMEM) + ((address as u32) & ~bufferMask)) >>> HANDLE_SHIFT;
  return load<u32>(headerOf(load<u32>(queue, QUEUE_TABLE), handle), MBUF_OWNER) == load<u32>(queue, QUEUE_OWNER) ? handle : 0;
}

function giveBack(queue: usize, handle: u32, lcore: u32): void {
  store<u32>(headerOf(load<u32>(queue, QUEUE_TABLE), handle), (OWNER_APP << OWNER_SHIFT) | lcore, MBUF_OWNER);
  store<u32>(queue, handle, XSK_SCRATCH);
  store<u32>(queue, load<u32>(queue, XSK_HELD) - 1, XSK_HELD);
  mbufFree(load<u32>(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, 1);
}

/** Headers of mbufs and their owner words. The twins are in burst/mempool.ts, burst/ring.ts and burst/queue_mbufs.ts. */
import { HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER } from '../../mbuf/layout';

// @ts-ignore: decorator
@inline
export function headerOf(table: usize, handle: u32): usize {
  return table + ((handle as usize) << HEADER_SHIFT);
}

/** The half of a header that a receive writes, and the owner word. */
// @ts-ignore: decorator
@inline
export function writeHeader(header: usize, front: v128, back: v128, owner: u32): void {
  v128.store(header, front);
  v128.store(header, back, 16);
  store<u32>(header, owner, MBUF_OWNER);
}

/** Writes the owner word of each. */
export function mbufOwn(table: usize, from: usize, count: u32, owner: u32): void {
  for (const end = from + ((count as usize) << 2); from < end; from += 4) {
    store<u32>(headerOf(table, load<u32>(from)), owner, MBUF_OWNER);
  }
}

/** The same for whole packets: of each segment. */
export function ownPackets(table: usize, from: usize, count: u32, owner: u32): void {
  const end = from + ((count as usize) << 2);
  let segments: u32 = 0;
  let slot = from;
  for (; slot + 16 <= end; slot += 16) {
    segments |= own(headerOf(table, load<u32>(slot)), owner) | own(headerOf(table, load<u32>(slot, 4)), owner)
      | own(headerOf(table, load<u32>(slot, 8)), owner) | own(headerOf(table, load<u32>(slot, 12)), owner);
  }
  for (; slot < end; slot += 4) segments |= own(headerOf(table, load<u32>(slot)), owner);
  if (segments > 1) ownChains(table, from, end, owner);
}

// @ts-ignore: decorator
@inline
function own(header: usize, owner: u32): u32 {
  store<u32>(header, owner, MBUF_OWNER);
  return load<u16>(header, MBUF_NB_SEGS);
}

/** What a program wrote as the next segment is looked at before it is believed: beyond the arena there is no header. */
function ownChains(table: usize, from: usize, end: usize, owner: u32): void {
  const handles = (memory.size() as u32) << 5; // buffers of 2048 bytes in pages of 65536
  for (; from < end; from += 4) {
    let header = headerOf(table, load<u32>(from));
    for (let left: u32 = load<u16>(header, MBUF_NB_SEGS); left > 1; left--) {
      const next = load<u32>(header, MBUF_NEXT);
      if (next == 0 || next >= handles) break;
      header = headerOf(table, next);
      store<u32>(header, owner, MBUF_OWNER);
    }
  }
}

/** What both directions of the device's side of a virtqueue, and of memif, have: chains from one of three kinds of ring, and how results are said. */
import { ETHER_HEADER_BYTES } from '../../wire/protocol_layout';
import { gatherMemif, putMemif } from './memif_ring';
import { gatherPacked, gatherSplit, PLACES_SHIFT } from './virtqueue_gather';
import { putPacked, putSplit } from './virtqueue_put';

/** Frames that are shorter than their Ethernet header are none. */
export const SHORTEST: u32 = ETHER_HEADER_BYTES;

// What is said in one number: mbufs in bits 0 to 15, chains in 16 to 28, and why a send stopped.
export const COUNT_MASK: u32 = 0xffff;
export const USED_SHIFT: u32 = 16;

// The kinds of ring.
export const SPLIT: u32 = 0;
export const PACKED: u32 = 1;
export const MEMIF: u32 = 2;

// @ts-ignore: decorator
@inline
export function gather(queue: usize, want: u32, writable: u32, ring: u32): u32 {
  if (ring == MEMIF) return gatherMemif(queue, want, writable);
  return ring == PACKED ? gatherPacked(queue, want, writable) : gatherSplit(queue, want, writable);
}

/** `gathered` and `writable` as it was gathered; of those that are not, nothing was written. */
// @ts-ignore: decorator
@inline
export function put(queue: usize, count: u32, gathered: u32, writable: u32, ring: u32): void {
  if (ring == MEMIF) putMemif(queue, count, writable);
  else if (ring == PACKED) putPacked(queue, count, count == (gathered & COUNT_MASK) ? gathered >> PLACES_SHIFT : 0, writable == 0);
  else putSplit(queue, count, writable == 0);
}

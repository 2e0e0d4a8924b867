/** What both directions of an Intel NIC's descriptor rings have. */
import { INTEL_DESCRIPTOR_SHIFT, INTEL_NEXT, INTEL_TAIL } from '../../port/drivers/vfio/intel/layout';

// @ts-ignore: decorator
@inline
export function descriptorAt(ring: usize, index: u32, mask: u32): usize {
  return ring + (((index & mask) as usize) << INTEL_DESCRIPTOR_SHIFT);
}

// @ts-ignore: decorator
@inline
export function sideAt(side: usize, index: u32, mask: u32): usize {
  return side + (((index & mask) as usize) << 2);
}

/** The doorbell: a plain store, since an atomic one would read the register too. */
// @ts-ignore: decorator
@inline
export function publish(queue: usize, next: u32, mask: u32): void {
  if (next == load<u32>(queue, INTEL_NEXT)) return;
  // Pairs with the device's fetch after the tail has moved: the descriptors are in memory before. An exchange is a full
  // barrier on x86 and arm64 (asc 0.28 makes an atomic.fence that its own validator refuses).
  atomic.xchg<u32>(queue, next, INTEL_NEXT);
  store<u32>(load<u32>(queue, INTEL_TAIL) as usize, next & mask);
}

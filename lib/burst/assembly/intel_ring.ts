/** What both directions of an Intel NIC's descriptor rings have. The twin is burst/intel_ring.ts. */
import { HANDLE_SHIFT } from '../../mbuf/layout';
import { INTEL_BUFFER_MASK, INTEL_DESCRIPTOR_SHIFT, INTEL_NEXT, INTEL_POOL, INTEL_POOL_BYTES, INTEL_TAIL } from '../../port/drivers/vfio/intel/layout';
import { publish as publishStore } from './publish';

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
  // Pairs with the device's fetch after the tail has moved: the descriptors are in memory before. x86 keeps stores in their
  // order, also those to memory that is not cached (AMD APM volume 2, 7.4.2; see publish.ts); elsewhere an exchange is a full
  // barrier (asc 0.28 makes an atomic.fence that its own validator refuses).
  if (X86_STORE_ORDER) publishStore(queue + INTEL_NEXT, next);
  else atomic.xchg<u32>(queue, next, INTEL_NEXT);
  store<u32>(load<u32>(queue, INTEL_TAIL) as usize, next & mask);
}

/** Is it a buffer of the pool that the device may reach? */
export function isMapped(queue: usize, handle: u32): bool {
  const start = (handle << HANDLE_SHIFT) - load<u32>(queue, INTEL_POOL);
  return start < load<u32>(queue, INTEL_POOL_BYTES) && !(start & load<u32>(queue, INTEL_BUFFER_MASK));
}

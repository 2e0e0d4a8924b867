/** What both directions of an Intel NIC's descriptor rings have, in plain TypeScript. The fast double is assembly/intel_ring.ts; neither calls the other. */
import { HANDLE_SHIFT } from '../mbuf/layout.js';
import {
  INTEL_BUFFER_MASK, INTEL_DESCRIPTOR_SHIFT, INTEL_MASK, INTEL_NEXT, INTEL_POOL, INTEL_POOL_BYTES, INTEL_RING, INTEL_SIDE, INTEL_TAIL,
} from '../port/drivers/vfio/intel/layout.js';
import { queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';

export interface IntelRings {
  /** Offset of a descriptor. */
  descriptorAt(queue: number, index: number): number;
  /** Index of the side ring's entry. */
  sideAt(queue: number, index: number): number;
  /** The doorbell: a plain store, since an atomic one would read the register too. */
  publish(queue: number, next: number): void;
  /** Is it a buffer of the pool that the device may reach? */
  isMapped(queue: number, handle: number): boolean;
}

export function intelRings(views: ArenaViews): IntelRings {
  const { u32 } = views;
  const { field } = queueMbufs(views);
  return { descriptorAt, sideAt, publish, isMapped };

  function descriptorAt(queue: number, index: number): number {
    return field(queue, INTEL_RING) + ((index & field(queue, INTEL_MASK)) << INTEL_DESCRIPTOR_SHIFT);
  }

  function sideAt(queue: number, index: number): number {
    return (field(queue, INTEL_SIDE) >>> 2) + (index & field(queue, INTEL_MASK));
  }

  function publish(queue: number, next: number): void {
    if (next === field(queue, INTEL_NEXT)) return;
    // Pairs with the device's fetch after the tail has moved: the descriptors are in memory before. An exchange is a full
    // barrier on x86 and arm64.
    Atomics.exchange(u32, (queue + INTEL_NEXT) >>> 2, next);
    u32[field(queue, INTEL_TAIL) >>> 2] = next & field(queue, INTEL_MASK);
  }

  function isMapped(queue: number, handle: number): boolean {
    const start = ((handle << HANDLE_SHIFT) - field(queue, INTEL_POOL)) >>> 0;
    return start < field(queue, INTEL_POOL_BYTES) && (start & field(queue, INTEL_BUFFER_MASK)) === 0;
  }
}

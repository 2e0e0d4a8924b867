/** What the bursts of AF_XDP do to the kernel's rings in each direction. The twin is burst/xsk_ring.ts; the rings are explained in af_xdp/layout.ts. */
import {
  XSK_DESCRIPTORS, XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_PRODUCER, XSK_RING_A,
} from '../../port/drivers/af_xdp/layout';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH } from '../codes';
import { deathPoint } from './check';
import { publish } from './publish';

// @ts-ignore: decorator
@inline
export function descriptorAt(queue: usize, index: u32, mask: u32): usize {
  return (load<u32>(queue, XSK_RING_A + XSK_DESCRIPTORS) as usize) + ((index & mask) as usize << 4);
}

/** What is about to be given to the kernel, for whoever finds the queue without its lcore. */
// @ts-ignore: decorator
@inline
export function giving(queue: usize, count: u32, from: u32, vector: usize): void {
  store<u32>(queue, from, XSK_GIVING_FROM);
  store<u32>(queue, vector as u32, XSK_GIVING_VECTOR);
  store<u32>(queue, count, XSK_GIVING);
}

/** Tells the kernel of the descriptors up to `next`, which is returned. */
// @ts-ignore: decorator
@inline
export function give(queue: usize, told: u32, next: u32): u32 {
  if (told == next) return next;
  deathPoint(DEATH_BEFORE_PUBLISH);
  // Pairs with the kernel's smp_load_acquire of the producer.
  publish(load<u32>(queue, XSK_RING_A + XSK_PRODUCER), next);
  deathPoint(DEATH_AFTER_PUBLISH);
  store<u32>(queue, load<u32>(queue, XSK_HELD) + (next - told), XSK_HELD);
  return next;
}

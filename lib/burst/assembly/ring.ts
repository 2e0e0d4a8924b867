/** Rings. The layout, the claim and the wrap-around are explained once, in ring/layout.ts; the twin is burst/ring.ts. */
import {
  RING_SIZE, RING_PROD, RING_PROD_SEEN, RING_PROD_BUSY, RING_CONS, RING_CONS_SEEN, RING_CONS_BUSY, RING_SLOTS, RING_SPINS,
} from '../../ring/layout';
import { DEATH_AFTER_CLAIM, DEATH_BEFORE_PUBLISH } from '../codes';
import { copyHandles } from './copy';
import { deathPoint } from './check';
import { publish, publish64 } from './publish';

// @ts-ignore: decorator
@inline
function fillSlots(ring: usize, size: u32, index: u32, from: usize, count: u32): void {
  const at = index & (size - 1);
  const slots = ring + RING_SLOTS;
  const straight = min(count, size - at);
  copyHandles(slots + ((at as usize) << 2), from, straight);
  if (straight < count) copyHandles(slots, from + ((straight as usize) << 2), count - straight);
}

// @ts-ignore: decorator
@inline
function readSlots(ring: usize, size: u32, index: u32, to: usize, count: u32): void {
  const at = index & (size - 1);
  const slots = ring + RING_SLOTS;
  const straight = min(count, size - at);
  copyHandles(to, slots + ((at as usize) << 2), straight);
  if (straight < count) copyHandles(to + ((straight as usize) << 2), slots, count - straight);
}

export function ringEnqueueSp(ring: usize, from: usize, count: u32, fixed: bool): u32 {
  const size = load<u32>(ring, RING_SIZE);
  const index = load<u32>(ring, RING_PROD); // written by this thread only
  let room = size - (index - load<u32>(ring, RING_PROD_SEEN));
  if (room < count) {
    // Pairs with the consumers' publishing store: their reads of the slots are over.
    const seen = atomic.load<u32>(ring, RING_CONS);
    store<u32>(ring, seen, RING_PROD_SEEN);
    room = size - (index - seen);
    if (room < count) {
      if (fixed || room == 0) return 0;
      count = room;
    }
  }
  fillSlots(ring, size, index, from, count);
  deathPoint(DEATH_BEFORE_PUBLISH);
  // Pairs with the consumers' load: the slots before the index.
  publish(ring + RING_PROD, index + count);
  return count;
}

export function ringDequeueSc(ring: usize, to: usize, count: u32, fixed: bool): u32 {
  const size = load<u32>(ring, RING_SIZE);
  const index = load<u32>(ring, RING_CONS);
  let filled = load<u32>(ring, RING_CONS_SEEN) - index;
  if (filled < count) {
    // Pairs with the producers' publishing store.
    const seen = atomic.load<u32>(ring, RING_PROD);
    store<u32>(ring, seen, RING_CONS_SEEN);
    filled = seen - index;
    if (filled < count) {
      if (fixed || filled == 0) return 0;
      count = filled;
    }
  }
  readSlots(ring, size, index, to, count);
  deathPoint(DEATH_BEFORE_PUBLISH);
  publish(ring + RING_CONS, index + count);
  return count;
}

export function ringEnqueueMp(ring: usize, from: usize, count: u32, fixed: bool, lcore: u32): u32 {
  const size = load<u32>(ring, RING_SIZE);
  let spins: u32 = 0;
  while (true) {
    const word = atomic.load<u64>(ring, RING_PROD);
    if (word >> 32) {
      if (++spins > (RING_SPINS as u32)) {
        atomic.add<u64>(ring, 1, RING_PROD_BUSY);
        return 0;
      }
      continue;
    }
    const index = word as u32;
    const room = size - (index - atomic.load<u32>(ring, RING_CONS));
    const take = min(count, room);
    if (take == 0 || (fixed && take < count)) return 0;
    const claim = word | ((((lcore + 1) as u64)) << 32);
    if (atomic.cmpxchg<u64>(ring, word, claim, RING_PROD) != word) continue;
    deathPoint(DEATH_AFTER_CLAIM);
    fillSlots(ring, size, index, from, take);
    deathPoint(DEATH_BEFORE_PUBLISH);
    // One store publishes the slots and drops the claim.
    publish64(ring + RING_PROD, (index + take) as u64);
    return take;
  }
}

export function ringDequeueMc(ring: usize, to: usize, count: u32, fixed: bool, lcore: u32): u32 {
  const size = load<u32>(ring, RING_SIZE);
  let spins: u32 = 0;
  while (true) {
    const word = atomic.load<u64>(ring, RING_CONS);
    if (word >> 32) {
      if (++spins > (RING_SPINS as u32)) {
        atomic.add<u64>(ring, 1, RING_CONS_BUSY);
        return 0;
      }
      continue;
    }
    const index = word as u32;
    const filled = atomic.load<u32>(ring, RING_PROD) - index;
    const take = min(count, filled);
    if (take == 0 || (fixed && take < count)) return 0;
    const claim = word | ((((lcore + 1) as u64)) << 32);
    if (atomic.cmpxchg<u64>(ring, word, claim, RING_CONS) != word) continue;
    deathPoint(DEATH_AFTER_CLAIM);
    readSlots(ring, size, index, to, take);
    deathPoint(DEATH_BEFORE_PUBLISH);
    publish64(ring + RING_CONS, (index + take) as u64);
    return take;
  }
}

/** Takes away the claim of an lcore that is known to be dead. Returns how many sides it had claimed: 0, 1 or 2. */
export function ringRecover(ring: usize, lcore: u32): u32 {
  return voidClaim(ring + RING_PROD, lcore) + voidClaim(ring + RING_CONS, lcore);
}

// @ts-ignore: decorator
@inline
function voidClaim(side: usize, lcore: u32): u32 {
  const word = atomic.load<u64>(side);
  if ((word >> 32) as u32 != lcore + 1) return 0;
  return atomic.cmpxchg<u64>(side, word, word & 0xffffffff) == word ? 1 : 0;
}

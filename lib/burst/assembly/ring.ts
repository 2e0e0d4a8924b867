/** Rings. The layout, the claim and the wrap-around are explained once, in ring/layout.ts; the twin is burst/ring.ts. */
import {
  RING_SIZE, RING_PROD, RING_PROD_BUSY, RING_CONS, RING_CONS_BUSY, RING_CONS_CLAIM, RING_OWNER, RING_SC_INDEX, RING_SC_LCORE, RING_SC_SEEN, RING_SINCE_BEHIND,
  RING_SLOTS, RING_SP_INDEX, RING_SP_LCORE, RING_SP_SEEN, RING_SP_SINCE, RING_SP_WHO, RING_SPINS, RING_TABLE,
} from '../../ring/layout';
import { OWNER_APP, OWNER_SHIFT } from '../../mbuf/layout';
import { DEATH_AFTER_CLAIM, DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH } from '../codes';
import { copyHandles, copySome } from './copy';
import { deathPoint } from './check';
import { mbufOwn, ownPackets } from './owner';
import { publish64 } from './publish';

// @ts-ignore: decorator
@inline
function fillSlots(ring: usize, size: u32, index: u32, from: usize, count: u32): void {
  const at = index & (size - 1);
  const slots = ring + RING_SLOTS;
  const straight = min(count, size - at);
  copyHandles(slots + ((at as usize) << 2), from, straight);
  if (straight < count) copySome(slots, from + ((straight as usize) << 2), count - straight);
}

// @ts-ignore: decorator
@inline
function readSlots(ring: usize, size: u32, index: u32, to: usize, count: u32): void {
  const at = index & (size - 1);
  const slots = ring + RING_SLOTS;
  const straight = min(count, size - at);
  copyHandles(to, slots + ((at as usize) << 2), straight);
  if (straight < count) copySome(to + ((straight as usize) << 2), slots, count - straight);
}

/** Checking build: what goes in is the ring's by its owner word. */
// @ts-ignore: decorator
@inline
function handOver(ring: usize, from: usize, count: u32): void {
  if (!ASC_NO_ASSERT && load<u32>(ring, RING_OWNER)) mbufOwn(load<u32>(ring, RING_TABLE), from, count, load<u32>(ring, RING_OWNER));
}

/** What came out is the taker's. Before the publish, as afterwards nobody could tell whose it is (ring/layout.ts). */
// @ts-ignore: decorator
@inline
function takeOver(ring: usize, index: u32, to: usize, count: u32, lcore: u32): void {
  if (load<u32>(ring, RING_OWNER) == 0) return;
  if (load<u32>(ring, RING_SP_WHO) == lcore + 1 && ((index - load<u32>(ring, RING_SP_SINCE)) as i32) >= 0) return;
  ownPackets(load<u32>(ring, RING_TABLE), to, count, (OWNER_APP << OWNER_SHIFT) | lcore);
}

export function ringEnqueueSp(ring: usize, from: usize, count: u32, fixed: bool, lcore: u32): u32 {
  if (load<u32>(ring, RING_SP_LCORE) != lcore + 1) becomeProducer(ring, lcore);
  const size = load<u32>(ring, RING_SIZE);
  const index = load<u32>(ring, RING_SP_INDEX);
  let room = size - (index - load<u32>(ring, RING_SP_SEEN));
  if (room < count) {
    // Pairs with the consumers' publishing store: their reads of the slots are over.
    const seen = atomic.load<u32>(ring, RING_CONS);
    store<u32>(ring, seen, RING_SP_SEEN);
    if (((seen - load<u32>(ring, RING_SP_SINCE)) as i32) > RING_SINCE_BEHIND) store<u32>(ring, seen, RING_SP_SINCE);
    room = size - (index - seen);
    if (room < count) {
      if (fixed || room == 0) return 0;
      count = room;
    }
  }
  fillSlots(ring, size, index, from, count);
  handOver(ring, from, count);
  deathPoint(DEATH_BEFORE_PUBLISH);
  // Pairs with the consumers' load: the slots before the index.
  publishProducer(ring, index + count);
  deathPoint(DEATH_AFTER_PUBLISH);
  store<u32>(ring, index + count, RING_SP_INDEX);
  return count;
}

// As in publish.ts, but the atomic load is of the own line: the published one may be on its way from another core.

// @ts-ignore: decorator
@inline
function publishProducer(ring: usize, index: u32): void {
  if (X86_STORE_ORDER) {
    atomic.load<u32>(ring, RING_SP_INDEX);
    store<u32>(ring, index, RING_PROD);
  } else atomic.store<u32>(ring, index, RING_PROD);
}

// @ts-ignore: decorator
@inline
function publishConsumer(ring: usize, index: u32): void {
  if (X86_STORE_ORDER) {
    atomic.load<u32>(ring, RING_SC_INDEX);
    store<u32>(ring, index, RING_CONS);
  } else atomic.store<u32>(ring, index, RING_CONS);
}

function becomeProducer(ring: usize, lcore: u32): void {
  const index = atomic.load<u32>(ring, RING_PROD);
  store<u32>(ring, index, RING_SP_INDEX);
  store<u32>(ring, index, RING_SP_SINCE);
  store<u32>(ring, ASC_NO_ASSERT ? lcore + 1 : 0, RING_SP_WHO);
  store<u32>(ring, atomic.load<u32>(ring, RING_CONS), RING_SP_SEEN);
  store<u32>(ring, lcore + 1, RING_SP_LCORE);
}

export function ringDequeueSc(ring: usize, to: usize, count: u32, fixed: bool, lcore: u32): u32 {
  if (load<u32>(ring, RING_SC_LCORE) != lcore + 1) becomeConsumer(ring, lcore);
  const size = load<u32>(ring, RING_SIZE);
  const index = load<u32>(ring, RING_SC_INDEX);
  let filled = load<u32>(ring, RING_SC_SEEN) - index;
  if (filled < count) {
    // Pairs with the producers' publishing store.
    const seen = atomic.load<u32>(ring, RING_PROD);
    store<u32>(ring, seen, RING_SC_SEEN);
    filled = seen - index;
    if (filled < count) {
      if (fixed || filled == 0) return 0;
      count = filled;
    }
  }
  readSlots(ring, size, index, to, count);
  takeOver(ring, index, to, count, lcore);
  deathPoint(DEATH_BEFORE_PUBLISH);
  publishConsumer(ring, index + count);
  deathPoint(DEATH_AFTER_PUBLISH);
  store<u32>(ring, index + count, RING_SC_INDEX);
  return count;
}

function becomeConsumer(ring: usize, lcore: u32): void {
  store<u32>(ring, atomic.load<u32>(ring, RING_CONS), RING_SC_INDEX);
  store<u32>(ring, atomic.load<u32>(ring, RING_PROD), RING_SC_SEEN);
  store<u32>(ring, lcore + 1, RING_SC_LCORE);
}

/** One try in line; only when another is there does it go the long way round. */
export function ringEnqueueMp(ring: usize, from: usize, count: u32, fixed: bool, lcore: u32): u32 {
  const size = load<u32>(ring, RING_SIZE);
  const word = atomic.load<u64>(ring, RING_PROD);
  if (word >> 32) return enqueueContended(ring, from, count, fixed, lcore);
  const index = word as u32;
  const take = allowed(size - (index - atomic.load<u32>(ring, RING_CONS)), count, fixed);
  if (take == 0) return 0;
  if (atomic.cmpxchg<u64>(ring, word, claimOf(lcore) | word, RING_PROD) != word) return enqueueContended(ring, from, count, fixed, lcore);
  return putClaimed(ring, size, index, from, take);
}

function enqueueContended(ring: usize, from: usize, count: u32, fixed: bool, lcore: u32): u32 {
  const size = load<u32>(ring, RING_SIZE);
  const take = claim(ring + RING_PROD, ring + RING_CONS, size, ring + RING_PROD_BUSY, count, fixed, lcore);
  return take ? putClaimed(ring, size, load<u32>(ring, RING_PROD), from, take) : 0;
}

// @ts-ignore: decorator
@inline
function putClaimed(ring: usize, size: u32, index: u32, from: usize, take: u32): u32 {
  deathPoint(DEATH_AFTER_CLAIM);
  fillSlots(ring, size, index, from, take);
  handOver(ring, from, take);
  deathPoint(DEATH_BEFORE_PUBLISH);
  // One store publishes the slots and drops the claim.
  publish64(ring + RING_PROD, (index + take) as u64);
  return take;
}

export function ringDequeueMc(ring: usize, to: usize, count: u32, fixed: bool, lcore: u32): u32 {
  const word = atomic.load<u64>(ring, RING_CONS);
  if (word >> 32) return dequeueContended(ring, to, count, fixed, lcore);
  const index = word as u32;
  const take = allowed(atomic.load<u32>(ring, RING_PROD) - index, count, fixed);
  if (take == 0) return 0;
  if (atomic.cmpxchg<u64>(ring, word, claimOf(lcore) | word, RING_CONS) != word) return dequeueContended(ring, to, count, fixed, lcore);
  return takeClaimed(ring, index, to, take, lcore);
}

function dequeueContended(ring: usize, to: usize, count: u32, fixed: bool, lcore: u32): u32 {
  const take = claim(ring + RING_CONS, ring + RING_PROD, 0, ring + RING_CONS_BUSY, count, fixed, lcore);
  return take ? takeClaimed(ring, load<u32>(ring, RING_CONS), to, take, lcore) : 0;
}

// @ts-ignore: decorator
@inline
function takeClaimed(ring: usize, index: u32, to: usize, take: u32, lcore: u32): u32 {
  deathPoint(DEATH_AFTER_CLAIM);
  readSlots(ring, load<u32>(ring, RING_SIZE), index, to, take);
  takeOver(ring, index, to, take, lcore);
  deathPoint(DEATH_BEFORE_PUBLISH);
  publish64(ring + RING_CONS, (index + take) as u64);
  return take;
}

/**
 * Puts lcore's name on one side of the ring, if up to `count` slots are to be had: `extra` + the other side's index -
 * this side's. Waits for another's claim, for a while. Returns how many, or 0 and no claim.
 */
function claim(side: usize, other: usize, extra: u32, busy: usize, count: u32, fixed: bool, lcore: u32): u32 {
  let spins: u32 = 0;
  while (true) {
    const word = atomic.load<u64>(side);
    if (word >> 32) {
      if (++spins > (RING_SPINS as u32)) {
        atomic.add<u64>(busy, 1);
        return 0;
      }
      continue;
    }
    const take = allowed(extra + atomic.load<u32>(other) - (word as u32), count, fixed);
    if (take == 0 || atomic.cmpxchg<u64>(side, word, claimOf(lcore) | word) == word) return take;
  }
}

/** How many of `count` may go, where `there` are to be had. */
// @ts-ignore: decorator
@inline
function allowed(there: u32, count: u32, fixed: bool): u32 {
  return there >= count ? count : fixed ? 0 : there;
}

// @ts-ignore: decorator
@inline
function claimOf(lcore: u32): u64 {
  return ((lcore + 1) as u64) << 32;
}

/** Takes away the claim of an lcore that is known to be dead. Returns how many sides it had claimed: 0, 1 or 2. */
export function ringRecover(ring: usize, lcore: u32): u32 {
  voidOwnLine(ring + RING_SP_LCORE, lcore);
  // It may have written its name into what is still in the ring: nobody's own any more.
  if (load<u32>(ring, RING_SC_LCORE) == lcore + 1 || load<u32>(ring, RING_CONS_CLAIM) == lcore + 1) store<u32>(ring, 0, RING_SP_WHO);
  voidOwnLine(ring + RING_SC_LCORE, lcore);
  return voidClaim(ring + RING_PROD, lcore) + voidClaim(ring + RING_CONS, lcore);
}

/** It may have died when the index was published and not yet in its own line. */
// @ts-ignore: decorator
@inline
function voidOwnLine(holder: usize, lcore: u32): void {
  if (load<u32>(holder) == lcore + 1) store<u32>(holder, 0);
}

// @ts-ignore: decorator
@inline
function voidClaim(side: usize, lcore: u32): u32 {
  const word = atomic.load<u64>(side);
  if ((word >> 32) as u32 != lcore + 1) return 0;
  return atomic.cmpxchg<u64>(side, word, word & 0xffffffff) == word ? 1 : 0;
}

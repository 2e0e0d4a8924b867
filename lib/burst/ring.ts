/**
 * Rings, in plain TypeScript: the text to read first. The layout, the claim and the wrap-around are explained at the
 * structure, in ring/layout.ts; the fast double is assembly/ring.ts, and neither calls the other.
 *
 * Indices run freely through 32 bits. JavaScript subtracts them as ordinary numbers, and `>>> 0` brings the difference
 * back to modulo 2^32.
 */
import {
  RING_CONS, RING_CONS_BUSY, RING_CONS_CLAIM, RING_OWNER, RING_PROD, RING_PROD_BUSY, RING_SC_INDEX, RING_SC_LCORE, RING_SC_SEEN, RING_SINCE_BEHIND, RING_SIZE,
  RING_SLOTS, RING_SP_INDEX, RING_SP_LCORE, RING_SP_SEEN, RING_SP_SINCE, RING_SP_WHO, RING_SPINS, RING_TABLE,
} from '../ring/layout.js';
import { HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../mbuf/layout.js';
import { DEATH_AFTER_CLAIM, DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import { countShared, type ArenaViews } from './views.js';

export type RingFunctions = Pick<BurstFunctions, 'ringEnqueueSp' | 'ringEnqueueMp' | 'ringDequeueSc' | 'ringDequeueMc' | 'ringRecover'>;

export function ringFunctions({ u16, u32, u64 }: ArenaViews, hooks: BurstHooks): RingFunctions {
  /** As the checking build, which stamps what goes in. */
  const stamps = hooks.misuse !== undefined;
  return { ringEnqueueSp, ringEnqueueMp, ringDequeueSc, ringDequeueMc, ringRecover };

  function ringEnqueueSp(ring: number, from: number, count: number, fixed: number, lcore: number): number {
    if (u32[(ring + RING_SP_LCORE) >>> 2] !== lcore + 1) becomeProducer(ring, lcore);
    const size = u32[(ring + RING_SIZE) >>> 2];
    const index = u32[(ring + RING_SP_INDEX) >>> 2];
    let room = (size - (index - u32[(ring + RING_SP_SEEN) >>> 2])) >>> 0;
    if (room < count) {
      // Pairs with the store that ends a dequeue: those reads of the slots are over, so they may be written again.
      const seen = Atomics.load(u32, (ring + RING_CONS) >>> 2);
      u32[(ring + RING_SP_SEEN) >>> 2] = seen;
      if (((seen - u32[(ring + RING_SP_SINCE) >>> 2]) | 0) > RING_SINCE_BEHIND) u32[(ring + RING_SP_SINCE) >>> 2] = seen;
      room = (size - (index - seen)) >>> 0;
    }
    const take = Math.min(count, room);
    if (isRefused(take, count, fixed)) return 0;
    fillSlots(ring, size, index, from, take);
    handOver(ring, from, take);
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    // Pairs with the consumers' load of RING_PROD: who sees the index sees the slots before it.
    Atomics.store(u32, (ring + RING_PROD) >>> 2, index + take);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    u32[(ring + RING_SP_INDEX) >>> 2] = index + take;
    return take;
  }

  function ringDequeueSc(ring: number, to: number, count: number, fixed: number, lcore: number): number {
    if (u32[(ring + RING_SC_LCORE) >>> 2] !== lcore + 1) become(ring + RING_SC_LCORE, lcore, ring + RING_CONS, ring + RING_PROD);
    const size = u32[(ring + RING_SIZE) >>> 2];
    const index = u32[(ring + RING_SC_INDEX) >>> 2];
    let filled = (u32[(ring + RING_SC_SEEN) >>> 2] - index) >>> 0;
    if (filled < count) {
      // Pairs with the store that ends an enqueue: the slots before the index are written.
      const seen = Atomics.load(u32, (ring + RING_PROD) >>> 2);
      u32[(ring + RING_SC_SEEN) >>> 2] = seen;
      filled = (seen - index) >>> 0;
    }
    const take = Math.min(count, filled);
    if (isRefused(take, count, fixed)) return 0;
    readSlots(ring, size, index, to, take);
    takeOver(ring, index, to, take, lcore);
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    // Pairs with the producers' load of RING_CONS: who sees the index may write the slots before it.
    Atomics.store(u32, (ring + RING_CONS) >>> 2, index + take);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    u32[(ring + RING_SC_INDEX) >>> 2] = index + take;
    return take;
  }

  /** Another lcore than before is a side's only one: it starts from what both sides have published. */
  function become(line: number, lcore: number, mine: number, other: number): void {
    u32[(line + 4) >>> 2] = Atomics.load(u32, mine >>> 2);
    u32[(line + 8) >>> 2] = Atomics.load(u32, other >>> 2);
    u32[line >>> 2] = lcore + 1;
  }

  /** All that it puts in from here on is its own. */
  function becomeProducer(ring: number, lcore: number): void {
    become(ring + RING_SP_LCORE, lcore, ring + RING_PROD, ring + RING_CONS);
    u32[(ring + RING_SP_SINCE) >>> 2] = u32[(ring + RING_SP_INDEX) >>> 2];
    u32[(ring + RING_SP_WHO) >>> 2] = stamps ? 0 : lcore + 1;
  }

  function ringEnqueueMp(ring: number, from: number, count: number, fixed: number, lcore: number): number {
    const size = u32[(ring + RING_SIZE) >>> 2];
    // Free: all slots, less those between the consumers' index and ours.
    const take = claim(ring + RING_PROD, ring + RING_CONS, size, ring + RING_PROD_BUSY, count, fixed, lcore);
    if (take === 0) return 0;
    const index = u32[(ring + RING_PROD) >>> 2]; // ours while the claim stands
    fillSlots(ring, size, index, from, take);
    handOver(ring, from, take);
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    publish(ring + RING_PROD, index + take);
    return take;
  }

  function ringDequeueMc(ring: number, to: number, count: number, fixed: number, lcore: number): number {
    const size = u32[(ring + RING_SIZE) >>> 2];
    // Filled: those between our index and the producers'.
    const take = claim(ring + RING_CONS, ring + RING_PROD, 0, ring + RING_CONS_BUSY, count, fixed, lcore);
    if (take === 0) return 0;
    const index = u32[(ring + RING_CONS) >>> 2];
    readSlots(ring, size, index, to, take);
    takeOver(ring, index, to, take, lcore);
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    publish(ring + RING_CONS, index + take);
    return take;
  }

  function ringRecover(ring: number, lcore: number): number {
    // Who took out may have written its name into what is still in the ring: that is nobody's own any more.
    if (u32[(ring + RING_SC_LCORE) >>> 2] === lcore + 1 || u32[(ring + RING_CONS_CLAIM) >>> 2] === lcore + 1) u32[(ring + RING_SP_WHO) >>> 2] = 0;
    // A single one may have died when its index was published and not yet in its own line.
    for (const line of [ring + RING_SP_LCORE, ring + RING_SC_LCORE]) {
      if (u32[line >>> 2] === lcore + 1) u32[line >>> 2] = 0;
    }
    return voidClaim(ring + RING_PROD, lcore) + voidClaim(ring + RING_CONS, lcore);
  }

  /**
   * Puts lcore's name on one side of the ring, if up to `count` slots are to be had: `extra` + the other side's index -
   * this side's. Returns how many, or 0 and no claim.
   *
   * Index and claim change in one 64-bit compare-and-swap, since the index must still be the one that was counted from
   * when the claim lands; JavaScript has 64-bit atomics for BigInts only.
   */
  function claim(side: number, other: number, extra: number, busy: number, count: number, fixed: number, lcore: number): number {
    let spins = 0;
    for (;;) {
      const word = Atomics.load(u64, side >>> 3);
      if (word >> 32n !== 0n) {
        if (++spins <= RING_SPINS) continue;
        countShared(u64, busy, 1);
        return 0;
      }
      // Pairs with the other side's publishing store. Read after `word`, so it is never too small for it.
      const there = (extra + Atomics.load(u32, other >>> 2) - Number(word)) >>> 0;
      const take = Math.min(count, there);
      if (isRefused(take, count, fixed)) return 0;
      const named = word | (BigInt(lcore + 1) << 32n);
      if (Atomics.compareExchange(u64, side >>> 3, word, named) !== word) continue;
      hooks.fault?.(DEATH_AFTER_CLAIM);
      return take;
    }
  }

  /** One store for both: the slots become the other side's, and the claim is dropped. Pairs with `claim`, and with Sp and Sc. */
  function publish(side: number, index: number): void {
    Atomics.store(u64, side >>> 3, BigInt(index >>> 0));
  }

  /** The index stays as it was, and so does everything that anyone has seen of the ring. */
  function voidClaim(side: number, lcore: number): number {
    const word = Atomics.load(u64, side >>> 3);
    if (word >> 32n !== BigInt(lcore + 1)) return 0;
    return Atomics.compareExchange(u64, side >>> 3, word, word & 0xffffffffn) === word ? 1 : 0;
  }

  /** With checks: what goes in is the ring's by its owner word. */
  function handOver(ring: number, from: number, count: number): void {
    const owner = u32[(ring + RING_OWNER) >>> 2];
    if (!stamps || owner === 0) return;
    for (let i = 0; i < count; i++) u32[(headerAt(ring, u32[(from >>> 2) + i]) + MBUF_OWNER) >>> 2] = owner;
  }

  /** Of a ring of mbufs: what came out is the taker's. Before the publish, as afterwards nobody could tell whose it is. */
  function takeOver(ring: number, index: number, to: number, count: number, lcore: number): void {
    if (u32[(ring + RING_OWNER) >>> 2] === 0) return;
    const since = u32[(ring + RING_SP_SINCE) >>> 2];
    if (u32[(ring + RING_SP_WHO) >>> 2] === lcore + 1 && ((index - since) | 0) >= 0) return; // it was already
    for (let i = 0; i < count; i++) own(ring, u32[(to >>> 2) + i], (OWNER_APP << OWNER_SHIFT) | lcore);
  }

  /** All segments of a packet. What a program wrote as the next one is looked at before it is believed. */
  function own(ring: number, first: number, owner: number): void {
    let header = headerAt(ring, first);
    u32[(header + MBUF_OWNER) >>> 2] = owner;
    for (let left = u16[(header + MBUF_NB_SEGS) >>> 1]; left > 1; left--) {
      const next = u32[(header + MBUF_NEXT) >>> 2];
      if (next === 0 || next >= u32.length / 512) break; // the arena has no such buffer
      header = headerAt(ring, next);
      u32[(header + MBUF_OWNER) >>> 2] = owner;
    }
  }

  function headerAt(ring: number, handle: number): number {
    return (u32[(ring + RING_TABLE) >>> 2] + (handle << HEADER_SHIFT)) >>> 0;
  }

  function fillSlots(ring: number, size: number, index: number, from: number, count: number): void {
    const slots = (ring + RING_SLOTS) >>> 2;
    const vector = from >>> 2;
    for (let i = 0; i < count; i++) u32[slots + ((index + i) & (size - 1))] = u32[vector + i];
  }

  function readSlots(ring: number, size: number, index: number, to: number, count: number): void {
    const slots = (ring + RING_SLOTS) >>> 2;
    const vector = to >>> 2;
    for (let i = 0; i < count; i++) u32[vector + i] = u32[slots + ((index + i) & (size - 1))];
  }
}

/** Nothing to be had, or less than all of it where all was asked for. */
function isRefused(take: number, count: number, fixed: number): boolean {
  return take === 0 || (fixed !== 0 && take < count);
}

/**
 * A ring of u32 in the arena. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 *     0    what it is: read by all, written once
 *     128  the producers' line
 *     256  the consumers' line
 *     384  the slots
 *
 * Each side has one 64-bit word, *index* in its low half and *claim* in its high half. The index runs freely through
 * all 32 bits; slot number = index & mask; what is in the ring = producer index - consumer index, modulo 2^32, which is
 * right across the wrap because the size is at most 2^31.
 *
 * Several producers take turns (DPDK's HTS mode): one compare-and-swap puts its name into the claim, it writes its
 * slots, and one store publishes the new index and drops the claim. Nothing is visible in between, so when a party dies
 * with a claim in its name, a survivor takes the claim away and the ring is as if it had never come.
 *
 * The two lines are 128 bytes apart, because x86 fetches lines in pairs.
 */
export const RING_MAGIC = 0x474e4952; // "RING"
export const RING_KIND = 0;
/** u32: slots, a power of two. */
export const RING_SIZE = 4;
/** u32: RING_SP | RING_SC. */
export const RING_FLAGS = 8;
/** u32: the owner word that is stamped on mbufs that go in; 0 for a ring of plain numbers. */
export const RING_OWNER = 12;

/** u32 index, u32 claim. */
export const RING_PROD = 128;
export const RING_PROD_CLAIM = 132;
/** u32: the single producer's last look at the consumers' index, so that it reads their line only when it must. */
export const RING_PROD_SEEN = 136;
/** u64: enqueues given up because another's claim stood too long. */
export const RING_PROD_BUSY = 144;
/** u32, under POLLMODE_DEBUG=1: lcore + 1 of the one who is the single producer, so that a second one is told of. */
export const RING_PROD_USER = 152;

export const RING_CONS = 256;
export const RING_CONS_CLAIM = 260;
export const RING_CONS_SEEN = 264;
export const RING_CONS_BUSY = 272;
export const RING_CONS_USER = 280;

export const RING_SLOTS = 384;

export const RING_SP = 1;
export const RING_SC = 2;

/** How often a claim of another is looked at before the call gives up and returns 0: some hundred microseconds. */
export const RING_SPINS = 100000;

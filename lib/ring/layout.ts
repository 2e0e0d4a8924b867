/**
 * A ring of u32 in the arena. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 *     0    what it is: read by all, written once; and since when all of it is one producer's, written seldom
 *     128  the producers' line: what they publish
 *     256  the consumers' line
 *     384  a single producer's own line: nobody else touches it
 *     512  a single consumer's own line
 *     640  the slots
 *
 * Each side has one 64-bit word, *index* in its low half and *claim* in its high half. The index runs freely through
 * all 32 bits; slot number = index & mask; what is in the ring = producer index - consumer index, modulo 2^32, which is
 * right across the wrap because the size is at most 2^31.
 *
 * Several producers take turns (DPDK's HTS mode): one compare-and-swap puts its name into the claim, it writes its
 * slots, and one store publishes the new index and drops the claim. Nothing is visible in between, so when a party dies
 * with a claim in its name, a survivor takes the claim away and the ring is as if it had never come.
 *
 * A single producer writes its line of index and claim and never reads it: the consumer looks at that line, and each look
 * takes it away, so a read would wait for it to come back where a store does not. What the producer has to read stands on
 * a line of its own: its index once more, and its last look at the consumers' index, so that it reads their line only
 * when it must. That line names the lcore it is right for. Another one, who takes the ring over, starts from the published
 * indices; so does everyone after `ringRecover` for that lcore. The single consumer's side is the same.
 *
 * **Whose an mbuf in a ring is.** A ring of mbufs does not write their owner words when they go in: what lies in a ring is
 * found by looking into the ring, and its word still names who put it there. Who takes it out writes its own name, into
 * every segment, before it publishes that it took it. So a word that names a dead lcore says that the dead one holds the
 * mbuf, or else the mbuf lies in a ring until its word is another: whoever looks into the rings first and at the words
 * afterwards can tell, beside any traffic (mbuf/reclaim.ts).
 *
 * What an lcore takes out that it put in itself has the right word already. The single producer says so: RING_SP_WHO is
 * its lcore + 1, and everything from index RING_SP_SINCE on is its own. A consumer that finds its own name there wrote
 * it itself, and any other's would have been written before the entries were published that it sees; so it may leave
 * the headers alone. When a consumer died, it may have written its name into mbufs that are still in the ring:
 * `ringRecover` then sets RING_SP_WHO to 0, before anybody else may take them.
 *
 * The checking build writes the ring's owner word when an mbuf goes in, so that it can tell who uses it meanwhile; there
 * RING_SP_WHO is 0.
 *
 * The lines are 128 bytes apart, because x86 fetches lines in pairs.
 */
export const RING_MAGIC = 0x474e4952; // "RING"
export const RING_KIND = 0;
/** u32: slots, a power of two. */
export const RING_SIZE = 4;
/** u32: RING_SP | RING_SC. */
export const RING_FLAGS = 8;
/** u32: the owner word that says that an mbuf is in this ring; 0 for a ring of plain numbers. */
export const RING_OWNER = 12;
/** u32: of a ring of mbufs, offset of the mbuf header table. */
export const RING_TABLE = 16;
/** u32: lcore + 1 of the single producer whose own everything is from the next index on; 0 for nobody. */
export const RING_SP_WHO = 20;
export const RING_SP_SINCE = 24;
/** How far SINCE may stay behind, so that its distance never looks negative. */
export const RING_SINCE_BEHIND = 1 << 30;

/** u32 index, u32 claim. */
export const RING_PROD = 128;
export const RING_PROD_CLAIM = 132;
/** u64: enqueues given up because another's claim stood too long. */
export const RING_PROD_BUSY = 144;

export const RING_CONS = 256;
export const RING_CONS_CLAIM = 260;
export const RING_CONS_BUSY = 272;

/** u32: lcore + 1 of the single producer that the line is right for; 0 for none. */
export const RING_SP_LCORE = 384;
/** u32: its index, and what it last saw of the consumers'. */
export const RING_SP_INDEX = 388;
export const RING_SP_SEEN = 392;
/** u32, under POLLMODE_DEBUG=1: lcore + 1 of the one who is the single producer, so that a second one is told of. */
export const RING_SP_USER = 396;

export const RING_SC_LCORE = 512;
export const RING_SC_INDEX = 516;
export const RING_SC_SEEN = 520;
export const RING_SC_USER = 524;

export const RING_SLOTS = 640;

export const RING_SP = 1;
export const RING_SC = 2;

/** How often a claim of another is looked at before the call gives up and returns 0: some hundred microseconds. */
export const RING_SPINS = 100000;

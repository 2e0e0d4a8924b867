/**
 * An exact-match table in the arena. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 *     0        what it is, and its counters: written by the writer, the stale counter by any reader
 *     64       the multipliers of its hash
 *     256      buckets of ten slots, each beginning a cache line
 *
 * A bucket:
 *
 *     0   u32  version: rises by one before a slot is filled
 *     4   u16  passed: entries whose home is this bucket or one before, and which stand behind it because it was full
 *     6   10 x u8  tag of each slot: 0 is free, else eight bits of the key's hash (0 of which are called 1)
 *     16  10 slots: key, u32 value, u32 stamp
 *
 * A key is looked for in its home bucket, then in the next ones for as long as `passed` is not 0, so nothing is ever
 * moved, a deletion leaves no tombstone, and a table that is churned for years stays as quick as a new one.
 *
 * One writer, many readers, no lock. A deletion clears the tag. An insertion raises the version, then fills a slot whose
 * tag is 0, then writes the tag. So a reader that finds the version unchanged after it has read tag, key and value knows
 * that they belong together: had the slot been used again in between, the version would have risen first. Nothing is
 * left locked by a writer that dies.
 *
 * The hash is multilinear (Lemire and Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014):
 * the high half of m0 + m1 k1 + m2 k2 + ... modulo 2^64 over the key's words of 32 bits. With multipliers chosen at
 * random it is strongly universal, so that nobody who only sends packets can make keys collide.
 */
export const HASH_MAGIC = 0x48534148; // "HASH"
export const HASH_KIND = 0;
/** u32: bytes of a key, a multiple of 4 from 8 to 64; of a slot (8 more); of a bucket. */
export const HASH_KEY_BYTES = 4;
export const HASH_SLOT_BYTES = 8;
export const HASH_BUCKET_BYTES = 12;
/** u32: buckets; offset of the first. */
export const HASH_BUCKETS = 16;
export const HASH_FIRST = 20;
/** u32: entries that it may hold, and holds. */
export const HASH_CAPACITY = 24;
export const HASH_COUNT = 28;
/** u32: the bucket that ageing looks at next. */
export const HASH_CURSOR = 32;
/** u32: the only lcore that may write, plus one; 0 while nobody does. */
export const HASH_WRITER = 36;
/** u64: keys refused because the table was full; entries that ageing took. */
export const HASH_FULL = 40;
export const HASH_AGED = 48;
/** u64: lookups that gave up since the bucket was written to again and again. */
export const HASH_STALE = 56;

/** u64: m0, then one for each word of a key. */
export const HASH_MULTIPLIERS = 64;
export const HASH_WORDS_MAX = 16;
export const HASH_BUCKETS_AT = 256;

export const BUCKET_VERSION = 0;
export const BUCKET_PASSED = 4;
/** More than it counts: it then stays, and this bucket is always passed. */
export const BUCKET_PASSED_MAX = 65535;
export const BUCKET_TAGS = 6;
export const BUCKET_SLOTS = 16;
export const BUCKET_WIDTH = 10;
/** Entries to a bucket in a full table: two of ten slots stay free, so that few keys leave their home. */
export const BUCKET_FILL = 8;

/** What a lookup says of a key that is not there; no entry can have it as its value. */
export const HASH_NONE = 0xffffffff;
/** Buckets that are looked at for one key; a key that would stand further away is refused as if the table were full. */
export const HASH_PROBES = 256;
/** How often a reader begins anew because a slot was used again under it. */
export const HASH_RETRIES = 64;

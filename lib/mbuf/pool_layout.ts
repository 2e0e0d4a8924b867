/**
 * A mempool's header in the arena: what it is, then one cache for each lcore. Plain number constants: TypeScript and
 * AssemblyScript both read this file.
 *
 * The caches of lcores that never come cost address space only: their pages are never touched.
 */
export const POOL_MAGIC = 0x4c4f4f50; // "POOL"
export const POOL_KIND = 0;
/** u32: mbufs in the pool. */
export const POOL_COUNT = 4;
/** u32: offset of the ring of free handles (MP/MC). */
export const POOL_RING = 8;
/** u32: the first buffer's handle. */
export const POOL_FIRST = 12;
/** u32: handles from the first buffer to the end of the last. */
export const POOL_SPAN = 16;
/** u32: handles an lcore's cache aims to hold; 0 for no caches. */
export const POOL_CACHE = 20;
/** u32: copy of the arena's table offset, so that a burst function needs no second place to look. */
export const POOL_TABLE = 24;
/** u32: handles from one buffer to the next, less one: 0 for buffers of 2048 bytes, 1 for 4096. */
export const POOL_STEP_MASK = 28;
/** u64: gets refused because the pool was dry. */
export const POOL_DRY = 32;
/** u64: handles refused at a free because they were not this pool's, or were segments that a chain named and that are free already (a bug of the caller's; checked build: reported). */
export const POOL_FOREIGN = 40;
/** u64: buffers that neither the ring nor a full cache could take back (a dead party's claim stood); reclaim finds them. */
export const POOL_STRAY = 48;

/** u32: bytes in a buffer; u32: bytes of it that a frame may use behind the headroom. */
export const POOL_BUF_LEN = 56;
export const POOL_ROOM = 60;
/** u64: buffers that came back from the dead, found by a reclaim; only under the arena's reclaim. */
export const POOL_RECLAIMED = 64;

/** u32: where frames begin, and which bits of a handle's 32-fold are added to that: 0, or 64 times one less than a power of two. */
export const POOL_FRONT = 72;
export const POOL_SPREAD = 76;
export const POOL_SPREAD_SHIFT = 5;

export const POOL_CACHES = 128;
/** u32 length, then the slots one cache line on. 65 lines, so that caches do not all start in the same L1 set. */
export const CACHE_LENGTH = 0;
/** u32: a vector of one, for the lcore's calls of a single mbuf. */
export const CACHE_ONE = 16;
export const CACHE_SLOTS = 64;
export const CACHE_CAPACITY = 1024;
export const CACHE_STRIDE = 4160;
export const CACHE_MAX = 512;

/**
 * memif 2.0's shared memory, and the state of either end of a ring in the arena. Facts after VPP's src/plugins/memif/memif.h
 * and DPDK's drivers/net/memif/memif.h, which are the definition that there is. Plain number constants: TypeScript and
 * AssemblyScript both read this file.
 *
 * The client shares regions of memory, and rings in them. A ring is a header of two lines and descriptors behind it; its
 * head is the client's to write and its tail the server's, both free-running u16. In a ring from client to server the
 * client fills descriptors up to the head and the server empties them up to the tail; in one from server to client the
 * client hands out empty buffers up to the head and the server fills them up to the tail.
 *
 * Whichever end this is, a queue knows its own index and the other end's ("ours", "theirs"), and adds to them what the
 * role wants. Everything in a region was written by the other end, which may be hostile and may write it again meanwhile:
 * each word is read once, checked, and the copy is used. Frames that are copied go by the virtqueues' chains and segments
 * (virtqueue/layout.ts), and the parts of a queue's state that bursts and set-up share are the virtqueues' too: VQ_LOCK,
 * _READY, _SIZE, _FLAGS, _HEADER (0), _LONGEST, _SCRATCH, _TELL, _NOTIFY, _GENERATION, the counters DEVICE_*, and, where
 * the pool is shared, VQ_POOL, _POOL_BYTES, _BUFFER_MASK.
 */
export const MEMIF_COOKIE = 0x3e31f20;

// The ring's header: u32 cookie, u16 flags, u16 head; on the next line u16 tail.
export const RING_COOKIE = 0;
export const RING_FLAGS = 4;
export const RING_HEAD = 6;
export const RING_TAIL = 64;
export const RING_DESCS = 128;
/** In the flags, which the receiving end writes: it polls, and is not to be told. */
export const RING_MASK_INT = 1;

// A descriptor, 16 bytes: u16 flags, u16 region, u32 length, u32 offset in the region, u32 metadata.
export const MEMIF_DESC_SHIFT = 4;
export const MEMIF_DESC_OFFSET = 8;
/** The frame goes on in the next descriptor. */
export const MEMIF_DESC_NEXT = 1;

/** No ring has more descriptors: 2^14 (the others' most, too). */
export const MOST_LOG2_RING = 14;

// The state of a queue, u32 each, well behind the virtqueues' (VQ_STATE_END).
/** Offset of the ring. */
export const MEMIF_RING = 512;
/** Offsets of the two indices. */
export const MEMIF_THEIRS = 516;
export const MEMIF_OURS = 520;
/** Copying: the next descriptor to be taken, u16. Sharing: the next one to come back from the other end. */
export const MEMIF_NEXT = 524;
/** Copying: what is added to their index (the ring's size, where they empty what we fill), and to our own as it is published. */
export const MEMIF_LEAD = 528;
export const MEMIF_AHEAD = 532;
/** Server: offset of the table of regions. */
export const MEMIF_REGIONS = 536;
/** Client that copies: offset of the ring's own buffers, one for each descriptor, their size, and what is subtracted to make an offset in region 0. */
export const MEMIF_BUFFERS = 540;
export const MEMIF_BUFFER_BYTES = 544;
export const MEMIF_ORIGIN = 548;
/** Client that shares its pool: a u32 for each descriptor, private: the mbuf that is out, at the last one of a packet's; else 0. */
export const MEMIF_SIDE = 552;
/** Client that shares its pool: the next descriptor to be handed over. */
export const MEMIF_POSTED = 556;

/** Empty descriptors that a client which shares its pool lets come together before it hands out mbufs for them: an eighth of DPDK's usual ring. */
export const MEMIF_WORTH = 128;

/** The pool's region, where it is shared. */
export const POOL_REGION = 1;

// The table of regions: u32 count, then u32 offset in the arena and u32 bytes of each, from MEMIF_TABLE on.
export const MEMIF_TABLE = 8;
export const MEMIF_REGION_SHIFT = 3;
export const MOST_MEMIF_REGIONS = 32;
export const MEMIF_TABLE_BYTES = 264;

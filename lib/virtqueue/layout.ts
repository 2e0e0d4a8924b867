/**
 * Virtqueues: the rings of virtio 1.2 (OASIS), section 2.6 and after, and the state of either side of one in the arena.
 * Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 * The driver (a guest, or virtio_user) makes buffers available; the device (vhost, or a NIC) uses them. Two formats:
 *
 * Split (2.7; linux/virtio_ring.h): a table of descriptors that the driver writes, a ring of their numbers that it makes
 * available, and a ring in which the device gives them back. Both rings' indices are 16 bits, run freely and wrap around.
 *
 * Packed (2.8): one ring of descriptors that both write. Who owns one stands in two bits of its flags, whose meaning
 * changes with each turn: an index here is 15 bits and, in bit 15, the turn's wrap counter (it starts as 1). That is
 * also what vhost-user's VRING_BASE says.
 *
 * Everything in a ring was written by the other side, which may be hostile and may write it again meanwhile: each word is
 * read once, checked, and the copy is used. What a device reads of a chain of descriptors it flattens into its scratch
 * memory first (CHAIN_*, SEGMENT_*), so the parts that move bytes know neither format.
 */

// A descriptor, 16 bytes: u64 address, u32 length, then split: u16 flags, u16 next; packed: u16 id, u16 flags.
export const DESC_SHIFT = 4;
export const DESC_NEXT = 1;
/** The device writes into it. */
export const DESC_WRITE = 2;
export const DESC_INDIRECT = 4;
/** Packed: made available when it differs from DESC_USED and is the turn's wrap counter; used when both are. */
export const DESC_AVAIL = 128;
export const DESC_USED = 32768;

// The split rings: u16 flags, u16 index, then entries; behind them the other side's event index.
export const RING_INDEX = 2;
export const RING_ENTRIES = 4;
/** In the available ring's flags: no interrupts, please. In the used ring's: no kicks, please. */
export const NO_EVENTS = 1;

// Packed event suppression (2.8.14), one u32 of each side: u16 descriptor index and wrap counter, u16 flags.
export const EVENT_ENABLE = 0;
export const EVENT_DISABLE = 1;
export const EVENT_AT = 2;

// struct virtio_net_hdr (5.1.6): u8 flags, u8 gso_type, u16 hdr_len, gso_size, csum_start, csum_offset and num_buffers, little-endian.
export const NET_FLAGS = 0;
export const NET_GSO_TYPE = 1;
export const NET_CSUM_OFFSET = 8;
export const NET_NUM_BUFFERS = 10;
/** With num_buffers; a legacy header without it has 10 bytes. */
export const NET_HEADER = 12;
/** And behind it, where hashes are reported: u32 hash, u16 VIRTIO_NET_HASH_REPORT_*, 0 for none (5.1.6.4.4). Of what is sent they mean nothing. */
export const NET_HASH = 12;
export const NET_HASH_REPORT = 16;
export const NET_HASH_HEADER = 20;
/** In its flags: the checksum at csum_start + csum_offset is to be computed from csum_start on; it was looked at, and is right. */
export const NET_NEEDS_CSUM = 1;
export const NET_DATA_VALID = 2;
/** In gso_type: a TCP packet that is to be cut into segments. */
export const NET_GSO_TCPV4 = 1;
export const NET_GSO_TCPV6 = 4;
/** The longest frame that is still to be cut: an IP packet of 65535 bytes, behind an Ethernet header with two tags. */
export const LONGEST_GSO = 65557;

/** More descriptors are in no honest chain: Linux makes 19 at most, a jumbo frame of 64 KiB has as many. */
export const MOST_SEGMENTS = 256;
/** Chains that are looked at in one go. */
export const CHUNK = 64;
/** Goes of one burst at most: a driver that makes bad chains available for ever holds nobody. */
export const MOST_GOES = 64;

// The state of a virtqueue: the driver's part of a port queue's (port/layout.ts), u32 each.
/** Who is in it: 0 nobody, else lcore + 1. Set-up takes it too, so rings are never moved under a burst. */
export const VQ_LOCK = 192;
export const VQ_FLAGS = 196;
/** 0: bursts do nothing. */
export const VQ_READY = 200;
/** Descriptors: split, a power of two; packed, any number. */
export const VQ_SIZE = 204;
/** Bytes of struct virtio_net_hdr before each frame. */
export const VQ_HEADER = 208;
/** Offsets in the arena: the descriptors; the available ring or the driver's event suppression; the used ring or the device's. */
export const VQ_DESC = 212;
export const VQ_AVAIL = 216;
export const VQ_USED = 220;
/** The device: next to be looked at, next to be given back. The driver: next to be made available, next to be looked at. */
export const VQ_NEXT_AVAIL = 224;
export const VQ_NEXT_USED = 228;
/** 1: the other side wants to be told. A burst sets it, whoever called it tells and clears. */
export const VQ_NOTIFY = 232;
/** Longest frame, without FCS. */
export const VQ_LONGEST = 236;
/** Offset of scratch memory, SCRATCH_BYTES of the owner's own. */
export const VQ_SCRATCH = 240;
/** i32: what the other side is told by, an eventfd; -1 for none. */
export const VQ_TELL = 244;
/** The device: offset of the memory table. */
export const VQ_MEMORY = 248;
/** The driver: what is added to an offset to make the address that the device knows it by; u64. */
export const VQ_IOVA = 256;
/** The driver: offset, bytes and buffer size - 1 of the pool's buffers. */
export const VQ_POOL = 264;
export const VQ_POOL_BYTES = 268;
export const VQ_BUFFER_MASK = 272;
/** The driver: per id, what is out under it (SIDE_*). Private. */
export const VQ_SIDE = 276;
/** The driver: u16 ids that are free, a ring of VQ_SIZE places; where it is taken from and put to (they run freely). Private. */
export const VQ_FREE = 280;
export const VQ_FREE_HEAD = 284;
export const VQ_FREE_TAIL = 288;
/** The driver: descriptors that are free. */
export const VQ_ROOM = 292;
/** The driver: offset of a table per id for the device to read: EXTRA_BYTES each. */
export const VQ_EXTRA = 296;
/** The driver, rx: a frame in several buffers of which some have come: its first and last mbuf, and how many are to come. */
export const VQ_PART_HEAD = 300;
export const VQ_PART_TAIL = 304;
export const VQ_PART_LEFT = 308;
/** The device: offset of the queue's in-flight region, 0 for none. */
export const VQ_INFLIGHT = 312;
/** How often another file was put behind QUEUE_FD. */
export const VQ_GENERATION = 316;
/** The driver, with VQ_IN_ORDER: 0, or the id that ends a batch of which some are still to be taken, with bit 16. */
export const VQ_BATCH = 320;
/** OFFLOAD_*: what the other side's frames may leave to us (rx), or ours to the other side (tx). */
export const VQ_OFFLOADS = 324;
/** rx: how many frames of the last burst have TX_* flags. The device, tx: 1 when it stopped before one that wants what the driver does not do. */
export const VQ_UNFINISHED = 328;
/** The device, rx: 1, frames come with TX_* flags; 0, what they say is done first. */
export const VQ_PASSES = 332;
/** The device's counters, u64: frames whose offloads were done here, what was made of them, and those that could not be done and were dropped. */
export const VQ_FINISHED = 336;
export const VQ_PIECES = 344;
export const VQ_UNFINISHABLE = 352;
/** The device: offset of OUTSIDE_BYTES and an area for memory of the driver's that is not in the arena; 0 when all of it is. */
export const VQ_OUTSIDE = 360;
export const VQ_STATE_END = 364;

// VQ_OFFLOADS. TSO and FINISH only with the first.
export const OFFLOAD_CSUM = 1;
export const OFFLOAD_TSO4 = 2;
export const OFFLOAD_TSO6 = 4;
/** rx, without TSO: a checksum that was left to us is written in the burst, and no frame has TX_* flags. */
export const OFFLOAD_FINISH = 8;
/** The driver, rx: the header has a hash. */
export const OFFLOAD_HASH = 16;

// VQ_FLAGS
export const VQ_PACKED = 1;
export const VQ_EVENT_IDX = 2;
export const VQ_MERGEABLE = 4;
export const VQ_INDIRECT = 8;
/**
 * VIRTIO_F_IN_ORDER (2.7.7, 2.8.3): one used entry, the last one's, stands for a batch; it is where the first one's would be.
 * Of a send ring only: a receiver needs each length.
 */
export const VQ_IN_ORDER = 16;

// Counters of the device, u64 each, at QUEUE_X0 and after.
/** The available index jumped, or named a descriptor that there is not. */
export const DEVICE_BAD_INDEX = 56;
/** A chain that is too long, loops, or goes the wrong way. */
export const DEVICE_BAD_CHAIN = 64;
/** An address or a length outside the memory that the other side has shared. */
export const DEVICE_BAD_ADDRESS = 72;
/** A frame that is too short or too long. */
export const DEVICE_BAD_FRAME = 80;
/** tx: the other side's buffers are too small for the frame. */
export const DEVICE_TOO_SMALL = 88;
/** rx: a header that asks for what cannot be done with its frame. */
export const DEVICE_BAD_OFFLOAD = 88;
/** tx: there was no buffer. */
export const DEVICE_RING_FULL = 96;
/** tx: an mbuf of another pool, at which a burst stops. */
export const DEVICE_FOREIGN = 104;

// Counters of the driver.
/** The used index jumped, or an id came back that was not out. */
export const DRIVER_BAD_USED = 56;
/** rx: a length that the buffer does not have, or buffers that make no frame. */
export const DRIVER_BAD_LENGTH = 64;
/** tx: a frame that cannot be sent, or that wants what the device does not do. rx: one that is too long, and not to be cut. */
export const DRIVER_BAD_FRAME = 80;
/** rx: a header that asks for what cannot be done with its frame. */
export const DRIVER_BAD_OFFLOAD = 88;
export const DRIVER_RING_FULL = 96;
export const DRIVER_FOREIGN = 104;

// The memory table: u32 count, then regions from REGIONS on.
export const MEMORY_COUNT = 0;
export const REGIONS = 32;
export const REGION_SHIFT = 5;
export const MOST_REGIONS = 64;
/** u64 first address as the rings say it, u64 bytes, u32 offset in the arena. */
export const REGION_START = 0;
export const REGION_BYTES = 8;
export const REGION_OFFSET = 16;
/** Of memory that is not in the arena, instead: u64 address in this process. */
export const REGION_OUTSIDE = 24;
export const MEMORY_BYTES = 2080;

// Memory of the driver's that is not in the arena (VQ_OUTSIDE), private: a burst works on copies, which stand in an area.
/** Offset of its regions, a memory table; offset and bytes of the area. */
export const OUTSIDE_REGIONS = 0;
export const OUTSIDE_AREA = 4;
export const OUTSIDE_AREA_BYTES = 8;
/** Bytes of one chain that are looked at; a frame with its header is not longer. The area holds at least so many. */
export const OUTSIDE_CHAIN = 12;
/** Of this go: bytes of the area that are taken, entries of the list. */
export const OUTSIDE_USED = 16;
export const OUTSIDE_COUNT = 20;
/** What is copied, for the native call: u64 address in this process, u32 offset in the arena, u32 bytes. As many as there are segments. */
export const OUTSIDE_LIST = 64;
export const OUTSIDE_ENTRY_SHIFT = 4;
/** A copy of a table of descriptors, and the entry that fetches it. */
export const OUTSIDE_TABLE = 8256;
export const OUTSIDE_TABLE_ENTRY = 12352;
export const OUTSIDE_BYTES = 12416;

// Scratch: CHUNK chains of 32 bytes, then segments, then a vector of CHUNK handles.
export const CHAIN_SHIFT = 5;
export const CHAIN_ID = 0;
/** Places in a packed ring; 0 for a chain that is longer than any is, which stops it. */
export const CHAIN_DESCS = 4;
/** Offset of its first segment. */
export const CHAIN_FIRST = 8;
/** Segments; 0 for a bad chain, which is given back unused. */
export const CHAIN_COUNT = 12;
/** Bytes of all segments. */
export const CHAIN_LENGTH = 16;
/** Bytes that were written into it. */
export const CHAIN_WRITTEN = 20;
/** 1: what was written goes on in the next chain. Only memif's rings say so. */
export const CHAIN_MORE = 24;
/** Of memory that is not in the arena: its first entry in the list. */
export const CHAIN_LIST = 28;
/** Where no descriptor is: nothing to give back. */
export const NO_ID = 0xffffffff;
export const SEGMENTS = 2048;
/** u32 offset in the arena, u32 bytes. */
export const SEGMENT_SHIFT = 3;
export const SEGMENTS_END = 6144;
export const VECTOR = 6144;
/** A copy of a frame's header that is not all in one piece. */
export const SCRATCH_HEADER = 6400;
export const SCRATCH_BYTES = 6464;

// The driver's side table: u32 handle (0: nothing is out), u16 descriptors, u16 next id of a split chain.
export const SIDE_SHIFT = 3;
export const SIDE_HANDLE = 0;
export const SIDE_DESCS = 4;
export const SIDE_NEXT = 6;

/** Per id: a header for a frame that has no room for one, then an indirect table of so many descriptors. */
export const EXTRA_SHIFT = 7;
export const EXTRA_BYTES = 128;
export const EXTRA_TABLE = 32;
export const EXTRA_DESCS = 6;

// The device's in-flight region of a queue (vhost-user, "Inflight I/O tracking"). Split: u16, the used index.
export const INFLIGHT_SPLIT_USED = 14;
// Packed: u16 and u8, the used index and its wrap counter, and both as they were before the last batch.
export const INFLIGHT_USED = 16;
export const INFLIGHT_OLD_USED = 18;
export const INFLIGHT_WRAP = 20;
export const INFLIGHT_OLD_WRAP = 21;

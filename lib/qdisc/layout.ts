/**
 * A tree of queueing disciplines in the arena: one memzone, the entries of held packets first, then the state of each
 * discipline. Plain number constants.
 *
 * What is one zone's own business (a class of HTB, a flow of FQ-CoDel) has its fields in the file that uses it.
 */
export const QDISC_MAGIC = 0x43534451; // "QDSC"
export const TREE_KIND = 0;
/** u32: entries there are, and how many of them hold a packet now. */
export const TREE_ENTRIES = 4;
export const TREE_HELD = 8;
/** u32: word of the first free entry; 0 for none. */
export const TREE_FREE = 12;
/** f64: the clock at the last call, and the earliest time that a shaper waits for; nanoseconds, Infinity for none. */
export const TREE_NOW = 16;
export const TREE_WAIT = 24;
export const TREE_FIRST = 64;

/**
 * An entry is a packet that a tree holds. It is known by its word, its offset / 4, so that 0 is none and every number
 * is a small integer; mbuf headers have no place for this, as a packet may be a chain and may be shared.
 */
export const ENTRY_BYTES = 32;
// Fields in words.
/** u32: the entry behind it in its queue, or the next free one. */
export const ENTRY_NEXT = 0;
export const ENTRY_HANDLE = 1;
/** u32: bytes of the packet, without FCS. */
export const ENTRY_LENGTH = 2;
/** u32: hash of its addresses and ports, where a discipline of the tree asked for it. */
export const ENTRY_HASH = 3;
/** f64: when it came, nanoseconds; its index is entry / 2 + 2. */
export const ENTRY_TIME = 2;

/** Of every discipline, f64 each: packets and bytes that came, and that went on; then drops by cause. */
export const COUNT_IN_PACKETS = 0;
export const COUNT_IN_BYTES = 1;
export const COUNT_OUT_PACKETS = 2;
export const COUNT_OUT_BYTES = 3;
export const COUNT_DROPS = 4;

/** A first-in first-out queue of entries, in words: the first, the last, how many; then f64 bytes at word / 2 + 2. */
export const FIFO_HEAD = 0;
export const FIFO_TAIL = 1;
export const FIFO_PACKETS = 2;
export const FIFO_BYTES = 2;
export const FIFO_SIZE = 24;

/** No packet is longer, a chain included: an IPv6 packet of 65575 bytes behind its Ethernet header and two VLAN tags fits. */
export const LONGEST_PACKET = 1 << 17;

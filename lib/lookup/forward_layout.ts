/**
 * A router's adjacencies and its forwarders in the arena. Plain number constants: TypeScript and AssemblyScript both
 * read this file.
 *
 * An adjacency is what a frame to a next hop begins with; the next hop's number in a route table is its number here.
 */
export const ADJACENCY_MAGIC = 0x204a4441; // "ADJ "
export const ADJACENCY_KIND = 0;
/** u32: adjacencies that there may be, numbers below it. */
export const ADJACENCY_COUNT = 4;
/** u32: the only lcore that may write, plus one. */
export const ADJACENCY_WRITER = 8;
/** The entry before the first one: where no route leads, and what a number without an entry is taken for. It is not known. */
export const ADJACENCY_NOWHERE = 48;
/** The entries, 16 bytes each and aligned, so that one load has all of it. */
export const ADJACENCY_AT = 64;
export const ADJACENCY_SHIFT = 4;
/** Destination and source MAC address, a frame's first 12 bytes. */
export const ADJACENCY_MACS = 0;
/** u32: what the program calls it by, its port most often; 2^31 and more for one that is not known, or not any more. */
export const ADJACENCY_VALUE = 12;
export const ADJACENCY_NONE = 0xffffffff;

/** A forwarder is one thread's: what it looks up in, and what its calls work on. */
export const FORWARD_LPM = 0;
export const FORWARD_ADJACENCIES = 4;
/** u32: copy of the arena's table offset. */
export const FORWARD_TABLE = 8;
/** u32: FORWARD_STATION and FORWARD_SUM. */
export const FORWARD_CHECKS = 12;
/** Only frames to FORWARD_MAC go on. */
export const FORWARD_STATION = 1;
/** Only headers whose checksum is right go on, and whose total length has room for a header and is there (RFC 1812 section 5.2.2). */
export const FORWARD_SUM = 2;
/** 6 bytes, as in a frame; and two that are not looked at. */
export const FORWARD_MAC = 16;
/** 32 bytes that are written instead of a frame's where a packet does not go on: so no branch is needed. */
export const FORWARD_DUMP = 64;
/** u32 for each packet: its adjacency's value, or ADJACENCY_NONE. */
export const FORWARD_VALUES = 128;
/** u32 for each packet: where its frame stands. The burst module's own, and so is the dump: the twin leaves them. */
export const FORWARD_FRAMES = 2176;
export const FORWARD_BYTES = 4224;
/** Packets of a call: MAX_BURST. */
export const FORWARD_MAX = 512;

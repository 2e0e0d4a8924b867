/**
 * A longest-prefix-match table in the arena, for IPv4 or IPv6. Plain number constants: TypeScript and AssemblyScript
 * both read this file.
 *
 * The first bits of an address (24 unless said otherwise) are an index into the root. An entry there is a next hop, or
 * names a group of 256 entries that the next 8 bits are an index into, and so on: DIR-24-8 (Gupta, Lin, McKeown, "Routing
 * Lookups in Hardware at Memory Access Speeds", INFOCOM 1998) for IPv4, the same carried on to 128 bits for IPv6.
 *
 * An entry has 2 or 4 bytes: 0 is no route, then next hop + 1; the highest bit says that the rest is a group's number.
 * So memory that was never touched is a table without routes, and an entry less one is a lookup's answer either way.
 * What only the writer needs stands apart (a byte for each entry with its route's length + 1; the routes themselves are a
 * hash table), so that the part which lookups read is half as large as with DPDK's 4-byte entries, and more of it stays
 * in the cache.
 *
 * One writer, many readers, no lock: each entry is written whole, and a new group is named only when it is filled. A
 * group that was freed may be used again for other addresses; then `reuses` rises before it is written to, and a reader
 * that went through groups looks whether it did, and if so, looks the address up again.
 */
export const LPM_MAGIC = 0x204d504c; // "LPM "
export const LPM_KIND = 0;
/** u32: 4 or 6; bits that the root takes, 8, 16 or 24; 1 when entries have 4 bytes. */
export const LPM_FAMILY = 4;
export const LPM_ROOT_BITS = 8;
export const LPM_WIDE = 12;
/** u32: offset of the root; of group 0, which follows it. */
export const LPM_ROOT = 16;
export const LPM_GROUPS = 20;
/** u32: groups that there may be; numbers below this one were used at some time; in use. */
export const LPM_GROUPS_MAX = 24;
export const LPM_GROUPS_FRESH = 28;
export const LPM_GROUPS_USED = 32;
/** u32: how often a group was used again. */
export const LPM_REUSES = 36;
/** u32: free-running indices of the ring of freed groups: the next to be used, and where the next freed one goes. */
export const LPM_FREE_HEAD = 40;
export const LPM_FREE_TAIL = 44;
/** u32: the only lcore that may write, plus one. */
export const LPM_WRITER = 48;
/** u64: routes refused because the groups or the routes were all used. */
export const LPM_FULL = 56;
export const LPM_ROOT_AT = 128;

export const LPM_GROUP_ENTRIES = 256;
export const LPM_GROUP_SHIFT = 8;
/** In an entry of 2 and of 4 bytes: the rest is a group's number. */
export const LPM_GROUP_NARROW = 0x8000;
export const LPM_GROUP_WIDE = 0x80000000;
/** What a lookup says where no route leads. */
export const LPM_NONE = 0xffffffff;
/** How often an address is looked up anew because groups were used again meanwhile; then it has no route. */
export const LPM_RETRIES = 1024;

// The writer's zone: how many routes there are of each length, and of each group how many routes and groups it holds; then the ring of freed groups, then a byte for each entry.
export const LPM_DEPTH_COUNTS = 0;
export const LPM_COUNTS = 1024;

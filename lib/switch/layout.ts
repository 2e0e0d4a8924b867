/**
 * The switch's part of the arena: what a burst needs to find its flows and to be put in line for its ports. Plain number
 * constants: TypeScript and AssemblyScript both read this file. One thread, the switch's, reads and writes all of it.
 *
 *     0         what is where
 *     64        ports, 64 bytes each; number 0 is none
 *     ...       flows, 64 bytes each
 *     ...       vectors of one burst: keys, values, and what the burst function leaves to TypeScript
 */
export const SWITCH_MAGIC = 0x43545753; // "SWTC"
export const SWITCH_KIND = 0;
/** u32: the arena's mbuf header table; the hash table from keys to flows (lookup/hash_layout.ts). */
export const SWITCH_TABLE = 4;
export const SWITCH_HASH = 8;
/** u32: offset of flow 0, and how many there are. */
export const SWITCH_FLOWS = 12;
export const SWITCH_FLOW_COUNT = 16;
/** u32: offset of port 0, and one more than the highest number that a port may have. */
export const SWITCH_PORTS = 20;
export const SWITCH_PORT_COUNT = 24;
/** u32: what a flow must have in FLOW_GENERATION to be followed; never 0. */
export const SWITCH_GENERATION = 28;
/** u32: the time that flows are stamped with, in milliseconds, modulo 2^32. */
export const SWITCH_NOW = 32;
/** u32: vectors for MAX_BURST packets: keys of KEY_BYTES, their values, and of what is left to TypeScript the handles and the flows (HASH_NONE: none). */
export const SWITCH_KEYS = 36;
export const SWITCH_VALUES = 40;
export const SWITCH_LEFT = 44;
export const SWITCH_LEFT_FLOWS = 48;
/** u32: the longest line of the ports that this call put something into. */
export const SWITCH_LONGEST = 52;
export const SWITCH_HEADER_BYTES = 64;

export const PORT_BYTES = 64;
/** u32: handles that wait in the line; where the line, LINE_SLOTS handles, stands. */
export const PORT_WAITING = 0;
export const PORT_LINE = 4;
/** u64: packets and bytes that came in by it, and bytes that were ever put into its line. */
export const PORT_RX_PACKETS = 8;
export const PORT_RX_BYTES = 16;
export const PORT_QUEUED_BYTES = 24;
export const LINE_SLOTS = 512;

export const FLOW_BYTES = 64;
/** u32: SWITCH_GENERATION when it was made; 0 for one that is not to be followed. */
export const FLOW_GENERATION = 0;
/** u32: the port that its packets go out by, 0 where TypeScript has to look at each. */
export const FLOW_OUT = 4;
/** u32: TAG_* in the low 16 bits, the VLAN identifier for it in the high ones. */
export const FLOW_TAG = 8;
/** u32: when it last had a packet: SWITCH_NOW. */
export const FLOW_STAMP = 12;
/** u64: packets and bytes, as they came in. */
export const FLOW_PACKETS = 16;
export const FLOW_BYTE_COUNT = 24;
/** Four u32: its key. */
export const FLOW_KEY = 32;
/** u32: number of the list of actions in TypeScript's keeping, and of the VLAN that it was received in. */
export const FLOW_LIST = 48;
export const FLOW_VLAN = 52;
/**
 * A flow's key, 16 bytes: destination and source MAC as they stand in the frame, then a u32 of the port (high 16 bits),
 * KEY_TAGGED where there is a C-tag, and its VLAN identifier.
 */
export const KEY_BYTES = 16;
export const KEY_TAGGED = 0x1000;

/** What is done with a frame's C-tag on its way out: nothing, taken off, put on, or given another identifier (priority and DEI stay). */
export const TAG_KEEP = 0;
export const TAG_POP = 1;
export const TAG_PUSH = 2;
export const TAG_SET = 3;

export const ETHERNET_BYTES = 14;
export const TAG_BYTES = 4;

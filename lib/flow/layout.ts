/**
 * What of a packet the rules look at, as a vector of u32 in the arena (in an XDP program: on its stack). Numbers stand in
 * the machine's own order, as they are written. Plain number constants.
 */
export const FIELD_ETHERTYPE = 0;
/** VLAN number of the outer tag, or NO_VLAN. */
export const FIELD_VLAN = 1;
/** 4 or 6; 0 for what is no whole IP header. */
export const FIELD_VERSION = 2;
/** Of IP, or NO_PROTOCOL; PROTOCOL_NONE also where extension headers are cut off, as the burst parser has it. */
export const FIELD_PROTOCOL = 3;
/** 1 for a fragment. */
export const FIELD_FRAGMENT = 4;
/** Or NO_PORT. */
export const FIELD_SOURCE_PORT = 5;
export const FIELD_DESTINATION_PORT = 6;
/** Four words each; an IPv4 address is the first. */
export const FIELD_SOURCE = 7;
export const FIELD_DESTINATION = 11;
/** Two words each: the first four bytes, the last two. */
export const FIELD_DESTINATION_MAC = 15;
export const FIELD_SOURCE_MAC = 17;
export const FIELDS = 19;

export const NO_VLAN = 0x1000;
export const NO_PROTOCOL = 0x100;
export const NO_PORT = 0x10000;

/** More fragments, and the offset: RFC 791. */
export const IPV4_FRAGMENT = 0x3fff;
/** The same of IPv6's fragment header: RFC 8200 section 4.5. */
export const IPV6_FRAGMENT = 0xfff9;
export const IPV6_FRAGMENT_OFFSET = 0xfff8;
/**
 * Extension headers that are walked over; what has more is as what is cut off in them. RFC 8200 section 4.1 knows of seven,
 * real packets have one or two; with eight the kernel's verifier took ten times as long over each program.
 */
export const MOST_EXTENSIONS = 4;
